"""People, drawn: who they are and what their heads look like.

Units in this file: one face height; the origin is the centre of the face oval, y points down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from scf_pipeline.miniature.strokes import Pen, Point, Rgb, curve, jitter, mix, tint

SKINS: tuple[Rgb, ...] = (
    (246, 214, 190),
    (236, 194, 162),
    (222, 174, 138),
    (198, 146, 108),
    (164, 112, 78),
    (130, 88, 62),
    (100, 68, 50),
)
HAIR_COLOURS: dict[str, Rgb] = {
    "black": (30, 26, 26),
    "brown": (98, 60, 34),
    "blond": (220, 186, 104),
    "red": (172, 74, 32),
    "gray": (160, 160, 162),
}
CLOTH_COLOURS: dict[str, Rgb] = {
    "red": (196, 40, 44),
    "green": (44, 132, 70),
    "blue": (46, 80, 176),
    "yellow": (232, 196, 60),
    "black": (38, 38, 42),
    "white": (236, 236, 234),
    "orange": (226, 122, 40),
    "purple": (116, 62, 146),
}
FACE_AXES: Point = (0.38, 0.5)
"""Half width and half height of the face oval."""
EYE_X, EYE_Y = 0.2, -0.09
"""Where the eyes lie; the box that `box_from_eyes` finds covers the oval from brow to chin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who is shown; the same in every picture of a dataset."""

    sex: Literal["man", "woman"]
    """What a caption says."""

    skin: Rgb
    """Base colour of the skin."""

    hair_colour: str
    """Key of `HAIR_COLOURS`."""

    hair_length: Literal["short", "long", "bald"]
    """Cut."""

    has_beard: bool
    """Whether a beard covers cheeks and chin."""

    has_glasses: bool
    """Whether glasses are worn."""

    hat_colour: str | None
    """Key of `CLOTH_COLOURS`; ``None`` for a bare head."""

    shirt_colour: str
    """Key of `CLOTH_COLOURS`."""

    lips: Rgb
    """Colour of the lips."""

    eyes: Rgb
    """Colour of the irises."""

    width: float
    """Factor on the face's width, near 1."""

    mouth: float
    """Half width of the mouth."""

    brow: float
    """Thickness of the eyebrows."""

    @property
    def hair(self) -> Rgb:
        """Return the colour of the hair."""
        return HAIR_COLOURS[self.hair_colour]


def sample_person(rng: np.random.Generator) -> Person:
    """Return somebody new."""
    is_woman = rng.random() < 0.5
    skin = jitter(SKINS[int(rng.integers(len(SKINS)))], 9, rng)
    lengths: tuple[Literal["short", "long", "bald"], ...] = ("short", "long", "bald")
    odds = (0.25, 0.75, 0.0) if is_woman else (0.78, 0.08, 0.14)
    red_lips = mix(skin, (190, 36, 56), 0.75)
    cloth = list(CLOTH_COLOURS)
    return Person(
        sex="woman" if is_woman else "man",
        skin=skin,
        hair_colour=str(rng.choice(list(HAIR_COLOURS), p=(0.3, 0.27, 0.2, 0.11, 0.12))),
        hair_length=lengths[int(rng.choice(3, p=odds))],
        has_beard=bool(not is_woman and rng.random() < 0.42),
        has_glasses=bool(rng.random() < 0.22),
        hat_colour=str(rng.choice(cloth)) if rng.random() < 0.14 else None,
        shirt_colour=str(rng.choice(cloth)),
        lips=red_lips if is_woman else mix(skin, (150, 70, 66), 0.5),
        eyes=((70, 44, 28), (60, 90, 130), (62, 96, 62))[int(rng.choice(3, p=(0.6, 0.25, 0.15)))],
        width=float(rng.uniform(0.92, 1.06) * (0.97 if is_woman else 1.02)),
        mouth=float(rng.uniform(0.1, 0.145)),
        brow=float(rng.uniform(0.02, 0.032) * (0.8 if is_woman else 1.25)),
    )


