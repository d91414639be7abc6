"""Every stage looks whether it is sealed before it works: a second run costs seconds."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def is_stage(tree: ast.Module) -> bool:
    """Tell whether a module holds a config with a ``stage`` and a ``run``."""
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    fields = [
        item.target.id
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    ]
    return "run" in names and "stage" in fields


STAGES = [
    path
    for folder in ("stages", "miniature")
    for path in sorted((ROOT / "scf_pipeline" / folder).glob("*.py"))
    if is_stage(ast.parse(path.read_text(encoding="utf-8")))
]


def test_the_search_finds_the_stages() -> None:
    found = {path.stem for path in STAGES}
    assert {"ingest", "crop", "caption", "finetune", "shard", "world", "tower"} <= found


@pytest.mark.parametrize("path", STAGES, ids=lambda path: path.stem)
def test_a_stage_asks_whether_it_is_sealed(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    run = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "run")
    called = {
        n.func.attr
        for n in ast.walk(run)
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)
    }
    assert "sealed" in called
