from pathlib import Path

import pytest

from ifas_model import plugins
from scf_pipeline import adapters
from scf_pipeline.adapters import Adapter
from scf_pipeline.datasets_file import known_adapter, read_roots, select_roots
from scf_pipeline.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "datasets.yaml"


def refusal(file: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read_roots(file)
    return caught.value


def test_relative_roots_start_at_the_file(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    file.write_text("oulu_npu: data/oulu\nmsu_mfsd: /data/msu\nsiw: ~/siw\nwmca: ../wmca\n")
    assert read_roots(file) == {
        "oulu_npu": tmp_path / "data/oulu",
        "msu_mfsd": Path("/data/msu"),
        "siw": tmp_path / "home/siw",
        "wmca": tmp_path.parent / "wmca",
    }


def test_a_relative_file_gives_absolute_roots(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("oulu_npu: oulu\n")
    monkeypatch.chdir(tmp_path)
    assert read_roots(Path("datasets.yaml")) == {"oulu_npu": tmp_path / "oulu"}


def test_an_unknown_dataset_is_answered_with_the_nearest_and_its_line(file: Path) -> None:
    file.write_text("msu_mfsd: a\nolu_npu: b\n")
    error = refusal(file)
    assert error.what == "A dataset must be one that has an adapter, but is 'olu_npu'."
    assert error.where == f"{file}:2: olu_npu"
    assert error.fix.startswith("Did you mean oulu_npu")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("3", "3: it is no text"),
        ("", "None: it is no text"),
        ("''", "'': it is no text"),
        ("[a, b]", r"\['a', 'b'\]: it is no text"),
        ('"a\\0b"', "null"),
        ("~nobody-of-this-name/x", "home directory"),
    ],
)
def test_a_root_that_is_no_path_is_refused_with_its_line(
    file: Path, value: str, found: str
) -> None:
    file.write_text(f"# here\noulu_npu: {value}\n")
    error = refusal(file)
    assert error.where == f"{file}:2: oulu_npu"
    with pytest.raises(ConfigError, match=f"root must be a path, but is .*{found}"):
        raise error


def test_a_key_that_is_no_text_is_refused(file: Path) -> None:
    file.write_text("on: a\n")
    assert "is 'True'" in refusal(file).what
    assert refusal(file).where == f"{file}: True"


def test_a_file_that_is_no_mapping_is_refused(file: Path) -> None:
    file.write_text("- oulu_npu\n")
    assert "holds a list" in refusal(file).what


def test_the_roots_asked_for_are_returned_in_the_order_asked_for(tmp_path: Path) -> None:
    roots = {name: tmp_path / name for name in ("siw", "siw_m_v2", "wmca")}
    for root in roots.values():
        root.mkdir()
    chosen = select_roots(roots, ["wmca", "siw"], where="datasets.yaml")
    assert list(chosen.items()) == [("wmca", tmp_path / "wmca"), ("siw", tmp_path / "siw")]


def test_all_datasets_without_a_root_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="but siw, wmca has none") as caught:
        select_roots({"msu_mfsd": tmp_path}, ["siw", "msu_mfsd", "wmca"], where="datasets.yaml")
    assert caught.value.where == "datasets.yaml"
    assert caught.value.fix == "Add a line `siw: path/to/its/root`."


def test_all_roots_that_are_no_folder_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    roots = {"siw": tmp_path / "file", "msu_mfsd": tmp_path, "wmca": tmp_path / "absent"}
    with pytest.raises(ConfigError) as caught:
        select_roots(roots, roots, where="datasets.yaml")
    assert f"there is none at siw: {roots['siw']}; wmca: {roots['wmca']}" in caught.value.what


def test_a_dataset_without_an_adapter_is_refused_even_with_a_root(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be one that has an adapter, but is 'wmcb'"):
        select_roots({"wmcb": tmp_path}, ["wmcb"], where="datasets.yaml")


@pytest.mark.parametrize("name", plugins.names(adapters))
def test_every_adapter_is_known(name: str) -> None:
    assert isinstance(known_adapter(name, where="here"), Adapter)


def test_a_name_like_no_other_is_answered_with_all() -> None:
    with pytest.raises(ConfigError) as caught:
        known_adapter("0123456789", where="here")
    assert all(name in caught.value.fix for name in plugins.names(adapters))
    assert caught.value.where == "here"
