"""Presentations as pixels: somebody, an instrument, a place, a light, a camera.

A picture is made once or twice for each presentation at a modest size; the frames of a video are
small movements of it with fresh noise, as its camera stores them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scf_pipeline.miniature import faces, physics, scenes
from scf_pipeline.miniature.camera import Exposure, Film, Still, expose
from scf_pipeline.miniature.coverings import COVERINGS, Covering
from scf_pipeline.miniature.faces import Person, sample_person
from scf_pipeline.miniature.layouts import Clip, Picture, Sensor
from scf_pipeline.miniature.mannequins import draw_mannequin
from scf_pipeline.miniature.presenting import Showing, present
from scf_pipeline.miniature.sheets import SHEETS
from scf_pipeline.miniature.strokes import Pen, Point, blend, placing, to_picture

Difficulty = Literal["easy", "hard"]
Matrix = NDArray[np.float64]

CROP_SCALE = 1.6
"""Side of the square that the pipeline crops, in heights of the face box."""
BACKGROUNDS = scenes.BACKGROUNDS
"""Places by name."""
INSTRUMENTS: tuple[str, ...] = ("face", *SHEETS, "mannequin", *COVERINGS)
"""What can be presented; ``face`` is bona fide."""
RIGID = frozenset({"mannequin"} | {name for name, s in SHEETS.items() if s.medium == "print"})
"""Instruments that move as one piece."""

LARGEST_FACE = 88.0
"""Height in pixels at which scenes are made at most; larger frames are enlarged from there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visibility:
    """How plain to see the cues of attacks are."""

    medium: tuple[float, float]
    """Range of the factor on what paper and displays do."""

    faintness: float
    """From 0, coverings as `Covering.opacity` says, to 1, as `Covering.faint_opacity` says."""


VISIBILITY: dict[Difficulty, Visibility] = {
    "easy": Visibility(medium=(0.9, 1.3), faintness=0.0),
    "hard": Visibility(medium=(0.65, 1.15), faintness=1.0),
}
"""The two settings of difficulty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What one picture shows, before any camera."""

    instrument: str
    """One of `INSTRUMENTS`."""

    background: str
    """Key of `BACKGROUNDS`: the place."""

    background_seed: int | None = None
    """Two scenes of one seed show the same place; ``None`` leaves it to chance."""

    pictured_background: str
    """Kind of place in the picture that a page or a display shows."""

    shape: tuple[int, int]
    """Height and width in pixels."""

    centre: Point
    """Centre of the face, in pixels."""

    unit: float
    """Height of the face, in pixels."""

    visibility: Visibility
    """How plain to see cues are."""

    is_border_shown: bool | None = None
    """Whether a sheet's border lies inside the crop; ``None`` leaves it to chance."""

    roll: float = 0.0
    """Degrees by which the head leans."""

    blink: bool = False
    """Whether the eyes are shut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """How a presentation is captured."""

    sensor: Sensor
    """Camera."""

    background: str
    """Key of `BACKGROUNDS`: the place."""

    background_seed: int | None = None
    """Two shots of one seed show the same place; ``None`` leaves it to chance."""

    pictured_background: str = "wall"
    """Kind of place in the picture that a page or a display shows."""

    instrument: str = "face"
    """One of `INSTRUMENTS`."""

    light: float = 1.0
    """Brightness, 1 being neutral."""

    warmth: float = 0.0
    """Colour of the light from -1 (bluish) to 1 (yellowish)."""

    focus_blur: float = 0.0
    """Blur from a lens out of focus, in pixels of the crop at 64 px."""

    face_share: float = 0.5
    """Height of the face box as a share of the frame's height."""

    difficulty: Difficulty = "hard"
    """How plain to see cues are."""

    num_frames: int = 1
    """Frames to draw; 1 for a still picture."""

    is_border_shown: bool | None = None
    """Whether a sheet's border lies inside the crop; ``None`` leaves it to chance."""

    is_cropped: bool = False
    """Whether to draw the square of 1.6 face boxes and nothing more."""


def draw_clip(person: Person, shot: Shot, rng: np.random.Generator) -> Clip:
    """Draw one presentation as its camera stores it.

    Args:
        person: Who is shown, or whose likeness the instrument bears.
        shot: Instrument, place, light and camera.
        rng: Source of everything that is left to chance; the same state gives the same clip.

    Returns:
        Frames of the sensor's size, with the box of the drawn face oval and the eyes in each.
    """
    sensor = shot.sensor
    height = sensor.height / CROP_SCALE if shot.is_cropped else sensor.height * shot.face_share
    unit = min(height, LARGEST_FACE)
    zoom = height / unit
    shape = (round(sensor.height / zoom), round(sensor.width / zoom))
    scene = Scene(
        instrument=shot.instrument,
        background=shot.background,
        background_seed=shot.background_seed,
        pictured_background=shot.pictured_background,
        shape=shape,
        centre=_place_face(shape, unit, shot, rng),
        unit=unit,
        visibility=VISIBILITY[shot.difficulty],
        is_border_shown=shot.is_border_shown,
    )
    exposure = Exposure(light=shot.light, warmth=shot.warmth + sensor.warmth)
    seed, light_seed = (int(number) for number in rng.integers(2**62, size=2))
    stills = []
    is_rigid = shot.instrument in RIGID
    for number in range(1 if shot.num_frames == 1 or is_rigid else 2):
        if number == 1:
            blink = bool(rng.random() < 0.4)
            scene = replace(scene, roll=float(rng.uniform(-5, 5)), blink=blink)
        picture, matrix = draw_scene(person, scene, np.random.default_rng(seed))
        lit = expose(picture, exposure, np.random.default_rng(light_seed))
        stills.append(Still(lit, matrix))
    shake = 0.006 if shot.is_cropped else 0.02
    film = Film(sensor=sensor, zoom=zoom, unit=height, blur=shot.focus_blur, shake=shake)
    return film.run(stills, person, shot.num_frames, rng)


