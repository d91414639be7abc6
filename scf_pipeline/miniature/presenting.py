"""Pages and displays before a camera: drawn flat, then held or stood into a scene.

Units in this file: one face height; the origin is the centre of the shown face, y points down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scf_pipeline.miniature import physics, scenes
from scf_pipeline.miniature.faces import EYE_X, EYE_Y, Person, draw_eyes
from scf_pipeline.miniature.layouts import Picture
from scf_pipeline.miniature.sheets import Sheet
from scf_pipeline.miniature.strokes import Float, Pen, Point, curve, placing, tint

Matrix = NDArray[np.float64]
Content = Callable[[tuple[int, int], Matrix], Picture]
"""Draws what is shown: (height and width in pixels, matrix of the face) -> picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """How a sheet is presented in one scene."""

    sheet: Sheet
    """What is presented."""

    strength: float
    """Factor on what gives the medium away, near 1."""

    is_border_shown: bool
    """Whether margin or bezel lies inside the square of 1.6 face heights."""

    presenter: Person
    """Whose fingers hold it, and whose eyes look through its holes."""

    is_held: bool = False
    """Whether fingers are seen."""


@dataclass(frozen=True, slots=True)
class _Extent:
    half: Point
    """Half width and half height of the picture."""
    centre: Point
    """Middle of the picture, seen from the face."""
    border: float

    @property
    def outer(self) -> Point:
        return self.half[0] + self.border, self.half[1] + self.border


def present(
    canvas: Picture, matrix: Matrix, content: Content, showing: Showing, rng: np.random.Generator
) -> Matrix:
    """Lay a sheet before a scene, in place.

    Args:
        canvas: The scene behind, (H, W, 3).
        matrix: Where the shown face shall be, and how large.
        content: Draws what is shown.
        showing: The sheet and how it is presented.
        rng: Source of everything that is left to chance.

    Returns:
        The matrix of the shown face: `matrix`, turned as the sheet is.
    """
    unit = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    extent = _choose_extent(showing, rng)
    turned = placing((matrix[0, 2], matrix[1, 2]), unit, float(rng.uniform(-6, 6)))
    picture = _make(extent, unit, content, showing, rng)
    pen = Pen(canvas, turned)
    _draw_support(pen, extent, showing.sheet)
    _lay(canvas, turned, picture, extent, showing, rng)
    if showing.is_held:
        _draw_hands(pen, extent, showing, rng)
    return turned


def _choose_extent(showing: Showing, rng: np.random.Generator) -> _Extent:
    sheet = showing.sheet
    slimness = rng.uniform(*sheet.slimness)
    if showing.is_border_shown:
        half_x = rng.uniform(*sheet.half_width)
        half_y = half_x * slimness
    else:
        half_x = max(1.0, 1.0 / slimness) * rng.uniform(1.0, 1.25)
        half_y = half_x * slimness
    centre = (float(rng.uniform(-0.06, 0.06)), float(rng.uniform(0.0, 0.12)))
    return _Extent((float(half_x), float(half_y)), centre, float(rng.uniform(*sheet.border)))


def _make(
    extent: _Extent, unit: float, content: Content, showing: Showing, rng: np.random.Generator
) -> Picture:
    """Draw a sheet flat: the picture with its medium's traces, framed by its border."""
    sheet = showing.sheet
    width, height = (max(8, round(2 * half * unit)) for half in extent.half)
    border = round(extent.border * unit)
    origin = (width / 2 - extent.centre[0] * unit, height / 2 - extent.centre[1] * unit)
    matrix = placing(origin, unit)
    inner = content((height, width), matrix).astype(np.float32)
    x, y = physics.grid((height, width), matrix)
    if sheet.medium == "print":
        inner = np.asarray(cv2.GaussianBlur(inner, (0, 0), unit / 40 * rng.uniform(0.4, 0.8)))
        inner = physics.print_out(inner, x, y, showing.strength, rng)
    else:
        inner = physics.display(inner, x, y, showing.strength, rng)
    whole = np.empty((height + 2 * border, width + 2 * border, 3), np.float32)
    whole[:] = sheet.colours[int(rng.integers(len(sheet.colours)))]
    whole[border : border + height, border : border + width] = inner
    if sheet.bend:
        x, _ = physics.grid(
            whole.shape[:2], placing((origin[0] + border, origin[1] + border), unit)
        )
        tilt = rng.uniform(-0.4, 0.4) * np.linspace(-1, 1, whole.shape[0], dtype=np.float32)
        whole = physics.curl(whole, x + tilt[:, None], showing.strength * sheet.bend * 8, rng)
    picture = whole.astype(np.uint8)
    pen = Pen(picture, placing((origin[0] + border, origin[1] + border), unit))
    _draw_extras(pen, extent, showing, rng)
    return picture


