"""Training as an artifact; what the models learn, the trainer's own tests tell."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from ifas_model.config import PhaseConfig, TrainConfig, VitConfig
from ifas_model.errors import ConfigError
from ifas_model.predict import load_judge
from scf_pipeline import checkpoints
from scf_pipeline.errors import ArtifactError, ModelError
from scf_pipeline.settings import settings
from scf_pipeline.stages import train
from scf_pipeline.steps import plan, step
from scf_pipeline.store import Artifact
from scf_pipeline.verify import verify

NOTES = {"curve", "seconds", "samples", "steps", "selected_step"}
NOTES |= {"parameters", "trained_parameters"}


@pytest.fixture
def given(vqa_shards, tower, captioner, featured, engine):
    """Everything that a training of I-FAS is given, but settings and folder."""
    return {
        "shards": vqa_shards,
        "tower": tower,
        "captioner": captioner,
        "features": featured,
        "engine": engine,
    }


class Trainer:
    """Stands in for `ifas_model.train.train`: keeps what it was given, and may be killed."""

    def __init__(self) -> None:
        self.given: list[dict] = []
        self.found: list[bool] = []
        self.dies = False

    def __call__(self, config: TrainConfig, *, out: Path, scratch: Path, **given: object) -> dict:
        self.given.append({"config": config, **given})
        checkpoint = scratch / "phase-0/checkpoint"
        self.found.append(checkpoint.is_file())
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.touch()
        out.mkdir(exist_ok=True)
        (out / "model.safetensors").write_bytes(b"half")
        if self.dies:
            raise KeyboardInterrupt
        (out / "model.safetensors").write_bytes(b"whole")
        return {"steps": 3}


@pytest.fixture
def trainer(monkeypatch) -> Trainer:
    found = Trainer()
    monkeypatch.setattr("ifas_model.train.train", found)
    return found


def test_a_model_is_sealed_with_the_story_of_its_training(
    trained, tiny, vqa_shards, tower, captioner, featured
) -> None:
    config, judge = load_judge(trained.path)
    assert config == tiny
    assert not judge.training
    assert set(trained.notes) == NOTES
    assert (trained.notes["samples"], trained.notes["steps"]) == (12, 3)
    assert [point["step"] for point in trained.notes["curve"]] == [1, 2, 3]
    inputs = {"shards": vqa_shards, "tower": tower, "captioner": captioner, "features": featured}
    assert trained.manifest["inputs"] == {name: one.name for name, one in inputs.items()}
    assert {"model.safetensors", "config.json", "train.json", "tokenizer.json"} <= set(
        trained.files
    )
    assert not (trained.path / "scratch").exists()
    assert verify(trained.path) == []


def test_pictures_teach_what_their_features_do(trained, tiny, given, tmp_path) -> None:
    made = train.run(tiny, out=tmp_path, **(given | {"features": None}))
    one, other = (load_file(found.path / "model.safetensors") for found in (made, trained))
    assert one.keys() == other.keys()
    assert all(one[name].allclose(other[name], atol=1e-4) for name in one)
    assert "features" not in made.manifest["inputs"]


def test_a_baseline_needs_no_captioner(given, tiny, tmp_path) -> None:
    config = replace(tiny, method=VitConfig(head_dim=4))
    made = train.run(config, out=tmp_path, **(given | {"captioner": None, "features": None}))
    assert load_judge(made.path)[0] == config
    assert sorted(made.manifest["inputs"]) == ["shards", "tower"]


def test_i_fas_without_a_captioner_is_refused(given, tiny, tmp_path) -> None:
    with pytest.raises(ConfigError, match="must be given a language model, but is given none"):
        train.run(tiny, out=tmp_path, **(given | {"captioner": None}))


def test_the_trainer_is_given_the_folders_of_its_inputs(trainer, tiny, given, tmp_path) -> None:
    made = train.run(tiny, out=tmp_path, **given)
    assert trainer.given == [
        {
            "config": tiny,
            "shards": given["shards"].path,
            "tower": given["tower"].path,
            "language": given["captioner"].path / "language",
            "features": given["features"].path,
        }
    ]
    assert made.notes == {"steps": 3}


def test_published_models_are_known_by_what_they_hold_wherever_they_lie(
    trainer, tiny, given, tower, captioner, tmp_path
) -> None:
    """CLIP and OPT as folders that no stage made, in place of a tower and a captioner."""
    made = []
    for place in (tmp_path / "here", tmp_path / "there"):
        clip = shutil.copytree(tower.path, place / "clip")
        opt = shutil.copytree(captioner.path / "language", place / "opt")
        published = {
            "tower": checkpoints.find(str(clip), "clip"),
            "language": checkpoints.find(str(opt), "opt"),
            "captioner": None,
        }
        made.append(train.run(tiny, out=tmp_path / "out", **(given | published)))
    assert made[0].identity == made[1].identity
    assert made[0].manifest["inputs"]["language"] == published["language"].name
    assert "captioner" not in made[0].manifest["inputs"]
    (told,) = trainer.given
    assert (told["tower"], told["language"]) == (tmp_path / "here/clip", tmp_path / "here/opt")


def test_a_published_model_that_changed_since_it_was_found_teaches_nobody(
    trainer, tiny, given, tower, tmp_path
) -> None:
    clip = shutil.copytree(tower.path, tmp_path / "clip")
    found = checkpoints.find(str(clip), "clip")
    (clip / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(ModelError, match="it was edited or damaged"):
        train.run(tiny, out=tmp_path / "out", **(given | {"tower": found}))
    assert trainer.given == []


def test_what_is_sealed_is_not_taught_again(trainer, tiny, given, tmp_path) -> None:
    first = train.run(tiny, out=tmp_path, **given)
    again = train.run(tiny, out=tmp_path, **given)
    assert again.identity == first.identity
    assert len(trainer.given) == 1


def test_a_killed_training_goes_on_from_its_checkpoints(trainer, tiny, given, tmp_path) -> None:
    trainer.dies = True
    with pytest.raises(KeyboardInterrupt):
        train.run(tiny, out=tmp_path, **given)
    with pytest.raises(ArtifactError, match="did not finish"):
        Artifact.open(tmp_path)
    trainer.dies = False
    made = train.run(tiny, out=tmp_path, **given)
    assert trainer.found == [False, True]
    assert (made.path / "model.safetensors").read_bytes() == b"whole"
    assert list(made.files) == ["model.safetensors"]


def test_a_training_killed_before_it_is_sealed_goes_on_from_its_checkpoints(
    trainer, tiny, given, tmp_path, killed_before_sealing
) -> None:
    killed_before_sealing(lambda: train.run(tiny, out=tmp_path, **given))
    assert not (tmp_path / "manifest.json").exists()
    assert list(train.run(tiny, out=tmp_path, **given).files) == ["model.safetensors"]
    assert trainer.found == [False, True]


@pytest.mark.parametrize("name", ["shards", "tower", "captioner", "features"])
def test_inputs_in_an_object_store_are_refused(
    name, trainer, tiny, given, elsewhere, tmp_path
) -> None:
    with pytest.raises(ArtifactError, match="must lie on a local disk, but does not") as caught:
        train.run(tiny, out=tmp_path, **(given | {name: elsewhere(given[name])}))
    assert caught.value.where == "memory://bucket/artifact"
    assert caught.value.fix == "Copy it to a local folder; the curation may stay where it is."
    assert trainer.given == []


CHANGES = [
    {"seed": 1},
    {"protocol": "protocol1", "target": "siw"},
    {"answer": "judgment"},
    {"method": VitConfig()},
    {"phases": (PhaseConfig(steps=4, batch_size=4, learning_rate=1e-2),)},
    {"max_samples": 6},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_another_setting_is_another_model(change, tiny) -> None:
    other = replace(tiny, **change)
    assert settings(other).fingerprint != settings(tiny).fingerprint
    assert plan(step(other))[0].folder != plan(step(tiny))[0].folder
    assert settings(replace(tiny)).fingerprint == settings(tiny).fingerprint


def test_initial_weights_are_known_by_their_content(tiny, tmp_path) -> None:
    fingerprints = []
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).write_bytes(content)
        connector = replace(tiny.method.connector, initial_weights=tmp_path / name)
        config = replace(tiny, method=replace(tiny.method, connector=connector))
        fingerprints.append(settings(config).fingerprint)
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_the_folder_of_another_seed_is_refused(trainer, tiny, given, tmp_path) -> None:
    train.run(tiny, out=tmp_path, **given)
    with pytest.raises(ArtifactError, match=r"config\.seed must be 1 but is 0"):
        train.run(replace(tiny, seed=1), out=tmp_path, **given)


def test_the_settings_of_training_are_told_in_the_manifest(trained, tiny, manifest) -> None:
    told = manifest(trained.path)
    assert (told["stage"], told["version"]) == ("train", 1)
    kept = json.loads((trained.path / "train.json").read_bytes())
    assert told["config"] == kept
