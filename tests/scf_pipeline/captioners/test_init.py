"""Models by name, and captions that say nothing."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from upath import UPath

from ifas_model import plugins
from scf_pipeline import captioners
from scf_pipeline.captioners import Backend, Model, find, is_degenerate
from scf_pipeline.errors import CaptionerError
from scf_pipeline.files import remove, write_whole

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Backend and location of each model that is looked for; nothing is resolved."""
    found: list[tuple[str, str]] = []

    def load(package: object, attribute: str, name: str) -> SimpleNamespace:
        assert (package, attribute) == (captioners, "BACKEND")
        return SimpleNamespace(resolve=lambda location: found.append((name, location)))

    monkeypatch.setattr(plugins, "names", lambda _: ["blip2", "other"])
    monkeypatch.setattr(plugins, "load", load)
    return found


@pytest.mark.parametrize(
    ("name", "backend", "location"),
    [
        ("folder", "blip2", "folder"),
        ("blip2:folder", "blip2", "folder"),
        ("other:folder", "other", "folder"),
        ("other:some/model@v1:2", "other", "some/model@v1:2"),
        ("some/model@v1", "blip2", "some/model@v1"),
        ("some/model@v1:2", "blip2", "some/model@v1:2"),
        ("s3://bucket/model", "blip2", "s3://bucket/model"),
        ("other:s3://bucket/model", "other", "s3://bucket/model"),
        ("other", "blip2", "other"),
    ],
)
def test_a_name_says_its_backend_before_a_colon_or_means_blip2(asked, name, backend, location):
    find(name)
    assert asked == [(backend, location)]


def test_an_unknown_backend_is_refused_with_the_known_ones(asked):
    with pytest.raises(CaptionerError) as caught:
        find("llava:folder")
    assert caught.value.what == "A captioner must be one of blip2, other, but is 'llava'."
    assert caught.value.where == "llava:folder"
    assert asked == []


def test_a_pinned_hub_id_is_found_without_a_network():
    model = find(f"owner/captioner@{REVISION}")
    assert model == Model(backend="blip2", location="owner/captioner", revision=REVISION)
    assert find(f"blip2:owner/captioner@{REVISION}") == model
    assert model.name == f"blip2@{REVISION}"


def test_a_folder_is_found_and_named_by_its_content(tmp_path: Path):
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    config = {"architectures": ["Blip2ForConditionalGeneration"], "model_type": "blip-2"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"weights")
    first = find(str(folder))
    assert (first.backend, first.location) == ("blip2", str(folder))
    assert find(f"blip2:{folder}") == first
    (folder / "model.safetensors").write_bytes(b"others")
    assert find(str(folder)).revision != first.revision


def test_a_folder_elsewhere_is_found_by_its_url():
    """As the runner names the weights that a step wrote."""
    folder = UPath("memory://captioners-under-test/checkpoint")
    config = {"architectures": ["Blip2ForConditionalGeneration"], "model_type": "blip-2"}
    write_whole(folder / "config.json", json.dumps(config).encode())
    write_whole(folder / "model.safetensors", b"weights")
    try:
        assert find(str(folder)).location == str(folder)
    finally:
        remove(folder)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("no such folder", "there is no such folder"),
        ("owner/captioner", "it has none"),
        ("owner/captioner@main", "is the branch 'main', which moves"),
    ],
)
def test_what_a_backend_cannot_resolve_is_its_error(name, problem):
    with pytest.raises(CaptionerError, match=problem) as caught:
        find(name)
    assert caught.value.where == name


@pytest.mark.parametrize("name", plugins.names(captioners))
def test_every_entry_is_a_backend_with_a_prompt(name):
    entry = plugins.load(captioners, "BACKEND", name)
    assert isinstance(entry, Backend)
    assert entry.title
    assert entry.prompt


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "...",
        "- , -",
        "a man in a man in a man in",
        "A man holds a man Holds a man holds a",
        "no no no no no",
        "the face of the face of the face of a man",
    ],
)
def test_a_caption_that_says_nothing_or_loops_is_degenerate(text):
    assert is_degenerate(text)


@pytest.mark.parametrize(
    "text",
    [
        "man",
        "no no no no",
        "a man in a red shirt and a man in a blue shirt",
        "a paper mask, a paper hat and a paper plane",
        "男性の写真",
    ],
)
def test_a_caption_that_says_something_is_not_degenerate(text):
    assert not is_degenerate(text)
