"""Drawing: deterministic clips with true boxes, in which every instrument looks like itself."""

from itertools import combinations, pairwise

import cv2
import numpy as np
import pytest

from scf_pipeline.miniature.draw import (
    BACKGROUNDS,
    CROP_SCALE,
    INSTRUMENTS,
    RIGID,
    Scene,
    Shot,
    Visibility,
    draw_clip,
    draw_scene,
)
from scf_pipeline.miniature.faces import sample_person
from scf_pipeline.miniature.layouts import Sensor

SENSOR = Sensor(width=96, height=128, blur=0.5, noise=2.0)
NAMES = {
    *("face", "mannequin"),
    *("print_flat", "print_warped", "print_cut", "poster"),
    *("phone", "tablet", "laptop", "monitor"),
    *("resin_mask", "plaster_mask", "transparent_mask", "silicone_mask", "half_mask"),
    *("mask_3d_print", "paper_mask", "paper_mask_cut"),
    *("makeup_cosmetic", "makeup_impersonation", "makeup_obfuscation"),
    *("funny_glasses", "paper_glasses", "eye_cut", "mouth_cut"),
}


def person(seed=0):
    return sample_person(np.random.default_rng(seed))


def clip(instrument="face", *, seed=0, **options):
    shot = Shot(sensor=options.pop("sensor", SENSOR), background="wall", **options)
    shot = Shot(
        **{name: getattr(shot, name) for name in shot.__slots__} | {"instrument": instrument}
    )
    return draw_clip(person(seed), shot, np.random.default_rng(seed))


def scene(instrument, difficulty_of=None, seed=0):
    """Draw a large still without a camera, cues plain unless told."""
    what = Scene(
        instrument=instrument,
        background="wall",
        background_seed=1,
        pictured_background="wall",
        shape=(160, 160),
        centre=(80.0, 76.0),
        unit=100.0,
        visibility=difficulty_of or Visibility(medium=(1.2, 1.2), faintness=0.0),
        is_border_shown=False,
    )
    return draw_scene(person(seed), what, np.random.default_rng(seed))[0].astype(float)


def face_of(picture):
    return picture[30:122, 46:114]


def test_the_instruments_are_those_that_layouts_may_name():
    assert set(INSTRUMENTS) == NAMES
    assert len(BACKGROUNDS) == 10


@pytest.mark.parametrize("instrument", ["face", "tablet", "resin_mask", "print_flat"])
def test_a_seed_gives_one_clip(instrument):
    one, same, other = (clip(instrument, seed=seed, num_frames=3) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(one.frames, same.frames, strict=True))
    assert one.boxes == same.boxes
    assert (one.frames[0] != other.frames[0]).any()


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_boxes_lie_inside_frames_and_hold_the_eyes(instrument):
    for seed in range(3):
        drawn = clip(instrument, seed=seed, num_frames=2, face_share=0.5)
        for frame, (x0, y0, x1, y1), eyes in zip(
            drawn.frames, drawn.boxes, drawn.eyes, strict=True
        ):
            assert frame.shape == (128, 96, 3)
            assert frame.dtype == np.uint8
            assert 0 <= x0 < x1 <= 96
            assert 0 <= y0 < y1 <= 128
            assert y1 - y0 == pytest.approx(64, abs=5)
            for x, y in eyes:
                assert x0 < x < x1
                assert y0 < y < y0 + 0.6 * (y1 - y0)