def oval(person: Person, grow: float = 1.0) -> Point:
    """Return half width and half height of somebody's face."""
    return FACE_AXES[0] * person.width * grow, FACE_AXES[1] * grow


def draw_person(pen: Pen, person: Person, *, blink: bool = False) -> None:
    """Draw head and shoulders."""
    draw_body(pen, person)
    draw_head(pen, person)
    draw_features(pen, person, blink=blink)
    draw_hair(pen, person)


def draw_body(pen: Pen, person: Person) -> None:
    """Draw what lies behind the face: long hair, shoulders, neck and ears."""
    shirt, width = CLOTH_COLOURS[person.shirt_colour], person.width
    if person.hair_length == "long":
        pen.ellipse((0, 0.1), (0.53 * width, 0.68), tint(person.hair, 0.82))
        pen.polygon(
            [(-0.52, 0.1), (0.52, 0.1), (0.47, 0.86), (-0.47, 0.86)], tint(person.hair, 0.82)
        )
    pen.ellipse((0, 1.36), (0.98, 0.72), tint(shirt, 0.8))
    pen.ellipse((0, 1.38), (0.93, 0.7), shirt)
    pen.polygon([(-0.17, 0.3), (0.17, 0.3), (0.2, 0.76), (-0.2, 0.76)], tint(person.skin, 0.78))
    pen.ellipse((0, 0.74), (0.2, 0.09), tint(person.skin, 0.78))
    pen.ellipse((0, 0.73), (0.22, 0.11), tint(shirt, 0.7), arc=(0, 180), width=0.03)
    for side in (-1, 1):
        pen.ellipse((side * 0.385 * width, -0.01), (0.055, 0.1), tint(person.skin, 0.86))


def draw_head(pen: Pen, person: Person) -> None:
    """Draw the bare oval with its roundness: a dark rim, a light forehead, flushed cheeks."""
    skin, width = person.skin, person.width
    pen.ellipse((0, 0), oval(person), tint(skin, 0.84))
    pen.ellipse((0, -0.01), oval(person, 0.94), tint(skin, 0.93))
    pen.ellipse((0, -0.02), oval(person, 0.86), skin)
    shine = 1.08 + 0.16 * (1 - sum(skin) / 765)
    pen.ellipse((0, -0.27), (0.2 * width, 0.13), tint(skin, shine))
    flushed = mix(tint(skin, shine), (226, 92, 84), 0.16)
    for side in (-1, 1):
        pen.ellipse((side * 0.2 * width, 0.1), (0.12, 0.1), mix(skin, flushed, 0.6))
        pen.ellipse((side * 0.2 * width, 0.1), (0.08, 0.065), flushed)


def draw_features(pen: Pen, person: Person, *, blink: bool = False) -> None:
    """Draw eyes, brows, nose, mouth and beard."""
    if person.has_beard:
        _draw_beard(pen, person)
    draw_eyes(pen, person, blink=blink)
    for side in (-1, 1):
        brow = curve((side * EYE_X, EYE_Y - 0.05), (0.105, 0.07), (205, 335))
        pen.line(brow, _brow_colour(person), person.brow)
    draw_nose(pen, person)
    draw_mouth(pen, person)


def _brow_colour(person: Person) -> Rgb:
    """Return the hair's colour, darkened until it stands out from the skin."""
    darkest = tint(person.skin, 0.55)
    red, green, blue = map(min, tint(person.hair, 0.75), tint(darkest, 1.3))
    return red, green, blue


