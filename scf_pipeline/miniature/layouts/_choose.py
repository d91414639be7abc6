"""Choose presentations: which subjects, kinds and variants of official names a budget affords."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

import numpy as np

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.miniature.layouts import Budget, Presentation

Pin = tuple[str, str, tuple[str, ...]]
"""Subject, code and variant of a presentation that every plan must hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A native class of presentations."""

    code: str
    """The dataset's own code."""

    species: PaiSpecies | None = None
    """``None`` for bona fide."""

    fine_type: str | None = None
    """Finer kind; ``None`` for bona fide."""

    instrument: str = "face"
    """What to draw."""

    variants: Sequence[tuple[str, ...]] = ((),)
    """The other fields of file names; a subject has one presentation of each."""

    weight: float = 1.0
    """Share among the attacks, or the bona fide presentations, relative to the others."""


class Choice(NamedTuple):
    """One presentation, before it has a name."""

    split: Split
    subject: str
    kind: Kind
    variant: tuple[str, ...]

    def presentation(
        self, media_path: str, *, session: str, sensor: str, num_frames: int = 1
    ) -> Presentation:
        """Name it, saying of the subject what the official id says."""
        return Presentation(
            media_path=media_path,
            person=self.subject,
            subject_id=self.subject,
            split=self.split,
            label=Label.ATTACK if self.kind.species else Label.BONA_FIDE,
            pai_species=self.kind.species,
            fine_type=self.kind.fine_type,
            native_label=self.kind.code,
            instrument=self.kind.instrument,
            session=session,
            num_frames=num_frames,
            sensor=sensor,
        )


def choose(
    ids: Mapping[Split, Sequence[str]],
    kinds: Sequence[Kind],
    budget: Budget,
    rng: np.random.Generator,
    *,
    pinned: Collection[Pin] = (),
    per_subject: int = 8,
) -> list[Choice]:
    """Choose distinct presentations, spread evenly over subjects and kinds.

    Every kind occurs in each split that has a budget, even if that exceeds it; no kind exceeds
    what the official names offer.

    Args:
        ids: Official subject ids of each split.
        kinds: Kinds of bona fide and of attack presentations.
        budget: Presentations for each split, and the share of attacks.
        rng: Source of chance.
        pinned: Presentations to choose first, in each split that has their subject.
        per_subject: Presentations of one subject to aim at.
    """
    chosen: list[Choice] = []
    for split, official in ids.items():
        size: int = getattr(budget, split.value)
        if not size:
            continue
        counts = _count(kinds, size, budget.attack_share)
        need = max(ceil(n / len(kind.variants)) for kind, n in zip(kinds, counts, strict=True))
        wanted = max(need, 4 if size >= 40 else 2, size // per_subject)
        subjects = _subjects(official, wanted, rng, pinned)
        for kind, count in zip(kinds, counts, strict=True):
            pairs = _spread(subjects, kind, rng, pinned)[:count]
            chosen += [Choice(split, subject, kind, variant) for subject, variant in pairs]
    return chosen


def apportion(total: int, weights: Sequence[float]) -> list[int]:
    """Divide a number by weights into whole shares of at least 1 (largest remainders)."""
    exact = [total * weight / sum(weights) for weight in weights]
    counts = [max(1, int(share)) for share in exact]
    neediest = sorted(range(len(exact)), key=lambda i: counts[i] - exact[i])
    for i in neediest[: max(0, total - sum(counts))]:
        counts[i] += 1
    return counts


def _count(kinds: Sequence[Kind], size: int, attack_share: float) -> list[int]:
    num_attacks = round(size * attack_share)
    shares = {
        is_attack: iter(
            apportion(total, [k.weight for k in kinds if (k.species is not None) is is_attack])
        )
        for is_attack, total in ((False, size - num_attacks), (True, num_attacks))
    }
    return [next(shares[kind.species is not None]) for kind in kinds]


def _subjects(
    official: Sequence[str], wanted: int, rng: np.random.Generator, pinned: Collection[Pin]
) -> list[str]:
    must = sorted({subject for subject, _, _ in pinned} & set(official))
    others = [official[i] for i in rng.permutation(len(official)) if official[i] not in must]
    return [*must, *others][: max(wanted, len(must))]


def _spread(
    subjects: Sequence[str], kind: Kind, rng: np.random.Generator, pinned: Collection[Pin]
) -> list[tuple[str, tuple[str, ...]]]:
    """Pair subjects with variants: pins first, then each subject once before any twice."""
    orders = {subject: rng.permutation(len(kind.variants)) for subject in subjects}
    pairs = [
        (subjects[i], kind.variants[orders[subjects[i]][turn]])
        for turn in range(len(kind.variants))
        for i in rng.permutation(len(subjects))
    ]
    return sorted(pairs, key=lambda pair: (pair[0], kind.code, pair[1]) not in pinned)
