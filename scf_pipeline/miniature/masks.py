"""Masks: rigid shells, soft hoods and printed paper, worn before a face.

Units in this file: one face height; the origin is the centre of the face oval, y points down.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scf_pipeline.miniature import faces
from scf_pipeline.miniature.faces import EYE_X, EYE_Y, Person, oval
from scf_pipeline.miniature.strokes import (
    DARK,
    PAPER,
    WHITE,
    Pen,
    Point,
    Rgb,
    curve,
    jitter,
    mix,
    tint,
)


def draw_relief(pen: Pen, base: Rgb, lips: Rgb, brow: Rgb) -> None:
    """Model a rigid face: brows, nose and lips as shapes of one material."""
    for side in (-1, 1):
        pen.line(curve((side * EYE_X, EYE_Y - 0.05), (0.11, 0.07), (205, 335)), brow, 0.026)
        pen.line([(side * 0.05, -0.08), (side * 0.07, 0.1)], tint(base, 0.88), 0.02)
    pen.polygon([(-0.03, -0.1), (0.03, -0.1), (0.045, 0.1), (-0.045, 0.1)], tint(base, 1.08))
    pen.ellipse((0, 0.128), (0.07, 0.03), tint(base, 0.66), arc=(10, 170), width=0.022)
    pen.ellipse((0, 0.275), (0.12, 0.034), lips)
    pen.ellipse((0, 0.265), (0.12, 0.016), tint(lips, 0.6), arc=(0, 180), width=0.014)


def draw_eye_holes(pen: Pen, person: Person, rim: Rgb, axes: Point = (0.108, 0.066)) -> None:
    """Cut holes through which the wearer's own eyes look out of the shade."""
    for side in (-1, 1):
        eye = (side * EYE_X, EYE_Y)
        pen.ellipse(eye, (axes[0] * 1.12, axes[1] * 1.18), rim)
        pen.ellipse(eye, axes, tint(person.skin, 0.36))
        pen.ellipse((eye[0], eye[1] + 0.008), (0.064, 0.03), (196, 192, 186))
        pen.ellipse((eye[0], eye[1] + 0.008), (0.032, 0.031), tint(person.eyes, 0.8))
        pen.ellipse((eye[0], eye[1] + 0.008), (0.016, 0.017), (12, 10, 10))


def draw_gloss(pen: Pen, base: Rgb, amount: float) -> None:
    """Add the highlights of a smooth shell: on the forehead, a cheek, the nose and the chin."""
    for centre, axes in (((-0.1, -0.3), (0.12, 0.055)), ((0.2, 0.1), (0.05, 0.085))):
        pen.ellipse(centre, axes, mix(base, WHITE, 0.45 * amount))
        pen.ellipse(centre, (axes[0] * 0.6, axes[1] * 0.6), mix(base, WHITE, 0.85 * amount))
    pen.ellipse((0, 0.09), (0.022, 0.03), mix(base, WHITE, 0.7 * amount))
    pen.ellipse((0, 0.41), (0.06, 0.022), mix(base, WHITE, 0.4 * amount))


def _shell(pen: Pen, person: Person, base: Rgb) -> None:
    """Draw a rigid shell with its contact shadow and its edge."""
    pen.ellipse((0, 0.012), oval(person, 1.07), tint(person.skin, 0.42))
    pen.ellipse((0, 0), oval(person, 1.01), tint(base, 0.8))
    pen.ellipse((0, -0.005), oval(person, 0.965), base)


def paint_resin(pen: Pen, person: Person, rng: np.random.Generator) -> None:
    """Draw a painted shell of hard resin."""
    base = jitter(mix(person.skin, (226, 178, 146), 0.45), 12, rng)
    _shell(pen, person, base)
    draw_relief(pen, base, mix(base, (176, 62, 66), 0.6), tint(mix(person.hair, base, 0.25), 0.9))
    draw_gloss(pen, base, float(rng.uniform(0.6, 1.0)))
    draw_eye_holes(pen, person, tint(base, 0.6))


def paint_plaster(pen: Pen, person: Person, rng: np.random.Generator) -> None:
    """Draw a dull white cast."""
    base = jitter((226, 222, 214), 10, rng)
    _shell(pen, person, base)
    draw_relief(pen, base, tint(base, 0.86), tint(base, 0.8))
    draw_eye_holes(pen, person, tint(base, 0.7))


def paint_transparent(pen: Pen, person: Person, rng: np.random.Generator) -> None:
    """Draw a clear shell: the face shows through, with hard reflections and a bright edge."""
    milky = mix(person.skin, WHITE, 0.3)
    pen.ellipse((0, 0), oval(person, 1.02), milky)
    pen.ellipse((0, 0), oval(person, 1.02), mix(milky, WHITE, 0.7), width=0.03)
    faces.draw_features(pen, replace(person, skin=milky, lips=mix(person.lips, WHITE, 0.3)))
    draw_gloss(pen, milky, 1.0)
    lean = float(rng.uniform(-0.06, 0.06))
    pen.line([(-0.26, -0.28), (-0.3 + lean, 0.2)], WHITE, 0.035)
    pen.line([(0.1, -0.42), (0.26, -0.32)], WHITE, 0.03)
    pen.line([(-0.14, 0.36), (0.06, 0.42)], WHITE, 0.026)


