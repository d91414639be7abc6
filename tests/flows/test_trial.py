"""Trials: one training and one evaluation for each seed, alike but for what is tried."""

from dataclasses import fields, replace

import pytest

from flows.reproduce import MINIATURE, MINIATURE_FULL, MINIATURE_SMOKE
from flows.settings import Setting
from flows.trial import trial
from ifas_model.config import FeaturesConfig, IFasConfig, TrainConfig
from ifas_model.protocols import protocol

SETTINGS = [MINIATURE_SMOKE, MINIATURE, MINIATURE_FULL]


def judges(evaluations):
    return [evaluation.inputs["judge"] for evaluation in evaluations]


def test_each_seed_of_the_setting_trains_once_and_nothing_else_differs(bench) -> None:
    full = bench.setting.full
    found = [judge.config for judge in judges(trial(bench, "full", full))]
    assert [config.seed for config in found] == [3, 1, 2]
    assert {replace(config, seed=full.seed) for config in found} == {full}


def test_the_seed_of_the_given_settings_counts_for_nothing(bench, identity) -> None:
    full = bench.setting.full
    plain, other = trial(bench, "full", full), trial(bench, "full", replace(full, seed=99))
    assert identity(plain) == identity(other)


def test_a_variant_gives_its_name_to_steps_and_tables(bench) -> None:
    evaluations = trial(bench, "a-variant", bench.setting.full)
    assert {step.name for step in evaluations} == {"evaluate-a-variant"}
    assert {step.name for step in judges(evaluations)} == {"train-a-variant"}
    assert {step.config.variant for step in evaluations} == {"a-variant"}
    assert {step.config.world for step in evaluations} == {"hard"}


def test_how_models_are_judged_is_the_settings_but_for_names_and_responses(bench) -> None:
    setting = replace(bench.setting, evaluate=replace(bench.setting.evaluate, bootstrap=7))
    for evaluation in trial(replace(bench, setting=setting), "full", setting.full):
        plain = replace(evaluation.config, variant="full", world="", responses=0)
        assert plain == setting.evaluate


def test_only_the_first_seed_writes_responses(bench) -> None:
    found = trial(bench, "full", bench.setting.full, responses=4)
    assert [evaluation.config.responses for evaluation in found] == [4, 0, 0]
    silent = trial(bench, "full", bench.setting.full)
    assert [evaluation.config.responses for evaluation in silent] == [0, 0, 0]


def test_other_shards_teach_but_the_same_faces_are_judged(bench, identity) -> None:
    plain = trial(bench, "full", bench.setting.full)
    others = trial(bench, "other", bench.setting.full, shards=bench.made.shards_t_f)
    for one, other in zip(plain, others, strict=True):
        assert one.inputs["shards"] is other.inputs["shards"] is bench.made.shards
        assert one.inputs["judge"].inputs["shards"] is bench.made.shards
        assert other.inputs["judge"].inputs["shards"] is bench.made.shards_t_f
        assert identity(one.inputs["judge"]) != identity(other.inputs["judge"])


def test_trials_of_one_seed_are_paired(bench, identity) -> None:
    """What a difference is to be taken of shares all but its own change."""
    full = bench.setting.full
    changed = replace(full, answer="judgment")
    for one, other in zip(
        trial(bench, "full", full), trial(bench, "changed", changed), strict=True
    ):
        ours, theirs = one.inputs["judge"], other.inputs["judge"]
        assert ours.config.seed == theirs.config.seed
        assert identity(ours.inputs) == identity(theirs.inputs)
        assert set(ours.inputs) == {"shards", "tower", "captioner", "features"}
        for name in ("shards", "features"):
            assert identity(one.inputs[name]) == identity(other.inputs[name])


def test_a_baseline_reads_pixels_and_no_captioner(bench) -> None:
    for evaluation in trial(bench, "vit-base", bench.setting.baselines["vit"], tower="base"):
        assert set(evaluation.inputs) == {"judge", "shards"}
        judge = evaluation.inputs["judge"]
        assert set(judge.inputs) == {"shards", "tower"}
        assert judge.inputs["tower"] is bench.setting.towers["base"]


def test_the_features_are_of_the_tower_and_of_every_shard_that_a_trial_reads(bench) -> None:
    inputs = bench.features.inputs
    (judge, *_) = judges(trial(bench, "full", bench.setting.full))
    assert inputs["tower"] is judge.inputs["tower"] is bench.setting.towers["large"]
    wanted = (bench.made.shards, bench.made.shards_t_f, bench.others[0].shards)
    assert inputs["shards"] == wanted


def test_a_world_has_one_folder_of_features(bench, identity) -> None:
    assert identity(bench.features) == identity(bench.features)


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_features_are_those_that_the_full_model_reads(setting: Setting) -> None:
    method, cached = setting.full.method, FeaturesConfig()
    assert isinstance(method, IFasConfig)
    assert method.local_layer == cached.local_layer
    assert method.keep_class_token == cached.keep_class_token
    assert cached.flip >= setting.full.flip
    one = protocol(setting.full.protocol, setting.full.target)
    for parts in (one.sources, one.dev, one.targets):
        assert {split for splits in parts.values() for split in splits} <= set(cached.splits)


def test_every_setting_of_a_training_reaches_its_step(bench) -> None:
    changed = replace(bench.setting.full, checkpoint_every=17, log_every=3, sampler="uniform")
    (judge, *_) = judges(trial(bench, "full", changed))
    for field in fields(TrainConfig):
        if field.name != "seed":
            assert getattr(judge.config, field.name) == getattr(changed, field.name)
