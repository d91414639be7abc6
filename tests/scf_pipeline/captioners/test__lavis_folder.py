"""Which folder a name means to LAVIS's backend, and what is said where there is none."""

import json
from pathlib import Path

import pytest

from scf_pipeline.captioners import find
from scf_pipeline.captioners._lavis_folder import ZOO, resolve, revision
from scf_pipeline.errors import CaptionerError


def write_folder(folder: Path, kind: str = "blip2_opt") -> Path:
    (folder / "transformers").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "transformers" / "config.json").write_text("{}")
    return folder


def test_a_folder_is_found_and_named_by_all_of_its_files(tmp_path: Path):
    folder = write_folder(tmp_path / "captioner")
    first = find(f"blip2_lavis:{folder}")
    assert (first.backend, first.location) == ("blip2_lavis", str(folder))
    assert first.name == f"blip2_lavis@{revision(folder)}"
    revisions = {first.revision}
    for name in ("config.json", "model.safetensors", "transformers/config.json"):
        with (folder / name).open("ab") as file:
            file.write(b"\n")
        revisions.add(resolve(str(folder)).revision)
    assert len(revisions) == 4


@pytest.mark.parametrize("name", ZOO)
def test_a_name_of_lavis_is_a_folder_once_it_is_converted(name, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CaptionerError) as caught:
        find(f"blip2_lavis:{name}")
    assert caught.value.where == name
    assert f"scf convert {ZOO[name]}@<commit> --out {name}`" in caught.value.fix
    write_folder(tmp_path / name)
    assert find(f"blip2_lavis:{name}").location == name


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(CaptionerError) as caught:
        find("blip2_lavis:blip2_opt/caption_coco_opt13b")
    assert caught.value.where == "blip2_opt/caption_coco_opt13b"
    for name in ZOO:
        assert name in caught.value.what


def test_a_folder_in_another_layout_is_refused_with_the_command_that_converts_it(tmp_path: Path):
    folder = write_folder(tmp_path / "captioner", kind="blip-2")
    with pytest.raises(CaptionerError, match="`model_type` 'blip2_opt'") as caught:
        resolve(str(folder))
    assert f"scf convert {folder} --out" in caught.value.fix


def test_a_folder_of_pickles_is_refused(tmp_path: Path):
    folder = write_folder(tmp_path / "captioner")
    (folder / "model.safetensors").rename(folder / "model.pth")
    with pytest.raises(CaptionerError, match="weights as safetensors"):
        resolve(str(folder))
    (folder / "config.json").unlink()
    with pytest.raises(CaptionerError, match="`model_type` 'blip2_opt'"):
        resolve(str(folder))


def test_a_folder_that_leads_elsewhere_is_refused(tmp_path: Path):
    folder = write_folder(tmp_path / "captioner")
    told = {"auto_map": {"AutoProcessor": "code.Processor"}}
    (folder / "transformers" / "processor_config.json").write_text(json.dumps(told))
    with pytest.raises(CaptionerError, match="code of its own"):
        resolve(str(folder))


def test_a_folder_elsewhere_is_refused():
    with pytest.raises(CaptionerError, match="on a local disk") as caught:
        find("blip2_lavis:memory://captioner")
    assert caught.value.where == "memory://captioner"
