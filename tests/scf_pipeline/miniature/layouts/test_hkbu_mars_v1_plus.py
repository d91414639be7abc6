from __future__ import annotations

import re
from collections import Counter

import av
import numpy as np
import pytest

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.miniature.layouts import Budget, Clip, Presentation
from scf_pipeline.miniature.layouts.hkbu_mars_v1_plus import LAYOUT

NAME = re.compile(
    r"s(?P<part>[123])/(?P<subject>\d{2})_(?P<session>\d{2})_(?P<index>\d{2})\.(?P<ext>mp4|avi|mov)"
)
BUDGET = Budget(train=20, dev=8, test=20)


def plan(budget: Budget = BUDGET, seed: int = 0) -> list[Presentation]:
    return LAYOUT.plan(budget, np.random.default_rng(seed))


@pytest.mark.parametrize("budget", [Budget(train=0, dev=0, test=4), BUDGET])
def test_every_name_is_official_and_unique(budget) -> None:
    names = [p.media_path for p in plan(budget)]
    assert all(NAME.fullmatch(name) for name in names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("seed", range(4))
def test_ledger_says_what_the_name_says(seed) -> None:
    for p in plan(seed=seed):
        fields = NAME.fullmatch(p.media_path).groupdict()
        is_mask = fields["part"] == "3"
        assert p.native_label == f"s{fields['part']}"
        assert p.label is (Label.ATTACK if is_mask else Label.BONA_FIDE)
        assert p.pai_species is (PaiSpecies.MASK if is_mask else None)
        assert p.fine_type == ("resin_mask" if is_mask else None)
        assert p.instrument == ("resin_mask" if is_mask else "face")
        assert (p.subject_id, p.person, p.split) == (fields["subject"], p.subject_id, Split.TEST)
        assert 1 <= int(fields["subject"]) <= 12
        assert int(fields["session"]) == int(fields["part"])
        assert 1 <= int(fields["index"]) <= 5


def test_everything_is_for_test() -> None:
    presentations = plan()
    assert len(presentations) == 48
    assert {p.native_label for p in presentations} == {"s1", "s2", "s3"}
    assert sum(p.label is Label.ATTACK for p in presentations) == 29
    assert len({p.subject_id for p in presentations}) >= 4


def test_plan_never_exceeds_the_release() -> None:
    counts = Counter(p.native_label for p in plan(Budget(train=500, dev=500, test=500)))
    assert counts == {"s1": 60, "s2": 60, "s3": 60}


def test_plan_depends_on_the_seed_only() -> None:
    assert plan(seed=5) == plan(seed=5) != plan(seed=6)


def test_video_holds_ten_frames_of_the_sensor(tmp_path) -> None:
    presentation = plan()[-1]
    sensor = LAYOUT.sensors[presentation.sensor]
    frames = [np.full((sensor.height, sensor.width, 3), 20 * n, np.uint8) for n in range(10)]
    LAYOUT.write(tmp_path, presentation, Clip(frames=frames, boxes=[(1, 1, 9, 9)] * 10, eyes=[]))
    with av.open(str(tmp_path / presentation.media_path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        seen = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert [frame.shape for frame in seen] == [(sensor.height, sensor.width, 3)] * 10
    assert np.allclose([frame.mean() for frame in seen], [20 * n for n in range(10)], atol=4)


def test_release_holds_videos_only(tmp_path) -> None:
    LAYOUT.finish(tmp_path, plan())
    assert not list(tmp_path.iterdir())
