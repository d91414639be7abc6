import ast
import copy
import inspect
import pickle
from pathlib import Path

import pytest

from ifas_model import errors
from ifas_model.errors import ConfigError, ScfError

KINDS = [
    kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, ScfError)
]
PACKAGE = Path(errors.__file__).parent


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_survives_the_trip_from_a_worker(kind: type[ScfError], protocol: int) -> None:
    error = kind("`a` must be 1, but is 2.", where="here", fix="Make it 1.")
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is kind
    assert (again.what, again.where, again.fix) == (
        "`a` must be 1, but is 2.",
        "here",
        "Make it 1.",
    )
    assert str(again) == str(error)


def test_an_error_can_be_copied() -> None:
    error = copy.deepcopy(ConfigError("what", where="where", fix="fix"))
    assert (error.what, error.where, error.fix) == ("what", "where", "fix")


def test_an_error_says_what_where_and_fix_in_three_lines() -> None:
    error = ConfigError("`a` must be 1, but is 2.", where="settings.yaml:3", fix="Make it 1.")
    assert str(error).splitlines() == [
        "`a` must be 1, but is 2.",
        "  where: settings.yaml:3",
        "  fix:   Make it 1.",
    ]


@pytest.mark.parametrize(
    "name", ["a\nfix: run it.sh", "a\r\x1b[2K\x1b[1A", "a\u2028b\u202ec", "\udcff"]
)
def test_an_error_has_three_lines_that_act_on_nothing_whatever_it_names(name: str) -> None:
    error = ScfError(f"A file must be read, but is not: {name}.", where=name, fix=f"Mend {name}.")
    lines = str(error).splitlines()
    assert [line[:9] for line in lines] == ["A file mu", "  where: ", "  fix:   "]
    assert str(error).replace("\n", "").isprintable()
    assert (error.where, error.fix) == (name, f"Mend {name}.")


def test_lines_of_a_librarys_message_become_one() -> None:
    error = ScfError("It must be so, but:\n  * is not.", where="here", fix="Mend it.")
    assert str(error).splitlines()[0] == "It must be so, but: * is not."


def test_a_name_that_a_terminal_would_obey_is_written_out() -> None:
    where = "\x1b[31m caf\u00e9\n\udcff\u2028.yaml"
    error = ConfigError("what", where=where, fix="fix")
    assert str(error).split("\n")[1] == "  where: \\x1b[31m caf\u00e9\\n\\udcff\\u2028.yaml"
    assert error.where == where


def test_where_and_fix_must_be_said() -> None:
    with pytest.raises(TypeError, match="where"):
        ScfError("what")


def test_the_tree_at_the_top_of_the_file_names_every_error() -> None:
    listed = [line.split()[1] for line in (errors.__doc__ or "").splitlines() if line[:1] == "*"]
    listed += [line.split()[1] for line in (errors.__doc__ or "").splitlines() if line[:3] == "  +"]
    assert listed == [kind.__name__ for kind in KINDS]


def test_every_expected_error_lives_in_the_one_module() -> None:
    names = {kind.__name__ for kind in KINDS}
    strangers = [
        f"{path}: {node.name}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and path.name != "errors.py"
        for base in node.bases
        if ast.unparse(base).rsplit(".", 1)[-1] in names
    ]
    assert strangers == []
