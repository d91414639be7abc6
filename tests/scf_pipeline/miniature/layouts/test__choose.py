from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.miniature.layouts import Budget
from scf_pipeline.miniature.layouts._choose import Kind, apportion, choose

IDS = {
    Split.TRAIN: [f"{n:02}" for n in range(1, 31)],
    Split.DEV: [],
    Split.TEST: [f"{n:02}" for n in range(31, 41)],
}
TAKES = [(take,) for take in "abcdef"]
KINDS = [
    Kind(code="real", variants=TAKES),
    Kind(
        code="paper",
        species=PaiSpecies.PRINT,
        fine_type="print_photo",
        instrument="print_flat",
        variants=TAKES,
        weight=3,
    ),
    Kind(
        code="screen",
        species=PaiSpecies.REPLAY,
        fine_type="replay",
        instrument="phone",
        variants=TAKES,
    ),
]


def plan(train=48, test=20, *, seed=0, share=0.5, **options):
    budget = Budget(train=train, dev=0, test=test, attack_share=share)
    return choose(IDS, KINDS, budget, np.random.default_rng(seed), **options)


def test_the_budget_is_met_and_divided_by_weight() -> None:
    counts = Counter((choice.split, choice.kind.code) for choice in plan())
    assert counts == {
        (Split.TRAIN, "real"): 24,
        (Split.TRAIN, "paper"): 18,
        (Split.TRAIN, "screen"): 6,
        (Split.TEST, "real"): 10,
        (Split.TEST, "paper"): 8,  # 7.5 and 2.5: the larger share gets what remains first
        (Split.TEST, "screen"): 2,
    }


def test_no_presentation_is_chosen_twice_and_subjects_keep_to_their_split() -> None:
    chosen = plan()
    assert len({(c.split, c.subject, c.kind.code, c.variant) for c in chosen}) == len(chosen)
    assert all(c.subject in IDS[c.split] for c in chosen)


@pytest.mark.parametrize(("size", "subjects"), [(6, 2), (39, 4), (40, 5), (80, 10)])
def test_more_budget_means_more_subjects(size, subjects) -> None:
    assert len({c.subject for c in plan(train=size) if c.split is Split.TRAIN}) == subjects


def test_subjects_share_a_kind_evenly() -> None:
    counts = Counter(c.subject for c in plan() if c.kind.code == "paper" and c.split is Split.TRAIN)
    assert set(counts.values()) == {3}


def test_a_tiny_budget_still_shows_every_kind() -> None:
    codes = Counter(c.kind.code for c in plan(train=2, test=0))
    assert codes == {"real": 1, "paper": 1, "screen": 1}


def test_official_names_bound_the_plan() -> None:
    chosen = plan(train=0, test=1000)
    assert {c.subject for c in chosen} == set(IDS[Split.TEST])
    assert len(chosen) == 10 * 6 * 3


def test_a_split_without_budget_is_empty() -> None:
    assert {c.split for c in plan(train=0)} == {Split.TEST}


def test_the_plan_follows_the_seed() -> None:
    assert plan(seed=1) == plan(seed=1)
    assert plan(seed=1) != plan(seed=2)


@pytest.mark.parametrize("seed", range(5))
def test_a_pinned_presentation_is_always_there(seed) -> None:
    pins = {("37", "screen", ("e",)), ("38", "real", ("b",))}
    chosen = plan(train=6, test=6, seed=seed, pinned=pins)
    assert pins <= {(c.subject, c.kind.code, c.variant) for c in chosen}


def test_a_choice_becomes_a_presentation_with_its_kinds_words() -> None:
    chosen = plan()
    real = next(c for c in chosen if c.kind.code == "real").presentation(
        "a", session="s", sensor="x"
    )
    paper = next(c for c in chosen if c.kind.code == "paper").presentation(
        "b", session="s", sensor="x", num_frames=7
    )
    assert (real.label, real.pai_species, real.fine_type) == (Label.BONA_FIDE, None, None)
    assert (real.instrument, real.num_frames) == ("face", 1)
    assert (paper.label, paper.pai_species) == (Label.ATTACK, PaiSpecies.PRINT)
    assert (paper.native_label, paper.fine_type, paper.num_frames) == ("paper", "print_photo", 7)


@given(st.integers(0, 500), st.lists(st.floats(0.01, 10), min_size=1, max_size=12))
def test_shares_are_positive_and_add_up_when_there_is_enough(total, weights) -> None:
    counts = apportion(total, weights)
    assert min(counts) >= 1
    assert sum(counts) >= total
    exact = [total * weight / sum(weights) for weight in weights]
    assert all(share - 1 < n <= max(1, share + 1) for n, share in zip(counts, exact, strict=True))
    if min(exact) >= 1:
        assert sum(counts) == total
