import math
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from ifas_model import metrics
from ifas_model.metrics import (
    apcer,
    auc,
    bootstrap,
    bpcer,
    by_sample,
    compat_grid_eer,
    ece,
    eer,
    error_rates,
    far,
    hter,
    roc,
    tpr_at_fpr,
)
from ifas_model.results import auc_bounds, auc_bounds_at_eer

GRAINS = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
"""Few values, so that most scores have ties."""


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Scores, often tied, and labels of both classes."""
    one = st.one_of(GRAINS, st.floats(0, 1))
    bona_fide = draw(st.lists(one, min_size=1, max_size=12))
    attack = draw(st.lists(one, min_size=1, max_size=12))
    order = draw(st.permutations(range(len(bona_fide) + len(attack))))
    is_bona_fide = np.arange(len(order)) < len(bona_fide)
    return np.array(bona_fide + attack)[order], is_bona_fide[order]


def many(seed: int, *, size: int = 600, grain: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping scores in [0, 1], with many ties where `grain` values are all there are."""
    rng = np.random.default_rng(seed)
    is_bona_fide = rng.random(size) < 0.3
    scores = 1 / (1 + np.exp(-rng.normal(size=size) - 1.5 * is_bona_fide))
    return (np.round(scores * grain) / grain if grain else scores), is_bona_fide


def rates_by_hand(scores, is_bona_fide, threshold: float) -> tuple[float, float]:
    """Count FAR and BPCER one score after another."""
    pairs = list(zip(scores, is_bona_fide, strict=True))
    attacks = [score for score, claim in pairs if not claim]
    bona_fide = [score for score, claim in pairs if claim]
    accepted = sum(score >= threshold for score in attacks)
    return accepted / len(attacks), sum(s < threshold for s in bona_fide) / len(bona_fide)


@pytest.mark.parametrize("grain", [0, 2, 10, 100])
@pytest.mark.parametrize("seed", range(5))
def test_auc_equals_scikit_learns(seed: int, grain: int) -> None:
    scores, is_bona_fide = many(seed, grain=grain)
    assert auc(scores, is_bona_fide) == pytest.approx(
        roc_auc_score(is_bona_fide, scores), abs=1e-12, rel=0
    )


@given(scored())
def test_auc_is_the_share_of_pairs_won(data) -> None:
    scores, is_bona_fide = data
    attacks = scores[~is_bona_fide]
    won = [(b > a) + (b == a) / 2 for b in scores[is_bona_fide] for a in attacks]
    assert auc(scores, is_bona_fide) == pytest.approx(sum(won) / len(won), abs=1e-12, rel=0)


@given(scored())
def test_eer_equals_a_sweep_of_all_scores_and_one_above(data) -> None:
    scores, is_bona_fide = data
    rate, threshold = eer(scores, is_bona_fide)
    sweep = [*sorted(set(scores)), math.nextafter(max(scores), math.inf)]
    errors = [rates_by_hand(scores, is_bona_fide, one) for one in sweep]
    least = min(abs(a - b) for a, b in errors)
    closest = [n for n, (a, b) in enumerate(errors) if abs(a - b) <= least + 1e-12]
    assert threshold == sweep[closest[0]]  # of a tie, the lower
    assert rate == pytest.approx(sum(errors[closest[0]]) / 2, abs=1e-12)


@given(scored(), GRAINS)
def test_far_bpcer_and_hter_equal_a_count_by_hand(data, threshold: float) -> None:
    accepted, rejected = rates_by_hand(*data, threshold)
    assert far(*data, threshold) == accepted
    assert bpcer(*data, threshold) == rejected
    assert hter(*data, threshold) == (accepted + rejected) / 2


@given(scored())
def test_hter_at_the_eer_threshold_is_the_eer(data) -> None:
    rate, threshold = eer(*data)
    assert hter(*data, threshold) == pytest.approx(rate, abs=1e-12)


@pytest.mark.parametrize("fpr", [0.0, 0.001, 0.01, 0.1, 1.0])
@pytest.mark.parametrize("grain", [0, 20])
def test_tpr_at_fpr_is_the_last_point_of_scikit_learns_curve(fpr: float, grain: int) -> None:
    scores, is_bona_fide = many(3, size=3000, grain=grain)
    fprs, tprs, _ = roc_curve(is_bona_fide, scores, drop_intermediate=False)
    assert tpr_at_fpr(scores, is_bona_fide, fpr) == tprs[fprs <= fpr][-1]


