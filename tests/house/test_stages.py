"""Every stage looks whether it is sealed before it works: a second run costs seconds."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

from scf_pipeline.runner import _stage

ROOT = Path(__file__).parents[2]


def find_run(path: Path) -> ast.FunctionDef | None:
    """Return a module's ``run``, if it is that of a stage: one that fills a folder by an engine."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == "run":
            names = {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)}
            return node if {"config", "out", "engine"} <= names else None
    return None


RUNS = {
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): run
    for folder in ("stages", "miniature")
    for path in sorted((ROOT / "scf_pipeline" / folder).glob("*.py"))
    if (run := find_run(path)) is not None
}
"""The ``run`` of each stage, by module."""


def test_every_module_among_the_stages_is_one() -> None:
    folder = ROOT / "scf_pipeline" / "stages"
    modules = {f"scf_pipeline.stages.{path.stem}" for path in folder.glob("[!_]*.py")}
    assert {name for name in RUNS if ".stages." in name} == modules
    assert {"features", "train", "evaluate", "report"} <= {name.split(".")[-1] for name in modules}


def test_the_miniatures_stages_are_found() -> None:
    found = {name.split(".")[-1] for name in RUNS if ".miniature." in name}
    assert found == {"captioner", "generic", "tower", "world"}


@pytest.mark.parametrize("name", RUNS)
def test_a_stage_asks_whether_it_is_sealed_before_it_works(name: str) -> None:
    calls = sorted(
        (node.lineno, node.func.attr)
        for node in ast.walk(RUNS[name])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    )
    called = [attribute for _, attribute in calls]
    assert "sealed" in called
    assert not {"call", "map", "write", "adopt", "seal"} & set(called[: called.index("sealed")])


@pytest.mark.parametrize("name", RUNS)
def test_a_stage_has_a_name_a_version_and_settings_that_a_runner_finds_it_by(name: str) -> None:
    module = importlib.import_module(name)
    config = inspect.signature(module.run, eval_str=True).parameters["config"].annotation
    assert config.stage == name.split(".")[-1]
    assert isinstance(config.version, int)
    bare = object.__new__(config)
    assert _stage(bare) is module


def test_names_of_stages_are_unique() -> None:
    names = [name.split(".")[-1] for name in RUNS]
    assert len(set(names)) == len(names)
