"""What paper, displays and cameras do to light.

Units in this file: pictures are float32, RGB, 0 to 255; coordinates are in face heights. A period
of p pixels "at 64 px" is one in the square of 1.6 face heights that the pipeline crops and
resizes to 64 pixels, i.e. p / 40 face heights.
"""

from __future__ import annotations

from math import cos, sin

import cv2
import numpy as np
from numpy.typing import NDArray

from scf_pipeline.miniature.strokes import Float, smooth_noise

PIXELS_PER_FACE = 40.0
"""Pixels of a 64 px crop in one face height: 64 / 1.6."""


def grid(shape: tuple[int, int], matrix: NDArray[np.float64]) -> tuple[Float, Float]:
    """Return x and y of every pixel in the units of a pen's matrix, each (H, W)."""
    inverse = np.asarray(cv2.invertAffineTransform(matrix), np.float32)
    columns = np.arange(shape[1], dtype=np.float32)
    rows = np.arange(shape[0], dtype=np.float32)[:, None]
    x = inverse[0, 0] * columns + inverse[0, 1] * rows + inverse[0, 2]
    y = inverse[1, 0] * columns + inverse[1, 1] * rows + inverse[1, 2]
    return x, y


def wave(period: float) -> float:
    """Return radians per face height of a pattern whose period is given in pixels at 64 px."""
    return 2 * np.pi * PIXELS_PER_FACE / period


def print_out(
    picture: Float, x: Float, y: Float, strength: float, rng: np.random.Generator
) -> Float:
    """Return a picture as ink on paper: narrow gamut, dots in mid-tones, uneven ink.

    Args:
        picture: What is printed, (H, W, 3).
        x: Across, (H, W).
        y: Down, (H, W).
        strength: Factor on what gives the print away, near 1.
        rng: Source of this printer's and this page's traits.
    """
    ink = picture * (1 / 255)
    grey = _grey(ink)[..., None]
    ink += (grey - ink) * rng.uniform(-0.05, 0.28) * min(1.2, strength)
    tone = 4 * grey[..., 0] * (1 - grey[..., 0])
    dots = _dots(x, y, rng)
    amplitude = rng.uniform(0.035, 0.1) * strength
    for channel, pattern in enumerate(dots):
        ink[..., channel] += amplitude * tone * pattern
    black, white = rng.uniform(18, 44), rng.uniform(208, 242)
    paper = np.array([1.0, rng.uniform(0.96, 1.0), rng.uniform(0.88, 1.0)], np.float32)
    if rng.random() < 0.4:  # an ink jet leaves bands where its head returns
        ink *= (1 + 0.05 * strength * np.cos(y * wave(rng.uniform(4, 9))))[..., None]
    return np.asarray(np.clip(black + (white - black) * ink, 0, 255) * paper, np.float32)


def _grey(picture: Float) -> Float:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.float32)


def _dots(x: Float, y: Float, rng: np.random.Generator) -> list[Float]:
    """Return the dot screens of red, green and blue; they lie at different angles."""
    scale = wave(rng.uniform(3, 5))
    first = rng.uniform(0.3, 0.9)
    screens: list[Float] = []
    for angle in (first, first + 0.5):
        across = x * (cos(angle) * scale) + y * (sin(angle) * scale)
        down = y * (cos(angle) * scale) - x * (sin(angle) * scale)
        screens.append(np.cos(across) + np.cos(down))
    return [screens[0], 0.55 * screens[0] + 0.45 * screens[1], screens[1]]


def curl(picture: Float, x: Float, strength: float, rng: np.random.Generator) -> Float:
    """Return a page whose curl shades it in broad bands, with a highlight where it is glossy."""
    phase = x * rng.uniform(3.0, 6.5) + rng.uniform(0, 6.3)
    shade = 1 + strength * rng.uniform(0.07, 0.16) * np.cos(phase)
    gloss = 26 * strength * np.exp(-(((phase % 6.283) - 3.14) ** 2) * rng.uniform(6, 14))
    lit: Float = np.clip(picture * shade[..., None] + gloss[..., None], 0, 255)
    return lit


def display(picture: Float, x: Float, y: Float, strength: float, rng: np.random.Generator) -> Float:
    """Return a picture as a display shows it to a camera: fringes, bands, backlight, cool white.

    Args:
        picture: What is shown, (H, W, 3).
        x: Across, (H, W).
        y: Down, (H, W).
        strength: Factor on what gives the display away, near 1.
        rng: Source of this display's traits.
    """
    light = picture * (1 / 255)
    light *= rng.uniform(1.0, 1.14)
    level = 0.4 + 0.6 * _grey(light)
    amplitude = rng.uniform(0.04, 0.14) * strength
    fringes = _fringes(x, y, rng.uniform(6, 12), rng)
    bands = _fringes(x, y, rng.uniform(22, 48), rng)
    amplitude_of_bands = rng.uniform(0.025, 0.07) * strength
    for channel in range(3):
        light[..., channel] += level * (
            amplitude * fringes[channel] + amplitude_of_bands * bands[channel]
        )
    if rng.random() < 0.5:
        slant = rng.uniform(-0.1, 0.1)
        rolling = np.cos((y + slant * x) * wave(rng.uniform(14, 34)) + rng.uniform(0, 6.3))
        light *= (1 + rng.uniform(0.04, 0.1) * strength * rolling)[..., None]
    black = rng.uniform(0.04, 0.16) * strength
    cast = rng.uniform(0.0, 0.12) * strength
    colour = np.array([1 - 0.7 * cast, 1 - 0.15 * cast, 1 + cast], np.float32)
    shown: Float = np.clip((black + (1 - black) * light) * colour, 0, 1) * 255
    return shown


