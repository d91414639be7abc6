"""What every entry of a registry promises, found without a list."""

import ast
import inspect
from pathlib import Path
from typing import get_args

import pytest

from ifas_model import baselines, plugins
from ifas_model.baselines import Method
from ifas_model.config import IFasConfig, MethodConfig, TrainConfig
from ifas_model.strict import build
from scf_pipeline import adapters
from scf_pipeline.adapters import Adapter
from scf_pipeline.errors import DatasetLayoutError

REPOSITORY = Path(__file__).parents[2]
ADAPTERS = plugins.names(adapters)
BASELINES = plugins.names(baselines)


def imported_names(path: Path) -> set[str]:
    """Every module, and every name of a module, that a file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def test_there_are_adapters() -> None:
    assert "image_folder" in ADAPTERS


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapter_is_complete_and_tested(name: str) -> None:
    adapter = plugins.load(adapters, "ADAPTER", name)
    assert isinstance(adapter, Adapter)
    for word in (adapter.title, adapter.citation, adapter.license, adapter.obtain, adapter.layout):
        assert word.strip()
    counts = (adapter.bona_fide, adapter.attack)
    assert counts == (None, None) or min(counts) > 0  # a user's own folder: unknown
    assert (REPOSITORY / f"tests/scf_pipeline/adapters/test_{name}.py").is_file()


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapter_imports_no_other_adapter(name: str) -> None:
    names = imported_names(REPOSITORY / f"scf_pipeline/adapters/{name}.py")
    others = {f"scf_pipeline.adapters.{other}" for other in ADAPTERS if other != name}
    assert names.isdisjoint(others)


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapter_refuses_an_empty_folder_with_a_way_out(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetLayoutError, match="must") as caught:
        list(plugins.load(adapters, "ADAPTER", name).scan(tmp_path))
    assert str(tmp_path) in caught.value.where
    assert caught.value.fix


def test_titles_are_unique() -> None:
    titles = [plugins.load(adapters, "ADAPTER", name).title for name in ADAPTERS]
    assert len(set(titles)) == len(titles)


def test_there_are_baselines() -> None:
    assert {"vit", "vitaf", "flip"} <= set(BASELINES)


@pytest.mark.parametrize("name", BASELINES)
def test_baseline_is_complete_and_tested(name: str) -> None:
    method = plugins.load(baselines, "METHOD", name)
    assert isinstance(method, Method)
    assert method.title.strip()
    assert list(inspect.signature(method.build).parameters) == ["config", "tower", "seed"]
    assert len(inspect.signature(method.load).parameters) == 1
    assert (REPOSITORY / f"tests/ifas_model/baselines/test_{name}.py").is_file()


def test_each_baseline_and_i_fas_have_settings_of_their_own_and_nothing_else_has() -> None:
    methods = [kind().method for kind in get_args(MethodConfig)]
    assert sorted(methods) == sorted([*BASELINES, IFasConfig().method])


@pytest.mark.parametrize("name", BASELINES)
def test_a_run_names_its_baseline_by_one_word(name: str) -> None:
    config = build(TrainConfig, {"method": {"method": name}}, where="a test")
    assert config.method.method == name
    (kind,) = (kind for kind in get_args(MethodConfig) if kind().method == name)
    assert config.method == kind()


@pytest.mark.parametrize("name", BASELINES)
def test_baseline_imports_no_other_baseline(name: str) -> None:
    names = imported_names(REPOSITORY / f"ifas_model/baselines/{name}.py")
    others = {f"ifas_model.baselines.{other}" for other in BASELINES if other != name}
    assert names.isdisjoint(others)
