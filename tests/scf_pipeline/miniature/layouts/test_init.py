"""Every layout is complete: it can be drawn, planned at any size, and read back by its adapter."""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np
import pytest

from ifas_model import plugins
from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline import adapters
from scf_pipeline.miniature import draw, layouts
from scf_pipeline.miniature.layouts import Budget, Layout, Presentation

NAMES = plugins.names(layouts)


@pytest.fixture(params=NAMES)
def layout(request) -> Layout:
    return plugins.load(layouts, "LAYOUT", request.param)


def plan(layout: Layout, size: int = 40, *, share: float = 0.6, seed=0) -> list[Presentation]:
    budget = Budget(train=size, dev=size, test=size, attack_share=share)
    return layout.plan(budget, np.random.default_rng(seed))


def kinds(presentations: list[Presentation]) -> set[tuple[Split, str | None]]:
    return {(p.split, p.fine_type) for p in presentations}


def test_every_layout_has_an_adapter_that_reads_it_back() -> None:
    assert len(NAMES) == 12
    assert set(NAMES) <= set(plugins.names(adapters))


def test_sensors_are_even_sized_and_plausible(layout: Layout) -> None:
    """Video codecs take even sides only."""
    assert layout.sensors
    for sensor in layout.sensors.values():
        assert sensor.width % 2 == sensor.height % 2 == 0
        assert min(sensor.width, sensor.height) >= 100
        assert 0 <= sensor.blur < 2
        assert 0 <= sensor.noise < 20
        assert 0.5 < sensor.gamma < 2
        assert -1 <= sensor.warmth <= 1
        assert 1 <= sensor.quality <= 100


def test_backgrounds_instruments_and_sensors_are_known(layout: Layout) -> None:
    planned = plan(layout)
    assert layout.backgrounds
    assert set(layout.backgrounds) <= set(draw.BACKGROUNDS)
    assert {p.instrument for p in planned} <= set(draw.INSTRUMENTS)
    assert {p.sensor for p in planned} <= set(layout.sensors)


def test_ranges_are_ranges(layout: Layout) -> None:
    assert 0 < layout.light[0] < layout.light[1] < 3
    assert 0 < layout.face_share[0] < layout.face_share[1] < 1


def test_the_plan_is_a_function_of_budget_and_seed(layout: Layout) -> None:
    assert plan(layout, seed=3) == plan(layout, seed=3)
    assert plan(layout, seed=3) != plan(layout, seed=4)


def test_names_are_unique_below_the_root_and_their_ids_too(layout: Layout) -> None:
    planned = plan(layout)
    paths = [PurePosixPath(p.media_path) for p in planned]
    assert len(set(paths)) == len(paths)
    assert len({path.with_suffix("") for path in paths}) == len(paths)
    assert not any(path.is_absolute() or ".." in path.parts for path in paths)


@pytest.mark.parametrize("share", [0.6, 0.3])
def test_the_share_of_attacks_is_what_was_asked_for(layout: Layout, share: float) -> None:
    planned = plan(layout, share=share)
    attacks = sum(p.label is Label.ATTACK for p in planned)
    # whole shares of each kind, and official names that run out, leave a twentieth
    assert attacks / len(planned) == pytest.approx(share, abs=0.05)


def test_a_budget_is_met_in_each_split_and_hardly_exceeded(layout: Layout) -> None:
    planned = plan(layout)
    splits = {p.split for p in planned}
    assert Split.TEST in splits
    assert 40 * len(splits) <= len(planned) <= 3 * 40 + 2


def test_labels_species_and_instruments_agree(layout: Layout) -> None:
    for p in plan(layout):
        is_bona_fide = p.label is Label.BONA_FIDE
        assert (p.pai_species is None) is is_bona_fide
        assert (p.fine_type is None) is is_bona_fide
        assert (p.instrument == "face") is is_bona_fide
        assert p.pai_species is None or p.pai_species in PaiSpecies
        assert p.native_label
        assert p.person
        assert p.num_frames >= 1


def test_every_kind_of_attack_is_in_the_smallest_plan_too(layout: Layout) -> None:
    assert kinds(plan(layout, 2)) == kinds(plan(layout, 40))


def test_a_person_is_of_one_split_but_for_whom_the_dataset_hides(layout: Layout) -> None:
    """Else a subject in training could be recognized in the test."""
    splits: dict[str, set[Split]] = {}
    for p in plan(layout):
        if p.subject_id is not None:
            splits.setdefault(p.subject_id, set()).add(p.split)
    assert all(len(found) == 1 for found in splits.values())
