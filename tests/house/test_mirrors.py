"""The tests mirror the packages: one test file for each source file."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("scf_pipeline", "ifas_model", "flows")

ELSEWHERE = {
    "scf_pipeline/keywords/__init__.py": (
        "tests/scf_pipeline/test_keywords.py",
        "the package is used under its own name, as a module would be",
    ),
}
"""Source files whose tests lie elsewhere: where, and why."""


def has_code(path: Path) -> bool:
    """Tell whether a file defines anything, or only gathers what others define."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return any(isinstance(node, kinds) for node in ast.walk(tree))


SOURCES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for package in PACKAGES
    for path in (REPOSITORY / package).rglob("*.py")
    if path.name != "__init__.py" or has_code(path)
)


def mirrors(source: str) -> list[str]:
    """Return where the tests of a source file may lie; a leading underscore may be dropped."""
    if source in ELSEWHERE:
        return [ELSEWHERE[source][0]]
    path = Path("tests") / source
    stem = "init" if path.stem == "__init__" else path.stem
    return [
        path.with_name(f"test_{name}.py").as_posix() for name in sorted({stem, stem.lstrip("_")})
    ]


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_file_has_its_test_file(source: str) -> None:
    places = mirrors(source)
    found = [place for place in places if (REPOSITORY / place).is_file()]
    assert found, f"{source} must be tested by {' or '.join(places)}"
    tree = ast.parse((REPOSITORY / found[0]).read_text(encoding="utf-8"))
    names = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert any(name.startswith("test_") for name in names), f"{found[0]} must hold a test"


@pytest.mark.parametrize("source", ELSEWHERE)
def test_an_exception_is_of_a_file_that_exists_and_has_a_reason(source: str) -> None:
    assert source in SOURCES
    assert ELSEWHERE[source][1]


def test_tests_are_no_package() -> None:
    assert list((REPOSITORY / "tests").rglob("__init__.py")) == []
