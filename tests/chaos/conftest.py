"""What the suite of faults shares: children that may die, and a table of what was tried."""

import multiprocessing
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # children find `chain` by its name

import chain  # noqa: E402 - after its folder is known

TRIED = "tried"
"""Name of the property of a test's report that tells what it tried."""


@pytest.fixture(scope="session")
def child() -> Callable[..., multiprocessing.process.BaseProcess]:
    """Start a function in a process of its own, which has no thread of this one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["chain", "test_refusals"])
    # The server does not know this process's path, and each child would have to import anew.
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), before]))
    forkserver.ensure_running()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before

    def start(
        function: Callable[..., None], *arguments: Any
    ) -> multiprocessing.process.BaseProcess:
        process = context.Process(target=function, args=arguments)
        process.start()
        return process

    return start


@pytest.fixture
def tried(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Note cases for the table that ends the suite: their group, number and rows lost."""

    def note(group: str, cases: int = 1, rows_lost: int = 0) -> None:
        request.node.user_properties.append((TRIED, (group, cases, rows_lost)))

    return note


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, child) -> Path:
    """The chain as it runs when nobody disturbs it."""
    root = tmp_path_factory.mktemp("undisturbed")
    process = child(chain.count_commits, root)
    process.join()
    assert process.exitcode == 0
    assert chain.rows_lost(root) == 0
    return root


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Write the table: cases tried, passed, and rows lost, by group."""
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            for name, value in getattr(report, "user_properties", []):
                if name == TRIED and report.when == "call":
                    group, cases, lost = value
                    groups[group] += Counter(tried=cases, lost=lost)
                    groups[group]["passed"] += cases * (outcome == "passed")
    if not groups:
        return
    terminalreporter.write_line(f"\n{'faults':58}{'tried':>8}{'passed':>8}{'rows lost':>11}")
    for group, found in sorted(groups.items()):
        line = f"{group:58}{found['tried']:8}{found['passed']:8}{found['lost']:11}"
        terminalreporter.write_line(line)