def test_a_limit_that_is_met_exactly_is_met() -> None:
    scores = [0.5, 1.0, *[0.0] * 999]
    is_bona_fide = [True, *[False] * 1000]
    assert tpr_at_fpr(scores, is_bona_fide, 0.001) == 1
    assert tpr_at_fpr(scores, is_bona_fide, 0.000999) == 0


def test_ece_equals_a_sum_over_bins() -> None:
    p_yes, is_bona_fide = many(4)
    total = 0.0
    for number in range(15):
        held = (p_yes * 15 >= number) & (p_yes * 15 < number + 1)
        if held.any():
            total += held.mean() * abs(p_yes[held].mean() - is_bona_fide[held].mean())
    assert ece(p_yes, is_bona_fide) == pytest.approx(total, abs=1e-12)


def test_ece_of_sure_scores_is_the_share_of_wrong_ones() -> None:
    assert ece([1, 1, 1, 0], [True, True, True, False]) == 0
    assert ece([1, 1, 1, 0], [True, True, False, False]) == pytest.approx(0.25)
    assert ece([1.0, 0.0], [False, True]) == 1


def test_a_score_of_one_shares_the_last_bin() -> None:
    assert ece([0.95, 1.0], [True, False]) == pytest.approx(0.975 - 0.5)


def grid_by_hand(scores, is_bona_fide) -> tuple[float, float]:
    """Try every threshold of the grid in turn; a later one wins a tie."""
    best = (1.0, 1.0, 0.0)
    for threshold in [*(step / 10_000 for step in range(10_001)), 1.1]:
        accepted = np.mean(scores[~is_bona_fide] >= threshold)
        rejected = np.mean(scores[is_bona_fide] < threshold)
        if abs(accepted - rejected) <= best[0]:
            best = (abs(accepted - rejected), (accepted + rejected) / 2, threshold)
    return best[1:]


@pytest.mark.parametrize("grain", [0, 7])
@pytest.mark.parametrize("seed", range(3))
def test_the_grid_equals_the_baselines_loop(seed: int, grain: int) -> None:
    scores, is_bona_fide = many(seed, size=100, grain=grain)
    assert compat_grid_eer(scores, is_bona_fide) == pytest.approx(
        grid_by_hand(scores, is_bona_fide), abs=1e-12
    )


def test_the_grid_ends_above_sure_scores() -> None:
    assert compat_grid_eer([1.0, 1.0, 1.0], [True, False, False]) == (0.5, 1.1)


def test_the_grid_agrees_with_exact_rates_on_smooth_scores() -> None:
    scores, is_bona_fide = many(5)
    assert compat_grid_eer(scores, is_bona_fide)[0] == eer(scores, is_bona_fide)[0]


def test_the_grid_cannot_resolve_sure_scores_which_exact_rates_do() -> None:
    scores, is_bona_fide = many(5)
    crowded = 1 - scores[::-1] * 1e-5
    assert eer(crowded, is_bona_fide)[0] == eer(1 - scores[::-1], is_bona_fide)[0]
    assert compat_grid_eer(crowded, is_bona_fide)[0] == 0.5


@given(scored(), GRAINS, GRAINS)
def test_a_stricter_threshold_never_accepts_more(data, one: float, other: float) -> None:
    loose, strict = sorted((one, other))
    assert far(*data, strict) <= far(*data, loose)
    assert bpcer(*data, strict) >= bpcer(*data, loose)


@given(scored(), st.integers(0, 2**32 - 1))
def test_the_order_of_samples_does_not_matter(data, seed: int) -> None:
    scores, is_bona_fide = data
    order = np.random.default_rng(seed).permutation(scores.size)
    moved = scores[order], is_bona_fide[order]
    for metric in (auc, eer, compat_grid_eer, roc):
        assert metric(*moved) == metric(*data)
    assert tpr_at_fpr(*moved, 0.1) == tpr_at_fpr(*data, 0.1)
    assert ece(*moved) == pytest.approx(ece(*data), abs=1e-12)
    assert bootstrap(*moved, resamplings=5) == bootstrap(*data, resamplings=5)


