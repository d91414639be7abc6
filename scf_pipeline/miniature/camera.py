"""Cameras: from a drawn scene to the frames that a device stores.

Units in this file: pixels; the still's are smaller than the frame's by the film's `zoom`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scf_pipeline.miniature import physics
from scf_pipeline.miniature.faces import EYE_X, EYE_Y, Person, oval
from scf_pipeline.miniature.layouts import Clip, Picture, Sensor
from scf_pipeline.miniature.strokes import Float, blur, curve, to_picture

Matrix = NDArray[np.float64]
GAIN = (0.5, 2.2)
"""Range of the factor on a sensor's noise: each presentation has its own gain."""
GREY = 118.0
"""What a change of contrast leaves as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """How one presentation is exposed."""

    light: float
    """Brightness, 1 being neutral."""

    warmth: float
    """Colour of the light, and of the sensor, from -1 (bluish) to 1 (yellowish)."""


@dataclass(frozen=True, slots=True)
class Still:
    """A lit scene and where the face is in it."""

    picture: Float
    """RGB, (H, W, 3), 0 to 255."""

    matrix: Matrix
    """Turns face heights, counted from the centre of the face oval, into pixels."""


def expose(picture: Picture, exposure: Exposure, rng: np.random.Generator) -> Float:
    """Light a scene; level, colour and contrast vary whatever is presented."""
    light = exposure.light * rng.uniform(0.72, 1.08)
    warmth = exposure.warmth + rng.uniform(-0.35, 0.35)
    lit = physics.shade(picture.astype(np.float32), rng)
    contrast, saturation = rng.uniform(0.62, 1.12), rng.uniform(0.45, 1.15)
    lift = GREY * (1 - contrast) + rng.uniform(-14, 22)
    colours = saturation * np.eye(3) + (1 - saturation) / 3
    mixed = contrast * light * colours * physics.light_colour(warmth)
    return np.asarray(cv2.transform(lit, np.column_stack([mixed, [lift] * 3])), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """How stills become frames."""

    sensor: Sensor
    """Camera; gives size, noise and compression."""

    zoom: float
    """Width of a frame over the width of a still."""

    unit: float
    """Height of the face in frames."""

    blur: float
    """Blur from a lens out of focus, in pixels of the crop at 64 px."""

    shake: float
    """Standard deviation of the movement between frames, in face heights."""

    def run(
        self, stills: Sequence[Still], person: Person, num_frames: int, rng: np.random.Generator
    ) -> Clip:
        """Move the stills a little from frame to frame, and store each as the camera does."""
        frames, boxes, eyes = [], [], []
        size = (self.sensor.width, self.sensor.height)
        focused = [self._focus(still.picture) for still in stills]
        noise = self.sensor.noise * float(rng.uniform(*GAIN))
        for number in range(num_frames):
            turn = (number // 3) % len(stills)
            move = self._move(is_still=num_frames == 1, rng=rng)
            flags = cv2.INTER_CUBIC if self.zoom > 1.5 else cv2.INTER_LINEAR
            border = cv2.BORDER_REFLECT_101
            frame = cv2.warpAffine(focused[turn], move, size, flags=flags, borderMode=border)
            frames.append(self._store(np.asarray(frame, np.uint8), noise, rng))
            whole = np.vstack([move, [0, 0, 1]]) @ np.vstack([stills[turn].matrix, [0, 0, 1]])
            boxes.append(_box(whole[:2], person, size))
            eyes.append((_pixel(whole, -EYE_X, EYE_Y), _pixel(whole, EYE_X, EYE_Y)))
        return Clip(frames=frames, boxes=boxes, eyes=eyes)

    def _focus(self, picture: Float) -> Picture:
        """Blur a still as the lens does, and apply the sensor's curve."""
        out_of_focus = self.blur * self.unit / physics.PIXELS_PER_FACE
        sigma = float(np.hypot(self.sensor.blur, out_of_focus)) / self.zoom
        levels = np.arange(256, dtype=np.float64) / 255
        curve = to_picture(np.asarray(255 * levels**self.sensor.gamma, np.float32))
        return np.asarray(cv2.LUT(to_picture(blur(picture, sigma)), curve), np.uint8)

    def _move(self, *, is_still: bool, rng: np.random.Generator) -> Matrix:
        """Return the matrix from a still to a frame."""
        width, height = self.sensor.width, self.sensor.height
        turn, grow, shift = 0.0, 1.0, np.zeros(2)
        if not is_still:
            turn, grow = float(rng.normal(0, 0.6)), float(rng.uniform(1.0, 1.02))
            shift = rng.normal(0, self.shake * self.unit, size=2)
        middle = np.array([width, height]) / 2
        move = np.asarray(cv2.getRotationMatrix2D((0.0, 0.0), turn, self.zoom * grow), np.float64)
        move[:, 2] += middle + shift - move[:, :2] @ (middle / self.zoom)
        # The centre of the first pixel lies half a pixel inside the corner, at either size.
        move[:, 2] += (self.zoom - 1) / 2
        return move

    def _store(self, frame: Picture, noise: float, rng: np.random.Generator) -> Picture:
        """Add noise to one frame and compress it."""
        noisy = frame + noise * physics.grain(frame.shape[:2], rng)
        return compress(to_picture(noisy), self.sensor.quality)


def compress(picture: Picture, quality: int) -> Picture:
    """Return a picture after JPEG at a quality from 1 to 100."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    encoded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)[1]
    decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def _pixel(matrix: Matrix, x: float, y: float) -> tuple[int, int]:
    column, row = matrix[:2, :2] @ np.array([x, y]) + matrix[:2, 2]
    return round(float(column)), round(float(row))


def _box(matrix: Matrix, person: Person, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the bounding box of the face oval, inside the frame."""
    points = curve((0, 0), oval(person)) @ matrix[:, :2].T + matrix[:, 2]
    low, high = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0))
    x0, y0 = max(0, int(low[0])), max(0, int(low[1]))
    return x0, y0, min(size[0], int(high[0])), min(size[1], int(high[1]))
