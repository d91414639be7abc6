from __future__ import annotations

import re
from collections import Counter

import av
import numpy as np
import pytest

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.miniature.layouts import Budget, Clip, Presentation
from scf_pipeline.miniature.layouts.rose_youtu import LAYOUT

NAME = re.compile(
    r"(?:(?P<split>train|test)/)?_?(?P<dir>\d{1,2})/(?P<type>G|Ps|Pq|Vl|Vm|Mc|Mf|Mu|Ml)_"
    r"(?P<talk>T|NT)_(?P<device>HS|HW|IP|5s|ZTE)_(?P<glasses>g|wg)_(?P<background>[A-Z])_"
    r"(?P<subject>\d{1,2})_(?P<index>\d{1,3})\.mp4"
)
BUDGET = Budget(train=50, dev=14, test=42)
TABLE = {
    "G": (None, None, "face"),
    "Ps": (PaiSpecies.PRINT, "print_still", "print_flat"),
    "Pq": (PaiSpecies.PRINT, "print_quiver", "print_warped"),
    "Vl": (PaiSpecies.REPLAY, "replay_lenovo", "monitor"),
    "Vm": (PaiSpecies.REPLAY, "replay_mac", "laptop"),
    "Mc": (PaiSpecies.MASK, "paper_mask_cropped", "paper_mask_cut"),
    "Mf": (PaiSpecies.MASK, "paper_mask_full", "paper_mask"),
    "Mu": (PaiSpecies.MASK, "paper_mask_upper", "paper_mask_cut"),
}


def plan(budget: Budget = BUDGET, seed: int = 0) -> list[Presentation]:
    return LAYOUT.plan(budget, np.random.default_rng(seed))


def clip(width: int, height: int, num_frames: int = 10) -> Clip:
    """Smooth frames without symmetry: red grows to the right, green downwards."""
    y, x = np.mgrid[:height, :width]
    picture = np.stack([60 + 120 * x / width, 30 + 190 * y / height, 90 + 0 * x], axis=-1)
    frames = [(picture + 4 * n).clip(0, 255).astype(np.uint8) for n in range(num_frames)]
    return Clip(
        frames=frames, boxes=[(10, 10, 60, 70)] * num_frames, eyes=[((25, 30), (45, 30))] * 10
    )


@pytest.mark.parametrize("budget", [Budget(train=4, dev=0, test=4), BUDGET])
def test_every_name_is_official_and_unique(budget) -> None:
    names = [p.media_path for p in plan(budget)]
    assert all(NAME.fullmatch(name) for name in names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("seed", range(4))
def test_ledger_says_what_the_name_says(seed) -> None:
    for p in plan(seed=seed):
        fields = NAME.fullmatch(p.media_path).groupdict()
        assert (p.pai_species, p.fine_type, p.instrument) == TABLE[fields["type"]]
        assert p.label is (Label.BONA_FIDE if fields["type"] == "G" else Label.ATTACK)
        assert p.native_label == fields["type"]
        assert fields["dir"] == fields["subject"] == p.subject_id == p.person
        assert p.sensor == fields["device"]
        assert fields["talk"] == "NT" or fields["type"] in {"Mc", "Mu"}
        train = int(p.subject_id) in {2, 3, 4, 5, 6, 7, 9, 10, 11, 12}
        assert p.split is (Split.TRAIN if train else Split.TEST)


@pytest.mark.parametrize("size", [40, 5000])
def test_index_runs_through_all_types_of_one_subject(size) -> None:
    indices: dict[str, list[int]] = {}
    for p in plan(Budget(train=size, dev=0, test=size)):
        index = NAME.fullmatch(p.media_path)["index"]
        indices.setdefault(p.subject_id, []).append(int(index))
    assert all(i == list(range(1, len(i) + 1)) for i in indices.values())
    assert max(map(len, indices.values())) <= 182  # as in the release


def test_splits_hold_every_kind_and_enough_subjects() -> None:
    presentations = plan()
    sizes = Counter(p.split for p in presentations)
    assert sizes == {Split.TRAIN: 64, Split.TEST: 42}
    for split, size in sizes.items():
        own = [p for p in presentations if p.split is split]
        assert {p.native_label for p in own} == set(TABLE)
        assert len({p.subject_id for p in own}) >= 4
        assert sum(p.label is Label.ATTACK for p in own) == round(0.6 * size)


def test_the_20_subjects_of_the_release_may_occur() -> None:
    subjects = {int(p.subject_id) for p in plan(Budget(train=200, dev=0, test=200))}
    assert subjects == {*range(2, 8), *range(9, 19), *range(20, 24)}


def test_plan_depends_on_the_seed_only() -> None:
    assert plan(seed=5) == plan(seed=5) != plan(seed=6)


def test_plan_holds_the_odd_cases_of_the_release() -> None:
    presentations = plan(Budget(train=8, dev=0, test=8))
    assert any(p.media_path.startswith("_2/") for p in presentations)
    assert any("Mc_T_" in p.media_path for p in presentations)


def test_bona_fide_and_attacks_share_sessions() -> None:
    sessions = {label: {p.session for p in plan() if p.label is label} for label in Label}
    assert len(sessions[Label.ATTACK] & sessions[Label.BONA_FIDE]) >= 8


def test_videos_are_stored_lying_and_shown_upright(tmp_path) -> None:
    by_sensor = {p.sensor: p for p in plan()}
    assert set(by_sensor) == set(LAYOUT.sensors)
    for name, presentation in by_sensor.items():
        sensor = LAYOUT.sensors[name]
        drawn = clip(sensor.width, sensor.height)
        LAYOUT.write(tmp_path, presentation, drawn)
        with av.open(str(tmp_path / presentation.media_path)) as container:
            assert container.streams.video[0].codec_context.name == "h264"
            frames = list(container.decode(video=0))
        assert len(frames) == 10
        stored = frames[0].to_ndarray(format="rgb24")
        assert stored.shape[1] > stored.shape[0]
        assert int(frames[0].rotation) % 360 == (90 if name == "5s" else 270)
        upright = np.rot90(stored, int(frames[0].rotation) // 90)
        assert upright.shape == (sensor.height, sensor.width, 3)
        assert np.abs(upright.astype(float) - drawn.frames[0]).mean() < 4


def test_release_holds_videos_only(tmp_path) -> None:
    LAYOUT.finish(tmp_path, plan())
    assert not list(tmp_path.iterdir())