@given(scored(), st.integers(2, 5))
def test_as_many_times_the_same_samples_have_the_same_rates(data, times: int) -> None:
    again = np.tile(data[0], times), np.tile(data[1], times)
    for metric in (auc, eer, roc, compat_grid_eer):
        assert metric(*again) == metric(*data)
    assert ece(*again) == pytest.approx(ece(*data), abs=1e-12)


@given(scored(), st.integers(2, 5), st.booleans())
def test_how_many_there_are_of_a_class_changes_no_rate(data, times: int, more: bool) -> None:
    scores, is_bona_fide = data
    counts = np.where(is_bona_fide == more, times, 1)
    again = np.repeat(scores, counts), np.repeat(is_bona_fide, counts)
    assert auc(*again) == pytest.approx(auc(*data), abs=1e-12)
    assert eer(*again) == pytest.approx(eer(*data), abs=1e-12)
    assert far(*again, 0.5) == pytest.approx(far(*data, 0.5), abs=1e-12)
    assert bpcer(*again, 0.5) == pytest.approx(bpcer(*data, 0.5), abs=1e-12)


@given(scored())
def test_swapped_polarity_turns_auc_around(data) -> None:
    scores, is_bona_fide = data
    assert auc(-scores, is_bona_fide) == pytest.approx(1 - auc(*data), abs=1e-12)
    assert auc(scores, ~is_bona_fide) == pytest.approx(1 - auc(*data), abs=1e-12)


@given(scored())
def test_a_rising_map_of_scores_changes_no_rank_metric(data) -> None:
    scores, is_bona_fide = data
    ranks = np.unique(scores, return_inverse=True)[1]  # margins of any scale
    assert auc(ranks, is_bona_fide) == auc(*data)
    assert eer(ranks, is_bona_fide)[0] == eer(*data)[0]
    assert roc(ranks, is_bona_fide) == roc(*data)


@given(scored())
def test_every_rate_is_a_fraction(data) -> None:
    found = [auc(*data), eer(*data)[0], compat_grid_eer(*data)[0], ece(*data)]
    found += [tpr_at_fpr(*data, 0.01), *(one for point in roc(*data) for one in point)]
    found += [end for ends in bootstrap(*data, resamplings=5).values() for end in ends]
    assert all(isinstance(one, float) and 0 <= one <= 1 for one in found)


@given(scored(), GRAINS)
def test_auc_lies_within_the_bounds_of_every_hter(data, threshold: float) -> None:
    low, high = auc_bounds(hter(*data, threshold))
    assert low - 1e-12 <= auc(*data) <= high + 1e-12


@given(scored())
def test_auc_lies_within_the_bounds_of_the_eer(data) -> None:
    rate, threshold = eer(*data)
    low, high = auc_bounds_at_eer(rate)
    # FAR and BPCER lie this far on either side of the rate: their products miss its square by d^2
    slack = ((far(*data, threshold) - bpcer(*data, threshold)) / 2) ** 2 + 1e-12
    assert low - slack <= auc(*data) <= high + slack


@given(scored(), st.integers(2, 12))
def test_roc_is_a_rising_path_from_corner_to_corner_through_exact_points(data, points) -> None:
    curve = roc(*data, points=points)
    assert len(curve) <= points
    assert (curve[0], curve[-1]) == ((0.0, 0.0), (1.0, 1.0))
    assert list(curve) == sorted(curve, key=sum)
    thresholds = [*data[0], 2.0]
    exact = {(far(*data, one), 1 - bpcer(*data, one)) for one in thresholds}
    for x, y in curve:
        assert any(math.isclose(x, a) and math.isclose(y, b, abs_tol=1e-12) for a, b in exact)


def test_a_thinned_curve_keeps_the_area() -> None:
    scores, is_bona_fide = many(6, size=20_000)
    curve = roc(scores, is_bona_fide)
    assert 80 <= len(curve) <= 101
    area = np.trapezoid([y for _, y in curve], [x for x, _ in curve])
    assert area == pytest.approx(auc(scores, is_bona_fide), abs=1e-3)


def test_apcer_counts_each_species_by_itself() -> None:
    scores = [0.9, 0.8, 0.4, 0.7, 0.1, 0.2]
    species = [None, "print", "print", "replay", "replay", "mask"]
    found = apcer(scores, species, 0.7)
    assert found == {"mask": 0.0, "print": 0.5, "replay": 0.5}
    assert list(found) == sorted(found)


