"""The README cannot lie: its paths, commands, targets, functions and dataset rows exist."""

import ast
import re
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from ifas_model import plugins
from scf_pipeline import adapters
from scf_pipeline.cli import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TOP = "scf_pipeline|ifas_model|flows|keyword_dicts|tests"
PATHS = sorted(set(re.findall(rf"`((?:{TOP})/[\w./-]+?\.\w+)[`:]", README)))
COMMANDS = sorted(set(re.findall(r"(?<![\w/-])scf ([a-z]+)(?= |`|\n)", README)))
TARGETS = sorted(set(re.findall(r"make ([a-z-]+)", README)))
FUNCTIONS = re.findall(r"^\|[^|]+\| `([\w/]+\.py)`, `(\w+)` \|$", README, flags=re.MULTILINE)


@pytest.mark.parametrize("path", PATHS)
def test_every_path_exists(path: str) -> None:
    assert (ROOT / path).is_file()


def test_the_search_finds_paths_commands_targets_and_functions() -> None:
    assert len(PATHS) >= 8
    assert {"ingest", "crop", "shard", "verify"} <= set(COMMANDS)
    assert {"reproduce", "test"} <= set(TARGETS)
    assert len(FUNCTIONS) >= 6


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_exists_and_shows_its_help(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0


@pytest.mark.parametrize("target", TARGETS)
def test_every_make_target_exists_and_is_explained(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:.*## \w", makefile, flags=re.MULTILINE)


@pytest.mark.parametrize(("path", "name"), FUNCTIONS)
def test_every_function_of_the_paper_table_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if hasattr(node, "name")}


@pytest.mark.parametrize("name", [n for n in plugins.names(adapters) if n != "image_folder"])
def test_every_dataset_has_a_row_that_says_what_its_adapter_says(name: str) -> None:
    adapter = plugins.load(adapters, "ADAPTER", name)
    row = next(line for line in README.splitlines() if line.startswith(f"| `{name}` |"))
    for fact in (adapter.title, adapter.license, adapter.obtain):
        assert fact in row
    for count in (adapter.bona_fide, adapter.attack):
        assert f"{count:,}" in row


def test_every_command_of_scf_is_in_the_readme() -> None:
    known = set(get_command(app).commands)
    assert known <= set(COMMANDS) | {"run"}
