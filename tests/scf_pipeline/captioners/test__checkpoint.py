import json

import pytest
from upath import UPath

from scf_pipeline.captioners import Model
from scf_pipeline.captioners._checkpoint import checkpoint_folder, resolve
from scf_pipeline.errors import CaptionerError
from scf_pipeline.settings import Settings
from scf_pipeline.store import ArtifactWriter

SETTINGS = Settings(stage="finetune", version=1, config={}, inputs={})


@pytest.fixture
def folder(tmp_path):
    """Files that look like a checkpoint to someone who does not load it."""
    path = tmp_path / "checkpoint"
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": "blip-2"}))
    (path / "model.safetensors").write_bytes(b"weights")
    (path / "tokenizer.json").write_text("{}")
    return path


def seal(folder, out):
    writer = ArtifactWriter(out, None, settings=SETTINGS)
    copy = writer.scratch / "weights"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    writer.adopt(copy)
    return writer.seal()


def test_a_folder_is_named_by_its_contents(folder, tmp_path):
    model = resolve(str(folder))
    assert (model.backend, model.location) == ("blip2", str(folder))
    moved = folder.rename(tmp_path / "elsewhere")
    assert resolve(str(moved)).revision == model.revision


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_another_content_of_any_file_that_is_read_is_another_revision(folder, name):
    before = resolve(str(folder)).revision
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    assert resolve(str(folder)).revision != before


def test_files_that_are_not_read_do_not_count(folder):
    before = resolve(str(folder)).revision
    (folder / "README.md").write_text("notes")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    assert resolve(str(folder)).revision == before


def test_a_sealed_artifact_has_the_revision_of_the_bare_folder(folder, tmp_path):
    sealed = seal(folder, tmp_path / "artifact")
    assert resolve(str(sealed.path)).revision == resolve(str(folder)).revision


def test_an_unfinished_artifact_is_refused(folder):
    (folder / "settings.json").write_text("{}")
    with pytest.raises(CaptionerError, match="must be finished"):
        resolve(str(folder))


def test_a_folder_of_another_kind_of_model_is_refused_with_its_kind(folder):
    (folder / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(CaptionerError, match="'blip-2', but has 'clip'"):
        resolve(str(folder))


def test_pickled_weights_are_refused(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CaptionerError, match="safetensors"):
        resolve(str(folder))


@pytest.mark.parametrize("is_sealed", [False, True])
def test_a_folder_that_names_code_or_files_elsewhere_is_refused(folder, tmp_path, is_sealed):
    index = {"weight_map": {"w": "../model.safetensors"}}
    changes = {
        "tokenizer_config.json": ({"auto_map": {"AutoTokenizer": "mine.Mine"}}, "code of its own"),
        "model.safetensors.index.json": (index, "must keep to the folder"),
    }
    for number, (name, (content, problem)) in enumerate(changes.items()):
        (folder / name).write_text(json.dumps(content))
        place = seal(folder, tmp_path / f"sealed-{number}").path if is_sealed else folder
        with pytest.raises(CaptionerError, match=problem) as error:
            resolve(str(place))
        assert error.value.where == str(place)
        (folder / name).unlink()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "adapter_config.json",
            {"base_model_name_or_path": "owner/name"},
            "adapters must be merged",
        ),
        (
            "config.json",
            {"model_type": "blip-2", "auto_map": {"AutoModel": "a.B"}},
            "code of its own",
        ),
        ("config.json", {"model_type": "blip-2", "attn_implementation": "a/b"}, "a kernel, 'a/b'"),
        ("processor_config.json", {"auto_map": {"AutoProcessor": "a.B"}}, "code of its own"),
        ("tokenizer_config.json", [], "must hold a mapping"),
    ],
)
def test_a_checkpoint_that_leads_elsewhere_is_refused_before_it_is_loaded(
    folder, name, content, words
):
    (folder / name).write_text(json.dumps(content))
    with pytest.raises(CaptionerError, match="weights and settings alone") as error:
        resolve(str(folder))
    assert words in error.value.what
    assert error.value.where == str(folder)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, '{"model_type": ' + "9" * 5000 + "}"])
def test_a_config_that_is_no_plain_json_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(CaptionerError, match=r"config\.json must be readable JSON"):
        resolve(str(folder))


def test_a_fetched_checkpoint_is_held_to_the_same(folder, monkeypatch):
    asked = {}

    def snapshot_download(name, **options):
        asked.update(options, name=name)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    model = Model(backend="blip2", location="owner/name", revision="0" * 40)
    with checkpoint_folder(model) as lent:
        assert lent == folder
    assert (asked["name"], asked["revision"]) == ("owner/name", "0" * 40)
    assert not [one for one in asked["allow_patterns"] if one.endswith((".py", ".bin", ".pt"))]
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(CaptionerError, match="adapters must be merged"), checkpoint_folder(model):
        pass


def test_a_missing_folder_is_called_missing():
    with pytest.raises(CaptionerError, match="there is no such folder"):
        resolve("/nowhere/at/all")


@pytest.mark.parametrize(
    "text", ["owner/name", "owner/name@main", "owner/name@refs/heads/dev", "owner/name@refs/pr/1"]
)
def test_an_unpinned_hub_id_is_refused_with_the_way_to_pin_it(text):
    with pytest.raises(CaptionerError, match="must be pinned") as error:
        resolve(text)
    assert error.value.fix == "Write `owner/name@` and the 40 hex digits of a commit, or a tag."


def test_a_pinned_hub_id_is_taken_at_its_word():
    commit = "59a1ef6c1e5117b3f65523d1c6066825bcf315e3"
    model = resolve(f"owner/name@{commit}")
    assert (model.location, model.revision) == ("owner/name", commit)


def test_a_hub_id_that_cannot_be_fetched_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    model = Model(backend="blip2", location="owner/name", revision="v1.0")
    with (
        pytest.raises(CaptionerError, match="local cache") as error,
        checkpoint_folder(model),
    ):
        pass
    assert error.value.where == "owner/name@v1.0"


def test_a_folder_edited_after_it_was_named_is_refused(folder):
    model = resolve(str(folder))
    (folder / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(CaptionerError, match="edited or damaged"), checkpoint_folder(model):
        pass


def test_a_remote_folder_is_lent_as_a_local_copy(folder):
    remote = UPath("memory://captioner-tests/checkpoint")
    remote.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        (remote / file.name).write_bytes(file.read_bytes())
    model = resolve(str(remote))
    assert model.revision == resolve(str(folder)).revision
    with checkpoint_folder(model) as local:
        assert (local / "model.safetensors").read_bytes() == b"weights"
    assert not local.exists()
