"""Cameras: frames of the sensor's size, true boxes, and the traces of each sensor."""

import numpy as np
import pytest

from scf_pipeline.miniature.camera import Exposure, Film, Still, compress, expose
from scf_pipeline.miniature.faces import draw_person, oval, sample_person
from scf_pipeline.miniature.layouts import Sensor
from scf_pipeline.miniature.strokes import Pen, placing

PERSON = sample_person(np.random.default_rng(0))
IDEAL = {"blur": 0.0, "noise": 0.0, "quality": 100}


def still(unit=40.0, size=80):
    canvas = np.full((size, size, 3), 140, np.uint8)
    matrix = placing((size / 2, size / 2), unit)
    draw_person(Pen(canvas, matrix), PERSON)
    return Still(canvas.astype(np.float32), matrix)


def shoot(sensor, *, zoom=1.0, num_frames=1, shake=0.02, blur=0.0, seed=0):
    film = Film(sensor=sensor, zoom=zoom, unit=40.0 * zoom, blur=blur, shake=shake)
    return film.run([still()], PERSON, num_frames, np.random.default_rng(seed))


def test_an_ideal_camera_takes_what_is_there():
    frame = shoot(Sensor(width=80, height=80, **IDEAL)).frames[0]
    assert abs(frame.astype(float) - still().picture).mean() < 1.5


def test_enlarging_keeps_everything_in_place():
    clip = shoot(Sensor(width=160, height=160, **IDEAL), zoom=2.0)
    halved = clip.frames[0].reshape(80, 2, 80, 2, 3).mean(axis=(1, 3))
    assert abs(halved - still().picture).mean() < 3
    x0, y0, x1, y1 = clip.boxes[0]
    width, height = oval(PERSON, 160.0)
    assert x1 - x0 == pytest.approx(width, abs=2)
    assert y1 - y0 == pytest.approx(height, abs=2)
    assert (x0 + x1) / 2 == pytest.approx(80, abs=1.5)
    assert (y0 + y1) / 2 == pytest.approx(80, abs=1.5)


def test_frames_of_a_video_move_with_their_boxes():
    clip = shoot(Sensor(width=80, height=80, **IDEAL), num_frames=8, shake=0.1)
    assert len(clip.frames) == len(clip.boxes) == len(clip.eyes) == 8
    centres = np.array([[(x0 + x1) / 2, (y0 + y1) / 2] for x0, y0, x1, y1 in clip.boxes])
    assert centres.std(axis=0).min() > 1
    for (x0, y0, x1, y1), (right, left) in zip(clip.boxes, clip.eyes, strict=True):
        assert x0 < right[0] < left[0] < x1
        assert y0 < min(right[1], left[1])
        assert max(right[1], left[1]) < y1


@pytest.mark.parametrize(
    ("trait", "weak", "strong"),
    [("noise", 0.0, 12.0), ("blur", 0.0, 3.0), ("quality", 100, 20), ("gamma", 1.0, 0.6)],
)
def test_every_trait_of_a_sensor_shows(trait, weak, strong):
    size = {"width": 80, "height": 80}
    before, after = (
        shoot(Sensor(**size, **(IDEAL | {trait: value}))).frames[0].astype(float)
        for value in (weak, strong)
    )
    assert abs(before - after).mean() > 2


def test_a_lens_out_of_focus_blurs_in_pixels_of_the_crop():
    sensor = Sensor(width=80, height=80, **IDEAL)
    sharp, soft = (shoot(sensor, blur=value).frames[0].astype(float) for value in (0.0, 2.0))
    assert abs(np.diff(soft, axis=1)).mean() < 0.8 * abs(np.diff(sharp, axis=1)).mean()


def test_exposure_follows_light_and_warmth():
    picture = np.full((20, 20, 3), 120, np.uint8)
    dark, bright, warm = (
        expose(picture, Exposure(light=light, warmth=warmth), np.random.default_rng(0))
        for light, warmth in ((0.7, 0.0), (1.2, 0.0), (0.7, 1.0))
    )
    assert bright.mean() > dark.mean() + 20
    assert np.ptp(warm.mean(axis=(0, 1))) > np.ptp(dark.mean(axis=(0, 1)))


def test_compression_keeps_the_order_of_colours():
    picture = np.zeros((16, 16, 3), np.uint8)
    picture[..., 0] = 220
    assert compress(picture, 95)[8, 8].tolist() == pytest.approx([220, 0, 0], abs=6)
