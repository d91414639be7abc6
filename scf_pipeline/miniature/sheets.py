"""Flat things that show a face, and how they look: printed pages and displays.

Units in this file: one face height.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scf_pipeline.miniature.strokes import Rgb

Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """How a page or a display looks."""

    medium: Literal["print", "screen"]
    """Ink on paper, or light."""

    slimness: Range
    """Height of the picture in widths."""

    half_width: Range
    """Half the picture's width where its border lies inside the crop."""

    border: Range
    """Width of the margin or bezel."""

    colours: tuple[Rgb, ...]
    """Colours of margin or bezel."""

    corner: float = 0.0
    """Radius of the outer corners."""

    bend: float = 0.0
    """Largest bend of the sheet."""

    glare: float = 0.0
    """Probability of a reflection."""

    extra: Literal["none", "button", "keyboard", "stand", "creases", "pins"] = "none"
    """What else belongs to it."""

    has_eye_holes: bool = False
    """Whether the presenter's own eyes look through."""


PAPERS: tuple[Rgb, ...] = ((236, 234, 228), (226, 222, 208), (240, 238, 238))
BEZELS: tuple[Rgb, ...] = ((18, 18, 20), (24, 24, 28), (214, 214, 216))

SHEETS: dict[str, Sheet] = {
    "print_flat": Sheet(
        medium="print", slimness=(1.2, 1.42), half_width=(0.52, 0.68), border=(0.03, 0.1),
        colours=PAPERS, bend=0.03, glare=0.08,
    ),
    "print_warped": Sheet(
        medium="print", slimness=(1.2, 1.42), half_width=(0.52, 0.68), border=(0.03, 0.1),
        colours=PAPERS, bend=0.2, glare=0.1,
    ),
    "print_cut": Sheet(
        medium="print", slimness=(1.2, 1.42), half_width=(0.52, 0.66), border=(0.03, 0.08),
        colours=PAPERS, bend=0.1, glare=0.05, has_eye_holes=True,
    ),
    "poster": Sheet(
        medium="print", slimness=(1.25, 1.5), half_width=(0.56, 0.68), border=(0.015, 0.05),
        colours=(*PAPERS, (200, 60, 50), (60, 80, 150)), bend=0.05, glare=0.3, extra="creases",
    ),
    "phone": Sheet(
        medium="screen", slimness=(1.7, 2.0), half_width=(0.46, 0.58), border=(0.05, 0.08),
        colours=BEZELS, corner=0.1, glare=0.6,
    ),
    "tablet": Sheet(
        medium="screen", slimness=(1.25, 1.4), half_width=(0.54, 0.64), border=(0.09, 0.14),
        colours=BEZELS, corner=0.07, glare=0.6, extra="button",
    ),
    "laptop": Sheet(
        medium="screen", slimness=(0.6, 0.68), half_width=(0.92, 1.1), border=(0.06, 0.09),
        colours=((28, 28, 30), (150, 152, 156)), corner=0.03, glare=0.6, extra="keyboard",
    ),
    "monitor": Sheet(
        medium="screen", slimness=(0.6, 0.72), half_width=(0.82, 1.02), border=(0.05, 0.08),
        colours=((22, 22, 24), (60, 60, 64)), glare=0.55, extra="stand",
    ),
}  # fmt: skip
"""Pages and displays by the instrument that they are."""