def _place_face(shape: tuple[int, int], unit: float, shot: Shot, rng: np.random.Generator) -> Point:
    """Choose where the face is, its box wholly inside the frame."""
    height, width = shape
    if shot.is_cropped:
        return width / 2, height / 2
    x = width / 2 + rng.uniform(-0.07, 0.07) * width
    y = height * rng.uniform(0.42, 0.52)
    reach = 0.56 * unit
    x = float(np.clip(x, min(reach, width / 2), max(width - reach, width / 2)))
    y = float(np.clip(y, min(reach, height / 2), max(height - reach, height / 2)))
    return x, y


def draw_scene(person: Person, scene: Scene, rng: np.random.Generator) -> tuple[Picture, Matrix]:
    """Draw what stands before the camera.

    Returns:
        The picture, and the matrix that turns face heights, counted from the centre of the face
        oval, into its pixels.
    """
    place = int(rng.integers(2**62)) if scene.background_seed is None else scene.background_seed
    there = np.random.default_rng(place)
    picture = scenes.draw_background(scene.background, scene.shape, scene.unit, there)
    matrix = placing(scene.centre, scene.unit, scene.roll)
    strength = float(rng.uniform(*scene.visibility.medium))
    if scene.instrument in SHEETS:
        return picture, _draw_sheet(picture, person, scene, strength, rng)
    pen = Pen(picture, matrix)
    if scene.instrument == "mannequin":
        draw_mannequin(pen, person, float(rng.uniform(0.4, 1.0)) * min(1.0, strength), rng)
    elif scene.instrument in COVERINGS:
        _draw_covered(pen, person, scene, rng)
    else:
        faces.draw_person(pen, person, blink=scene.blink)
    return picture, matrix


def _draw_sheet(
    picture: Picture, person: Person, scene: Scene, strength: float, rng: np.random.Generator
) -> Matrix:
    presenter = sample_person(rng)
    chance = rng.random() < 0.5
    is_border_shown = chance if scene.is_border_shown is None else scene.is_border_shown
    showing = Showing(
        sheet=SHEETS[scene.instrument],
        strength=strength,
        is_border_shown=is_border_shown,
        presenter=presenter,
        is_held=bool(rng.random() < 0.6)
        and scene.instrument not in ("laptop", "monitor", "poster"),
    )
    if is_border_shown and showing.is_held and rng.random() < 0.4:
        behind = placing((scene.centre[0], scene.centre[1] - 0.25 * scene.unit), scene.unit * 1.25)
        faces.draw_person(Pen(picture, behind), presenter)
    content = partial(_draw_portrait, person=person, scene=scene, rng=rng)
    where = placing(scene.centre, scene.unit, scene.roll)
    return present(picture, where, content, showing, rng)


def _draw_portrait(
    shape: tuple[int, int],
    matrix: Matrix,
    person: Person,
    scene: Scene,
    rng: np.random.Generator,
) -> Picture:
    """Draw the picture that a sheet shows."""
    unit = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    picture = scenes.draw_background(scene.pictured_background, shape, unit, rng)
    faces.draw_person(Pen(picture, matrix), person)
    return picture


def _draw_covered(pen: Pen, person: Person, scene: Scene, rng: np.random.Generator) -> None:
    """Draw somebody who wears a covering; it replaces what is below as far as it is opaque."""
    covering = COVERINGS[scene.instrument]
    faces.draw_body(pen, person)
    faces.draw_head(pen, person)
    faces.draw_features(pen, person, blink=scene.blink)
    if covering.is_over_hair:
        faces.draw_hair(pen, person)
    covered = Pen(pen.picture.copy(), pen.matrix)
    covering.paint(covered, person, rng)
    where = (covered.picture != pen.picture).any(axis=2).astype(np.float32)
    if covering.is_paper:
        covered.picture[:] = _as_paper(covered, rng)
    blend(pen.picture, covered.picture, where * np.float32(_opacity(covering, scene, rng)))
    if not covering.is_over_hair:
        faces.draw_hair(pen, person)


def _opacity(covering: Covering, scene: Scene, rng: np.random.Generator) -> float:
    place, faintness = rng.random(), scene.visibility.faintness
    plain = covering.opacity[0] + (covering.opacity[1] - covering.opacity[0]) * place
    faint = (
        covering.faint_opacity[0] + (covering.faint_opacity[1] - covering.faint_opacity[0]) * place
    )
    return float(plain + (faint - plain) * faintness)


def _as_paper(pen: Pen, rng: np.random.Generator) -> Picture:
    x, y = physics.grid(pen.picture.shape[:2], pen.matrix)
    printed = physics.print_out(pen.picture.astype(np.float32), x, y, 0.8, rng)
    printed *= physics.texture(pen.picture.shape[:2], pen.unit, rng)
    return to_picture(printed)
