"""Whole runs of a tiny model: what they return, leave behind and refuse."""

import json
from collections import Counter
from dataclasses import replace

import pytest
import torch

from ifas_model.config import (
    TOWER,
    ConnectorConfig,
    FeaturesConfig,
    IFasConfig,
    LossConfig,
    OwnDatasets,
    PhaseConfig,
    TrainConfig,
    VitafConfig,
    VitConfig,
)
from ifas_model.errors import ConfigError, ModelError, ShardError
from ifas_model.features import compute, hash_tower
from ifas_model.lesson import Lesson
from ifas_model.model import IFas
from ifas_model.phase import PhaseTrainer
from ifas_model.vocabulary import Split

CONNECTOR = ConnectorConfig(dim=16, num_queries=4, num_blocks=1, num_heads=2, dropout=0.2)
METHOD = IFasConfig(connector=CONNECTOR)
PHASE = PhaseConfig(steps=5, batch_size=8, accumulation=2, learning_rate=1e-2)
CONFIG = TrainConfig(
    method=METHOD,
    protocol="protocol1",
    target="oulu_npu",
    phases=(replace(PHASE, name="align", steps=4), PHASE),
    checkpoint_every=2,
    log_every=1,
    seed=3,
)
ALONE = replace(CONFIG, phases=(PHASE,))


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


# what comes of a run


def test_a_run_leaves_a_model_that_has_learnt_and_tells_of_it(
    train_tiny, shard_folder, tmp_path, capfd
):
    method = replace(METHOD, language_training="full")
    phase = replace(PHASE, steps=30)
    done, weights = train_tiny(
        replace(ALONE, method=method, phases=(phase,), log_every=5, checkpoint_every=99)
    )
    assert capfd.readouterr().out == ""
    model = IFas.load(tmp_path / "run" / "out")
    assert_same({k: v for k, v in model.state_dict().items() if k in weights}, weights)
    rows = [(point["phase"], point["step"]) for point in done["curve"]]
    assert rows == [("main", step) for step in (5, 10, 15, 20, 25, 30)]
    assert done["curve"][-1]["epoch"] == 30 * 8 / 30
    assert done["curve"][-1]["judgment"] < 0.5 * done["curve"][0]["judgment"]
    assert done["curve"][-1]["interpretation"] < 0.5 * done["curve"][0]["interpretation"]
    assert (done["samples"], done["steps"], done["selected_step"]) == (30, 30, 30)
    assert 0 < done["seconds"] < 60
    assert done["parameters"] == sum(p.numel() for p in model.parameters())
    trained = [*model.connector.parameters(), *model.language.parameters()]
    assert done["trained_parameters"] == sum(p.numel() for p in trained)
    assert json.loads(json.dumps(done)) == done


def test_the_loss_is_the_weighted_sum_of_its_parts(train_tiny):
    method = replace(METHOD, loss=LossConfig(alpha=0.25))
    done, _ = train_tiny(replace(ALONE, method=method))
    assert len(done["curve"]) == PHASE.steps
    for point in done["curve"]:
        parts = 0.25 * point["judgment"] + 0.75 * point["interpretation"]
        assert point["loss"] == pytest.approx(parts, rel=1e-5)


def test_the_rate_rises_to_its_peak_and_falls(train_tiny):
    phase = replace(PHASE, steps=10, warmup_fraction=0.2, learning_rate=1e-3)
    rates = [p["learning_rate"] for p in train_tiny(replace(ALONE, phases=(phase,)))[0]["curve"]]
    assert rates[2] == max(rates) == pytest.approx(1e-3)
    assert rates[:3] == sorted(rates[:3])
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[-1] < 0.05 * rates[2]


def test_answers_of_the_judgment_alone_have_no_interpretation(train_tiny):
    done, _ = train_tiny(replace(ALONE, answer="judgment"))
    assert [point["interpretation"] for point in done["curve"]] == [None] * PHASE.steps
    assert all(p["loss"] == pytest.approx(p["judgment"], rel=1e-5) for p in done["curve"])


