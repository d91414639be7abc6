"""Make-up, and things that hide a part of a face.

Units in this file: one face height; the origin is the centre of the face oval, y points down.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scf_pipeline.miniature import faces
from scf_pipeline.miniature.faces import EYE_X, EYE_Y, SKINS, Person, oval
from scf_pipeline.miniature.strokes import DARK, PAPER, WHITE, Pen, Rgb, curve, jitter, mix, tint


def paint_cosmetic(pen: Pen, person: Person, rng: np.random.Generator) -> None:
    """Draw heavy evening make-up."""
    shades: tuple[Rgb, ...] = ((84, 64, 168), (40, 120, 150), (170, 50, 120), (60, 60, 64))
    shadow = shades[int(rng.integers(len(shades)))]
    for side in (-1, 1):
        pen.ellipse((side * EYE_X, EYE_Y - 0.03), (0.125, 0.085), mix(person.skin, shadow, 0.75))
        pen.ellipse((side * 0.25, 0.13), (0.1, 0.055), mix(person.skin, (226, 64, 96), 0.6))
    faces.draw_eyes(pen, replace(person, sex="woman", skin=mix(person.skin, shadow, 0.6)))
    for side in (-1, 1):
        eye = (side * EYE_X, EYE_Y)
        pen.ellipse(eye, (0.095, 0.055), DARK, arc=(180, 360), width=0.034)
        pen.line([(side * 0.27, EYE_Y), (side * 0.34, EYE_Y - 0.06)], DARK, 0.028)
    pen.ellipse((0, 0.275), (person.mouth * 1.12, 0.05), (186, 16, 52))
    pen.ellipse((0, 0.265), (person.mouth, 0.02), (100, 8, 26), arc=(0, 180), width=0.014)


def paint_impersonation(pen: Pen, person: Person, rng: np.random.Generator) -> None:
    """Draw make-up that turns a face into another: new tone, contours, wrinkles, moustache."""
    base = jitter(mix(person.skin, SKINS[int(rng.integers(len(SKINS)))], 0.45), 8, rng)
    contour = tint(base, 0.68)
    pen.ellipse((0, 0), oval(person, 0.98), base)
    for side in (-1, 1):
        pen.polygon([(side * 0.33, 0.02), (side * 0.14, 0.16), (side * 0.2, 0.34)], contour)
        pen.line([(side * 0.055, -0.06), (side * 0.065, 0.11)], contour, 0.03)
        pen.line([(side * 0.09, 0.13), (side * 0.16, 0.26)], tint(base, 0.55), 0.016)
    for height in (-0.36, -0.3, -0.24):
        pen.line(curve((0, height + 0.09), (0.23, 0.09), (215, 325)), tint(base, 0.6), 0.014)
    faces.draw_features(pen, replace(person, skin=base, brow=person.brow * 1.9, has_beard=False))
    if rng.random() < 0.6:
        pen.ellipse((0, 0.215), (0.15, 0.035), tint(person.hair, 0.7))


def paint_obfuscation(pen: Pen, person: Person, rng: np.random.Generator) -> None:
    """Draw patches and stripes of face paint that break the face up."""
    colours: tuple[Rgb, ...] = (DARK, WHITE, (46, 70, 150), (196, 44, 40), (60, 110, 54))
    chosen = rng.choice(len(colours), size=3, replace=False)
    outlines = (
        [(-0.34, -0.3), (-0.05, -0.42), (0.04, 0.02), (-0.26, 0.06)],
        [(0.06, -0.1), (0.36, -0.16), (0.32, 0.22), (0.1, 0.16)],
        [(-0.3, 0.12), (0.02, 0.2), (-0.04, 0.44), (-0.2, 0.36)],
    )
    for index, outline in zip(chosen, outlines, strict=True):
        moved = np.array(outline) + rng.uniform(-0.04, 0.04, size=(4, 2))
        pen.polygon(moved, mix(person.skin, colours[int(index)], 0.8))
    faces.draw_eyes(pen, person)


def paint_funny_glasses(pen: Pen, person: Person, rng: np.random.Generator) -> None:
    """Draw a toy: thick rims with staring eyes printed on the lenses, a big nose, a moustache."""
    del person
    rims: tuple[Rgb, ...] = ((20, 20, 22), (196, 30, 60), (30, 90, 190))
    rim = rims[int(rng.integers(len(rims)))]
    for side in (-1, 1):
        eye = (side * EYE_X, EYE_Y)
        pen.ellipse(eye, (0.17, 0.145), rim)
        pen.ellipse(eye, (0.135, 0.11), WHITE)
        pen.ellipse((eye[0] + 0.02, eye[1] + 0.02), (0.062, 0.062), (60, 120, 190))
        pen.ellipse((eye[0] + 0.02, eye[1] + 0.02), (0.034, 0.034), (10, 10, 10))
    pen.line([(-0.06, EYE_Y), (0.06, EYE_Y)], rim, 0.05)
    if rng.random() < 0.7:
        pen.ellipse((0, 0.07), (0.085, 0.12), (226, 150, 126))
        pen.ellipse((0.02, 0.04), (0.025, 0.04), (246, 196, 178))
        pen.ellipse((0, 0.21), (0.17, 0.045), DARK)


def paint_paper_glasses(pen: Pen, person: Person, rng: np.random.Generator) -> None:
    """Draw glasses cut from white paper."""
    paper = jitter(PAPER, 8, rng)
    pen.polygon(_band(0.155, 0.46, rng), tint(paper, 0.6))
    pen.polygon(_band(0.14, 0.46, rng), paper)
    for side in (-1, 1):
        eye = (side * EYE_X, EYE_Y)
        pen.ellipse(eye, (0.1, 0.075), tint(person.skin, 0.55))
        pen.ellipse(eye, (0.075, 0.04), (214, 210, 204))
        pen.ellipse(eye, (0.036, 0.038), person.eyes)


def paint_eye_cut(pen: Pen, person: Person, rng: np.random.Generator) -> None:
    """Draw a strip of a photograph over the eyes."""
    printed = faces.sample_person(rng)
    paper = mix(printed.skin, (200, 190, 180), 0.25)
    pen.polygon(_band(0.165, 0.4, rng) + np.array([0.01, 0.015]), tint(person.skin, 0.4))
    pen.polygon(_band(0.16, 0.4, rng), PAPER)
    pen.polygon(_band(0.135, 0.37, rng), paper)
    faces.draw_eyes(pen, replace(printed, skin=paper))
    for side in (-1, 1):
        pen.line(curve((side * EYE_X, EYE_Y - 0.05), (0.105, 0.07), (205, 335)), DARK, 0.026)


def paint_mouth_cut(pen: Pen, person: Person, rng: np.random.Generator) -> None:
    """Draw a patch of a photograph over the mouth."""
    printed = faces.sample_person(rng)
    paper = mix(printed.skin, (200, 190, 180), 0.25)
    corners = np.array([(-0.24, 0.14), (0.24, 0.14), (0.22, 0.42), (-0.22, 0.42)])
    corners += rng.uniform(-0.02, 0.02, size=(4, 2))
    middle = corners.mean(axis=0)
    pen.polygon(corners + np.array([0.012, 0.016]), tint(person.skin, 0.4))
    pen.polygon(corners, PAPER)
    pen.polygon((corners - middle) * 0.86 + middle, paper)
    faces.draw_mouth(pen, replace(printed, skin=paper))


def _band(half_height: float, half_width: float, rng: np.random.Generator) -> NDArray[np.float64]:
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    points = np.array(corners) * np.array([half_width, half_height]) + np.array([0, EYE_Y])
    return np.asarray(points + rng.uniform(-0.015, 0.015, size=(4, 2)), np.float64)
