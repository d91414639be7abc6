"""Every field of every public dataclass of the trainer and of a config says what it is."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
WHOLE = ("ifas_model", "flows")
"""Packages whose dataclasses are all looked at; of the pipeline, the settings are."""

SOURCES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for package in ("scf_pipeline", *WHOLE)
    for path in (REPOSITORY / package).rglob("*.py")
)


def dataclasses(source: str, *, is_whole: bool) -> Iterator[ast.ClassDef]:
    """Yield public dataclasses: all of them, or those that are settings."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        told = [ast.unparse(decorator) for decorator in node.decorator_list]
        if any("dataclass" in text and (is_whole or "STRICT" in text) for text in told):
            yield node


def is_tag(annotation: ast.expr) -> bool:
    """Tell whether a field can hold one word only, by which settings of a method are known."""
    match annotation:
        case ast.Subscript(value=ast.Name(id="Literal"), slice=ast.Constant()):
            return True
    return False


def undocumented(node: ast.ClassDef) -> list[str]:
    """Return the fields that no text stands below; constants of the class and tags need none."""
    found = []
    for item, below in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
            continue
        if is_tag(item.annotation) or ast.unparse(item.annotation).startswith("ClassVar"):
            continue
        match below:
            case ast.Expr(value=ast.Constant(value=str(text))) if text.strip():
                continue
        found.append(item.target.id)
    return found


FOUND = [
    pytest.param(node, id=f"{path}-{node.name}")
    for path in SOURCES
    for node in dataclasses(
        (REPOSITORY / path).read_text(encoding="utf-8"), is_whole=path.startswith(WHOLE)
    )
]


def test_the_search_finds_settings_and_fields() -> None:
    names = {param.values[0].name for param in FOUND}
    assert {"TrainConfig", "ConnectorConfig", "ReportConfig", "Setting", "Result"} <= names
    source = (
        "@dataclass(config=STRICT)\nclass A:\n"
        "    stage: ClassVar[str] = 'a'\n    method: Literal['a'] = 'a'\n"
        "    told: int = 1\n    '''Told.'''\n    bare: Literal['a', 'b'] = 'a'\n    last: int = 2\n"
        "@dataclass\nclass B:\n    x: int\nclass C:\n    x: int\n"
    )
    (node,) = dataclasses(source, is_whole=False)
    assert undocumented(node) == ["bare", "last"]
    assert [one.name for one in dataclasses(source, is_whole=True)] == ["A", "B"]


@pytest.mark.parametrize("node", FOUND)
def test_every_field_is_documented_below_itself(node: ast.ClassDef) -> None:
    assert undocumented(node) == []
