"""Layouts: one file per dataset writes drawn presentations in the dataset's native tree.

An entry is a module with ``LAYOUT``. It knows official names, splits, media and sidecars, and
nothing of the adapters that will read them back; the world's ledger is checked against those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ifas_model.vocabulary import Label, PaiSpecies, Split

Picture = NDArray[np.uint8]
"""RGB pixels, (H, W, 3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Presentation:
    """One presentation to draw: what a reader must find in it, and where it goes."""

    media_path: str
    """Path below the dataset's root; a folder where frames are files."""

    person: str
    """Key of who is shown, unique within the dataset, also where the dataset hides it."""

    subject_id: str | None
    """What an adapter must say of the subject; ``None`` where names do not tell."""

    split: Split
    """Official split."""

    label: Label
    """Bona fide or attack."""

    pai_species: PaiSpecies | None
    """``None`` exactly for bona fide."""

    fine_type: str | None
    """Finer kind, as the specification of the layout names it."""

    native_label: str
    """The dataset's own code."""

    instrument: str
    """What to draw, a key of `scf_pipeline.miniature.draw.INSTRUMENTS`; ``face`` for bona fide."""

    session: str
    """Key of time and place: presentations that share it share background and light."""

    num_frames: int = 1
    """Frames to draw; 1 for a still picture."""

    sensor: str = ""
    """Key of the capture device within the dataset: it sets size, colour and compression."""

    details: Mapping[str, str] = field(default_factory=dict)
    """What only this dataset's layout needs, e.g. CelebA-Spoof's illumination code."""

    has_media: bool = True
    """False for an annotation whose file the release lacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A drawn presentation: its frames and the ground truth of the face in each."""

    frames: Sequence[Picture]
    """Frames as a person sees them (upright); all of one size."""

    boxes: Sequence[tuple[int, int, int, int]]
    """Face box of each frame, x0, y0, x1, y1 in pixels."""

    eyes: Sequence[tuple[tuple[int, int], tuple[int, int]]]
    """Centres of the subject's right and left eye in each frame, (x, y) in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many presentations to plan for each split that the dataset has.

    A layout may exceed a number a little, so that every kind of attack occurs in each split where
    the dataset has it.
    """

    train: int
    dev: int
    test: int
    attack_share: float = 0.6
    """Share of attacks among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """A capture device: how pictures of one dataset look as pixels."""

    width: int
    """Picture width in pixels, as stored for a person to see (upright)."""

    height: int
    """Picture height in pixels."""

    blur: float = 0.6
    """Standard deviation of the lens blur, in pixels of the stored picture."""

    noise: float = 4.0
    """Standard deviation of the sensor noise, in grey levels."""

    gamma: float = 1.0
    """Exponent on intensities: below 1 brightens the shadows."""

    warmth: float = 0.0
    """White balance from -1 (bluish) to 1 (yellowish)."""

    quality: int = 90
    """JPEG quality of the device's own pipeline, before the container's codec."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How one dataset's miniature is planned and written."""

    sensors: Mapping[str, Sensor]
    """Capture devices by `Presentation.sensor`."""

    backgrounds: Sequence[str]
    """Backgrounds of its sessions, keys of `scf_pipeline.miniature.draw.BACKGROUNDS`."""

    light: tuple[float, float]
    """Range of the overall brightness of its sessions, 1.0 being neutral."""

    face_share: tuple[float, float]
    """Range of the face box's height as a share of the picture's height."""

    plan: Callable[[Budget, np.random.Generator], list[Presentation]]
    """List the presentations to draw, in a stable order, every kind of attack included."""

    write: Callable[[Path, Presentation, Clip], None]
    """Write one presentation's media and its own sidecars below the dataset's root."""

    finish: Callable[[Path, Sequence[Presentation]], None]
    """Write what concerns the whole dataset: protocol lists, label files, known junk."""

    is_cropped: bool = False
    """Whether the dataset ships face crops: draw the square of 1.6 face boxes and nothing more."""
