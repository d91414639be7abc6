"""What people put on or before their faces, and heads that are nobody's.

Units in this file: one face height; the origin is the centre of the face oval, y points down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from scf_pipeline.miniature import faces
from scf_pipeline.miniature.faces import EYE_X, EYE_Y, HAIR_COLOURS, SKINS, Person, oval
from scf_pipeline.miniature.strokes import Pen, Point, Rgb, curve, jitter, mix, tint

Painter = Callable[[Pen, Person, np.random.Generator], None]

WHITE: Rgb = (252, 252, 250)
PAPER: Rgb = (240, 238, 230)
DARK: Rgb = (26, 20, 18)


@dataclass(frozen=True, slots=True, kw_only=True)
class Covering:
    """How a covering is drawn over a finished person."""

    paint: Painter
    """Draw it."""

    is_over_hair: bool = False
    """Whether it lies before fringe, hat and glasses."""

    is_paper: bool = False
    """Whether it is printed on paper, and shows ink and fibre."""

    opacity: tuple[float, float] = (0.8, 1.0)
    """How far it replaces what is below where cues are plain to see."""

    faint_opacity: tuple[float, float] = (0.4, 0.7)
    """The same where cues are faint."""


def _relief(pen: Pen, base: Rgb, lips: Rgb, brow: Rgb) -> None:
    """Model a rigid face: brows, nose and lips as shapes of one material."""
    for side in (-1, 1):
        pen.line(curve((side * EYE_X, EYE_Y - 0.05), (0.11, 0.07), (205, 335)), brow, 0.026)
        pen.line([(side * 0.05, -0.08), (side * 0.07, 0.1)], tint(base, 0.88), 0.02)
    pen.polygon([(-0.03, -0.1), (0.03, -0.1), (0.045, 0.1), (-0.045, 0.1)], tint(base, 1.08))
    pen.ellipse((0, 0.128), (0.07, 0.03), tint(base, 0.66), arc=(10, 170), width=0.022)
    pen.ellipse((0, 0.275), (0.12, 0.034), lips)
    pen.ellipse((0, 0.265), (0.12, 0.016), tint(lips, 0.6), arc=(0, 180), width=0.014)


def _eye_holes(pen: Pen, person: Person, rim: Rgb, axes: Point = (0.108, 0.066)) -> None:
    """Cut holes through which the wearer's own eyes look out of the shade."""
    for side in (-1, 1):
        eye = (side * EYE_X, EYE_Y)
        pen.ellipse(eye, (axes[0] * 1.12, axes[1] * 1.18), rim)
        pen.ellipse(eye, axes, tint(person.skin, 0.36))
        pen.ellipse((eye[0], eye[1] + 0.008), (0.064, 0.03), (196, 192, 186))
        pen.ellipse((eye[0], eye[1] + 0.008), (0.032, 0.031), tint(person.eyes, 0.8))
        pen.ellipse((eye[0], eye[1] + 0.008), (0.016, 0.017), (12, 10, 10))


def _gloss(pen: Pen, base: Rgb, amount: float) -> None:
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
    _relief(pen, base, mix(base, (176, 62, 66), 0.6), tint(mix(person.hair, base, 0.25), 0.9))
    _gloss(pen, base, float(rng.uniform(0.6, 1.0)))
    _eye_holes(pen, person, tint(base, 0.6))


def paint_plaster(pen: Pen, person: Person, rng: np.random.Generator) -> None:
    """Draw a dull white cast."""
    base = jitter((226, 222, 214), 10, rng)
    _shell(pen, person, base)
    _relief(pen, base, tint(base, 0.86), tint(base, 0.8))
    _eye_holes(pen, person, tint(base, 0.7))


