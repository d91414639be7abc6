"""Ablations: one change of the full model each, and nothing else."""

from dataclasses import replace

import pytest

from flows.ablations import ABLATIONS, ALPHAS, ablations, alpha_sweep, ifas, other_captions
from flows.protocol2 import protocol2
from flows.reproduce import MINIATURE, MINIATURE_FULL, MINIATURE_SMOKE
from ifas_model.config import PhaseConfig, TrainConfig, VitConfig

FULLS = {
    "the paper": TrainConfig(),
    "smoke": MINIATURE_SMOKE.full,
    "default": MINIATURE.full,
    "full": MINIATURE_FULL.full,
}
CHANGES = {
    "without-scf": {"answer": ("judgment+interpretation", "judgment")},
    "without-gac": {"method.connector.global_queries": ("class_tokens", "learned")},
    "without-lopsided-loss": {"method.loss.kind": ("lopsided", "standard")},
}
"""What an ablation changes: dotted field, value of the full model, value of the ablation."""


@pytest.fixture(params=FULLS, ids=lambda name: name.replace(" ", "-"))
def full(request) -> TrainConfig:
    return FULLS[request.param]


def test_each_ablation_is_tried_below() -> None:
    assert set(ABLATIONS) == {*CHANGES, "with-alignment"}


@pytest.mark.parametrize("name", CHANGES)
def test_an_ablation_changes_one_field_and_nothing_else(name: str, full, changes) -> None:
    assert changes(full, ABLATIONS[name](full)) == CHANGES[name]


def test_alignment_puts_one_phase_before_the_others_and_changes_nothing_else(full, changes) -> None:
    aligned = ABLATIONS["with-alignment"](full)
    assert set(changes(full, aligned)) == {"phases"}
    align, *rest = aligned.phases
    assert tuple(rest) == full.phases
    main = full.phases[-1]
    assert align == PhaseConfig(
        name="align",
        epochs=main.epochs / 2,
        batch_size=main.batch_size,
        learning_rate=main.learning_rate,
    )


def test_no_two_ablations_are_the_same_model(full) -> None:
    made = [full, *(change(full) for change in ABLATIONS.values())]
    assert len(set(made)) == len(ABLATIONS) + 1


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_shares_all_else_with_the_full_model_of_its_seed(
    name: str, bench, identity
) -> None:
    """Seed, shards, tower, features, language model, and the faces that are judged."""
    ours, theirs = protocol2(bench), ablations(bench, name)
    for one, other in zip(ours, theirs, strict=True):
        assert other.config == replace(one.config, variant=name)
        assert other.inputs["judge"].config.seed == one.inputs["judge"].config.seed
        assert identity(other.inputs["judge"].inputs) == identity(one.inputs["judge"].inputs)
        for read in ("shards", "features"):
            assert identity(other.inputs[read]) == identity(one.inputs[read])


def test_only_the_ablations_that_are_asked_for_are_tried(bench) -> None:
    found = [one.config.variant for one in ablations(bench, "without-gac", "without-scf")]
    assert found == ["without-gac"] * 3 + ["without-scf"] * 3


def test_an_unknown_ablation_is_no_silence(bench) -> None:
    with pytest.raises(KeyError, match="without-anything"):
        ablations(bench, "without-anything")


def test_the_sweep_goes_from_end_to_end() -> None:
    assert list(ALPHAS) == sorted(set(ALPHAS))
    assert 0 < ALPHAS[0] < ALPHAS[-1] < 1


def test_the_sweep_leaves_the_full_models_own_alpha_out(bench) -> None:
    own = ifas(bench.setting.full).loss.alpha
    assert own in ALPHAS
    found = alpha_sweep(bench, *ALPHAS)
    assert {ifas(one.inputs["judge"].config).loss.alpha for one in found} == {*ALPHAS} - {own}
    assert len(found) == (len(ALPHAS) - 1) * len(bench.setting.seeds)
    assert alpha_sweep(bench, own) == ()


def test_the_sweep_changes_alpha_and_nothing_else(bench, changes, identity) -> None:
    for one in alpha_sweep(bench, 0.0, 0.1, 1.0):
        judge = one.inputs["judge"]
        full = next(
            step.inputs["judge"]
            for step in protocol2(bench)
            if step.inputs["judge"].config.seed == judge.config.seed
        )
        assert set(changes(full.config, judge.config)) == {"method.loss.alpha"}
        assert identity(full.inputs) == identity(judge.inputs)
        assert one.config.variant == f"alpha-{ifas(judge.config).loss.alpha:g}"


def test_other_captions_change_the_shards_that_teach_and_nothing_else(bench, identity) -> None:
    taught = {"general-captions": bench.made.shards_t_f, "another": bench.others[0].shards}
    found = other_captions(bench, taught)
    assert [one.config.variant for one in found] == [name for name in taught for _ in range(3)]
    for one, plain in zip(found, protocol2(bench) * 2, strict=True):
        ours, theirs = plain.inputs["judge"], one.inputs["judge"]
        assert theirs.config == ours.config
        assert theirs.inputs["shards"] is taught[one.config.variant]
        assert one.inputs["shards"] is plain.inputs["shards"]
        for name in ours.inputs.keys() - {"shards"}:
            assert identity(theirs.inputs[name]) == identity(ours.inputs[name])


def test_a_baseline_has_no_parts_of_i_fas_to_leave_out() -> None:
    config = TrainConfig(method=VitConfig())
    for name in ("without-gac", "without-lopsided-loss"):
        with pytest.raises(TypeError, match="must be of I-FAS, but is of 'vit'"):
            ABLATIONS[name](config)
