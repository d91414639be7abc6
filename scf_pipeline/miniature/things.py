"""Ordinary things: what people hold, and what pictures show when they show nobody.

Units in this file: one face height. Things are drawn about the origin, within about 0.3 of it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scf_pipeline.miniature.strokes import Pen, Rgb, curve, jitter, tint

Painter = Callable[[Pen, Rgb, np.random.Generator], None]


def _draw_cup(pen: Pen, colour: Rgb, rng: np.random.Generator) -> None:
    del rng
    pen.ellipse((0.17, 0.0), (0.09, 0.1), tint(colour, 0.8), width=0.04)
    pen.polygon([(-0.15, -0.18), (0.15, -0.18), (0.12, 0.2), (-0.12, 0.2)], colour)
    pen.polygon([(-0.15, -0.18), (-0.09, -0.18), (-0.07, 0.2), (-0.12, 0.2)], tint(colour, 1.2))
    pen.ellipse((0, -0.18), (0.15, 0.045), tint(colour, 0.6))


def _draw_book(pen: Pen, colour: Rgb, rng: np.random.Generator) -> None:
    del rng
    pen.polygon([(-0.2, -0.26), (0.22, -0.26), (0.22, 0.26), (-0.2, 0.26)], (236, 232, 220))
    pen.polygon([(-0.22, -0.25), (0.19, -0.25), (0.19, 0.24), (-0.22, 0.24)], colour)
    pen.line([(-0.17, -0.25), (-0.17, 0.24)], tint(colour, 0.6), 0.03)
    for height in (-0.12, -0.06):
        pen.line([(-0.1, height), (0.13, height)], (238, 230, 200), 0.03)


def _draw_ball(pen: Pen, colour: Rgb, rng: np.random.Generator) -> None:
    del rng
    pen.ellipse((0, 0), (0.24, 0.24), tint(colour, 0.8))
    pen.ellipse((-0.02, -0.02), (0.21, 0.21), colour)
    pen.line(curve((0, 0.1), (0.23, 0.2), (200, 340)), tint(colour, 0.55), 0.025)
    pen.ellipse((-0.09, -0.1), (0.05, 0.04), tint(colour, 1.6))


def _draw_flower(pen: Pen, colour: Rgb, rng: np.random.Generator) -> None:
    del rng
    pen.line([(0, 0.32), (0.01, -0.05)], (44, 116, 48), 0.04)
    pen.ellipse((0.08, 0.18), (0.08, 0.03), (60, 140, 62))
    for angle in np.arange(0, 2 * np.pi, np.pi / 3):
        pen.ellipse((0.1 * np.cos(angle), -0.1 + 0.1 * np.sin(angle)), (0.075, 0.075), colour)
    pen.ellipse((0, -0.1), (0.06, 0.06), (246, 212, 84))


def _draw_paper(pen: Pen, colour: Rgb, rng: np.random.Generator) -> None:
    del colour
    lean = float(rng.uniform(-0.05, 0.05))
    sheet = [(-0.24 + lean, -0.32), (0.24 + lean, -0.3), (0.23 - lean, 0.3), (-0.25 - lean, 0.32)]
    pen.polygon(np.array(sheet) + 0.015, (120, 116, 110))
    pen.polygon(sheet, jitter((240, 238, 232), 8, rng))
    for height in np.arange(-0.2, 0.2, 0.075):
        pen.line(
            [(-0.17, height), (float(rng.uniform(0.05, 0.17)), height)], (150, 150, 156), 0.018
        )


def _draw_phone(pen: Pen, colour: Rgb, rng: np.random.Generator) -> None:
    _draw_slab(pen, (0.13, 0.25), colour, rng)


def _draw_tablet(pen: Pen, colour: Rgb, rng: np.random.Generator) -> None:
    _draw_slab(pen, (0.26, 0.34), colour, rng)


def _draw_slab(pen: Pen, half: tuple[float, float], colour: Rgb, rng: np.random.Generator) -> None:
    x, y = half
    pen.polygon([(-x, -y), (x, -y), (x, y), (-x, y)], (22, 22, 26))
    glow = jitter((120, 168, 220), 24, rng)
    inner = [
        (-x + 0.03, -y + 0.05),
        (x - 0.03, -y + 0.05),
        (x - 0.03, y - 0.05),
        (-x + 0.03, y - 0.05),
    ]
    pen.polygon(inner, glow)
    pen.polygon([inner[0], inner[1], (x - 0.03, -0.02), (-x + 0.03, -0.02)], tint(glow, 1.15))
    pen.ellipse((-0.02, 0.06), (x * 0.4, x * 0.4), colour)


def _draw_laptop(pen: Pen, colour: Rgb, rng: np.random.Generator) -> None:
    pen.polygon([(-0.36, -0.34), (0.36, -0.34), (0.36, 0.12), (-0.36, 0.12)], (30, 30, 34))
    glow = jitter((150, 188, 226), 20, rng)
    pen.polygon([(-0.32, -0.3), (0.32, -0.3), (0.32, 0.08), (-0.32, 0.08)], glow)
    pen.ellipse((0.05, -0.1), (0.1, 0.1), colour)
    pen.polygon([(-0.36, 0.12), (0.36, 0.12), (0.46, 0.34), (-0.46, 0.34)], (176, 178, 184))
    for row in range(3):
        y = 0.165 + 0.05 * row
        pen.line([(-0.33 - 0.02 * row, y), (0.33 + 0.02 * row, y)], (56, 56, 60), 0.03)


def _draw_tree(pen: Pen, colour: Rgb, rng: np.random.Generator) -> None:
    del colour
    pen.polygon([(-0.04, 0), (0.04, 0), (0.06, 0.36), (-0.06, 0.36)], (94, 64, 42))
    for _ in range(7):
        centre = (float(rng.uniform(-0.15, 0.15)), float(rng.uniform(-0.25, 0.02)))
        pen.ellipse(centre, (0.13, 0.13), jitter((52, 126, 50), 24, rng))


def _draw_house(pen: Pen, colour: Rgb, rng: np.random.Generator) -> None:
    del rng
    pen.polygon([(-0.26, -0.06), (0.26, -0.06), (0.26, 0.32), (-0.26, 0.32)], colour)
    pen.polygon([(-0.32, -0.06), (0.32, -0.06), (0, -0.34)], (128, 56, 44))
    pen.polygon([(-0.06, 0.1), (0.08, 0.1), (0.08, 0.32), (-0.06, 0.32)], (82, 54, 36))
    pen.polygon([(-0.2, 0.04), (-0.1, 0.04), (-0.1, 0.15), (-0.2, 0.15)], (196, 222, 240))


def _draw_cat(pen: Pen, colour: Rgb, rng: np.random.Generator) -> None:
    del rng, colour
    fur: Rgb = (92, 88, 90)
    pen.ellipse((0, 0.2), (0.2, 0.2), fur)
    pen.ellipse((0, -0.08), (0.17, 0.15), tint(fur, 1.15))
    for side in (-1, 1):
        pen.polygon([(side * 0.16, -0.3), (side * 0.03, -0.2), (side * 0.16, -0.1)], fur)
        pen.ellipse((side * 0.07, -0.1), (0.035, 0.03), (206, 220, 90))
        pen.ellipse((side * 0.07, -0.1), (0.012, 0.028), (10, 10, 10))
    pen.ellipse((0, -0.02), (0.025, 0.018), (220, 140, 140))


THINGS: dict[str, Painter] = {
    "cup": _draw_cup,
    "book": _draw_book,
    "ball": _draw_ball,
    "flower": _draw_flower,
    "paper": _draw_paper,
    "phone": _draw_phone,
    "tablet": _draw_tablet,
    "laptop": _draw_laptop,
    "tree": _draw_tree,
    "house": _draw_house,
    "cat": _draw_cat,
}
"""Things by name."""

HELD = ("cup", "book", "ball", "flower", "paper", "phone", "tablet")
"""Things that people hold."""
SHOWN = ("flower", "tree", "house", "cat", "ball")
"""Things that pictures, posters and displays show."""
COLOURED = ("cup", "book", "ball", "flower", "house")
"""Things that come in the colours of clothes."""