def paint_transparent(pen: Pen, person: Person, rng: np.random.Generator) -> None:
    """Draw a clear shell: the face shows through, with hard reflections and a bright edge."""
    milky = mix(person.skin, WHITE, 0.3)
    pen.ellipse((0, 0), oval(person, 1.02), milky)
    pen.ellipse((0, 0), oval(person, 1.02), mix(milky, WHITE, 0.7), width=0.03)
    faces.draw_features(pen, replace(person, skin=milky, lips=mix(person.lips, WHITE, 0.3)))
    _gloss(pen, milky, 1.0)
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
    _relief(pen, base, mix(base, (170, 80, 80), 0.4), mix(base, DARK, 0.35))
    for height in (-0.34, -0.27):
        pen.line(curve((0, height + 0.1), (0.24, 0.1), (215, 325)), fold, 0.016)
    for side in (-1, 1):
        pen.line([(side * 0.1, 0.12), (side * 0.18, 0.25)], fold, 0.018)
    pen.ellipse((-0.12, -0.38), (0.12, 0.04), mix(base, WHITE, 0.35))
    _eye_holes(pen, person, tint(base, 0.62), (0.098, 0.056))


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
        _eye_holes(pen, person, tint(base, 0.55))


def paint_3d_print(pen: Pen, person: Person, rng: np.random.Generator) -> None:
    """Draw a printed shell: powdery colour, and layers that show as contour lines."""
    base = jitter(mix(person.skin, (206, 190, 172), 0.6), 12, rng)
    _shell(pen, person, base)
    x, y = oval(person, 0.95)
    for height in np.arange(-0.44, 0.46, 0.058):
        half = x * float(np.sqrt(max(0.0, 1 - (height / y) ** 2)))
        pen.line([(-half, height), (0, height + 0.02), (half, height)], tint(base, 0.8), 0.018)
    _relief(pen, base, mix(base, (150, 84, 80), 0.5), tint(base, 0.6))
    _eye_holes(pen, person, tint(base, 0.6))


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
    _eye_holes(pen, person, PAPER, (0.11, 0.06))


def paint_paper_mask_cut(pen: Pen, person: Person, rng: np.random.Generator) -> None:
    """Draw a paper mask cut open round eyes, nose and mouth."""
    _paper_face(pen, person, rng)
    _eye_holes(pen, person, PAPER, (0.135, 0.085))
    for outline, margin in (([(0, -0.06), (0.09, 0.15), (-0.09, 0.15)], 1.3),):
        points = np.array(outline, np.float64)
        middle = points.mean(axis=0)
        pen.polygon((points - middle) * margin + middle, PAPER)
        pen.polygon(points, tint(person.skin, 0.8))
        pen.ellipse((0, 0.125), (0.06, 0.02), tint(person.skin, 0.5))
    pen.ellipse((0, 0.275), (0.17, 0.085), PAPER)
    pen.ellipse((0, 0.275), (0.15, 0.068), tint(person.skin, 0.6))
    pen.ellipse((0, 0.28), (0.12, 0.034), tint(person.lips, 0.85))


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


def _band(half_height: float, half_width: float, rng: np.random.Generator) -> np.ndarray:
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    points = np.array(corners) * np.array([half_width, half_height]) + np.array([0, EYE_Y])
    moved: np.ndarray = points + rng.uniform(-0.015, 0.015, size=(4, 2))
    return moved


MANNEQUIN_COLOURS: tuple[Rgb, ...] = (
    (236, 232, 226),
    (226, 186, 156),
    (176, 178, 182),
    (110, 82, 62),
)


