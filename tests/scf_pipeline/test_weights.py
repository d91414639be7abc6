"""Published weights: pinned hub ids, folders by what they hold, refusals in the asker's kind."""

import hashlib
import json
from pathlib import Path

import pytest
from upath import UPath

from scf_pipeline import weights
from scf_pipeline.errors import CaptionerError, ModelError
from scf_pipeline.weights import Pin

PIN = Pin("owner/name", "59a1ef6c1e5117b3f65523d1c6066825bcf315e3")
KINDS = pytest.mark.parametrize("kind", [CaptionerError, ModelError])


@pytest.fixture
def folder(tmp_path: Path) -> UPath:
    """A folder that looks like a checkpoint from afar."""
    place = UPath(tmp_path / "model")
    place.mkdir()
    (place / "config.json").write_text(json.dumps({"model_type": "opt"}))
    (place / "model.safetensors").write_bytes(b"weights")
    return place


@KINDS
@pytest.mark.parametrize("revision", ["main", "master", "HEAD", "refs/heads/dev"])
def test_a_revision_that_moves_is_refused_in_the_askers_kind(kind, revision: str) -> None:
    with pytest.raises(kind, match="must be pinned to a revision") as caught:
        weights.pinned(f"owner/name@{revision}", error=kind)
    assert repr(revision) in caught.value.what
    assert caught.value.where == f"owner/name@{revision}"


@pytest.mark.parametrize("revision", [PIN.revision, "v1.0", "release/2"])
def test_any_other_revision_is_taken_at_its_word(revision: str) -> None:
    assert weights.pinned(f"owner/name@{revision}", error=ModelError) == ("owner/name", revision)


def test_the_revision_is_of_the_files_that_are_read_alone(folder: UPath) -> None:
    before = weights.content_revision(folder)
    hashes = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    unread = {"pytorch_model.bin": "0", "manifest.json": "1", "1_Pooling/config.json": "2"}
    assert weights.revision_of(hashes | unread) == before
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    assert weights.content_revision(folder) == before
    (folder / "tokenizer.json").write_text("{}")
    assert weights.content_revision(folder) != before


@KINDS
def test_files_that_changed_are_told_under_the_name_that_the_user_knows(kind, folder) -> None:
    before = weights.content_revision(folder)
    weights.check_revision(folder, before, where="s3://models/opt", error=kind)
    (folder / "model.safetensors").write_bytes(b"others")
    with pytest.raises(kind, match=f"its revision {before} names") as caught:
        weights.check_revision(folder, before, where="s3://models/opt", error=kind)
    assert caught.value.where == "s3://models/opt"


@KINDS
def test_a_folder_without_safetensors_or_with_adapters_is_refused(kind, folder: UPath) -> None:
    weights.check_weights(folder, error=kind)
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(kind, match="must be weights and settings alone"):
        weights.check_weights(folder, error=kind)
    (folder / "model.safetensors").unlink()
    with pytest.raises(kind, match="must hold its weights as safetensors"):
        weights.check_weights(folder, error=kind)


@KINDS
def test_what_is_neither_in_the_cache_nor_within_reach_says_how_to_get_it(
    kind, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert weights.in_cache(PIN) is None
    with pytest.raises(kind, match="in the local cache or within reach") as caught:
        weights.fetch(PIN, error=kind)
    assert caught.value.where == f"owner/name@{PIN.revision}"


def test_a_snapshot_of_the_hubs_cache_is_found_where_the_hub_keeps_it(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--owner--name" / "snapshots" / PIN.revision
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    assert weights.in_cache(PIN) == snapshot
    assert weights.fetch(PIN, error=ModelError) == snapshot
