"""Error rates of scores after ISO/IEC 30107: numpy arrays in, fractions in [0, 1] out.

A higher score means bona fide; accepted means score >= threshold. Every function asks for finite
scores, as many labels, and at least one of each class that it counts, else it is a ValueError.

Shapes in this file:
    n scores, K distinct scores, R resamplings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ifas_model.results import MAX_ROC_POINTS, ErrorRates

Array = NDArray[Any]
Floats = NDArray[np.float64]
Claims = NDArray[np.bool_]
Counts = NDArray[np.int64]
Species = Sequence[str | None] | NDArray[np.object_]
"""PAI species beside each score; ``None`` for bona fide."""

DRAWN_AT_ONCE = 2_000_000
"""Most drawn scores held in memory at a time."""


class Samples(NamedTuple):
    """Mean score, label and PAI species of each sample, in order of its first face; all (n,)."""

    sample_ids: Array
    scores: Floats
    is_bona_fide: Claims
    species: NDArray[np.object_]


def by_sample(
    sample_ids: ArrayLike, scores: ArrayLike, is_bona_fide: ArrayLike, species: Species
) -> Samples:
    """Average the faces of each sample, which must share label and PAI species."""
    values, is_bf = _read(scores, is_bona_fide)
    ids = _beside(values, "sample_ids", np.asarray(sample_ids, dtype=np.str_))
    kinds = _beside(values, "species", np.asarray(species, dtype=np.object_))
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    differs = (is_bf != is_bf[first][inverse]) | (kinds != kinds[first][inverse])
    if differs.any():
        sample = str(ids[np.argmax(differs)])
        raise ValueError(f"Faces of {sample!r} must share label and species, but do not.")
    means = np.bincount(inverse, weights=values) / np.bincount(inverse)
    rows = np.sort(first)
    return Samples(ids[rows], means[inverse[rows]], is_bf[rows], kinds[rows])


def far(scores: ArrayLike, is_bona_fide: ArrayLike, threshold: float) -> float:
    """Return the share of accepted attacks."""
    values, is_bf = _read(scores, is_bona_fide)
    return _share(values[~is_bf], threshold, "attack", accepted=True)


def bpcer(scores: ArrayLike, is_bona_fide: ArrayLike, threshold: float) -> float:
    """Return the share of rejected bona fide."""
    values, is_bf = _read(scores, is_bona_fide)
    return _share(values[is_bf], threshold, "bona fide", accepted=False)


def hter(scores: ArrayLike, is_bona_fide: ArrayLike, threshold: float) -> float:
    """Return (FAR + BPCER) / 2."""
    return (far(scores, is_bona_fide, threshold) + bpcer(scores, is_bona_fide, threshold)) / 2


def apcer(scores: ArrayLike, species: Species, threshold: float) -> dict[str, float]:
    """Return the share of accepted attacks of each PAI species, by its name."""
    values = _read_scores(scores)
    kinds = _beside(values, "species", np.asarray(species, dtype=np.object_))
    names = sorted({str(kind) for kind in kinds if kind is not None})
    if not names:
        raise ValueError(f"`species` must name at least one attack, but all {kinds.size} are None.")
    return {one: _share(values[kinds == one], threshold, one, accepted=True) for one in names}


def error_rates(
    scores: ArrayLike, is_bona_fide: ArrayLike, species: Species, threshold: float
) -> ErrorRates:
    """Return all errors at one threshold; `species` must be None exactly for bona fide."""
    values, is_bf = _read(scores, is_bona_fide)
    kinds = _beside(values, "species", np.asarray(species, dtype=np.object_))
    odd = np.flatnonzero(is_bf != [kind is None for kind in kinds])
    if odd.size:
        found = f"{kinds[odd[0]]!r} where `is_bona_fide` is {bool(is_bf[odd[0]])}"
        raise ValueError(f"`species` must be None exactly for bona fide, but is {found}.")
    accepted, rejected = far(values, is_bf, threshold), bpcer(values, is_bf, threshold)
    per_species = apcer(values, kinds, threshold)
    return ErrorRates(
        threshold=float(threshold),
        far=accepted,
        bpcer=rejected,
        hter=(accepted + rejected) / 2,
        apcer=per_species,
        acer=(max(per_species.values()) + rejected) / 2,
    )


def auc(scores: ArrayLike, is_bona_fide: ArrayLike) -> float:
    """Return the chance that a bona fide scores above an attack; a tie counts half."""
    bona_fide, attack, _ = _count(*_read(scores, is_bona_fide))
    return float(_auc(bona_fide, attack))


def eer(scores: ArrayLike, is_bona_fide: ArrayLike) -> tuple[float, float]:
    """Return the equal error rate and its threshold.

    The threshold is the one, of the scores and one above them all, where FAR and BPCER are
    closest, and the rate is their mean there. Two can be equally close, one on either side of
    equality; the lower is taken, and so always a score: the least is as close as the one above all.
    """
    bona_fide, attack, distinct = _count(*_read(scores, is_bona_fide))
    rate, best = _at_eer(*_errors(bona_fide, attack))
    return float(rate), float(distinct[best])


def compat_grid_eer(p_yes: ArrayLike, is_bona_fide: ArrayLike) -> tuple[float, float]:
    """Return the EER and its threshold as public baselines do, on a grid.

    To compare with their logs only: scores closer than the grid's step, as a sure model gives them
    near 0 and 1, are not told apart. Of equally close thresholds the last is taken.

    Source: FLIP and ViTAF, ``get_EER_states``.
    """
    bona_fide, attack, distinct = _count(*_read_p_yes(p_yes, is_bona_fide))
    accepted, rejected = _errors(bona_fide, attack)
    # from 1.1, which accepts nothing, down to 0: the last of equals comes first
    grid = np.append(1.1, np.arange(10_000, -1, -1) / 10_000)
    places = np.searchsorted(distinct, grid)
    rate, best = _at_eer(accepted[places], rejected[places])
    return float(rate), float(grid[best])


def tpr_at_fpr(scores: ArrayLike, is_bona_fide: ArrayLike, fpr: float) -> float:
    """Return 1 - BPCER at the last exact point of the ROC curve with FAR <= `fpr`."""
    if not 0 <= fpr <= 1:
        raise ValueError(f"`fpr` must be in [0, 1], but is {fpr}.")
    fars, tprs = _curve(scores, is_bona_fide)
    return float(tprs[np.searchsorted(fars, fpr, side="right") - 1])


def roc(
    scores: ArrayLike, is_bona_fide: ArrayLike, points: int = MAX_ROC_POINTS
) -> tuple[tuple[float, float], ...]:
    """Return at most `points` exact points (FAR, 1 - BPCER) of the curve, from (0, 0) to (1, 1).

    Of more, those are kept that divide the way along the curve most evenly, up and to the right
    counting alike, so that steep and flat stretches are both drawn.
    """
    if points < 2:
        raise ValueError(f"`points` must be at least 2, but is {points}.")
    fars, tprs = _curve(scores, is_bona_fide)
    kept = np.arange(fars.size)
    if fars.size > points:
        way = (fars + tprs) / (fars + tprs)[-1]
        kept = np.unique(np.searchsorted(way, np.linspace(0, 1, points)))
    return tuple(zip(fars[kept].tolist(), tprs[kept].tolist(), strict=True))


def ece(p_yes: ArrayLike, is_bona_fide: ArrayLike, bins: int = 15) -> float:
    """Return the expected calibration error of the probability of bona fide.

    That is the mean, over samples, of the distance between mean `p_yes` and share of bona fide in
    the sample's bin; bins divide [0, 1] evenly, and the last one holds 1.
    """
    if bins < 1:
        raise ValueError(f"`bins` must be at least 1, but is {bins}.")
    values, is_bf = _read_p_yes(p_yes, is_bona_fide)
    numbers = np.minimum((values * bins).astype(np.int64), bins - 1)
    return float(np.abs(np.bincount(numbers, weights=values - is_bf)).sum() / values.size)


def bootstrap(
    scores: ArrayLike, is_bona_fide: ArrayLike, *, resamplings: int = 500, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return 95 % intervals of ``auc`` and ``hter``, the latter at each resampling's own EER.

    Bona fide and attacks are drawn apart, as many as there are of each: a dataset fixes these
    numbers, and no resampling is without a class. Give scores by sample: faces of one video are no
    independent draws. Without resamplings there are no intervals.
    """
    if resamplings < 1:
        return {}
    *counts, distinct = _count(*_read(scores, is_bona_fide))
    places = [np.repeat(np.arange(distinct.size), count) for count in counts]  # each ascending
    # one stream for each class, so that draws do not depend on how many are held at a time
    streams = np.random.default_rng(seed).spawn(2)
    step = max(1, DRAWN_AT_ONCE // sum(one.size for one in places))
    drawn = np.empty((2, resamplings))
    for start in range(0, resamplings, step):
        rows = slice(start, min(start + step, resamplings))
        shape = (rows.stop - start, distinct.size)
        bona_fide, attack = (_draw(places[k], shape, streams[k]) for k in (0, 1))
        drawn[0, rows] = _auc(bona_fide, attack)
        drawn[1, rows] = _at_eer(*_errors(bona_fide, attack))[0]
    low, high = np.percentile(drawn, (2.5, 97.5), axis=1).tolist()
    return {"auc": (low[0], high[0]), "hter": (low[1], high[1])}


def _read_scores(scores: ArrayLike) -> Floats:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"`scores` must have one dimension, but has shape {values.shape}.")
    odd = np.flatnonzero(~np.isfinite(values))
    if odd.size:
        raise ValueError(f"`scores` must be finite, but is {values[odd[0]]} (row {odd[0]}).")
    return values


