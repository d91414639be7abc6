"""Cached features: those of the tower, of every face, and of nothing else."""

import json
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from ifas_model.config import FeaturesConfig
from ifas_model.data import load_faces
from ifas_model.errors import ModelError, ShardError
from ifas_model.features import FeatureStore, cached, compute, hash_tower
from ifas_model.vision import load_pixels, load_tower, look
from ifas_model.vocabulary import Split

CONFIG = FeaturesConfig(batch_size=7)


@pytest.fixture(scope="module")
def store(tower_folder, shard_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("computed") / "features"
    return compute(CONFIG, tower=tower_folder, shards=[shard_folder], out=out)


@pytest.fixture
def copy(store, tmp_path):
    return shutil.copytree(store.folder, tmp_path / "copy")


def test_features_are_the_towers_of_each_face_alone_in_both_views(
    store, tower_folder, shard_folder
):
    clip, pixels = load_tower(tower_folder), load_pixels(tower_folder)
    faces = load_faces(shard_folder)
    assert sorted(store.rows) == sorted(faces.column("face_id"))
    for place in (0, 6, 7, 79):
        plain = faces.pixels(place)[None]
        for view, is_mirrored in ((plain, False), (plain.flip(-1), True)):
            with torch.no_grad():
                wanted = look(
                    clip.vision_model,
                    pixels.normalize(view),
                    local_layer=-2,
                    keep_class_token=False,
                )
            found = store.at(faces.column("face_id")[place], is_mirrored=is_mirrored)
            for one, other in zip(found, wanted, strict=True):
                assert one.dtype == torch.float32
                torch.testing.assert_close(one, other[0], rtol=1e-4, atol=1e-4)
    plain, mirrored = (
        store.at(faces.column("face_id")[0], is_mirrored=m)[0] for m in (False, True)
    )
    assert not torch.allclose(plain, mirrored, atol=1e-2)


def test_settings_choose_layer_and_class_token(store, tower_folder, shard_folder, tmp_path):
    config = replace(CONFIG, local_layer=-1, keep_class_token=True, flip=False)
    other = compute(config, tower=tower_folder, shards=[shard_folder], out=tmp_path / "features")
    assert store.patches.shape == (80, 2, 16, 24)
    assert other.patches.shape == (80, 1, 17, 24)
    assert store.class_tokens.shape == (80, 2, 3, 24)
    assert np.allclose(other.patches[:, 0, 0], other.class_tokens[:, 0, -1])
    assert np.allclose(other.class_tokens[:, 0], store.class_tokens[:, 0], atol=1e-5)


def test_half_the_precision_is_half_the_file(store, tower_folder, shard_folder, tmp_path):
    config = replace(CONFIG, precision="float16")
    half = compute(config, tower=tower_folder, shards=[shard_folder], out=tmp_path / "half")
    for name in ("patches.npy", "class_tokens.npy"):
        sizes = [(one.folder / name).stat().st_size - 128 for one in (half, store)]
        assert 2 * sizes[0] == sizes[1]
    found = half.at(next(iter(half.rows)), is_mirrored=True)[0]
    assert found.dtype == torch.float32
    assert torch.allclose(found, store.at(next(iter(half.rows)), is_mirrored=True)[0], rtol=1e-2)


def test_only_the_splits_that_are_named_are_computed(tower_folder, shard_folder, tmp_path):
    config = replace(CONFIG, splits=(Split.DEV,))
    found = compute(config, tower=tower_folder, shards=[shard_folder], out=tmp_path / "dev")
    assert len(found.rows) == 8
    assert all("/dev/" in name for name in found.rows)
    empty = replace(CONFIG, splits=())
    with pytest.raises(ShardError, match="must hold faces of , but hold none"):
        compute(empty, tower=tower_folder, shards=[shard_folder], out=tmp_path / "none")


def test_a_face_of_two_folders_counts_once(tower_folder, shard_folder, tmp_path):
    again = shutil.copytree(shard_folder, tmp_path / "again")
    shards = [shard_folder, again]
    assert len(compute(CONFIG, tower=tower_folder, shards=shards, out=tmp_path / "x").rows) == 80


def test_nothing_but_the_features_is_left(store):
    names = {path.name for path in store.folder.iterdir()}
    assert names == {"index.json", "faces.txt", "patches.npy", "class_tokens.npy"}
    assert [path.name for path in store.folder.parent.iterdir()] == [store.folder.name]


def test_a_face_that_is_not_there_is_named(store):
    with pytest.raises(ModelError, match="Features must hold 'siw/x#0', but do not"):
        store.at("siw/x#0", is_mirrored=False)


def test_features_of_another_tower_or_setting_are_refused(store, tower_folder):
    store.require(hash_tower(tower_folder), FeaturesConfig())
    with pytest.raises(ModelError, match="`tower` of the features must be 'other', but is '"):
        store.require("other", FeaturesConfig())
    with pytest.raises(ModelError, match="`local_layer` of the features must be -1, but is -2"):
        store.require(hash_tower(tower_folder), FeaturesConfig(local_layer=-1))
    with pytest.raises(
        ModelError, match="`keep_class_token` of the features must be True, but is False"
    ):
        store.require(hash_tower(tower_folder), FeaturesConfig(keep_class_token=True))


def test_features_of_another_layout_are_refused(copy, tower_folder):
    index = json.loads((copy / "index.json").read_text())
    (copy / "index.json").write_text(json.dumps(index | {"version": 0}))
    with pytest.raises(ModelError, match="`version` of the features must be 1, but is 0"):
        FeatureStore(copy).require(hash_tower(tower_folder), FeaturesConfig())


@pytest.mark.parametrize("name", ["index.json", "faces.txt", "patches.npy", "class_tokens.npy"])
def test_a_folder_that_lacks_a_file_is_refused(copy, name):
    (copy / name).unlink()
    with pytest.raises(ModelError, match="must be complete, but is not") as error:
        FeatureStore(copy)
    assert error.value.where == str(copy)


def test_a_folder_whose_files_are_cut_is_refused(copy):
    content = (copy / "patches.npy").read_bytes()
    (copy / "patches.npy").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match="must be complete, but is not"):
        FeatureStore(copy)


