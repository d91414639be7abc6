"""Scores of faces, and which faces a protocol wants scored."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ifas_model.config import ConnectorConfig, FeaturesConfig, IFasConfig, TrainConfig, VitConfig
from ifas_model.data import Faces, load_faces
from ifas_model.errors import ShardError
from ifas_model.features import FeatureStore, compute
from ifas_model.protocols import Protocol
from ifas_model.scoring import Judgments, batch_of, dev_part, score, target_parts
from ifas_model.train import build
from ifas_model.vocabulary import Split

CONNECTOR = ConnectorConfig(dim=16, num_queries=4, num_blocks=1, num_heads=2, initial_std=1.0)
IFAS, VIT = IFasConfig(connector=CONNECTOR), VitConfig(head_dim=8)
RULES = Protocol(
    name="some",
    title="one to two",
    sources={"siw": (Split.TRAIN,)},
    dev={"siw": (Split.DEV, Split.TEST)},
    targets={"wmca": (Split.TEST,), "oulu_npu": (Split.TRAIN, Split.TEST)},
)


@pytest.fixture(scope="module")
def judges(tower_folder, language_folder):
    """A fresh I-FAS and a fresh ViT, in evaluation mode."""
    folders = {"tower": tower_folder, "language": language_folder}
    return {m.method: build(TrainConfig(method=m), **folders).eval() for m in (IFAS, VIT)}


@pytest.fixture(scope="module")
def faces(shard_folder):
    return load_faces(shard_folder, {"casia_mfsd": [Split.TRAIN]})


@pytest.fixture(scope="module")
def store(tower_folder, shard_folder, tmp_path_factory) -> FeatureStore:
    out = tmp_path_factory.mktemp("features") / "computed"
    return compute(FeaturesConfig(), tower=tower_folder, shards=[shard_folder], out=out)


@pytest.mark.parametrize("name", ["ifas", "vit"])
def test_every_face_is_scored_once_whatever_the_batch(judges, faces, name):
    whole, parts = (score(judges[name], faces, None, size) for size in (99, 5))
    assert whole.faces is faces
    assert whole.margin.shape == (len(faces),)
    assert whole.margin.dtype == np.float64
    assert np.std(whole.margin) > 1e-4
    assert parts.margin == pytest.approx(whole.margin, abs=1e-5)


def test_features_are_read_where_a_judge_can_use_them(judges, faces, store):
    told = {name: set(batch_of(judge, faces, [0, 3], store)) for name, judge in judges.items()}
    assert "pixels" in told["vit"]
    assert "pixels" not in told["ifas"]
    assert "pixels" in batch_of(judges["ifas"], faces, [0, 3], None)
    seen, cached = (score(judges["ifas"], faces, one, 7).margin for one in (None, store))
    assert cached == pytest.approx(seen, abs=1e-5)


def test_the_surest_margins_are_probabilities_too(faces) -> None:
    sure = Judgments(faces=faces, margin=np.array([-2000.0, -800, -30, 0, 30, 800, 2000]))
    assert sure.p_yes[3] == 0.5
    assert (sure.p_yes[0], sure.p_yes[-1]) == (0.0, 1.0)
    assert 0 < sure.p_yes[2] < 1e-12
    assert 1e-12 > 1 - sure.p_yes[4] > 0
    assert np.all(np.diff(sure.p_yes) >= 0)


def held(*keys: tuple[str, str, int]) -> Faces:
    """Return faces, each of a dataset, a split and a label."""
    rows = [{"dataset": name, "split": split, "label": label} for name, split, label in keys]
    return Faces(Path("nowhere"), pa.Table.from_pylist(rows), np.arange(len(rows)))


OWN = [("siw", "dev", 0), ("siw", "test", 1), ("siw", "train", 1)]
OULU = [("oulu_npu", "train", 1), ("oulu_npu", "dev", 0), ("oulu_npu", "test", 0)]


def test_the_sources_own_part_is_all_its_splits_and_no_other() -> None:
    dev = dev_part(held(*OULU, *OWN), RULES)
    assert dev.column("split") == ["dev", "test"]
    assert set(dev.column("dataset")) == {"siw"}
    assert dev.rows.tolist() == [3, 4]


@pytest.mark.parametrize(
    ("keys", "lacking"),
    [(OULU, "faces of siw"), (OWN[:1], "bona fide faces of siw"), (OWN[1:], "attacks of siw")],
)
def test_a_sources_own_part_without_both_classes_is_refused(keys, lacking) -> None:
    with pytest.raises(ShardError, match=rf"hold no {lacking} \(dev, test\)") as caught:
        dev_part(held(*keys), RULES)
    assert caught.value.where == "nowhere"


def test_targets_hold_their_splits_and_those_of_one_class_are_skipped(caplog) -> None:
    found = target_parts(held(*OWN, ("wmca", "test", 0), *OULU), RULES)
    assert {name: one.rows.tolist() for name, one in found.items()} == {"oulu_npu": [4, 6]}
    assert caplog.messages == ["wmca is not judged: nowhere holds no bona fide faces of it."]


def test_no_target_at_all_is_refused() -> None:
    with pytest.raises(ShardError, match=r"both of none of wmca \(test\); oulu_npu \(train, te"):
        target_parts(held(*OWN), RULES)


def test_faces_of_a_sample_are_averaged() -> None:
    rows = [
        {"sample_id": name, "label": label, "pai_species": None if label else "print"}
        for name, label in (("a", 1), ("b", 0), ("a", 1))
    ]
    faces = Faces(Path("nowhere"), pa.Table.from_pylist(rows), np.arange(3))
    judged = Judgments(faces=faces, margin=np.array([0.0, -1.0, 2.0]))
    samples = judged.samples()
    assert samples.sample_ids.tolist() == ["a", "b"]
    assert samples.scores == pytest.approx([(0.5 + 1 / (1 + np.exp(-2))) / 2, 1 / (1 + np.e)])
    assert samples.is_bona_fide.tolist() == [True, False]
