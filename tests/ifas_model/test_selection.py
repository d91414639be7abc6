"""Looks at weights: what they mark, what they leave alone, what is kept."""

from dataclasses import replace

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from ifas_model.config import (
    ConnectorConfig,
    EvaluateConfig,
    FeaturesConfig,
    FlipConfig,
    IFasConfig,
    PhaseConfig,
    TrainConfig,
    VitConfig,
)
from ifas_model.data import Faces, load_faces
from ifas_model.evaluate import evaluate
from ifas_model.features import compute
from ifas_model.selection import Best, Exam, step_of
from ifas_model.train import build
from ifas_model.vocabulary import Split

CONNECTOR = ConnectorConfig(dim=16, num_queries=4, num_blocks=1, num_heads=2, dropout=0.2)
CONFIG = TrainConfig(
    method=IFasConfig(connector=CONNECTOR),
    protocol="protocol1",
    target="oulu_npu",
    phases=(PhaseConfig(steps=4, batch_size=8, learning_rate=1e-2),),
    select="best_on_dev",
    select_every=1,
)
JUDGING = EvaluateConfig(bootstrap=0)


@pytest.fixture
def marks(monkeypatch):
    """Marks of all looks."""
    found = []
    plain = Exam.mark

    def mark(self, judge):
        found.append(plain(self, judge))
        return found[-1]

    monkeypatch.setattr(Exam, "mark", mark)
    return found


# What is marked


@pytest.mark.parametrize("select", ["best_on_dev", "best_on_test"])
def test_the_mark_is_the_auc_that_judging_finds(train_tiny, marks, shard_folder, tmp_path, select):
    config = replace(CONFIG, method=VitConfig(head_dim=8), select=select)
    done, _ = train_tiny(config, language=None)
    found = evaluate(JUDGING, model=tmp_path / "run/out", shards=shard_folder, out=tmp_path / "e")
    (target,), (own,) = ([one for one in found if one.role == r] for r in ("target", "source"))
    assert max(marks) == (own if select == "best_on_dev" else target).auc
    assert done["selected_step"] == 1 + int(np.argmax(marks))
    assert {one.checkpoint_policy for one in found} == {select}


def test_several_targets_count_alike(shard_folder, tower_folder):
    judge = build(replace(CONFIG, method=VitConfig(head_dim=8)), tower=tower_folder, language=None)
    part = load_faces(shard_folder, {"msu_mfsd": [Split.TRAIN]})
    place = part.table.schema.get_field_index("label")
    other = part.table.set_column(place, "label", pc.subtract(1, part.table["label"]))
    parts = [part, Faces(part.folder, other, part.rows)]
    alone = [Exam([part], None, []).mark(judge) for part in parts]
    assert alone[0] != alone[1] == pytest.approx(1 - alone[0])
    assert Exam(parts, None, []).mark(judge) == pytest.approx(sum(alone) / 2)


def test_features_stand_in_for_pictures(
    train_tiny, marks, shard_folder, tower_folder, tmp_path, monkeypatch
):
    seen = train_tiny(CONFIG, "pictures")[0]["selected_step"]
    store = compute(FeaturesConfig(), tower=tower_folder, shards=[shard_folder], out=tmp_path / "f")
    monkeypatch.setattr("ifas_model.data.Faces.pixels", None)
    assert train_tiny(CONFIG, "features", features=store.folder)[0]["selected_step"] == seen
    assert marks[4:] == pytest.approx(marks[:4])


def test_a_look_leaves_weights_mode_and_generators_alone(shard_folder, tower_folder):
    config = replace(CONFIG, method=FlipConfig(text="captions", hidden_dim=16, view_dim=8))
    judge = build(config, tower=tower_folder, language=None).train()
    texts = [{"label": n, "interpretation": f"This is face {n}"} for n in range(2)]
    exam = Exam([load_faces(shard_folder, {"msu_mfsd": [Split.TRAIN]})], None, texts)
    weights = {name: one.clone() for name, one in judge.named_parameters()}
    generator = torch.get_rng_state()
    first = exam.mark(judge)
    assert judge.training
    assert judge.projection.training
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(one, weights[name]) for name, one in judge.named_parameters())
    assert exam.mark(judge) == first


# What is kept


class Given:
    """Gives marks as they were written down."""

    def __init__(self, marks):
        self.marks = dict(enumerate(marks, 1))

    def mark(self, judge):
        return self.marks[int(judge.weight[0, 0])]


def look(best, steps):
    judge = nn.Linear(1, 1)
    for step in steps:
        with torch.no_grad():
            judge.weight.fill_(step)
        best.look(judge, step)


@pytest.mark.parametrize(
    ("marks", "step"),
    [([0.2, 0.9, 0.9, 0.1], 2), ([0.5, 0.4], 1), ([0.1, 0.2, 0.3], 3), ([0.1 + 0.2, 0.3], 1)],
)
def test_the_first_of_the_best_weights_are_kept_with_their_step(tmp_path, marks, step):
    best = Best(Given(marks), tmp_path / "best")
    look(best, range(1, len(marks) + 1))
    assert load_file(best.file)["weight"].item() == step
    assert step_of(best.file) == step
    assert [file.name for file in best.file.parent.iterdir()] == [best.file.name]


def test_steps_that_are_looked_at_again_change_nothing(tmp_path):
    marks = [0.2, 0.9, 0.9, 0.1]
    for seen in range(1, 5):
        for begin in range(1, seen + 1):
            best = Best(Given(marks), tmp_path / f"{seen}-{begin}")
            look(best, range(1, seen + 1))
            look(best, range(begin, 5))
            assert step_of(best.file) == 2
