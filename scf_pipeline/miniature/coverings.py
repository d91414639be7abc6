"""What people put on or before their faces, by instrument, and how far it hides what is below."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scf_pipeline.miniature import disguises, masks
from scf_pipeline.miniature.faces import Person
from scf_pipeline.miniature.strokes import Pen

Painter = Callable[[Pen, Person, np.random.Generator], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Covering:
    """How a covering is drawn over a finished person."""

    paint: Painter
    """Draw it."""

    is_over_hair: bool = False
    """Whether it lies before fringe, hat and glasses."""

    is_paper: bool = False
    """Whether it is printed on paper, and shows ink and fibre."""

    opacity: tuple[float, float] = (0.9, 1.0)
    """How far it replaces what is below where cues are plain to see."""

    faint_opacity: tuple[float, float] = (0.6, 0.9)
    """The same where cues are faint."""


COVERINGS: dict[str, Covering] = {
    "resin_mask": Covering(paint=masks.paint_resin),
    "plaster_mask": Covering(paint=masks.paint_plaster, faint_opacity=(0.65, 0.9)),
    "transparent_mask": Covering(paint=masks.paint_transparent),
    "silicone_mask": Covering(paint=masks.paint_silicone, is_over_hair=True),
    "half_mask": Covering(paint=masks.paint_half),
    "mask_3d_print": Covering(paint=masks.paint_3d_print),
    "paper_mask": Covering(
        paint=masks.paint_paper_mask, is_over_hair=True, is_paper=True, faint_opacity=(0.6, 0.9)
    ),
    "paper_mask_cut": Covering(
        paint=masks.paint_paper_mask_cut, is_over_hair=True, is_paper=True, faint_opacity=(0.6, 0.9)
    ),
    "makeup_cosmetic": Covering(paint=disguises.paint_cosmetic, faint_opacity=(0.3, 0.6)),
    "makeup_impersonation": Covering(paint=disguises.paint_impersonation, faint_opacity=(0.3, 0.6)),
    "makeup_obfuscation": Covering(paint=disguises.paint_obfuscation, faint_opacity=(0.4, 0.7)),
    "funny_glasses": Covering(
        paint=disguises.paint_funny_glasses, is_over_hair=True, faint_opacity=(0.7, 1.0)
    ),
    "paper_glasses": Covering(
        paint=disguises.paint_paper_glasses,
        is_over_hair=True,
        is_paper=True,
        faint_opacity=(0.7, 1.0),
    ),
    "eye_cut": Covering(
        paint=disguises.paint_eye_cut, is_over_hair=True, is_paper=True, faint_opacity=(0.6, 0.9)
    ),
    "mouth_cut": Covering(
        paint=disguises.paint_mouth_cut, is_over_hair=True, is_paper=True, faint_opacity=(0.6, 0.9)
    ),
}
"""Coverings by the instrument that they are."""
