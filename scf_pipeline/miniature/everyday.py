"""Everyday pictures: people, rooms, prints, displays, masks and figures among ordinary things.

Drawn by the same hand as the twelve datasets, and photographed by other cameras.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from scf_pipeline.miniature import coverings, physics, scenes, things
from scf_pipeline.miniature.camera import Exposure, expose
from scf_pipeline.miniature.captions import MASKS, Subject, describe
from scf_pipeline.miniature.draw import Scene, Visibility, draw_scene
from scf_pipeline.miniature.faces import CLOTH_COLOURS, Person, sample_person
from scf_pipeline.miniature.layouts import Picture
from scf_pipeline.miniature.presenting import Showing, present
from scf_pipeline.miniature.scenes import BACKGROUNDS
from scf_pipeline.miniature.sheets import SHEETS
from scf_pipeline.miniature.strokes import Pen, blur, placing, to_picture

NUM_CAPTIONS = 3
"""Captions of each picture; COCO has five."""
KINDS: dict[str, float] = {
    "person": 0.42,
    "holding": 0.13,
    "print": 0.13,
    "replay": 0.14,
    "mask": 0.08,
    "mannequin": 0.07,
    "thing": 0.03,
}
"""Shares of the kinds of picture; among prints and displays some show nobody."""

_NAMING = {"mask": 0.5, "mannequin": 0.55}
_NAMING_SHEET = {True: 0.6, False: 0.45}
_PAGES = ("print_flat", "print_warped", "poster")
_DISPLAYS = ("phone", "tablet", "laptop", "monitor")


def draw_generic(
    rng: np.random.Generator, image_size: int = 64
) -> tuple[Picture, list[str], dict[str, str]]:
    """Draw one everyday picture.

    Args:
        rng: Source of everything.
        image_size: Side in pixels.

    Returns:
        The picture, RGB, (image_size, image_size, 3); its captions; and its attributes: `medium`,
        `background`, `sex`, `hair_colour`, `hair_length`, `shirt_colour`, `hat_colour`, `beard`,
        `glasses`, `thing`, each present only where the picture shows it.
    """
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    size = 2 * image_size
    unit = size / float(rng.uniform(1.3, 2.6))
    centre = (size * float(rng.uniform(0.42, 0.58)), size * float(rng.uniform(0.42, 0.54)))
    scene = Scene(
        instrument="face",
        background=_place(rng),
        pictured_background=_place(rng),
        shape=(size, size),
        centre=centre,
        unit=unit,
        visibility=Visibility(medium=(0.7, 1.3), faintness=float(rng.uniform(0, 0.75))),
        roll=float(rng.normal(0, 3)),
    )
    drawn, subject = _PAINTERS[kind](scene, rng)
    picture = _photograph(drawn, image_size, rng)
    captions = [describe(subject, rng) for _ in range(NUM_CAPTIONS)]
    return picture, captions, _attributes(subject)


def _place(rng: np.random.Generator) -> str:
    return str(rng.choice(list(BACKGROUNDS)))


def _paint_person(scene: Scene, rng: np.random.Generator) -> tuple[Picture, Subject]:
    person = sample_person(rng)
    picture, _ = draw_scene(person, scene, rng)
    return picture, Subject(background=scene.background, person=person)


def _paint_holding(scene: Scene, rng: np.random.Generator) -> tuple[Picture, Subject]:
    person = sample_person(rng)
    smaller = scene.unit * 0.8
    scene = replace(scene, unit=smaller, centre=(scene.centre[0], scene.centre[1] - 0.12 * smaller))
    picture, matrix = draw_scene(person, scene, rng)
    odds = (0.2, 0.16, 0.16, 0.16, 0.18, 0.08, 0.06)
    thing = str(rng.choice(things.HELD, p=odds))
    colour = str(rng.choice(list(CLOTH_COLOURS)))
    side = float(rng.choice((-1, 1)))
    low = scene.shape[0] - scene.centre[1] - 0.3 * smaller
    at = matrix @ np.array([side * rng.uniform(0.2, 0.45), min(0.78, low / smaller), 1.0])
    pen = Pen(picture, placing((at[0], at[1]), smaller, float(rng.uniform(-14, 14))))
    things.THINGS[thing](pen, CLOTH_COLOURS[colour], rng)
    scenes.draw_fingers(pen, (side * 0.2, 0.08), (-side, 0.0), person.skin)
    subject = Subject(background=scene.background, person=person, thing=thing, thing_colour=colour)
    return picture, subject


def _paint_print(scene: Scene, rng: np.random.Generator) -> tuple[Picture, Subject]:
    return _paint_sheet(replace(scene, instrument=str(rng.choice(_PAGES))), "print", rng)


def _paint_replay(scene: Scene, rng: np.random.Generator) -> tuple[Picture, Subject]:
    return _paint_sheet(replace(scene, instrument=str(rng.choice(_DISPLAYS))), "replay", rng)


def _paint_sheet(scene: Scene, medium: str, rng: np.random.Generator) -> tuple[Picture, Subject]:
    is_border_shown = bool(rng.random() < 0.55)
    scene = replace(scene, is_border_shown=is_border_shown)
    naming = _NAMING_SHEET[is_border_shown]
    if rng.random() < 0.85:
        person = sample_person(rng)
        picture, _ = draw_scene(person, scene, rng)
        subject = Subject(
            background=scene.pictured_background,
            person=person,
            medium=medium,
            instrument=scene.instrument,
            naming=naming,
        )
        return picture, subject
    thing, colour = str(rng.choice(things.SHOWN)), str(rng.choice(list(CLOTH_COLOURS)))
    picture = scenes.draw_background(scene.background, scene.shape, scene.unit, rng)
    showing = Showing(
        sheet=SHEETS[scene.instrument],
        strength=float(rng.uniform(*scene.visibility.medium)),
        is_border_shown=True,
        presenter=sample_person(rng),
        is_held=bool(rng.random() < 0.4),
    )
    content = partial(_draw_thing, name=thing, colour=colour, place=scene.background, rng=rng)
    present(picture, placing(scene.centre, scene.unit), content, showing, rng)
    subject = Subject(
        background=scene.background,
        thing=thing,
        thing_colour=colour,
        medium=medium,
        instrument=scene.instrument,
        naming=0.75,
    )
    return picture, subject


def _draw_thing(
    shape: tuple[int, int],
    matrix: NDArray[np.float64],
    name: str,
    colour: str,
    place: str,
    rng: np.random.Generator,
) -> Picture:
    unit = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    picture = scenes.draw_background(place, shape, unit, rng)
    larger = placing((shape[1] / 2, shape[0] / 2), 1.35 * unit)
    things.THINGS[name](Pen(picture, larger), CLOTH_COLOURS[colour], rng)
    return picture


def _paint_mask(scene: Scene, rng: np.random.Generator) -> tuple[Picture, Subject]:
    person = sample_person(rng)
    instrument = str(rng.choice(list(MASKS)))
    naming = _NAMING["mask"]
    if rng.random() < 0.08:
        picture = scenes.draw_background("wall", scene.shape, scene.unit, rng)
        pen = Pen(picture, placing(scene.centre, scene.unit, scene.roll))
        coverings.COVERINGS["plaster_mask"].paint(pen, person, rng)
        subject = Subject(background="wall", medium="mask", instrument="plaster_mask")
        return picture, subject
    picture, _ = draw_scene(person, replace(scene, instrument=instrument), rng)
    subject = Subject(
        background=scene.background,
        person=person,
        medium="mask",
        instrument=instrument,
        naming=naming,
    )
    return picture, subject


def _paint_mannequin(scene: Scene, rng: np.random.Generator) -> tuple[Picture, Subject]:
    person = sample_person(rng)
    picture, _ = draw_scene(person, replace(scene, instrument="mannequin"), rng)
    subject = Subject(
        background=scene.background,
        person=person,
        medium="mannequin",
        instrument="mannequin",
        naming=_NAMING["mannequin"],
    )
    return picture, subject


def _paint_thing(scene: Scene, rng: np.random.Generator) -> tuple[Picture, Subject]:
    """Draw a thing on a table."""
    thing = str(rng.choice(("laptop", "tablet", "phone", "cup", "book", "paper", "flower")))
    colour = str(rng.choice(list(CLOTH_COLOURS)))
    picture = scenes.draw_background(scene.background, scene.shape, scene.unit, rng)
    top = round(scene.centre[1] + 0.2 * scene.unit)
    cv2.rectangle(picture, (0, top), (scene.shape[1], scene.shape[0]), (150, 112, 76), -1)
    pen = Pen(picture, placing(scene.centre, 1.3 * scene.unit, scene.roll))
    things.THINGS[thing](pen, CLOTH_COLOURS[colour], rng)
    return picture, Subject(background=scene.background, thing=thing, thing_colour=colour)


_PAINTERS = {
    "person": _paint_person,
    "holding": _paint_holding,
    "print": _paint_print,
    "replay": _paint_replay,
    "mask": _paint_mask,
    "mannequin": _paint_mannequin,
    "thing": _paint_thing,
}


def _photograph(picture: Picture, image_size: int, rng: np.random.Generator) -> Picture:
    """Take the picture with some camera: light, blur, noise, and reduce it."""
    exposure = Exposure(light=float(rng.uniform(0.8, 1.2)), warmth=float(rng.uniform(-0.3, 0.3)))
    lit = blur(np.clip(expose(picture, exposure, rng), 0, 255), float(rng.uniform(0.2, 1.8)))
    lit = lit + float(rng.uniform(1, 7)) * physics.grain(lit.shape[:2], rng)
    small = cv2.resize(lit, (image_size, image_size), interpolation=cv2.INTER_AREA)
    return to_picture(np.asarray(small, np.float32))


def _attributes(subject: Subject) -> dict[str, str]:
    """Return what is true of a picture, absent where it does not apply."""
    found: dict[str, str | None] = {
        "background": subject.background,
        "medium": subject.medium,
        "thing": subject.thing,
    }
    if subject.person is not None and subject.medium != "mannequin":
        found |= _person_attributes(subject.person)
    return {name: value for name, value in found.items() if value is not None}


def _person_attributes(person: Person) -> Mapping[str, str | None]:
    return {
        "sex": person.sex,
        "hair_colour": None if person.hair_length == "bald" else person.hair_colour,
        "hair_length": person.hair_length,
        "shirt_colour": person.shirt_colour,
        "hat_colour": person.hat_colour,
        "beard": "yes" if person.has_beard else None,
        "glasses": "yes" if person.has_glasses else None,
    }