def _draw_extras(pen: Pen, extent: _Extent, showing: Showing, rng: np.random.Generator) -> None:
    """Draw creases, pins, a button, or holes with eyes behind them."""
    (half_x, half_y), (middle_x, middle_y) = extent.half, extent.centre
    if showing.sheet.extra == "button":
        bottom = middle_y + half_y + extent.border / 2
        pen.ellipse((middle_x, bottom), (extent.border * 0.3,) * 2, (120, 120, 124))
        pen.ellipse((middle_x, middle_y - half_y - extent.border / 2), (0.02, 0.02), (70, 70, 80))
    elif showing.sheet.extra == "creases":
        at = float(rng.uniform(-0.25, 0.25))
        pen.line([(-3.0, at), (3.0, at + 0.03)], (234, 230, 224), 0.014)
        pen.line([(-3.0, at + 0.016), (3.0, at + 0.046)], (120, 114, 108), 0.01)
        pen.line([(at, -3.0), (at + 0.02, 3.0)], (228, 224, 218), 0.014)
    elif showing.sheet.extra == "pins":
        for side in (-1, 1):
            at = middle_x + side * (half_x - 0.05)
            pen.ellipse((at, middle_y - half_y + 0.06), (0.045, 0.045), (196, 40, 44))
    if showing.sheet.has_eye_holes:
        _cut_eyes(pen, showing.presenter)


def _cut_eyes(pen: Pen, presenter: Person) -> None:
    for side in (-1, 1):
        eye = (side * EYE_X, EYE_Y)
        pen.ellipse(eye, (0.135, 0.082), (244, 242, 236))
        pen.ellipse(eye, (0.12, 0.068), tint(presenter.skin, 0.55))
    draw_eyes(pen, presenter)
    for side in (-1, 1):
        pen.line(curve((side * EYE_X, EYE_Y), (0.122, 0.07), (180, 360)), (40, 32, 28), 0.03)


def _draw_support(pen: Pen, extent: _Extent, sheet: Sheet) -> None:
    """Draw what carries a display: a keyboard, or a foot."""
    bottom = extent.centre[1] + extent.outer[1]
    middle, half = extent.centre[0], extent.outer[0]
    if sheet.extra == "keyboard":
        deck = [
            (-half, bottom - 0.02),
            (half, bottom - 0.02),
            (half * 1.2, bottom + 0.5),
            (-half * 1.2, bottom + 0.5),
        ]
        pen.polygon([(middle + x, y) for x, y in deck], (172, 174, 178))
        for row in range(4):
            y = bottom + 0.07 + 0.085 * row
            reach = half * (0.9 + 0.04 * row)
            pen.line([(middle - reach, y), (middle + reach, y)], (48, 48, 52), 0.055)
    elif sheet.extra == "stand":
        pen.polygon(
            [
                (middle - 0.12, bottom),
                (middle + 0.12, bottom),
                (middle + 0.16, bottom + 0.3),
                (middle - 0.16, bottom + 0.3),
            ],
            (58, 58, 62),
        )
        pen.ellipse((middle, bottom + 0.32), (0.42, 0.07), (48, 48, 52))


def _lay(
    canvas: Picture,
    matrix: Matrix,
    picture: Picture,
    extent: _Extent,
    showing: Showing,
    rng: np.random.Generator,
) -> None:
    """Warp the flat sheet into the scene: perspective, bend, cast shadow, reflection."""
    unit = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    x, y = physics.grid(canvas.shape[:2], matrix)
    slant = rng.uniform(-0.1, 0.1, size=2).astype(np.float32)
    depth = np.asarray(1 + slant[0] * x + slant[1] * y, np.float32)
    x, y = x / depth, y / depth
    bend = np.float32(rng.uniform(-1, 1) * showing.sheet.bend)
    y = np.asarray(y + bend * (x * x - np.float32(0.2)), np.float32)
    outer, (middle_x, middle_y) = extent.outer, extent.centre
    column = (x - middle_x + outer[0]) * unit - 0.5
    row = (y - middle_y + outer[1]) * unit - 0.5
    shown = cv2.remap(picture, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    distance = _distance(x - middle_x, y - middle_y, outer, showing.sheet.corner)
    where = np.clip(0.5 - distance * unit, 0, 1)
    shade = np.clip(1 - (distance - 0.01) / 0.09, 0, 1) * np.float32(0.45)
    scene = canvas * (1 - shade)[..., None]
    scene += (shown - scene) * where[..., None]
    if rng.random() < showing.sheet.glare:
        scene = physics.glare(scene, x, y, where, rng)
    canvas[:] = np.clip(scene, 0, 255)


def _distance(x: Float, y: Float, half: Point, corner: float) -> Float:
    """Return the signed distance to a rectangle with round corners, negative inside."""
    beyond_x, beyond_y = np.abs(x) - (half[0] - corner), np.abs(y) - (half[1] - corner)
    outside = np.hypot(np.maximum(beyond_x, 0), np.maximum(beyond_y, 0))
    inside = np.minimum(np.maximum(beyond_x, beyond_y), 0)
    return np.asarray(outside + inside - corner, np.float32)


def _draw_hands(pen: Pen, extent: _Extent, showing: Showing, rng: np.random.Generator) -> None:
    (half_x, half_y), (middle_x, middle_y) = extent.outer, extent.centre
    skin = showing.presenter.skin
    height = float(rng.uniform(-0.2, 0.45))
    kind = int(rng.integers(3))
    if kind != 0:
        scenes.draw_fingers(pen, (middle_x - half_x, height), (1.0, 0.0), skin)
    if kind != 1:
        scenes.draw_fingers(pen, (middle_x + half_x, height + 0.05), (-1.0, 0.0), skin)
    if half_y < 0.85 and kind == 2:
        return
    scenes.draw_fingers(pen, (float(rng.uniform(-0.3, 0.3)), middle_y + half_y), (0.0, -1.0), skin)