def test_an_align_phase_learns_captions_and_no_judgment(train_tiny, monkeypatch):
    seen = []
    plain = IFas.collate

    def collate(self, items):
        seen.extend(items)
        return plain(self, items)

    monkeypatch.setattr(IFas, "collate", collate)
    config = replace(ALONE, method=replace(METHOD, language_training="full"), answer="judgment")
    phase = replace(PHASE, name="align", steps=30)
    done, _ = train_tiny(replace(config, phases=(phase,), log_every=5))
    assert {frozenset(item) for item in seen} == {frozenset({"caption", "pixels"})}
    assert {"a man with a beard", "a woman in a red shirt"} < {item["caption"] for item in seen}
    assert {point["phase"] for point in done["curve"]} == {"align"}
    assert {point["judgment"] for point in done["curve"]} == {None}
    losses = [point["interpretation"] for point in done["curve"]]
    assert losses == pytest.approx([point["loss"] for point in done["curve"]], rel=1e-5)
    assert losses[-1] < 0.5 * losses[0]


def test_phases_follow_each_other_and_are_counted_together(train_tiny):
    done, both = train_tiny(CONFIG, "both")
    assert (done["steps"], done["selected_step"]) == (9, 5)
    assert [(p["phase"], p["step"]) for p in done["curve"]] == [
        *(("align", step) for step in range(1, 5)),
        *(("main", step) for step in range(1, 6)),
    ]
    alone = train_tiny(ALONE, "alone")[1]
    assert not torch.equal(both["connector.queries"], alone["connector.queries"])


def test_every_phase_has_dropout_of_its_own(train_tiny, monkeypatch):
    seeds = []
    plain = PhaseTrainer.__init__

    def begin(self, *arguments):
        plain(self, *arguments)
        seeds.append((self.args.seed, torch.initial_seed(), tuple(self.draw.views[:8])))

    monkeypatch.setattr(PhaseTrainer, "__init__", begin)
    train_tiny(replace(CONFIG, phases=(PHASE, PHASE)))
    first, second = seeds
    assert all(one != other for one, other in zip(first, second, strict=True))


def test_what_learns_in_any_phase_counts_as_trained(train_tiny, tmp_path):
    phases = (PhaseConfig(name="head", steps=1, batch_size=4), PhaseConfig(steps=1, batch_size=4))
    both, _ = train_tiny(replace(CONFIG, method=VitafConfig(head_dim=8), phases=phases), "both")
    parts = [
        train_tiny(replace(CONFIG, method=VitafConfig(head_dim=8), phases=(phase,)), phase.name)[0]
        for phase in phases
    ]
    counts = [one["trained_parameters"] for one in parts]
    assert min(counts) > 0
    assert both["trained_parameters"] == sum(counts)


def test_a_run_begins_with_an_initial_checkpoint(train_tiny, tmp_path):
    _, first = train_tiny(ALONE, "first")
    brief = replace(ALONE, phases=(replace(PHASE, steps=1, learning_rate=1e-12),))
    _, second = train_tiny(brief, "second", initial=tmp_path / "first" / "out", language=None)
    assert first.keys() == second.keys()
    assert all(torch.allclose(first[name], second[name], atol=1e-9) for name in first)
    _, fresh = train_tiny(brief, "third")
    assert not torch.allclose(first["connector.queries"], fresh["connector.queries"], atol=1e-3)


def test_a_seed_decides_the_whole_run(train_tiny):
    assert_same(train_tiny(ALONE, "one")[1], train_tiny(ALONE, "two")[1])
    other = train_tiny(replace(ALONE, seed=4), "other")[1]
    assert not torch.equal(
        train_tiny(ALONE, "three")[1]["connector.queries"], other["connector.queries"]
    )


