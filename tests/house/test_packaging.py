"""What is installed is whole: files that are no modules are shipped with their package."""

import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SETUPTOOLS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
    "setuptools"
]
SHIPPED = {
    f"{package.replace('.', '/')}/{pattern}": package
    for package, patterns in SETUPTOOLS["package-data"].items()
    for pattern in patterns
}


def is_hidden(path: Path) -> bool:
    """Tell whether a file lies in a cache of some tool."""
    return any(part.startswith(".") for part in path.relative_to(REPOSITORY).parts)


DATA = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for package in ("scf_pipeline", "ifas_model")
    for path in (REPOSITORY / package).rglob("*")
    if path.is_file() and path.suffix not in (".py", ".pyc") and not is_hidden(path)
)


def test_there_are_data_files() -> None:
    assert {"ifas_model/baselines/templates.yaml", "scf_pipeline/report/style.css"} <= set(DATA)


@pytest.mark.parametrize("path", DATA)
def test_a_data_file_is_shipped(path: str) -> None:
    assert any(fnmatch(path, pattern) for pattern in SHIPPED)


@pytest.mark.parametrize("pattern", SHIPPED)
def test_what_is_to_be_shipped_exists_in_its_package(pattern: str) -> None:
    assert any(fnmatch(path, pattern) for path in DATA)
    package = REPOSITORY / SHIPPED[pattern].replace(".", "/")
    assert (package / "__init__.py").is_file()


def test_every_folder_of_modules_is_a_package() -> None:
    """One that is none would be found in a checkout and missing where it is installed."""
    folders = {
        path.parent
        for package in ("scf_pipeline", "ifas_model")
        for path in (REPOSITORY / package).rglob("*.py")
    }
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []
    assert set(SETUPTOOLS["packages"]["find"]["include"]) == {"scf_pipeline*", "ifas_model*"}
