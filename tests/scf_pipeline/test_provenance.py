import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scf_pipeline import provenance


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Let each test ask anew, and leave nothing behind."""
    provenance.commit.cache_clear()
    provenance.packages.cache_clear()
    yield
    provenance.commit.cache_clear()
    provenance.packages.cache_clear()


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the module believe that it lies in another folder."""
    folder.mkdir(parents=True)
    file = folder / "provenance.py"
    shutil.copy(provenance.__file__, file)
    monkeypatch.setattr(provenance, "__file__", str(file))


def test_installed_packages_have_their_versions_and_others_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = provenance.packages()
    assert set(found) == set(provenance.PACKAGES)
    assert re.fullmatch(r"\d+\.\d+.*", found["pyarrow"] or "")
    provenance.packages.cache_clear()
    monkeypatch.setattr(provenance, "PACKAGES", ("no-such-package", "numpy"))
    assert provenance.packages()["no-such-package"] is None


def test_a_checkout_has_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place(tmp_path / "checkout/scf_pipeline", monkeypatch)
    git(tmp_path / "checkout", "init", "--quiet")
    git(tmp_path / "checkout", "add", ".")
    git(tmp_path / "checkout", "commit", "--quiet", "-m", "Begin")
    assert provenance.commit() == git(tmp_path / "checkout", "rev-parse", "HEAD")


def test_an_installation_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    place(tmp_path / "site-packages/scf_pipeline", monkeypatch)
    assert provenance.commit() is None


def test_an_environment_inside_another_project_does_not_take_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(tmp_path / "theirs/.venv/lib/site-packages/scf_pipeline", monkeypatch)
    git(tmp_path / "theirs", "init", "--quiet")
    git(tmp_path / "theirs", "commit", "--quiet", "--allow-empty", "-m", "Begin")
    assert provenance.commit() is None


def test_a_machine_without_git_has_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert provenance.commit() is None


def test_a_git_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object, **options: object) -> None:
        assert options["timeout"] <= 10
        raise subprocess.TimeoutExpired("git", options["timeout"])

    monkeypatch.setattr(provenance.subprocess, "run", hang)
    assert provenance.commit() is None


def test_the_machine_is_told_by_its_kind() -> None:
    told = provenance.machine()
    assert f"{os.cpu_count()} cores" in told
    assert f"Python {platform.python_version()}" in told


def test_a_field_of_the_kernel_is_read_and_one_that_is_absent_is_none(tmp_path: Path) -> None:
    file = tmp_path / "information"
    file.write_text("Model: \t\t NVIDIA H100 80GB HBM3\nIRQ: 16\n")
    assert provenance._field(file, "Model") == "NVIDIA H100 80GB HBM3"
    assert provenance._field(file, "Video BIOS") is None
    assert provenance._field(tmp_path / "none", "Model") is None