def paint_silicone(pen: Pen, person: Person, rng: np.random.Generator) -> None:
    """Draw a soft mask over the whole head down to the neck: one waxy colour, bald, folds."""
    base = jitter(mix(person.skin, (232, 176, 148), 0.5), 10, rng)
    fold = tint(base, 0.78)
    pen.polygon([(-0.22, 0.3), (0.22, 0.3), (0.25, 0.72), (-0.25, 0.72)], tint(base, 0.82))
    pen.line([(-0.27, 0.72), (-0.1, 0.75), (0.1, 0.73), (0.27, 0.72)], tint(base, 0.5), 0.03)
    x, y = oval(person, 1.08)
    pen.ellipse((0, -0.05), (x * 1.04, y * 1.06), tint(base, 0.84))
    pen.ellipse((0, -0.05), (x * 0.97, y * 1.0), base)
    draw_relief(pen, base, mix(base, (170, 80, 80), 0.4), mix(base, DARK, 0.35))
    for height in (-0.34, -0.27):
        pen.line(curve((0, height + 0.1), (0.24, 0.1), (215, 325)), fold, 0.016)
    for side in (-1, 1):
        pen.line([(side * 0.1, 0.12), (side * 0.18, 0.25)], fold, 0.018)
    pen.ellipse((-0.12, -0.38), (0.12, 0.04), mix(base, WHITE, 0.35))
    draw_eye_holes(pen, person, tint(base, 0.62), (0.098, 0.056))


def paint_half(pen: Pen, person: Person, rng: np.random.Generator) -> None:
    """Draw a shell over the lower or the upper half of the face."""
    base = jitter(mix(person.skin, (228, 186, 158), 0.6), 14, rng)
    is_lower = rng.random() < 0.5
    arc = (-8.0, 188.0) if is_lower else (170.0, 370.0)
    pen.ellipse((0, 0.01), oval(person, 1.05), tint(person.skin, 0.42), arc=arc)
    pen.ellipse((0, 0), oval(person, 1.0), base, arc=arc)
    edge = tint(base, 0.5)
    if is_lower:
        pen.polygon([(-0.12, -0.02), (0, -0.08), (0.12, -0.02)], base)
        pen.line(
            [(-0.37, -0.03), (-0.12, -0.02), (0, -0.08), (0.12, -0.02), (0.37, -0.03)], edge, 0.02
        )
        pen.ellipse((0, 0.128), (0.07, 0.03), tint(base, 0.66), arc=(10, 170), width=0.022)
        pen.ellipse((0, 0.275), (0.12, 0.034), mix(base, (176, 62, 66), 0.5))
        pen.ellipse((0.2, 0.12), (0.05, 0.08), mix(base, WHITE, 0.5))
    else:
        pen.line(curve((0, 0.02), (0.36, 0.1), (175, 5)), edge, 0.02)
        pen.ellipse((-0.1, -0.3), (0.12, 0.05), mix(base, WHITE, 0.5))
        draw_eye_holes(pen, person, tint(base, 0.55))


def paint_3d_print(pen: Pen, person: Person, rng: np.random.Generator) -> None:
    """Draw a printed shell: powdery colour, and layers that show as contour lines."""
    base = jitter(mix(person.skin, (206, 190, 172), 0.6), 12, rng)
    _shell(pen, person, base)
    x, y = oval(person, 0.95)
    for height in np.arange(-0.44, 0.46, 0.058):
        half = x * float(np.sqrt(max(0.0, 1 - (height / y) ** 2)))
        pen.line([(-half, height), (0, height + 0.02), (half, height)], tint(base, 0.8), 0.018)
    draw_relief(pen, base, mix(base, (150, 84, 80), 0.5), tint(base, 0.6))
    draw_eye_holes(pen, person, tint(base, 0.6))


def _paper_face(pen: Pen, person: Person, rng: np.random.Generator) -> None:
    """Draw a flat photograph of a face, cut out by hand with a white margin."""
    x, y = oval(person, 1.1)
    angles = np.linspace(0, 2 * np.pi, 22, endpoint=False)
    reach = 1 + rng.uniform(-0.035, 0.035, size=22)
    outline = np.stack([x * reach * np.cos(angles), y * reach * np.sin(angles)], axis=1)
    pen.polygon(outline * 1.04 + np.array([0.02, 0.025]), tint(person.skin, 0.35))
    pen.polygon(outline, PAPER)
    flat = mix(person.skin, (206, 190, 176), 0.3)
    pen.polygon(outline * 0.93, flat)
    faces.draw_features(
        pen, replace(person, skin=flat, lips=mix(person.lips, (160, 120, 116), 0.4))
    )
    fold = float(rng.uniform(-0.1, 0.1))
    pen.line([(fold, -y * 0.9), (fold * 0.4, y * 0.9)], tint(flat, 0.82), 0.014)


def paint_paper_mask(pen: Pen, person: Person, rng: np.random.Generator) -> None:
    """Draw a paper mask with holes for the eyes."""
    _paper_face(pen, person, rng)
    draw_eye_holes(pen, person, PAPER, (0.11, 0.06))


def paint_paper_mask_cut(pen: Pen, person: Person, rng: np.random.Generator) -> None:
    """Draw a paper mask cut open round eyes, nose and mouth."""
    _paper_face(pen, person, rng)
    draw_eye_holes(pen, person, PAPER, (0.135, 0.085))
    for outline, margin in (([(0, -0.06), (0.09, 0.15), (-0.09, 0.15)], 1.3),):
        points = np.array(outline, np.float64)
        middle = points.mean(axis=0)
        pen.polygon((points - middle) * margin + middle, PAPER)
        pen.polygon(points, tint(person.skin, 0.8))
        pen.ellipse((0, 0.125), (0.06, 0.02), tint(person.skin, 0.5))
    pen.ellipse((0, 0.275), (0.17, 0.085), PAPER)
    pen.ellipse((0, 0.275), (0.15, 0.068), tint(person.skin, 0.6))
    pen.ellipse((0, 0.28), (0.12, 0.034), tint(person.lips, 0.85))
