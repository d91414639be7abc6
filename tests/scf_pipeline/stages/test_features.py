"""The cache of features as an artifact."""

import shutil

import numpy as np
import pytest

from ifas_model.config import FeaturesConfig
from ifas_model.features import FeatureStore, compute
from ifas_model.vocabulary import Split
from scf_pipeline import checkpoints
from scf_pipeline.errors import ArtifactError
from scf_pipeline.stages import features
from scf_pipeline.store import Artifact
from scf_pipeline.verify import verify

CONFIG = FeaturesConfig(batch_size=5)


def run(out, tower, shards, engine, config=CONFIG) -> Artifact:
    return features.run(config, tower=tower, shards=shards, out=out, engine=engine)


def test_the_features_of_every_face_are_sealed(tower, vqa_shards, engine, tmp_path) -> None:
    made = run(tmp_path / "out", tower, [vqa_shards], engine)
    plain = compute(
        CONFIG, tower=tower.path, shards=[vqa_shards.path], out=tmp_path / "plain/features"
    )
    found = FeatureStore(made.path)
    assert made.notes == {"faces": 32}
    assert found.rows == plain.rows
    assert np.array_equal(found.patches, plain.patches)
    assert np.array_equal(found.class_tokens, plain.class_tokens)
    assert list(made.files) == ["class_tokens.npy", "faces.txt", "index.json", "patches.npy"]
    assert made.manifest["inputs"] == {"tower": tower.name, "shards": [vqa_shards.name]}
    assert verify(made.path) == []


def test_a_published_tower_sees_what_an_artifact_of_it_does(
    tower, vqa_shards, engine, tmp_path
) -> None:
    clip = shutil.copytree(tower.path, tmp_path / "clip")
    found = checkpoints.find(str(clip), "clip")
    made = run(tmp_path / "one", found, [vqa_shards], engine)
    assert made.manifest["inputs"]["tower"] == found.name
    whole = run(tmp_path / "other", tower, [vqa_shards], engine)
    one, other = (FeatureStore(each.path).class_tokens for each in (made, whole))
    assert np.array_equal(one, other)


def test_shards_of_the_same_faces_count_once(tower, vqa_shards, engine, tmp_path) -> None:
    made = run(tmp_path, tower, [vqa_shards, vqa_shards], engine)
    assert made.notes == {"faces": 32}


def test_only_the_wanted_splits_are_looked_at(tower, vqa_shards, engine, tmp_path) -> None:
    config = FeaturesConfig(splits=(Split.TRAIN,), flip=False)
    made = run(tmp_path, tower, [vqa_shards], engine, config)
    assert made.notes == {"faces": 12}
    assert FeatureStore(made.path).patches.shape[:2] == (12, 1)


def test_what_is_sealed_is_not_computed_again(tower, vqa_shards, engine, tmp_path) -> None:
    first = run(tmp_path, tower, [vqa_shards], engine)
    again = run(tmp_path, tower, [vqa_shards], engine)
    assert again.identity == first.identity
    assert engine.calls == ["compute"]


def test_a_killed_run_goes_on_to_the_same_bytes(
    tower, vqa_shards, engine, tmp_path, killed_before_sealing
) -> None:
    whole = run(tmp_path / "whole", tower, [vqa_shards], engine)
    killed_before_sealing(lambda: run(tmp_path / "cut", tower, [vqa_shards], engine))
    assert not (tmp_path / "cut/manifest.json").exists()
    assert run(tmp_path / "cut", tower, [vqa_shards], engine).identity == whole.identity


@pytest.mark.parametrize("name", ["tower", "shards"])
def test_inputs_in_an_object_store_are_refused(
    name, tower, vqa_shards, engine, elsewhere, tmp_path
) -> None:
    given = {"tower": tower, "shards": vqa_shards}
    given[name] = elsewhere(given[name])
    with pytest.raises(ArtifactError, match="must lie on a local disk, but does not") as caught:
        run(tmp_path, given["tower"], [given["shards"]], engine)
    assert caught.value.where == "memory://bucket/artifact"


def test_other_settings_are_refused_the_folder(tower, vqa_shards, engine, tmp_path) -> None:
    run(tmp_path, tower, [vqa_shards], engine)
    with pytest.raises(ArtifactError, match=r"config\.flip must be False but is True"):
        run(tmp_path, tower, [vqa_shards], engine, FeaturesConfig(batch_size=5, flip=False))
