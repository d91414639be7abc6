from __future__ import annotations

import re

import av
import numpy as np
import pytest

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.miniature.layouts import Budget, Clip, Presentation
from scf_pipeline.miniature.layouts.casia_surf_3dmask import LAYOUT, SUBJECTS

NAME = re.compile(
    r"(?:Real/(?P<subject>\d{4}_\d{3})/(?P<index>1|15|16|17|22|23)|"
    r"Fake/(?P<subject_f>\d{4}_\d{3})/(?P<decoration>[1-3])/(?P<environment>[1-6]))"
    r"\.(?P<ext>MOV|mov|mp4)"
)
BUDGET = Budget(train=30, dev=10, test=40)


def plan(budget: Budget = BUDGET, seed: int = 0) -> list[Presentation]:
    return LAYOUT.plan(budget, np.random.default_rng(seed))


def test_subjects_are_the_48_of_the_release() -> None:
    (subjects,) = SUBJECTS.values()
    assert len(set(subjects)) == 48
    assert (min(subjects), max(subjects)) == ("0927_013", "0929_031")
    assert {"0927_021", "0928_018"} < set(subjects)


@pytest.mark.parametrize("budget", [Budget(train=0, dev=0, test=4), BUDGET])
def test_every_name_is_official_and_unique(budget) -> None:
    names = [p.media_path for p in plan(budget)]
    assert all(NAME.fullmatch(name) and name.endswith(".MOV") for name in names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("seed", range(4))
def test_ledger_says_what_the_name_says(seed) -> None:
    for p in plan(seed=seed):
        fields = NAME.fullmatch(p.media_path).groupdict()
        is_attack = fields["subject_f"] is not None
        assert p.native_label == p.media_path.split("/")[0] == ("Fake" if is_attack else "Real")
        assert p.label is (Label.ATTACK if is_attack else Label.BONA_FIDE)
        assert p.pai_species is (PaiSpecies.MASK if is_attack else None)
        assert p.fine_type == ("mask_3d_print" if is_attack else None)
        assert p.subject_id == p.person == (fields["subject"] or fields["subject_f"])
        assert p.split is Split.TEST


@pytest.mark.parametrize("seed", range(20))
def test_the_missing_environments_never_appear(seed) -> None:
    names = {p.media_path for p in plan(Budget(train=0, dev=0, test=600), seed=seed)}
    assert not [n for n in names if re.fullmatch(r"Fake/0927_021/./[56]\.MOV", n)]
    assert [n for n in names if re.fullmatch(r"Fake/0927_021/./[1-4]\.MOV", n)]


def test_plan_never_exceeds_the_release() -> None:
    presentations = plan(Budget(train=5000, dev=0, test=0))
    assert sum(p.label is Label.BONA_FIDE for p in presentations) == 288
    assert sum(p.label is Label.ATTACK for p in presentations) == 858


def test_everything_is_for_test() -> None:
    presentations = plan()
    assert 74 <= len(presentations) <= 80
    share = np.mean([p.label is Label.ATTACK for p in presentations])
    assert 0.55 <= share <= 0.65
    assert len({p.subject_id for p in presentations}) >= 4


def test_bona_fide_and_attacks_share_sessions() -> None:
    sessions = {label: {p.session for p in plan() if p.label is label} for label in Label}
    assert len(sessions[Label.ATTACK] & sessions[Label.BONA_FIDE]) >= 8


def test_plan_depends_on_the_seed_only() -> None:
    assert plan(seed=5) == plan(seed=5) != plan(seed=6)


def test_video_holds_ten_frames_of_the_sensor(tmp_path) -> None:
    presentation = plan()[-1]
    sensor = LAYOUT.sensors[presentation.sensor]
    frames = [np.full((sensor.height, sensor.width, 3), 20 * n, np.uint8) for n in range(10)]
    LAYOUT.write(tmp_path, presentation, Clip(frames=frames, boxes=[(1, 1, 9, 9)] * 10, eyes=[]))
    LAYOUT.finish(tmp_path, [presentation])
    (path,) = (p for p in tmp_path.rglob("*") if p.is_file())
    assert path == tmp_path / presentation.media_path
    with av.open(str(path)) as container:
        assert container.format.name.startswith("mov")
        seen = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert [frame.shape for frame in seen] == [(sensor.height, sensor.width, 3)] * 10
    assert np.allclose([frame.mean() for frame in seen], [20 * n for n in range(10)], atol=4)