def test_a_folder_of_fewer_faces_is_refused(copy):
    names = (copy / "faces.txt").read_text().splitlines()
    (copy / "faces.txt").write_text("\n".join(names[:-2]) + "\n")
    with pytest.raises(ModelError, match="must be of 78 faces, but are of 80"):
        FeatureStore(copy)


def test_a_computation_that_dies_leaves_no_features(copy, tower_folder, shard_folder, monkeypatch):
    def die(*_):
        raise MemoryError

    monkeypatch.setattr("ifas_model.data.Faces.pixels", die)
    with pytest.raises(MemoryError):
        compute(CONFIG, tower=tower_folder, shards=[shard_folder], out=copy)
    with pytest.raises(ModelError, match="must be complete, but is not"):
        FeatureStore(copy)


def test_a_cache_computes_once_for_each_tower_setting_and_shards(
    tower_folder, shard_folder, tmp_path, monkeypatch
):
    cache = tmp_path / "cache"
    given = {"tower": tower_folder, "shards": [shard_folder], "cache": cache}
    first = cached(CONFIG, **given)
    monkeypatch.setattr("ifas_model.features.compute", None)
    assert cached(replace(CONFIG, batch_size=3), **given).folder == first.folder
    for config in (replace(CONFIG, flip=False), replace(CONFIG, local_layer=-1)):
        with pytest.raises(TypeError):
            cached(config, **given)
    other = shutil.copytree(tower_folder, tmp_path / "tower")
    (other / "config.json").write_text((other / "config.json").read_text() + "\n")
    with pytest.raises(TypeError):
        cached(CONFIG, **(given | {"tower": other}))


# A folder from elsewhere


def save_pickled(file, trap):
    np.save(file, np.array([trap] * 80, dtype=object), allow_pickle=True)


def save_bare_pickle(file, trap):
    file.write_bytes(pickle.dumps(trap))


def save_archive(file, trap):
    with file.open("wb") as opened:
        np.savez(opened, patches=np.array([trap], dtype=object))


@pytest.mark.parametrize("save", [save_pickled, save_bare_pickle, save_archive])
@pytest.mark.parametrize("name", ["patches.npy", "class_tokens.npy"])
def test_an_array_of_pickles_is_refused_and_none_is_ever_read(copy, trap, name, save):
    save(copy / name, trap)
    assert not trap.is_sprung
    with pytest.raises(ModelError, match="must be complete, but is not"):
        FeatureStore(copy)
    assert not trap.is_sprung


@pytest.mark.parametrize(
    "array", [np.zeros(80), np.zeros((80, 2, 16, 24), np.int8), np.zeros((80, 2, 16, 24), "U4")]
)
def test_an_array_of_another_kind_is_refused(copy, array):
    np.save(copy / "patches.npy", array)
    with pytest.raises(ModelError, match=r"patches\.npy must hold floats in four dimensions"):
        FeatureStore(copy)


@pytest.mark.parametrize(
    "text", ["[]", "3", '"words"', "{", "[" * 100_000, '{"version": ' + "1" * 5000 + "}", "[[1]]"]
)
def test_an_index_that_is_none_is_refused(copy, tower_folder, text):
    (copy / "index.json").write_text(text)
    with pytest.raises(ModelError):
        FeatureStore(copy).require(hash_tower(tower_folder), FeaturesConfig())
