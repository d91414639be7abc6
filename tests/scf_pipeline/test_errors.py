import ast
import inspect
import pickle
from pathlib import Path

import pytest

from ifas_model import errors as trainer
from scf_pipeline import errors
from scf_pipeline.errors import ScfError

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


def test_the_tree_at_the_top_of_the_file_names_every_error() -> None:
    listed = [line.split()[1] for line in (errors.__doc__ or "").splitlines() if line[:1] == "*"]
    listed += [line.split()[1] for line in (errors.__doc__ or "").splitlines() if line[:3] == "  +"]
    assert sorted(listed) == sorted(kind.__name__ for kind in KINDS)


def test_the_errors_of_the_trainer_stand_in_the_same_tree() -> None:
    ours = {name: kind for name, kind in vars(trainer).items() if inspect.isclass(kind)}
    assert ours.items() <= vars(errors).items()


def test_every_expected_error_lives_in_the_one_module() -> None:
    """The Ray engine finds an error's class there by its name."""
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