def _fringes(x: Float, y: Float, period: float, rng: np.random.Generator) -> list[Float]:
    """Return bent fringes for red, green and blue, out of step with each other."""
    angle, bend = rng.uniform(0, np.pi), rng.uniform(-0.35, 0.35)
    centre_x, centre_y = rng.uniform(-1.2, 1.2), rng.uniform(-1.2, 1.2)
    scale = wave(period)
    bent = (x - centre_x) ** 2 + (y - centre_y) ** 2
    phase = x * (cos(angle) * scale) + y * (sin(angle) * scale) + bent * (bend * scale)
    cosine, sine = np.cos(phase), np.sin(phase)
    lag = rng.uniform(0.5, 2.0)
    red_green, green_blue = cos(lag) * cosine, sin(lag) * sine
    return [cosine, red_green - green_blue, red_green + green_blue]


def glare(picture: Float, x: Float, y: Float, where: Float, rng: np.random.Generator) -> Float:
    """Return a glossy surface that mirrors a lamp, a strip light or a window.

    Args:
        picture: RGB, (H, W, 3).
        x: Across, (H, W).
        y: Down, (H, W).
        where: How much of each pixel is glossy surface, in [0, 1], (H, W).
        rng: Source of the reflection's shape and place.
    """
    cx, cy = rng.uniform(-0.5, 0.5), rng.uniform(-0.55, 0.4)
    angle = rng.uniform(-0.9, 0.9)
    across = (x - cx) * cos(angle) + (y - cy) * sin(angle)
    down = (y - cy) * cos(angle) - (x - cx) * sin(angle)
    kind = int(rng.integers(3))
    if kind == 0:
        spot = np.exp(
            -((across / rng.uniform(0.1, 0.24)) ** 2 + (down / rng.uniform(0.08, 0.2)) ** 2)
        )
    elif kind == 1:
        spot = np.exp(-((across / rng.uniform(0.05, 0.12)) ** 2))
    else:
        half = rng.uniform(0.16, 0.3)
        pane = np.minimum(half - np.abs(across), half * 1.3 - np.abs(down))
        bars = np.minimum(np.abs(across), np.abs(down))
        spot = np.clip(pane * 25, 0, 1) * np.clip(bars * 30 - 0.3, 0, 1)
    amount = (spot * where * rng.uniform(0.35, 0.8))[..., None]
    lit: Float = picture + (np.float32(252) - picture) * amount.astype(np.float32)
    return lit


def light_colour(warmth: float) -> NDArray[np.float64]:
    """Return factors on red, green and blue for a light from -1 (bluish) to 1 (yellowish)."""
    return np.array([1 + 0.12 * warmth, 1 + 0.02 * warmth, 1 - 0.16 * warmth])


def shade(picture: Float, rng: np.random.Generator) -> Float:
    """Return a scene that is lit a little more from one side."""
    height, width = picture.shape[:2]
    slope = rng.uniform(-0.16, 0.16, size=2).astype(np.float32)
    across = np.linspace(1 - slope[0], 1 + slope[0], width, dtype=np.float32)
    down = np.linspace(-slope[1], slope[1], height, dtype=np.float32)[:, None]
    return picture * (across + down)[..., None]


def grain(shape: tuple[int, int], rng: np.random.Generator) -> Float:
    """Return sensor noise of unit variance for every pixel and channel, (H, W, 3).

    A piece of one large field of noise, which is many times faster than new noise.
    """
    height, width = shape
    down, across = (int(number) for number in rng.integers(0, 128, size=2))
    rows, columns = (-(-(side + 128) // _NOISE.shape[0]) for side in shape)
    noise = _NOISE if rows == columns == 1 else np.tile(_NOISE, (rows, columns, 1))
    return noise[down : down + height, across : across + width]


_NOISE = np.random.default_rng(0).standard_normal((384, 384, 3), np.float32)


def texture(shape: tuple[int, int], unit: float, rng: np.random.Generator) -> Float:
    """Return the fibre of rough paper, about 1 with a spread of a few per cent, (H, W, 1)."""
    fibre = smooth_noise(shape, unit / PIXELS_PER_FACE * 1.6, rng)
    return (1 + 0.05 * fibre)[..., None]
