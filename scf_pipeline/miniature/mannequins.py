"""Heads that are nobody's: mannequins, as shops and studios have them.

Units in this file: one face height; the origin is the centre of the face oval, y points down.
"""

from __future__ import annotations

import numpy as np

from scf_pipeline.miniature.faces import EYE_X, EYE_Y, HAIR_COLOURS, Person, oval
from scf_pipeline.miniature.masks import draw_gloss, draw_relief
from scf_pipeline.miniature.strokes import WHITE, Pen, Rgb, curve, jitter, mix, tint

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
    draw_relief(pen, base, mix(base, person.lips, 0.5 * (1 - gloss) + 0.15), tint(base, 0.7))
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
    draw_gloss(pen, base, 0.45 + 0.55 * gloss)