def test_the_sampler_is_the_one_that_is_set(train_tiny, monkeypatch):
    seen = []
    plain = Lesson.__getitem__

    def get(self, view):
        seen.append(self.ids[view // 2].split("/")[0])
        return plain(self, view)

    monkeypatch.setattr(Lesson, "__getitem__", get)
    phase = replace(PHASE, steps=3, batch_size=10)  # 30 views of 30 faces
    train_tiny(replace(ALONE, phases=(phase,), sampler="uniform"), "uniform")
    assert Counter(seen) == {"casia_mfsd": 10, "msu_mfsd": 8, "replay_attack": 12}
    seen.clear()
    train_tiny(replace(ALONE, phases=(phase,)), "balanced")
    assert Counter(seen) == {"casia_mfsd": 10, "msu_mfsd": 10, "replay_attack": 10}


def test_a_judge_concludes_from_texts_after_its_last_phase(train_tiny, monkeypatch):
    told = []

    def conclude(self, items):
        told.extend(items)

    monkeypatch.setattr(IFas, "conclude", conclude)
    train_tiny(replace(CONFIG, phases=(replace(PHASE, name="align", steps=1),)))
    assert len(told) == 30
    assert {frozenset(item) for item in told} == {frozenset({"label", "interpretation"})}
    assert {item["label"] for item in told} == {0, 1}


# features in place of pixels


@pytest.fixture(scope="module")
def features(tower_folder, shard_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("features") / "computed"
    return compute(FeaturesConfig(), tower=tower_folder, shards=[shard_folder], out=out).folder


def test_cached_features_teach_what_pixels_teach(train_tiny, features, monkeypatch):
    pixels, seen = train_tiny(CONFIG, "pixels")
    monkeypatch.setattr("ifas_model.data.Faces.pixels", None)
    cached, stored = train_tiny(CONFIG, "cached", features=features)
    for name in ("loss", "interpretation"):
        losses = [point[name] for point in cached["curve"]]
        assert losses == pytest.approx([point[name] for point in pixels["curve"]], rel=1e-5)
    assert len(set(losses)) == len(losses)
    assert all(torch.allclose(seen[name], stored[name], atol=1e-4) for name in seen)


def test_mirrored_views_are_taken_from_the_cache_too(
    train_tiny, shard_folder, tower_folder, tmp_path
):
    plain = FeaturesConfig(flip=False)
    out = tmp_path / "plain"
    compute(plain, tower=tower_folder, shards=[shard_folder], out=out)
    train_tiny(replace(ALONE, flip=False), "plain", features=out)
    with pytest.raises(ModelError, match=r"must hold '.+' mirrored, but do not"):
        train_tiny(ALONE, "mirrored", features=out)


def test_a_model_folder_names_the_tower_that_its_features_must_be_of(
    train_tiny, features, tower_folder, language_folder, tmp_path
):
    train_tiny(ALONE)
    named = (tmp_path / "run" / "out" / TOWER).read_text()
    assert named == f"{hash_tower(tower_folder)}\n"
    given = {"language": None, "initial": tmp_path / "run" / "out", "features": features}
    train_tiny(ALONE, "on", **given)
    assert (tmp_path / "on" / "out" / TOWER).read_text() == named
    (tmp_path / "run" / "out" / TOWER).write_text("0" * 64)
    with pytest.raises(ModelError, match="`tower` of the features must be '0000"):
        train_tiny(ALONE, "off", **given)


def test_features_of_other_settings_are_refused(train_tiny, features):
    config = replace(ALONE, method=replace(METHOD, local_layer=-1))
    with pytest.raises(ModelError, match="`local_layer` of the features must be -1, but is -2"):
        train_tiny(config, features=features)


def test_a_method_that_tunes_its_tower_reads_no_features(train_tiny, tmp_path):
    phase = PhaseConfig(steps=1, batch_size=4)
    config = replace(CONFIG, method=VitConfig(head_dim=8), phases=(phase,))
    done, _ = train_tiny(config, features=tmp_path / "absent", language=None)
    assert done["steps"] == 1


# what is refused


def test_a_run_without_a_language_model_is_refused(train_tiny):
    with pytest.raises(ConfigError, match="I-FAS must be given a language model, but is given"):
        train_tiny(ALONE, language=None)


def test_shards_without_a_source_are_refused(train_tiny):
    config = replace(ALONE, target="msu_mfsd")
    with pytest.raises(ShardError, match="none of: celeba_spoof"):
        train_tiny(replace(ALONE, protocol="protocol2", target=None))
    done, _ = train_tiny(config)  # oulu_npu, casia_mfsd and replay_attack are there
    assert done["samples"] == 28


def test_ones_own_datasets_teach_with_the_splits_that_are_named(train_tiny):
    own = OwnDatasets(
        train={"replay_attack": (Split.DEV,)},
        dev={"replay_attack": (Split.TRAIN,)},
        test={"oulu_npu": (Split.TEST,)},
    )
    done, _ = train_tiny(replace(ALONE, protocol="custom", target=None, own=own))
    assert done["samples"] == 4


def test_a_baseline_knows_no_align_phase(train_tiny):
    config = replace(CONFIG, method=VitConfig(head_dim=8))
    with pytest.raises(ValueError, match="align"):
        train_tiny(config)
