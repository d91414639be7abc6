"""Doors that stay shut in every source file: no pickles, no code of others, no open network.

ruff's rules S102 and S307 (exec, eval), S301 and S302 (pickle, marshal), S306 (mktemp), S506 (yaml)
and S602 to S605 (shells) hold everywhere already, exceptions being marked. What they do not know,
the libraries by which this project loads models and data, is held here.
"""

import ast
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SOURCES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for package in ("scf_pipeline", "ifas_model", "flows")
    for path in (REPOSITORY / package).rglob("*.py")
)
UNPICKLERS = {
    "pickle",
    "_pickle",
    "cloudpickle",
    "dill",
    "joblib",
    "marshal",
    "shelve",
    "jsonpickle",
}
"""Modules that make whatever a file says; the name of an error may be taken from them."""

SHELLS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
BUILTINS = {"eval", "exec", "compile", "__import__"}


def name_of(call: ast.Call) -> str:
    return ast.unparse(call.func)


def last(call: ast.Call) -> str:
    return name_of(call).rsplit(".", 1)[-1]


def given(call: ast.Call, keyword: str) -> str | None:
    """Return what a call is given by a keyword, as it is written; ``None`` if it is not."""
    return next((ast.unparse(one.value) for one in call.keywords if one.arg == keyword), None)


def is_of_transformers(call: ast.Call) -> bool:
    return last(call) == "from_pretrained"


def may_run_code(call: ast.Call) -> bool:
    """Tell whether a loader chooses its classes by what a folder says."""
    kind = name_of(call).removesuffix(".from_pretrained").rsplit(".", 1)[-1]
    return kind.startswith("Auto") or kind.endswith("Processor")


RULES: dict[str, Callable[[ast.Call], bool]] = {
    "calls no eval, exec or the like": lambda call: name_of(call) in BUILTINS,
    "starts no shell": lambda call: (
        name_of(call) in SHELLS or given(call, "shell") not in (None, "False")
    ),
    "lets torch read tensors alone": lambda call: (
        name_of(call) == "torch.load" and given(call, "weights_only") != "True"
    ),
    "lets numpy read no objects": lambda call: given(call, "allow_pickle") not in (None, "False"),
    "maps arrays by numpy's own format, which knows no pickles": lambda call: (
        name_of(call) in ("np.load", "numpy.load", "np.fromfile")
    ),
    "reads tables by pyarrow, and never by pandas' pickles": lambda call: (
        last(call) in ("read_pickle", "to_pickle")
    ),
    "loads checkpoints of this disk": lambda call: (
        is_of_transformers(call) and given(call, "local_files_only") != "True"
    ),
    "trusts no code of others": lambda call: (
        given(call, "trust_remote_code") not in (None, "False")
    ),
    "says so where a folder could ask for it": lambda call: (
        is_of_transformers(call)
        and may_run_code(call)
        and given(call, "trust_remote_code") != "False"
    ),
    "loads safetensors": lambda call: given(call, "use_safetensors") not in (None, "True"),
    "says so of every model": lambda call: (
        is_of_transformers(call)
        and not may_run_code(call)
        and "Processor" not in name_of(call)
        and given(call, "use_safetensors") != "True"
    ),
    "pins what it fetches": lambda call: (
        last(call) in ("snapshot_download", "hf_hub_download")
        and (given(call, "revision") is None or given(call, "allow_patterns") is None)
    ),
    "tells Pillow which formats to try": lambda call: (
        name_of(call) == "Image.open" and given(call, "formats") is None
    ),
    "opens no dataset by the rules of its own card": lambda call: (
        last(call) in ("load_dataset", "load_from_disk")
    ),
    "leaves temporary files to tempfile": lambda call: name_of(call) in ("tempfile.mktemp",),
}
"""What every source file keeps to, and how a call breaks it."""