def test_boxes_lie_on_the_face():
    """The face is what an ordinary detector finds there."""
    file = f"{cv2.data.haarcascades}haarcascade_frontalface_default.xml"
    cascade = cv2.CascadeClassifier(file)
    large = Sensor(width=192, height=256, blur=0.5, noise=2.0)
    hits = 0
    for seed in range(20):
        drawn = clip(seed=seed, sensor=large, face_share=0.42)
        grey = cv2.cvtColor(drawn.frames[0], cv2.COLOR_RGB2GRAY)
        for x, y, width, height in cascade.detectMultiScale(grey, 1.1, 4, minSize=(60, 60)):
            x0, y0, x1, y1 = drawn.boxes[0]
            near = np.hypot(x + width / 2 - (x0 + x1) / 2, y + height / 2 - (y0 + y1) / 2) < 15
            hits += bool(near and 0.7 < height / (y1 - y0) < 1.3)
    assert hits >= 13


@pytest.mark.parametrize("instrument", [name for name in INSTRUMENTS if name != "face"])
def test_every_instrument_can_be_told_from_the_face(instrument):
    differences = [
        abs(face_of(scene(instrument, seed=seed)) - face_of(scene("face", seed=seed))).mean()
        for seed in range(3)
    ]
    assert np.mean(differences) > 6


def test_instruments_can_be_told_from_each_other():
    """Of one kind of sheet only the borders differ, so those are left out here."""
    pictures = {name: face_of(scene(name)) for name in INSTRUMENTS}
    displays = {"phone", "tablet", "laptop", "monitor"}
    for one, other in combinations(pictures, 2):
        if not {one, other} <= displays:
            assert abs(pictures[one] - pictures[other]).mean() > 3.5, (one, other)


@pytest.mark.parametrize(
    "instrument", ["resin_mask", "silicone_mask", "half_mask", "makeup_cosmetic"]
)
def test_coverings_are_plainer_to_see_where_it_is_easy(instrument):
    plain = Visibility(medium=(1.0, 1.0), faintness=0.0)
    faint = Visibility(medium=(1.0, 1.0), faintness=1.0)
    for seed in range(3):
        bare = face_of(scene("face", seed=seed))
        easy, hard = (
            abs(face_of(scene(instrument, visibility, seed)) - bare).mean()
            for visibility in (plain, faint)
        )
        assert easy > 1.08 * hard > 0


@pytest.mark.parametrize("instrument", ["print_flat", "monitor"])
def test_media_are_plainer_to_see_where_it_is_easy(instrument):
    def roughness(strength):
        visibility = Visibility(medium=(strength, strength), faintness=0.0)
        return np.mean(
            [abs(np.diff(scene(instrument, visibility, s), axis=1)).mean() for s in range(4)]
        )

    assert roughness(1.2) > 1.1 * roughness(0.5)


def test_a_crop_shows_the_square_of_the_crop_and_nothing_more():
    square = Sensor(width=128, height=128, noise=0.0)
    for seed in range(4):
        x0, y0, x1, y1 = clip("resin_mask", sensor=square, is_cropped=True, seed=seed).boxes[0]
        assert (y1 - y0) * CROP_SCALE == pytest.approx(128, abs=4)
        assert (x0 + x1) / 2 == pytest.approx(64, abs=2)
        assert (y0 + y1) / 2 == pytest.approx(64, abs=2)


def test_frames_of_a_video_differ_a_little():
    for instrument in ("face", "print_flat"):
        frames = [frame.astype(float) for frame in clip(instrument, num_frames=8).frames]
        changes = [abs(a - b).mean() for a, b in pairwise(frames)]
        assert min(changes) > 0.5
        assert max(changes) < 25
    assert "print_flat" in RIGID


def test_one_place_is_seen_behind_two_presentations_of_a_session():
    def corner(seed, place):
        what = Scene(
            instrument="face",
            background="bookshelf",
            background_seed=place,
            pictured_background="wall",
            shape=(120, 120),
            centre=(60.0, 60.0),
            unit=50.0,
            visibility=Visibility(medium=(1.0, 1.0), faintness=0.0),
        )
        return draw_scene(person(seed), what, np.random.default_rng(seed))[0][:30, :20]

    assert (corner(0, 7) == corner(1, 7)).all()
    assert (corner(0, 7) != corner(0, 8)).any()
