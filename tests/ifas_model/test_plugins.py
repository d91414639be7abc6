import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ifas_model import plugins


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package of three entries, of which one breaks when it is imported."""
    package = tmp_path / "registry_under_test"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "zebra.py").write_text("ENTRY = 'striped'\n")
    (package / "horse.py").write_text("ENTRY = 'plain'\n")
    (package / "broken.py").write_text("raise RuntimeError('imported')\n")
    (package / "_private.py").write_text("ENTRY = 'hidden'\n")
    (package / "notes.txt").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("registry_under_test")
    for name in [name for name in sys.modules if name.startswith("registry_under_test")]:
        del sys.modules[name]


def test_names_are_sorted_public_modules_and_none_is_imported(registry: ModuleType) -> None:
    assert plugins.names(registry) == ["broken", "horse", "zebra"]
    assert "registry_under_test.zebra" not in sys.modules


def test_load_returns_the_value_of_one_entry_and_imports_no_other(registry: ModuleType) -> None:
    assert plugins.load(registry, "ENTRY", "zebra") == "striped"
    assert "registry_under_test.horse" not in sys.modules


def test_an_unknown_entry_is_answered_with_the_nearest_name(registry: ModuleType) -> None:
    with pytest.raises(KeyError, match="'zebre', but has: zebra") as caught:
        plugins.load(registry, "ENTRY", "zebre")
    assert "horse" not in str(caught.value)


def test_an_entry_like_no_other_is_answered_with_all_names(registry: ModuleType) -> None:
    with pytest.raises(KeyError, match="broken, horse, zebra"):
        plugins.load(registry, "ENTRY", "0123456789")


@pytest.mark.parametrize("name", ["_private", "", "horse.ENTRY", "../horse", "os"])
def test_only_public_modules_of_the_package_are_entries(registry: ModuleType, name: str) -> None:
    with pytest.raises(KeyError):
        plugins.load(registry, "ENTRY", name)


def test_an_entry_without_the_attribute_is_a_bug(registry: ModuleType) -> None:
    with pytest.raises(AttributeError, match="MISSING"):
        plugins.load(registry, "MISSING", "horse")


def test_an_error_of_an_entry_is_not_hidden(registry: ModuleType) -> None:
    with pytest.raises(RuntimeError, match="imported"):
        plugins.load(registry, "ENTRY", "broken")
