"""Places: what is seen behind a face, and the hands that hold things before it.

Units in this file: pixels of the picture, scaled by `unit`, the height of a face.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from scf_pipeline.miniature.strokes import Pen, Point, Rgb, jitter, mix, smooth_noise, tint

Picture = NDArray[np.uint8]
Painter = Callable[[Picture, float, np.random.Generator], None]


def draw_background(
    name: str, shape: tuple[int, int], unit: float, rng: np.random.Generator
) -> Picture:
    """Draw a place, a little out of focus.

    Args:
        name: Key of `BACKGROUNDS`.
        shape: Height and width in pixels.
        unit: Height of a face in pixels, which sets how large things appear.
        rng: Source of what differs between two places of one kind.
    """
    picture = np.empty((*shape, 3), np.uint8)
    BACKGROUNDS[name](picture, unit, rng)
    sigma = max(0.3, float(rng.uniform(0.006, 0.022)) * unit)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)


def _gradient(picture: Picture, top: Rgb, bottom: Rgb) -> None:
    ramp = np.linspace(0, 1, picture.shape[0], dtype=np.float32)[:, None, None]
    colours = np.array([top, bottom], np.float32)
    picture[:] = (colours[0] + (colours[1] - colours[0]) * ramp).astype(np.uint8)


def _paint_wall(picture: Picture, unit: float, rng: np.random.Generator) -> None:
    colours: tuple[Rgb, ...] = ((206, 196, 184), (188, 196, 204), (214, 206, 170), (196, 180, 176))
    colour = jitter(colours[int(rng.integers(len(colours)))], 20, rng)
    _gradient(picture, tint(colour, 1.05), tint(colour, 0.88))
    stains = smooth_noise(picture.shape[:2], unit, rng)[..., None] * 8
    picture[:] = np.clip(picture + stains, 0, 255)


def _paint_curtain(picture: Picture, unit: float, rng: np.random.Generator) -> None:
    colours: tuple[Rgb, ...] = ((150, 36, 40), (44, 60, 128), (52, 104, 70), (196, 170, 120))
    colour = np.array(jitter(colours[int(rng.integers(len(colours)))], 16, rng), np.float32)
    x = np.arange(picture.shape[1], dtype=np.float32) / unit
    folds = np.sin(x * rng.uniform(16, 26) + 1.5 * np.sin(x * 3 + rng.uniform(0, 6)))
    picture[:] = np.clip(colour * (0.82 + 0.26 * folds)[None, :, None], 0, 255)


def _paint_window(picture: Picture, unit: float, rng: np.random.Generator) -> None:
    _paint_wall(picture, unit, rng)
    height, width = picture.shape[:2]
    x0, y0 = int(width * rng.uniform(-0.05, 0.15)), int(height * rng.uniform(-0.1, 0.08))
    x1, y1 = x0 + int(width * rng.uniform(0.75, 0.9)), y0 + int(height * rng.uniform(0.6, 0.8))
    frame = jitter((226, 222, 214), 14, rng) if rng.random() < 0.6 else (104, 70, 44)
    bar = max(2, round(0.09 * unit))
    cv2.rectangle(picture, (x0, y0), (x1, y1), (186, 214, 240), -1)
    cv2.rectangle(picture, (x0, (y0 + 2 * y1) // 3), (x1, y1), (120, 160, 104), -1)
    cv2.rectangle(picture, (x0, y0), (x1, y1), frame, bar)
    cv2.line(picture, ((x0 + x1) // 2, y0), ((x0 + x1) // 2, y1), frame, bar)
    cv2.line(picture, (x0, (y0 + y1) // 2), (x1, (y0 + y1) // 2), frame, bar)


def _paint_bookshelf(picture: Picture, unit: float, rng: np.random.Generator) -> None:
    picture[:] = (72, 46, 30)
    height, width = picture.shape[:2]
    row = max(6, round(unit * rng.uniform(0.4, 0.5)))
    colours = rng.integers(40, 220, size=(12, 3))
    for top in range(-int(rng.integers(0, row)), height, row):
        x = 0
        while x < width:
            thick = max(2, round(unit * rng.uniform(0.06, 0.12)))
            red, green, blue = colours[int(rng.integers(12))]
            colour = (int(red), int(green), int(blue))
            tall = round(row * rng.uniform(0.68, 0.86))
            cv2.rectangle(
                picture, (x, top + row - tall), (x + thick - 2, top + row - row // 10), colour, -1
            )
            x += thick
        cv2.rectangle(picture, (0, top + row - row // 10), (width, top + row), (128, 86, 52), -1)


def _paint_brick(picture: Picture, unit: float, rng: np.random.Generator) -> None:
    picture[:] = (188, 176, 166)
    height, width = picture.shape[:2]
    tall, wide = max(4, round(0.13 * unit)), max(8, round(0.34 * unit))
    base = jitter((160, 82, 58), 18, rng)
    kilns = [jitter(base, 14, rng) for _ in range(8)]
    for number, top in enumerate(range(0, height, tall)):
        for left in range(-(number % 2) * wide // 2, width, wide):
            corner = (left + wide - 3, top + tall - 3)
            cv2.rectangle(picture, (left, top), corner, kilns[int(rng.integers(8))], -1)


def _paint_garden(picture: Picture, unit: float, rng: np.random.Generator) -> None:
    _gradient(picture, (176, 212, 242), (86, 136, 62))
    height, width = picture.shape[:2]
    for _ in range(int(rng.integers(14, 22))):
        centre = (int(rng.uniform(0, width)), int(rng.uniform(0.1, 1.0) * height))
        radius = int(unit * rng.uniform(0.14, 0.4))
        cv2.circle(picture, centre, radius, jitter((58, 122, 48), 30, rng), -1, cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 3))):
        x = int(rng.uniform(0, width))
        half = max(1, int(0.05 * unit))
        cv2.rectangle(picture, (x - half, height // 3), (x + half, height), (86, 60, 40), -1)


def _paint_sky(picture: Picture, unit: float, rng: np.random.Generator) -> None:
    _gradient(picture, jitter((92, 158, 226), 14, rng), (200, 226, 246))
    height, width = picture.shape[:2]
    for _ in range(int(rng.integers(2, 6))):
        x, y = rng.uniform(0, width), rng.uniform(0, height * 0.8)
        for _ in range(4):
            centre = (
                int(x + rng.uniform(-0.3, 0.3) * unit),
                int(y + rng.uniform(-0.05, 0.05) * unit),
            )
            axes = (int(unit * rng.uniform(0.15, 0.3)) + 1, int(unit * rng.uniform(0.06, 0.12)) + 1)
            cv2.ellipse(picture, centre, axes, 0, 0, 360, (246, 248, 252), -1, cv2.LINE_AA)


def _paint_office(picture: Picture, unit: float, rng: np.random.Generator) -> None:
    _gradient(picture, jitter((206, 212, 216), 10, rng), (168, 172, 176))
    height, width = picture.shape[:2]
    for _ in range(int(rng.integers(2, 4))):
        x, y = int(rng.uniform(0, width)), int(rng.uniform(0.0, 0.5) * height)
        size = (int(unit * rng.uniform(0.25, 0.6)), int(unit * rng.uniform(0.3, 0.6)))
        corner = (x + size[0], y + size[1])
        cv2.rectangle(picture, (x, y), corner, jitter((120, 132, 150), 30, rng), -1)
        cv2.rectangle(picture, (x, y), corner, (84, 88, 96), max(1, round(0.03 * unit)))
    desk = int(height * rng.uniform(0.72, 0.85))
    cv2.rectangle(picture, (0, desk), (width, height), jitter((150, 116, 80), 14, rng), -1)


def _paint_studio_green(picture: Picture, unit: float, rng: np.random.Generator) -> None:
    del unit
    green = jitter((52, 168, 84), 14, rng)
    _gradient(picture, tint(green, 1.06), tint(green, 0.86))


def _paint_studio_white(picture: Picture, unit: float, rng: np.random.Generator) -> None:
    del unit
    white = jitter((232, 234, 236), 8, rng)
    _gradient(picture, white, tint(white, 0.9))


BACKGROUNDS: dict[str, Painter] = {
    "wall": _paint_wall,
    "curtain": _paint_curtain,
    "window": _paint_window,
    "bookshelf": _paint_bookshelf,
    "brick": _paint_brick,
    "garden": _paint_garden,
    "sky": _paint_sky,
    "office": _paint_office,
    "studio_green": _paint_studio_green,
    "studio_white": _paint_studio_white,
}
"""Places by name, each with the function that paints it."""


def draw_fingers(pen: Pen, where: Point, inward: Point, skin: Rgb) -> None:
    """Draw four fingertips that grip an edge.

    Args:
        pen: In face heights.
        where: Point of the edge that they grip.
        inward: Unit vector from the edge into the thing held.
        skin: Colour of the skin.
    """
    along = (-inward[1], inward[0])
    for number in range(4):
        shift = (number - 1.5) * 0.085
        base = np.array(where) + np.array(along) * shift
        tip = base + np.array(inward) * 0.09
        pen.line([tuple(base - np.array(inward) * 0.16), tuple(tip)], tint(skin, 0.72), 0.1)
        pen.line([tuple(base - np.array(inward) * 0.16), tuple(tip)], skin, 0.075)
        pen.ellipse(tuple(tip), (0.022, 0.022), mix(skin, (250, 214, 206), 0.5))
