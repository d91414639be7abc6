"""Results by what they are results of: pairing, order, sweep, what is left out."""

from dataclasses import replace

import pytest

from scf_pipeline.errors import ArtifactError
from scf_pipeline.report.runs import (
    FULL,
    PROTOCOL_1,
    PROTOCOL_2,
    TITLES,
    Place,
    Runs,
    auc,
    extras,
    hter,
    row_title,
    title,
)

HARD = Place("hard", PROTOCOL_2)


@pytest.fixture(scope="module")
def runs(judged) -> Runs:
    return Runs(result for one in judged for result in one.results)


def test_the_hard_world_comes_first(runs) -> None:
    assert [place.title for place in runs.places(PROTOCOL_2)] == ["hard world", "easy world"]
    assert runs.places("protocol9") == []
    assert Place("", PROTOCOL_1).title == "real data"


def test_known_variants_come_in_the_order_of_the_tables(runs) -> None:
    found = runs.variants(HARD)
    assert found[0] == FULL
    assert [name for name in found if name in TITLES] == [n for n in TITLES if n in found]
    assert found[-1] == "bona-fide-mixed"


def test_the_source_is_no_target(runs) -> None:
    assert len(runs.targets(HARD)) == 11
    assert "celeba_spoof" not in runs.targets(HARD)
    assert {result.role for result in runs.source_results(HARD, FULL)} == {"source"}


def test_a_mean_weighs_targets_alike(runs) -> None:
    values = [result.auc for result in runs.results(HARD, FULL) if result.seed == 1]
    assert runs.by_seed(HARD, FULL, auc)[1] == pytest.approx(sum(values) / 11)
    assert runs.summary(HARD, FULL, hter).count == 3


def test_a_seed_without_all_targets_has_no_mean(results_of) -> None:
    some = [results_of(seed=0), results_of(seed=0, target="wmca"), results_of(seed=1)]
    assert list(Runs(some).by_seed(HARD, FULL, auc)) == [0]
    assert list(Runs(some).by_seed(HARD, FULL, auc, ["siw"])) == [0, 1]
    assert Runs(some).summary(HARD, "absent", auc) is None


def test_a_difference_is_paired_by_seed(runs) -> None:
    ours, theirs = runs.by_seed(HARD, FULL, auc), runs.by_seed(HARD, "vitaf", auc)
    told = runs.difference(HARD, FULL, "vitaf", auc)
    assert told.mean == pytest.approx(sum(ours[s] - theirs[s] for s in ours) / 3)
    assert runs.difference(HARD, FULL, "absent", auc) is None


def test_the_sweep_holds_what_differs_in_alpha_alone(runs) -> None:
    assert runs.alphas(HARD) == {0.0: "alpha-0", 0.3: "alpha-0.3", 0.7: FULL, 1.0: "alpha-1"}


def test_another_setting_or_other_shards_keep_a_variant_out_of_the_sweep(results_of) -> None:
    full, sweep = results_of(), results_of("alpha-0")
    wider = replace(sweep, settings=sweep.settings | {"answer": "judgment"})
    elsewhere = replace(sweep, inputs={"taught": "others"})
    assert Runs([full, sweep]).alphas(HARD) == {0.0: "alpha-0", 0.7: FULL}
    assert Runs([full, wider]).alphas(HARD) == {0.7: FULL}
    assert Runs([full, elsewhere]).alphas(HARD) == {0.7: FULL}
    assert Runs([sweep]).alphas(HARD) == {}


def test_policies_are_never_mixed(results_of) -> None:
    best = results_of(target="wmca", checkpoint_policy="best_on_test")
    runs = Runs([results_of(), best])
    assert (runs.policy, runs.left_out) == ("last", {"best_on_test": 1})
    assert runs.targets(HARD) == ["siw"]
    assert Runs([best]).policy == "best_on_test"
    assert Runs([]).policy == "last"


def test_two_results_of_the_same_run_are_refused(results_of) -> None:
    with pytest.raises(ArtifactError, match="two are of hard, protocol2, full, seed 0, siw"):
        Runs([results_of(), results_of()])


def test_the_note_names_both_policies_and_a_lonely_seed(runs, results_of) -> None:
    assert runs.note == "Threshold: eer_on_test; checkpoint: last."
    assert Runs([results_of()]).note.endswith("One seed, so no interval over seeds.")


def test_unknown_variants_keep_their_names() -> None:
    assert title("mine") == row_title("mine") == "mine"
    assert title("with-alignment") != "with-alignment"
    assert row_title("<b>") == "&lt;b&gt;"
    assert extras(["full", "alpha-0", "mine"], ["alpha-0", "full"]) == ["mine"]
