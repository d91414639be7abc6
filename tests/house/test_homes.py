"""Each heavy library has one home, and what is imported often loads none of them."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SOURCES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for package in ("scf_pipeline", "ifas_model", "flows")
    for path in (REPOSITORY / package).rglob("*.py")
)
CAPTIONERS = ["scf_pipeline/captioners/*", "scf_pipeline/miniature/*"]
JUDGES = [f"ifas_model/{name}.py" for name in ("checkpoint", "language", "model", "vision")]
JUDGES += ["ifas_model/phase.py", "ifas_model/baselines/*"]
PICTURES = ["scf_pipeline/media/*", "scf_pipeline/miniature/*"]
HOMES = {
    "ray": ["scf_pipeline/engine/ray.py"],
    "lavis": ["scf_pipeline/captioners/_lavis_child.py"],
    "transformers": [*CAPTIONERS, *JUDGES],
    "vllm": ["scf_pipeline/captioners/vllm.py"],
    "peft": ["scf_pipeline/captioners/*", "ifas_model/language.py"],
    "datasets": ["ifas_model/data.py"],
    "dask": ["scf_pipeline/stats.py"],
    "pandas": ["scf_pipeline/tables.py"],
    "typer": ["scf_pipeline/cli.py", "ifas_model/cli.py"],
    "rich": ["scf_pipeline/cli.py", "ifas_model/cli.py", "scf_pipeline/progress.py"],
    "cv2": PICTURES,
    "av": PICTURES,
    "h5py": PICTURES,
}
"""Files that may import a library, by its import name."""

DRIVERS = ("import_module", "__import__", "importorskip", "find_spec")

LIGHT = ["scf_pipeline", "scf_pipeline.cli", "scf_pipeline.runner", "scf_pipeline.verify"]
LIGHT += ["scf_pipeline.engine.local", "scf_pipeline.captioners", "scf_pipeline.adapters"]
LIGHT += [
    path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    for path in SOURCES
    if path.startswith(("scf_pipeline/stages/", "flows/"))
]
LIGHT += [
    f"ifas_model.{name}"
    for name in (
        "baselines", "cli", "config", "errors", "metrics", "plugins", "prompt", "protocols",
        "results", "run_folder", "shards", "strict", "vocabulary",
    )
]  # fmt: skip
HEAVY = {"torch", "transformers", "ray", "datasets", "dask", "lavis", "peft", "vllm"}


def imported_libraries(source: str) -> Iterator[str]:
    """Yield the top-level name of all that a file imports, wherever in it, also by a string."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name.partition(".")[0] for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0]
            case ast.Call(func=func, args=[ast.Constant(value=str(name)), *_]):
                if ast.unparse(func).rsplit(".", 1)[-1] in DRIVERS:
                    yield name.partition(".")[0]


def is_home(library: str, path: str) -> bool:
    return any(fnmatch(path, home) for home in HOMES[library])


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """What each source file imports."""
    return {
        path: set(imported_libraries((REPOSITORY / path).read_text(encoding="utf-8")))
        for path in SOURCES
    }


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """Heavy libraries that importing a module loads in a fresh process, module after module."""
    code = (
        "import importlib, json, sys\n"
        f"heavy, found, before = {HEAVY!r}, {{}}, set()\n"
        f"for name in {LIGHT!r}:\n"
        "    importlib.import_module(name)\n"
        "    now = heavy & sys.modules.keys()\n"
        "    found[name], before = sorted(now - before), now\n"
        "print(json.dumps(found))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("library", HOMES)
def test_a_heavy_library_is_imported_at_home_only(library: str, imports: dict) -> None:
    strangers = [path for path in SOURCES if library in imports[path]]
    assert [path for path in strangers if not is_home(library, path)] == []


@pytest.mark.parametrize("library", HOMES)
def test_no_home_is_kept_for_a_library_that_does_not_live_there(library: str, imports) -> None:
    users = [path for path in SOURCES if library in imports[path]]
    homes = HOMES[library]
    assert [home for home in homes if not any(fnmatch(path, home) for path in users)] == []


def test_every_way_to_import_is_seen() -> None:
    source = (
        "import ray.data as data, os\n"
        "def f():\n    from dask.dataframe import x\n    from . import y\n"
        "importlib.import_module('torch.nn')\npytest.importorskip('av')\n"
    )
    assert set(imported_libraries(source)) == {"ray", "os", "dask", "torch", "av"}


@pytest.mark.parametrize("module", LIGHT)
def test_importing_a_stage_a_flow_or_a_command_loads_nothing_heavy(module, loaded) -> None:
    assert loaded[module] == []
