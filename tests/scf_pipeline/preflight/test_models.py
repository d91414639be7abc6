"""Models: folders, pinned hub ids in the cache or within reach; nothing is fetched."""

import json
import shutil

import pytest

from scf_pipeline.preflight.findings import Level
from scf_pipeline.preflight.models import check_models, count_parameters
from scf_pipeline.steps import External

COMMIT = "59a1ef6c1e5117b3f65523d1c6066825bcf315e3"
SEES = {"vision_config": {"image_size": 224}}


@pytest.fixture(autouse=True)
def no_hub(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def look(flow):
    """A function that checks one model and returns what is held of it, and the finding."""

    def check(name, text=None):
        texts = {} if text is None else {name: str(text)}
        held, (finding,) = check_models(texts, {name: flow.models[name]})
        return held.get(name), finding

    return check


def test_a_folder_is_ready_and_known_by_what_it_holds(look, write_model) -> None:
    folder = write_model("clip", "clip", **SEES)
    held, finding = look("tower_large", folder)
    assert finding.level is Level.READY
    assert held.parameters == 4 * 5 + 7
    assert held.folder == folder
    assert held.external.kind == "clip"
    moved = shutil.copytree(folder, folder.with_name("moved"))
    assert look("tower_large", moved)[0].external.identity == held.external.identity


def test_a_captioner_is_found_as_its_backend_finds_it(look, write_model) -> None:
    held, finding = look("captioner", write_model("blip2", "blip-2"))
    assert finding.level is Level.READY
    assert held.external.kind is None
    assert held.external.identity.startswith("blip2@")


@pytest.mark.parametrize("name", ["captioner", "tower_large"])
def test_a_folder_of_another_kind_is_missing(look, write_model, name) -> None:
    held, finding = look(name, write_model("opt", "opt"))
    assert held is None
    assert finding.level is Level.MISSING
    assert "'opt'" in finding.text


def test_a_tower_for_pictures_of_another_size_is_missing(look, write_model) -> None:
    folder = write_model("clip", "clip", vision_config={"image_size": 336})
    held, finding = look("tower_large", folder)
    assert held is None
    assert finding.text == "it must see pictures of 224 px, but sees 336"


@pytest.mark.parametrize("text", [None, "owner/clip", "owner/clip@main", "owner/clip@v1.0"])
def test_a_hash_is_asked_for_and_never_invented(look, text) -> None:
    """A branch and a tag may move; without a word of the site, the published id stands there."""
    held, finding = look("tower_large", text)
    assert held is None
    assert finding.level is Level.MISSING
    assert finding.fix.startswith("Write `tower_large: owner/clip@` and the 40 hex digits")


def test_a_path_that_does_not_exist_is_missing(look) -> None:
    _, finding = look("tower_large", "/nowhere/at/all")
    assert finding.text == "there is no folder '/nowhere/at/all'"


def test_what_is_neither_in_the_cache_nor_within_reach_is_missing(look) -> None:
    held, finding = look("tower_large", f"owner/clip@{COMMIT}")
    assert held is None
    assert finding.level is Level.MISSING
    assert "must be in the hub's cache or within reach" in finding.text


def test_what_is_in_the_cache_is_ready(look, write_model, monkeypatch) -> None:
    folder = write_model("clip", "clip", **SEES)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(folder))
    held, finding = look("tower_large", f"owner/clip@{COMMIT}")
    assert finding.level is Level.READY
    assert held.external == External(f"owner/clip@{COMMIT}", "clip")
    assert held.parameters == 27


class File:
    """A file as the hub lists it."""

    def __init__(self, name: str, size: int) -> None:
        self.filename, self.file_size, self.will_download = name, size, True


@pytest.mark.parametrize(
    ("files", "level", "told"),
    [
        ([File("config.json", 10), File("model.safetensors", 2 * 10**9)], Level.NOTE, "2.0 GB"),
        ([File("config.json", 10)], Level.MISSING, "must hold its weights as safetensors"),
    ],
)
def test_the_hub_is_asked_for_its_list_of_files_alone(
    look, monkeypatch, files, level, told
) -> None:
    def snapshot_download(name, *, revision, allow_patterns, **options):
        assert (name, revision) == ("owner/clip", COMMIT)
        if options.get("local_files_only"):
            raise FileNotFoundError(name)
        assert options == {"dry_run": True}
        return files

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    held, finding = look("tower_large", f"owner/clip@{COMMIT}")
    assert finding.level is level
    assert told in finding.text
    assert (held is None) is (level is Level.MISSING)


def test_weights_are_counted_without_being_read(write_model) -> None:
    folder = write_model("clip", "clip")
    file = folder / "model-00001-of-00002.safetensors"
    length = int.from_bytes(file.read_bytes()[:8], "little")
    file.write_bytes(file.read_bytes()[: 8 + length])
    assert count_parameters(folder) == 27


@pytest.mark.parametrize("data", [b"", b"\xff" * 9, json.dumps([1]).encode().rjust(12, b"\0")])
def test_damaged_weights_are_not_counted(write_model, data: bytes) -> None:
    folder = write_model("clip", "clip")
    (folder / "model-00001-of-00002.safetensors").write_bytes(data)
    assert count_parameters(folder) is None