def _read(scores: ArrayLike, is_bona_fide: ArrayLike) -> tuple[Floats, Claims]:
    values = _read_scores(scores)
    given = _beside(values, "is_bona_fide", np.asarray(is_bona_fide))
    odd = given[(given != 0) & (given != 1)]
    if odd.size:
        raise ValueError(f"`is_bona_fide` must be true or false, but is {odd.tolist()[0]!r}.")
    return values, given.astype(np.bool_)


def _read_p_yes(p_yes: ArrayLike, is_bona_fide: ArrayLike) -> tuple[Floats, Claims]:
    values, is_bf = _read(p_yes, is_bona_fide)
    if not (values.size and values.min() >= 0 and values.max() <= 1):
        found = f"spans {values.min()} to {values.max()}" if values.size else "is empty"
        raise ValueError(f"`p_yes` must be in [0, 1], but {found}.")
    return values, is_bf


def _beside(values: Floats, name: str, column: Array) -> Array:
    if column.shape != values.shape:
        raise ValueError(f"`{name}` must have shape {values.shape}, but has {column.shape}.")
    return column


def _share(values: Floats, threshold: float, name: str, *, accepted: bool) -> float:
    if not values.size:
        raise ValueError(f"`scores` must hold at least one of {name}, but holds none.")
    if np.isnan(threshold):
        raise ValueError(f"`threshold` must be a number, but is {threshold}.")
    return float(((values >= threshold) == accepted).mean())


