"""Filled shapes on a picture, in units of the thing drawn, and what textures need."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Rgb = tuple[int, int, int]
Point = tuple[float, float]

WHITE: Rgb = (252, 252, 250)
PAPER: Rgb = (240, 238, 230)
DARK: Rgb = (26, 20, 18)

_FRACTION_BITS = 4
cv2.setNumThreads(1)


class Pen:
    """Draws anti-aliased shapes on `picture` in units of its own.

    Args:
        picture: RGB, (H, W, 3), or a mask, (H, W); drawn on in place.
        matrix: Turns a point in units into pixels, (2, 3).
    """

    def __init__(self, picture: NDArray[np.uint8], matrix: NDArray[np.float64]) -> None:
        self.picture, self.matrix = picture, matrix
        self.unit = float(np.hypot(matrix[0, 0], matrix[1, 0]))

    def polygon(self, points: Sequence[Point] | NDArray[np.float64], colour: Rgb) -> None:
        """Fill a polygon."""
        cv2.fillPoly(self.picture, [self._pixels(points)], colour, cv2.LINE_AA, _FRACTION_BITS)

    def line(
        self, points: Sequence[Point] | NDArray[np.float64], colour: Rgb, width: float
    ) -> None:
        """Draw an open line, at least one pixel wide."""
        thickness = max(1, round(width * self.unit))
        pixels = [self._pixels(points)]
        cv2.polylines(self.picture, pixels, False, colour, thickness, cv2.LINE_AA, _FRACTION_BITS)

    def ellipse(
        self,
        centre: Point,
        axes: Point,
        colour: Rgb,
        *,
        arc: Point = (0.0, 360.0),
        width: float | None = None,
    ) -> None:
        """Fill an ellipse or the segment of an arc; with `width`, draw its line."""
        points = curve(centre, axes, arc)
        if width is None:
            self.polygon(points, colour)
        else:
            self.line(points, colour, width)

    def blank(self) -> Pen:
        """Return a pen with the same units on an empty mask of the same size."""
        return Pen(np.zeros(self.picture.shape[:2], np.uint8), self.matrix)

    def _pixels(self, points: Sequence[Point] | NDArray[np.float64]) -> NDArray[np.int32]:
        units = np.asarray(points, np.float64).reshape(-1, 2)
        pixels = units @ self.matrix[:, :2].T + self.matrix[:, 2]
        scaled: NDArray[np.int32] = np.rint(pixels * 2**_FRACTION_BITS).astype(np.int32)
        return scaled


def placing(centre: Point, unit: float, roll: float = 0.0) -> NDArray[np.float64]:
    """Return a pen's matrix: origin at `centre` in pixels, turned by `roll` degrees."""
    cosine, sine = np.cos(np.radians(roll)) * unit, np.sin(np.radians(roll)) * unit
    return np.array([[cosine, -sine, centre[0]], [sine, cosine, centre[1]]], np.float64)


def curve(centre: Point, axes: Point, arc: Point = (0.0, 360.0)) -> NDArray[np.float64]:
    """Return points of an elliptic arc, (N, 2); 0 degrees points right, 90 degrees down."""
    return np.asarray(_unit_arc(*arc) * axes + centre, np.float64)


@lru_cache(maxsize=256)
def _unit_arc(first: float, last: float) -> NDArray[np.float64]:
    angles = np.radians(np.linspace(first, last, 33))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def tint(colour: Rgb, factor: float) -> Rgb:
    """Return a colour darker (below 1) or brighter (above 1)."""
    red, green, blue = (min(255, max(0, round(part * factor))) for part in colour)
    return red, green, blue


def mix(first: Rgb, second: Rgb, share: float) -> Rgb:
    """Return the colour that lies `share` of the way from the first to the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def jitter(colour: Rgb, spread: int, rng: np.random.Generator) -> Rgb:
    """Return a colour near another one: one shift of brightness, a smaller one for each part."""
    shift = int(rng.integers(-spread, spread + 1))
    parts = rng.integers(-spread // 3, spread // 3 + 1, size=3)
    red, green, blue = (
        min(255, max(0, part + shift + int(own))) for part, own in zip(colour, parts, strict=True)
    )
    return red, green, blue


def smooth_noise(shape: tuple[int, int], grain: float, rng: np.random.Generator) -> Float:
    """Return noise in [-1, 1] whose blotches are about `grain` pixels wide, (H, W)."""
    height, width = (max(2, round(side / max(grain, 1.0)) + 1) for side in shape)
    coarse = rng.uniform(-1, 1, (height, width)).astype(np.float32)
    fine = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(fine, np.float32)


def blur(picture: Float, sigma: float) -> Float:
    """Blur with a Gaussian of `sigma` pixels; below a fifth of a pixel, leave it as it is."""
    if sigma < 0.2:
        return picture
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32)


def to_picture(values: Float) -> NDArray[np.uint8]:
    """Return values as pixels: clipped to 0 to 255, and rounded down."""
    return np.clip(values, 0, 255).astype(np.uint8)


def blend(picture: NDArray[np.uint8], over: NDArray[np.uint8], opacity: Float | float) -> None:
    """Lay `over` on `picture` in place; the opacity, a number or (H, W), is in [0, 1]."""
    weight = opacity if isinstance(opacity, float) else opacity[..., None]
    base = picture.astype(np.float32)
    picture[:] = np.clip(base + (over.astype(np.float32) - base) * weight, 0, 255)
