"""Models for the trainer that no stage made: known by what they hold, lent as they were found."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from scf_pipeline.checkpoints import Checkpoint, find, lend
from scf_pipeline.errors import ModelError

COMMIT = "59a1ef6c1e5117b3f65523d1c6066825bcf315e3"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a folder of CLIP looks like from afar."""
    place = tmp_path / "clip"
    place.mkdir()
    (place / "config.json").write_text(json.dumps({"model_type": "clip"}))
    save_file({"weight": np.ones(3, np.float32)}, place / "model.safetensors")
    return place


def test_a_folder_is_known_by_what_it_holds_and_not_by_where_it_lies(folder: Path) -> None:
    moved = shutil.copytree(folder, folder.with_name("moved"))
    one, other = find(str(folder), "clip"), find(str(moved), "clip")
    assert one.name == other.name
    assert one.name.startswith("clip@")
    save_file({"weight": np.zeros(3, np.float32)}, moved / "model.safetensors")
    assert find(str(moved), "clip").name != one.name


def test_a_hub_id_is_known_by_its_revision_and_nothing_is_fetched() -> None:
    found = find(f"owner/name@{COMMIT}", "opt")
    assert found == Checkpoint(kind="opt", location="owner/name", revision=COMMIT)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("/nowhere/at/all", "must be a folder or a hub id"),
        ("owner/name", "must be pinned to a revision, but it has none"),
        ("owner/name@main", "is the branch 'main', which moves"),
        ("owner/name@refs/pr/1", "is the branch 'refs/pr/1', which moves"),
    ],
)
def test_what_is_neither_folder_nor_pinned_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ModelError, match=problem) as error:
        find(text, "clip")
    assert error.value.where == text


def test_a_folder_of_another_kind_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="must name the `model_type` 'opt', but names 'clip'"):
        find(str(folder), "opt")


def test_pickled_weights_are_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="must hold its weights as safetensors"):
        find(str(folder), "clip")


def test_a_folder_that_leads_elsewhere_is_refused(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="must be weights and settings alone"):
        find(str(folder), "clip")


def test_a_folder_is_lent_as_it_is(folder: Path) -> None:
    with lend(find(str(folder), "clip")) as lent:
        assert lent == folder


def test_a_folder_that_changed_since_it_was_found_is_refused(folder: Path) -> None:
    found = find(str(folder), "clip")
    (folder / "config.json").write_text(json.dumps({"model_type": "clip", "edited": True}))
    with pytest.raises(ModelError, match="it was edited or damaged"), lend(found):
        pass


def test_a_hub_id_that_is_out_of_reach_says_how_to_get_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = find(f"owner/name@{COMMIT}", "clip")
    with (
        pytest.raises(ModelError, match="in the local cache or within reach") as error,
        lend(found),
    ):
        pass
    assert error.value.where == f"owner/name@{COMMIT}"


def test_what_is_in_the_cache_is_lent_without_a_look_at_the_network(folder, monkeypatch) -> None:
    asked = []

    def snapshot_download(name, **options):
        asked.append((name, options["revision"], options.get("local_files_only")))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with lend(find(f"owner/name@{COMMIT}", "clip")) as lent:
        assert lent == folder
    assert asked == [("owner/name", COMMIT, True)]


def test_what_was_fetched_is_held_to_the_same(folder, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(folder))
    wrong = find(f"owner/name@{COMMIT}", "opt")
    with pytest.raises(ModelError, match="must name the `model_type` 'opt'"), lend(wrong):
        pass