def _count(values: Floats, is_bf: Claims) -> tuple[Counts, Counts, Floats]:
    """Count bona fide and attacks at each distinct score; return the scores too; all (K,)."""
    counts = {"bona fide": int(is_bf.sum()), "attack": int((~is_bf).sum())}
    if 0 in counts.values():
        raise ValueError(f"`is_bona_fide` must hold both classes, but holds {counts}.")
    distinct, places = np.unique(values, return_inverse=True)
    bona_fide = np.bincount(places[is_bf], minlength=distinct.size)
    return bona_fide, np.bincount(places[~is_bf], minlength=distinct.size), distinct


def _draw(places: Counts, shape: tuple[int, int], rng: np.random.Generator) -> Counts:
    """Draw R times as many scores as there are, and count each; `shape` is (R, K)."""
    drawn = places[rng.integers(places.size, size=(shape[0], places.size))]
    drawn += np.arange(shape[0])[:, None] * shape[1]
    return np.bincount(drawn.ravel(), minlength=shape[0] * shape[1]).reshape(shape)


def _errors(bona_fide: Counts, attack: Counts) -> tuple[Counts, Counts]:
    """Return accepted attacks and rejected bona fide, both (..., K + 1), from counts (..., K).

    The thresholds are the distinct scores, ascending, and one above them all.
    """
    none = np.zeros((*bona_fide.shape[:-1], 1), dtype=np.int64)
    rejected = np.concatenate([none, np.cumsum(bona_fide, axis=-1)], axis=-1)
    refused = np.concatenate([none, np.cumsum(attack, axis=-1)], axis=-1)
    return refused[..., -1:] - refused, rejected


def _at_eer(accepted: Counts, rejected: Counts) -> tuple[Floats, Counts]:
    """Return the mean error where FAR and BPCER are closest, and the first place of that."""
    num_attack = accepted.max(axis=-1, keepdims=True)
    num_bona_fide = rejected.max(axis=-1, keepdims=True)
    # over one denominator, in whole numbers: what is equally close is a tie
    fars, bpcers = accepted * num_bona_fide, rejected * num_attack
    best = np.argmin(np.abs(fars - bpcers), axis=-1, keepdims=True)
    whole = np.take_along_axis(fars + bpcers, best, axis=-1)
    return (whole / (2 * num_attack * num_bona_fide))[..., 0], best[..., 0]


def _auc(bona_fide: Counts, attack: Counts) -> Floats:
    """Return the area under the curve, from counts (..., K)."""
    below = np.cumsum(attack, axis=-1)  # ties included, of which half are taken off again
    halves = (bona_fide * (2 * below - attack)).sum(axis=-1)
    return halves / (2 * bona_fide.sum(axis=-1) * below[..., -1])


def _curve(scores: ArrayLike, is_bona_fide: ArrayLike) -> tuple[Floats, Floats]:
    """Return FAR and 1 - BPCER from (0, 0) to (1, 1), both (K + 1,)."""
    bona_fide, attack, _ = _count(*_read(scores, is_bona_fide))
    accepted, rejected = _errors(bona_fide, attack)
    return accepted[::-1] / accepted[0], (rejected[-1] - rejected)[::-1] / rejected[-1]