def draw_eyes(pen: Pen, person: Person, *, blink: bool = False) -> None:
    """Draw both eyes in their sockets."""
    for side in (-1, 1):
        eye = (side * EYE_X, EYE_Y)
        pen.ellipse((eye[0], eye[1] - 0.012), (0.112, 0.076), tint(person.skin, 0.72))
        if blink:
            pen.ellipse(eye, (0.078, 0.03), (50, 36, 30), arc=(0, 180), width=0.02)
            continue
        pen.ellipse(eye, (0.078, 0.039), mix((228, 226, 222), person.skin, 0.3))
        pen.ellipse(eye, (0.04, 0.039), person.eyes)
        pen.ellipse(eye, (0.02, 0.022), (16, 14, 14))
        lashes = 0.026 if person.sex == "woman" else 0.018
        pen.ellipse(eye, (0.082, 0.046), (42, 30, 26), arc=(185, 355), width=lashes)


def draw_nose(pen: Pen, person: Person) -> None:
    """Draw a lit bridge and the shadow below the tip."""
    bridge = [(-0.03, -0.1), (0.03, -0.1), (0.045, 0.1), (-0.045, 0.1)]
    pen.polygon(bridge, tint(person.skin, 1.09))
    pen.ellipse((0, 0.1), (0.062, 0.045), tint(person.skin, 1.05))
    pen.ellipse((0, 0.128), (0.07, 0.032), tint(person.skin, 0.7), arc=(10, 170), width=0.022)


def draw_mouth(pen: Pen, person: Person) -> None:
    """Draw the lips and the line between them."""
    pen.ellipse((0, 0.275), (person.mouth, 0.036), person.lips)
    pen.ellipse(
        (0, 0.262), (person.mouth, 0.02), tint(person.lips, 0.62), arc=(0, 180), width=0.014
    )


def _draw_beard(pen: Pen, person: Person) -> None:
    x, y = oval(person, 1.01)
    outer = curve((0, 0), (x, y), (8, 172))
    inner = curve((0, 0.08), (0.27 * person.width, 0.14), (180, 0))
    pen.polygon(np.concatenate([outer, inner]), tint(person.hair, 0.9))
    pen.ellipse((0, 0.27), (person.mouth * 0.9, 0.05), tint(person.hair, 0.75))


def draw_hair(pen: Pen, person: Person) -> None:
    """Draw what lies before the face: fringe or bald crown, hat, glasses."""
    x, y = oval(person)
    if person.hair_length != "bald":
        low = 12 if person.hair_length == "long" else -4
        outer = curve((0, -0.07), (x * 1.15, y * 1.08), (180 - low, 360 + low))
        hairline = curve((0, -0.02), (x * 0.93, 0.36), (355 + low // 2, 185 - low // 2))
        pen.polygon(np.concatenate([outer, hairline]), person.hair)
        shine = curve((0, -0.07), (x * 0.85, y * 0.92), (215, 300))
        pen.line(shine, tint(person.hair, 1.25), 0.04)
    if person.hat_colour is not None:
        _draw_hat(pen, CLOTH_COLOURS[person.hat_colour], x)
    if person.has_glasses:
        draw_glasses(pen, (24, 24, 28))


def _draw_hat(pen: Pen, colour: Rgb, x: float) -> None:
    pen.ellipse((0, -0.3), (x * 1.2, 0.4), colour, arc=(180, 360))
    pen.ellipse((0, -0.3), (x * 1.5, 0.07), tint(colour, 0.75))
    pen.ellipse((0, -0.3), (x * 1.2, 0.05), tint(colour, 0.6), arc=(180, 360))


def draw_glasses(pen: Pen, colour: Rgb) -> None:
    """Draw two rims, the bridge and the temples."""
    for side in (-1, 1):
        pen.ellipse((side * EYE_X, EYE_Y), (0.14, 0.11), colour, width=0.024)
        pen.line([(side * 0.34, EYE_Y - 0.02), (side * 0.42, EYE_Y - 0.05)], colour, 0.024)
    pen.line([(-0.06, EYE_Y - 0.02), (0.06, EYE_Y - 0.02)], colour, 0.024)