@given(scored(), GRAINS)
def test_far_is_the_mean_of_species_weighed_by_their_attacks(data, threshold: float) -> None:
    scores, is_bona_fide = data
    kinds = np.where(np.arange(scores.size) % 3 == 0, "mask", "print")
    species = [None if claim else kind for claim, kind in zip(is_bona_fide, kinds, strict=True)]
    rates = error_rates(scores, is_bona_fide, species, threshold)
    weighed = sum(rate * species.count(name) for name, rate in rates.apcer.items())
    assert weighed / (~is_bona_fide).sum() == pytest.approx(rates.far, abs=1e-12)
    assert rates.acer == (max(rates.apcer.values()) + rates.bpcer) / 2
    assert (rates.far, rates.bpcer) == rates_by_hand(*data, threshold)
    assert rates.hter == hter(*data, threshold)


def test_a_sample_scores_the_mean_of_its_faces_in_the_order_of_its_first() -> None:
    found = by_sample(
        ["b", "a", "b", "c"], [0.1, 0.5, 0.5, 1.0], [0, 1, 0, 0], ["print", None, "print", "mask"]
    )
    assert found.sample_ids.tolist() == ["b", "a", "c"]
    assert found.scores.tolist() == pytest.approx([0.3, 0.5, 1.0])
    assert found.is_bona_fide.tolist() == [False, True, False]
    assert found.species.tolist() == ["print", None, "mask"]


@given(scored(), st.integers(0, 2**32 - 1))
def test_a_sample_scores_its_own_mean_in_any_order_of_faces(data, seed: int) -> None:
    scores, is_bona_fide = data
    ids = [f"{'ab'[int(claim)]}{number % 3}" for number, claim in enumerate(is_bona_fide)]
    species = [None if claim else "print" for claim in is_bona_fide]
    order = np.random.default_rng(seed).permutation(scores.size)
    found = by_sample(
        np.array(ids)[order], scores[order], is_bona_fide[order], np.array(species)[order]
    )
    assert sorted(found.sample_ids) == sorted(set(ids))
    for sample, score, claim, kind in zip(*found, strict=True):
        own = [one for one, name in zip(scores, ids, strict=True) if name == sample]
        assert score == pytest.approx(sum(own) / len(own), abs=1e-12)
        assert (claim, kind) == (sample[0] == "b", None if sample[0] == "b" else "print")


@pytest.mark.parametrize(
    ("is_bona_fide", "species"),
    [([True, True, False], [None, None, None]), ([False] * 3, ["mask", "print", "mask"])],
)
def test_faces_of_a_sample_that_differ_are_refused(is_bona_fide, species) -> None:
    with pytest.raises(ValueError, match="Faces of 'siw/a' must share label and species"):
        by_sample(["b", "siw/a", "siw/a"], [0.1, 0.2, 0.3], is_bona_fide, species)


def test_the_bootstrap_brackets_the_figures() -> None:
    data = many(7)
    found = bootstrap(*data)
    assert found["auc"][0] < auc(*data) < found["auc"][1]
    assert found["hter"][0] < eer(*data)[0] < found["hter"][1]


@pytest.mark.parametrize("size", [300, 3000])
def test_the_interval_of_auc_is_as_wide_as_delongs(size: int) -> None:
    scores, is_bona_fide = many(7, size=size)
    bona_fide, attack = scores[is_bona_fide], scores[~is_bona_fide]
    wins = bona_fide[:, None] > attack
    variance = wins.mean(axis=1).var(ddof=1) / bona_fide.size
    variance += wins.mean(axis=0).var(ddof=1) / attack.size
    low, high = bootstrap(scores, is_bona_fide, resamplings=2000)["auc"]
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(variance), rel=0.1)


def test_each_resampling_is_scored_like_any_scores() -> None:
    """Each percentile of two resamplings tells both of their figures."""
    scores, is_bona_fide = many(8, size=60, grain=12)
    streams = np.random.default_rng(3).spawn(2)
    drawn = []
    for claim, stream in zip((True, False), streams, strict=True):
        one = np.sort(scores[is_bona_fide == claim])
        drawn.append(one[stream.integers(one.size, size=(2, one.size))])
    labels = np.repeat([True, False], [drawn[0].shape[1], drawn[1].shape[1]])
    rows = [np.concatenate(row) for row in zip(*drawn, strict=True)]
    found = bootstrap(scores, is_bona_fide, resamplings=2, seed=3)
    for name, metric in (("auc", auc), ("hter", lambda *data: eer(*data)[0])):
        expected = np.percentile([metric(row, labels) for row in rows], [2.5, 97.5])
        assert found[name] == pytest.approx(tuple(expected), abs=1e-12)


