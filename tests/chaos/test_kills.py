"""Killed at any commit and at any moment, the chain goes on and ends in the same bytes."""

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chain
import pytest

pytestmark = pytest.mark.chaos

QUICK_STEPS = (1, 2, 3, 5, 8, 13)


def finish(
    root: Path, undisturbed: Path, child, again: Callable[..., None] = chain.run, *arguments: Any
) -> int:
    """Run again, undisturbed unless it is said how; compare, and return the rows that were lost."""
    before, safe = Counter(chain.shown(root)), chain.committed(root)
    process = child(again, root, *arguments)
    process.join()
    assert process.exitcode == 0
    assert chain.contents(root) == chain.contents(undisturbed)
    assert chain.identities(root) == chain.identities(undisturbed)
    assert not list(root.rglob("*.partial"))
    after, wanted = Counter(chain.shown(root)), Counter(chain.shown(undisturbed))
    assert after.keys() == wanted.keys()
    assert {name for name in safe if after[name] > before[name]} == set()  # none is shown twice
    return chain.rows_lost(root)


def kill_at(step: int, moment: str, root: Path, undisturbed: Path, child) -> int:
    process = child(chain.run_and_die, root, step, moment)
    process.join()
    assert process.exitcode == -9
    return finish(root, undisturbed, child)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", QUICK_STEPS)
def test_a_kill_at_a_commit_loses_nothing(
    step: int, moment: str, tmp_path: Path, undisturbed: Path, child, tried
) -> None:
    lost = kill_at(step, moment, tmp_path, undisturbed, child)
    tried("SIGKILL at a commit point", rows_lost=lost)
    assert lost == 0


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_at_every_other_commit_loses_nothing(
    moment: str, tmp_path: Path, undisturbed: Path, child, tried
) -> None:
    commits = int((undisturbed / "commits").read_text())
    steps = [step for step in range(1, commits + 1) if step not in QUICK_STEPS]
    lost = [
        kill_at(step, moment, tmp_path / str(step), undisturbed, child)
        for step in steps
        if not (tmp_path / str(step)).mkdir()
    ]
    tried("SIGKILL at a commit point", cases=len(steps), rows_lost=sum(lost))
    assert sum(lost) == 0


def kill_after(seconds: float, root: Path, child) -> bool:
    """Kill a run after a while; tell whether it was still running."""
    process = child(chain.run, root)
    time.sleep(seconds)
    process.kill()
    process.join()
    return process.exitcode == -9


@pytest.mark.parametrize(
    "moments", [3, pytest.param(50, marks=pytest.mark.slow)], ids=["few", "fifty"]
)
def test_a_kill_at_a_random_moment_loses_nothing(
    moments: int, tmp_path: Path, undisturbed: Path, child, tried
) -> None:
    begun = time.monotonic()
    process = child(chain.run, tmp_path / "timed")
    process.join()
    seconds, chance = time.monotonic() - begun, random.Random(moments)  # noqa: S311 - no secret
    lost, killed = 0, 0
    while killed < moments:
        root = tmp_path / f"{killed}-{chance.random()}"
        root.mkdir()
        killed += kill_after(chance.uniform(0, seconds), root, child)
        lost += finish(root, undisturbed, child)
    tried("SIGKILL of the driver at a random moment", cases=moments, rows_lost=lost)
    assert lost == 0


def test_killed_again_and_again_the_chain_still_ends(
    tmp_path: Path, undisturbed: Path, child, tried
) -> None:
    kills = 0
    for step in (6, 5, 4, 3, 6, 5):
        process = child(chain.run_and_die, tmp_path, step, "after")
        process.join()
        kills += process.exitcode == -9
    lost = finish(tmp_path, undisturbed, child)
    tried("SIGKILL of one run, again and again", cases=kills, rows_lost=lost)
    assert kills >= 4
    assert lost == 0