def draw_mannequin(pen: Pen, person: Person, gloss: float, rng: np.random.Generator) -> None:
    """Draw a shop-window head on its stand: one glossy material, bald or with moulded hair.

    Args:
        pen: In face heights.
        person: Whom it resembles; gives hair, lips, and a share of the colour.
        gloss: How glossy and uniform it is, in [0, 1].
        rng: Source of material and hair.
    """
    material = MANNEQUIN_COLOURS[int(rng.integers(len(MANNEQUIN_COLOURS)))]
    base = jitter(mix(person.skin, material, 0.35 + 0.6 * gloss), 8, rng)
    x, y = oval(person)
    pen.ellipse((0, 1.32), (0.42, 0.16), (52, 50, 52))
    pen.ellipse((0, 1.28), (0.42, 0.14), (96, 92, 92))
    pen.polygon([(-0.16, 0.3), (0.16, 0.3), (0.2, 0.86), (-0.2, 0.86)], tint(base, 0.74))
    pen.polygon([(-0.2, 0.84), (0.2, 0.84), (0.34, 1.22), (-0.34, 1.22)], tint(base, 0.9))
    pen.line([(-0.2, 0.84), (0.2, 0.84)], tint(base, 0.5), 0.03)
    for side in (-1, 1):
        pen.ellipse((side * x, -0.01), (0.05, 0.1), tint(base, 0.8))
    pen.ellipse((0, -0.04), (x * 1.03, y * 1.05), tint(base, 0.76))
    pen.ellipse((0, -0.05), (x * 0.96, y * 0.99), base)
    _relief(pen, base, mix(base, person.lips, 0.5 * (1 - gloss) + 0.15), tint(base, 0.7))
    for side in (-1, 1):
        eye = (side * EYE_X, EYE_Y)
        pen.ellipse(eye, (0.085, 0.045), tint(base, 0.72))
        pen.ellipse((eye[0], eye[1] + 0.004), (0.076, 0.036), tint(base, 1.1))
    if rng.random() < 0.4:
        moulded = tint(HAIR_COLOURS[person.hair_colour], 0.85)
        crown = np.concatenate(
            [
                curve((0, -0.07), (x * 1.1, y * 1.08), (182, 358)),
                curve((0, -0.05), (x * 0.95, 0.34), (352, 188)),
            ]
        )
        pen.polygon(crown, moulded)
        pen.line(curve((0, -0.07), (x * 0.8, y * 0.9), (220, 290)), mix(moulded, WHITE, 0.6), 0.045)
    _gloss(pen, base, 0.45 + 0.55 * gloss)


COVERINGS: dict[str, Covering] = {
    "resin_mask": Covering(paint=paint_resin),
    "plaster_mask": Covering(paint=paint_plaster, faint_opacity=(0.55, 0.85)),
    "transparent_mask": Covering(paint=paint_transparent),
    "silicone_mask": Covering(paint=paint_silicone, is_over_hair=True),
    "half_mask": Covering(paint=paint_half),
    "mask_3d_print": Covering(paint=paint_3d_print),
    "paper_mask": Covering(
        paint=paint_paper_mask, is_over_hair=True, is_paper=True, faint_opacity=(0.6, 0.9)
    ),
    "paper_mask_cut": Covering(
        paint=paint_paper_mask_cut, is_over_hair=True, is_paper=True, faint_opacity=(0.6, 0.9)
    ),
    "makeup_cosmetic": Covering(paint=paint_cosmetic, faint_opacity=(0.3, 0.6)),
    "makeup_impersonation": Covering(paint=paint_impersonation, faint_opacity=(0.3, 0.6)),
    "makeup_obfuscation": Covering(paint=paint_obfuscation, faint_opacity=(0.4, 0.7)),
    "funny_glasses": Covering(
        paint=paint_funny_glasses, is_over_hair=True, faint_opacity=(0.7, 1.0)
    ),
    "paper_glasses": Covering(
        paint=paint_paper_glasses, is_over_hair=True, is_paper=True, faint_opacity=(0.7, 1.0)
    ),
    "eye_cut": Covering(
        paint=paint_eye_cut, is_over_hair=True, is_paper=True, faint_opacity=(0.6, 0.9)
    ),
    "mouth_cut": Covering(
        paint=paint_mouth_cut, is_over_hair=True, is_paper=True, faint_opacity=(0.6, 0.9)
    ),
}
"""Coverings by the instrument that they are."""
