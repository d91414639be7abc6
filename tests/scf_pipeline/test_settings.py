import json
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic.dataclasses import dataclass
from upath import UPath

from ifas_model.strict import STRICT
from scf_pipeline.captioners import Model
from scf_pipeline.errors import ArtifactError, ConfigError
from scf_pipeline.settings import Settings, read_settings, settings


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ToyConfig:
    stage: ClassVar[str] = "toy"
    version: ClassVar[int] = 3

    words: Path | None = None


def test_settings_hold_stage_version_config_and_inputs_by_name() -> None:
    model = Model(backend="blip2", location="anywhere", revision="0123")
    artifact = SimpleNamespace(name="crop@4567")
    found = settings(ToyConfig(), faces=artifact, both=(artifact, model), name="x", none=None)
    assert (found.stage, found.version, found.config) == ("toy", 3, {"words": None})
    assert found.inputs == {
        "faces": "crop@4567",
        "both": ["crop@4567", "blip2@0123"],
        "name": "x",
    }


def test_settings_follow_the_content_of_files_that_the_config_names(tmp_path: Path) -> None:
    file = tmp_path / "words.yaml"
    file.write_text("mask")
    first = settings(ToyConfig(words=file))
    file.write_text("screen")
    assert settings(ToyConfig(words=file)).fingerprint != first.fingerprint
    file.unlink()
    with pytest.raises(ConfigError, match="`words` must name a readable file"):
        settings(ToyConfig(words=file))


@pytest.mark.parametrize(
    "other",
    [
        Settings("toys", 1, {"a": 1}, {"b": "x@1"}),
        Settings("toy", 2, {"a": 1}, {"b": "x@1"}),
        Settings("toy", 1, {"a": 2}, {"b": "x@1"}),
        Settings("toy", 1, {"a": 1}, {"b": "x@2"}),
    ],
    ids=["stage", "version", "config", "inputs"],
)
def test_the_fingerprint_follows_everything(other: Settings) -> None:
    assert Settings("toy", 1, {"a": 1}, {"b": "x@1"}).fingerprint != other.fingerprint


def test_the_diff_names_keys_that_only_one_side_has() -> None:
    ours = Settings("toy", 1, {"a": {"b": 1}, "new": None}, {"faces": "crop@1"})
    theirs = Settings("toy", 2, {"a": {"b": 1}}, {"faces": "crop@2"})
    assert ours.diff(theirs) == (
        "config.new must be None but is absent; inputs.faces must be 'crop@1' but is 'crop@2'; "
        "version must be 1 but is 2"
    )
    empty = Settings("toy", 1, {"a": {"b": 1}, "new": {}}, {"faces": "crop@1"})
    assert empty.diff(ours) == "config.new must be {} but is None"
    assert ours.diff(ours) == "they are equal"


@given(
    st.text(),
    st.integers(),
    st.dictionaries(st.text(), st.integers() | st.text() | st.none()),
    st.dictionaries(st.text(), st.text() | st.lists(st.text())),
)
def test_settings_survive_json(stage: str, version: int, config: dict, inputs: dict) -> None:
    before = Settings(stage, version, config, inputs)
    after = Settings.from_dict(json.loads(json.dumps(before.to_dict())))
    assert after == before
    assert after.fingerprint == before.fingerprint


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def turned(data: object) -> object:
    """Return plain data whose keys are in the opposite order, however deep."""
    if isinstance(data, dict):
        return {key: turned(data[key]) for key in reversed(data)}
    return [turned(item) for item in data] if isinstance(data, list) else data


@given(st.dictionaries(st.text(), PLAIN, max_size=4), st.text(), PLAIN)
def test_the_fingerprint_follows_any_value_and_no_order(config: dict, key: str, value) -> None:
    before = Settings("toy", 1, config, {"a": "x@1", "b": "y@1"})
    assert Settings("toy", 1, turned(config), {"b": "y@1", "a": "x@1"}).fingerprint == (
        before.fingerprint
    )
    after = Settings("toy", 1, config | {key: value}, {"a": "x@1", "b": "y@1"})
    is_same = key in config and json.dumps(config[key], sort_keys=True) == json.dumps(
        value, sort_keys=True
    )
    assert (after.fingerprint == before.fingerprint) is is_same
    assert (after.diff(before) == "they are equal") is is_same or config.get(key) == value


def test_written_settings_are_read(tmp_path: Path) -> None:
    file = UPath(tmp_path / "settings.json")
    written = Settings("toy", 1, {"a": 1}, {"b": ["x@1"]})
    file.write_text(json.dumps(written.to_dict()))
    assert read_settings(file) == written


@pytest.mark.parametrize("text", [None, "{", "[]", '{"stage": "toy"}'])
def test_what_are_no_settings_is_refused_with_its_place(tmp_path: Path, text: str | None) -> None:
    file = UPath(tmp_path / "settings.json")
    if text is not None:
        file.write_text(text)
    with pytest.raises(
        ArtifactError, match=r"settings\.json must be as a stage wrote it"
    ) as caught:
        read_settings(file)
    assert caught.value.where == str(file)
