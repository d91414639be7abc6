"""Does it hold? Sentences made from paired differences."""

from dataclasses import replace

import pytest

from scf_pipeline.report.html import escape
from scf_pipeline.report.orderings import (
    CLAIMS,
    Claim,
    headlines,
    optimum,
    orderings,
    sentence,
    source_learnt,
    targets_informative,
)
from scf_pipeline.report.runs import FULL, PROTOCOL_2, Place, Runs

HARD = Place("hard", PROTOCOL_2)
CLAIM = Claim("Table 3", FULL, "without-scf")
EQUAL = Claim("Table 4", "general-captions", "without-scf", is_equality=True)


@pytest.fixture
def with_auc(results_of):
    """Return a function that makes runs of given AUCs by variant, one for each seed."""

    def make(**values) -> Runs:
        return Runs(
            results_of(name.replace("_", "-"), seed=seed, auc=value)
            for name, some in values.items()
            for seed, value in enumerate(some)
        )

    return make


@pytest.mark.parametrize(
    ("full", "other", "words"),
    [
        ((0.90, 0.91, 0.92), (0.80, 0.81, 0.82), "holds</b>: +10.0 points"),
        ((0.80, 0.81, 0.82), (0.90, 0.91, 0.92), "does not hold</b>: −10.0 points"),  # noqa: RUF001
        ((0.80, 0.90, 0.85), (0.85, 0.80, 0.86), "undecided</b>"),
        ((0.90,), (0.10,), "undecided</b>: +80.0 points (one seed, so no interval)"),
    ],
)
def test_the_sentence_follows_from_the_interval(with_auc, full, other, words) -> None:
    assert words in sentence(with_auc(full=full, without_scf=other), HARD, CLAIM)


def test_equality_needs_a_small_interval(with_auc) -> None:
    near = with_auc(general_captions=(0.80, 0.81), without_scf=(0.80, 0.81))
    far = with_auc(general_captions=(0.90, 0.91), without_scf=(0.80, 0.81))
    assert ">holds<" in sentence(near, HARD, EQUAL)
    assert ">does not hold<" in sentence(far, HARD, EQUAL)


def test_a_claim_whose_variant_is_absent_was_not_run(with_auc) -> None:
    assert "not run" in sentence(with_auc(full=(0.9,)), HARD, CLAIM)
    assert "not run" in optimum(with_auc(full=(0.9,)), HARD)


def sweep(results_of, **values) -> Runs:
    return Runs(
        replace(results_of(name, seed=seed), auc=value + 0.001 * seed)
        for name, value in {
            f"alpha-{k[1:]}" if k != "full" else k: v for k, v in values.items()
        }.items()
        for seed in range(3)
    )


@pytest.mark.parametrize(
    ("ends", "words"),
    [((0.6, 0.7), ">holds<"), ((0.6, 0.95), ">does not hold<"), ((0.9, 0.9), ">undecided<")],
)
def test_the_optimum_is_inside_where_it_beats_both_ends(results_of, ends, words) -> None:
    told = optimum(sweep(results_of, a0=ends[0], full=0.9, a1=ends[1]), HARD)
    assert words in told
    assert "which flatters it" in told


def test_the_source_is_learnt_above_95(results_of) -> None:
    def source(value: float, **changes) -> Runs:
        told = {"role": "source", "target": "celeba_spoof", "auc": value} | changes
        return Runs([results_of(), results_of(**told)])

    assert ">yes<" in source_learnt(source(0.97), HARD)
    assert ">no<" in source_learnt(source(0.94), HARD)
    assert "inverted" in source_learnt(source(0.04, is_inverted=True), HARD)
    assert "No result on the source" in source_learnt(Runs([results_of()]), HARD)


def test_targets_at_chance_and_saturated_ones_are_named(results_of) -> None:
    made = [results_of(target="siw", auc=0.51), results_of(target="wmca", auc=0.995)]
    chance, saturated = targets_informative(Runs(made), HARD)
    assert "SIW (51.0" in chance
    assert chance.endswith("1 of 2.")
    assert "WMCA (99.5" in saturated
    assert "There are no results" in targets_informative(Runs([]), HARD)[0]


def test_every_claim_has_a_sentence_in_every_world(judged) -> None:
    told = orderings(Runs(result for one in judged for result in one.results))
    for claim in CLAIMS:
        assert told.count(escape(claim.words)) == 2
    assert "not run" not in told
    assert told.count("bona-fide-mixed, against the full model: ") == 2
    assert told.count("Captioner domains: ") == 2


def test_the_headlines_count_the_orderings(judged, with_auc) -> None:
    told = headlines(Runs(result for one in judged for result in one.results))
    assert len(told) == 2
    assert told[0].startswith("Hard world: the full model reaches 84.")
    assert f"of {len(CLAIMS)} orderings" in told[0]
    (alone,) = headlines(with_auc(full=(0.9, 0.92), without_scf=(0.8, 0.82), vitaf=(0.95, 0.97)))
    assert "91.0 % AUC" in alone
    assert alone.endswith("compared: 1 hold, 1 do not hold, 0 are undecided.")
    assert headlines(Runs([])) == []


def test_nothing_run_is_said() -> None:
    assert "Protocol 2 was not run" in orderings(Runs([]))