def test_the_bootstrap_follows_its_seed_and_not_how_much_is_held_at_once(monkeypatch) -> None:
    data = many(9, size=50)
    found = bootstrap(*data, resamplings=40, seed=1)
    assert found != bootstrap(*data, resamplings=40, seed=2)
    monkeypatch.setattr(metrics, "DRAWN_AT_ONCE", 350)  # seven resamplings
    assert found == bootstrap(*data, resamplings=40, seed=1)


def test_no_resamplings_give_no_intervals() -> None:
    assert bootstrap(*many(0), resamplings=0) == {}


def test_500_resamplings_of_600_samples_are_quick() -> None:
    data = many(0)
    times = []
    for _ in range(3):
        start = perf_counter()
        bootstrap(*data, resamplings=500)
        times.append(perf_counter() - start)
    assert min(times) < 0.3


BOTH = [True, False]
AUC_LIKE = [auc, eer, compat_grid_eer, roc, bootstrap, lambda *data: tpr_at_fpr(*data, 0.1)]


@pytest.mark.parametrize("metric", [*AUC_LIKE, ece, lambda *data: far(*data, 0.5)])
@pytest.mark.parametrize(
    ("scores", "is_bona_fide", "message"),
    [
        ([0.5, math.nan], BOTH, r"`scores` must be finite, but is nan \(row 1\)"),
        ([math.inf, 0.5], BOTH, r"`scores` must be finite, but is inf \(row 0\)"),
        ([0.5, 0.4, 0.3], BOTH, r"`is_bona_fide` must have shape \(3,\), but has \(2,\)"),
        ([[0.5, 0.4]], [BOTH], r"one dimension, but has shape \(1, 2\)"),
        ([0.5, 0.4], [1, -1], "`is_bona_fide` must be true or false, but is -1"),
    ],
)
def test_bad_input_is_refused_with_what_it_is(metric, scores, is_bona_fide, message) -> None:
    with pytest.raises(ValueError, match=message):
        metric(scores, is_bona_fide)


@pytest.mark.parametrize("metric", AUC_LIKE)
def test_one_class_alone_has_no_curve(metric) -> None:
    for claim, found in ((True, "{'bona fide': 2, 'attack': 0}"), (False, "'attack': 2}")):
        with pytest.raises(ValueError, match=f"must hold both classes, but holds .*{found}"):
            metric([0.1, 0.2], [claim, claim])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: far([0.5], [True], 0.5), "at least one of attack, but holds none"),
        (lambda: bpcer([0.5], [False], 0.5), "at least one of bona fide, but holds none"),
        (lambda: far([0.5], [False], math.nan), "`threshold` must be a number, but is nan"),
        (lambda: apcer([0.5], [None], 0.5), "at least one attack, but all 1 are None"),
        (lambda: apcer([0.5], ["mask", None], 0.5), r"`species` must have shape \(1,\)"),
        (lambda: tpr_at_fpr([0.5, 0.6], BOTH, 1.5), r"`fpr` must be in \[0, 1\], but is 1.5"),
        (lambda: roc([0.5, 0.6], BOTH, points=1), "`points` must be at least 2, but is 1"),
        (lambda: ece([0.5, 1.5], BOTH), r"`p_yes` must be in \[0, 1\], but spans 0.5 to 1.5"),
        (lambda: ece([], []), "but is empty"),
        (lambda: ece([0.5], [True], bins=0), "`bins` must be at least 1, but is 0"),
        (lambda: compat_grid_eer([-1.0, 2.0], BOTH), "but spans -1.0 to 2.0"),
        (
            lambda: error_rates([0.5, 0.6], BOTH, [None, None], 0.5),
            "None exactly for bona fide, but is None where `is_bona_fide` is False",
        ),
        (
            lambda: error_rates([0.5, 0.6], BOTH, ["mask", "mask"], 0.5),
            "but is 'mask' where `is_bona_fide` is True",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