BREACHES = {
    "calls no eval, exec or the like": "eval('1')",
    "starts no shell": "subprocess.run('ls', shell=True)",
    "lets torch read tensors alone": "torch.load(file)",
    "lets numpy read no objects": "np.lib.format.read_array(file, allow_pickle=True)",
    "maps arrays by numpy's own format, which knows no pickles": "np.load(file)",
    "reads tables by pyarrow, and never by pandas' pickles": "pd.read_pickle(file)",
    "loads checkpoints of this disk": "kind.from_pretrained(name)",
    "trusts no code of others": "pipeline(name, trust_remote_code=True)",
    "says so where a folder could ask for it": "AutoModel.from_pretrained(name)",
    "loads safetensors": "kind.from_pretrained(name, use_safetensors=None)",
    "says so of every model": "CLIPModel.from_pretrained(name)",
    "pins what it fetches": "snapshot_download(name)",
    "tells Pillow which formats to try": "Image.open(file)",
    "opens no dataset by the rules of its own card": "datasets.load_dataset(folder)",
    "leaves temporary files to tempfile": "tempfile.mktemp()",
}
"""A call that breaks each rule."""


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def unpicklers(tree: ast.AST) -> Iterator[str]:
    """Yield what a file takes from the modules that unpickle, but for names of errors."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found = [alias.name for alias in names]
                yield from (name for name in found if name.partition(".")[0] in UNPICKLERS)
            case ast.ImportFrom(module=str(module), names=names):
                if module.partition(".")[0] in UNPICKLERS:
                    yield from (f"{module}.{a.name}" for a in names if not a.name.endswith("Error"))


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    """Each source file, parsed."""
    return {path: ast.parse((REPOSITORY / path).read_text(encoding="utf-8")) for path in SOURCES}


@pytest.mark.parametrize("rule", RULES)
def test_every_source_file(rule: str, trees: dict[str, ast.Module]) -> None:
    broken = [
        f"{path}:{call.lineno}: {ast.unparse(call)[:80]}"
        for path, tree in trees.items()
        for call in calls(tree)
        if RULES[rule](call)
    ]
    assert broken == []


def test_no_source_file_takes_anything_that_unpickles(trees: dict[str, ast.Module]) -> None:
    found = {path: list(unpicklers(tree)) for path, tree in trees.items()}
    assert {path: names for path, names in found.items() if names} == {}


def test_only_one_place_knows_the_systems_folder_for_temporary_files(trees) -> None:
    """A name that can be foretold there may be taken by another: the store makes sure, once."""
    users = [
        path
        for path, tree in trees.items()
        for call in calls(tree)
        if name_of(call).endswith("gettempdir")
    ]
    assert users == ["scf_pipeline/engine/ray.py", "scf_pipeline/store.py"]


JSON_READERS = {
    "ifas_model/json_data.py": "which bounds what it reads",
    "scf_pipeline/adapters/celeba_spoof.py": "whose annotations are larger, and bounded there",
    "scf_pipeline/captioners/_lavis_child.py": "of its parent, which has read the folder's first",
    "scf_pipeline/captioners/blip2_lavis.py": "of its child, no longer than a bound",
    "scf_pipeline/engine/ray.py": "of its own workers",
    "scf_pipeline/media/decoder.py": "of its parent",
    "scf_pipeline/media/isolated.py": "of its child, no longer than a bound",
    "scf_pipeline/stages/caption.py": "of the same worker's table",
    "scf_pipeline/manifest.py": "that it has just written itself",
    "scf_pipeline/shuffle.py": "of files that the same stage wrote",
}
"""Source files that may parse JSON by themselves, and why."""


def test_json_is_read_within_bounds(trees: dict[str, ast.Module]) -> None:
    found = {
        path
        for path, tree in trees.items()
        for call in calls(tree)
        if name_of(call) in ("json.load", "json.loads", "orjson.loads")
    }
    assert found == set(JSON_READERS)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_sees_what_it_forbids(rule: str) -> None:
    (call,) = calls(ast.parse(BREACHES[rule]))
    assert RULES[rule](call)


def test_ways_to_unpickle_are_seen() -> None:
    source = (
        "import pickle, json\nfrom cloudpickle import loads\nimport dill.source as d\n"
        "from pickle import UnpicklingError\n"
    )
    assert list(unpicklers(ast.parse(source))) == ["pickle", "cloudpickle.loads", "dill.source"]


def test_ruff_holds_what_is_not_held_here() -> None:
    told = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    lint = told["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    assert not [rule for rule in lint["ignore"] if rule.startswith("S")]
    quiet = {path: rules for path, rules in lint["per-file-ignores"].items() if "tests" not in path}
    assert not [rule for rules in quiet.values() for rule in rules if rule.startswith("S")]
