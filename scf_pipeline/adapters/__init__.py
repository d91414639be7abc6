"""Adapters: one file per dataset turns its native layout into `Sample` rows, and says no more.

An entry is a module with ``ADAPTER``. `scan` lists presentations without decoding any; `boxes`
reads the dataset's own face annotation for one of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import NamedTuple

from scf_pipeline.errors import DatasetLayoutError
from scf_pipeline.schema import Sample

PICTURES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""Suffixes of still pictures, in lower case."""

VIDEOS = frozenset({".3gp", ".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})
"""Suffixes of videos, in lower case."""

MAX_SIDECAR_BYTES = 16 * 2**20
"""Longest face annotation that is read; that of a video of an hour takes about 4 MiB."""

MAX_LIST_BYTES = 64 * 2**20
"""Longest list of samples that is read; the longest official one (HiFiMask) takes about 14 MiB."""


class Box(NamedTuple):
    """A face box in pixels of the picture as it is shown, i.e. after rotation."""

    x0: float
    y0: float
    x1: float
    y1: float


class Frame(NamedTuple):
    """Size of the pictures of one sample, in pixels, after rotation."""

    width: int
    height: int


BoxReader = Callable[[Path, str, Frame], Mapping[int, Box]]
"""(dataset root, media_path, frame size) -> box of each annotated frame; a picture is frame 0."""


def no_boxes(root: Path, media_path: str, frame: Frame) -> Mapping[int, Box]:
    """Return no box: the dataset ships none."""
    del root, media_path, frame
    return {}


def upright(media_path: str) -> int:
    """Return 0: pictures are upright once the container's own rotation tag is applied."""
    del media_path
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """What the pipeline knows of one dataset."""

    title: str
    """Name as its authors write it."""

    citation: str
    """Authors and year."""

    license: str
    """Terms of use, in a few words."""

    obtain: str
    """How to get it."""

    layout: str
    """The native tree, for people."""

    bona_fide: int | None
    """Published number of bona fide samples; ``None`` for a user's own folder."""

    attack: int | None
    """Published number of attack samples."""

    scan: Callable[[Path], Iterator[Sample]]
    """Yield every sample below a root, in a stable order."""

    boxes: BoxReader = no_boxes
    """Read the face boxes that the dataset ships for one sample."""

    rotation: Callable[[str], int] = upright
    """Degrees counter-clockwise to turn a sample's frames, beyond what a rotation tag says."""

    is_cropped: bool = False
    """Whether pictures are face crops already, to be taken whole."""


def box_from_eyes(right: tuple[float, float], left: tuple[float, float]) -> Box:
    """Return the face box that two eye centres imply.

    The box is square, 2.2 eye distances wide, and the eyes lie at 38 % of its height: the
    proportions of a frontal face box from forehead to chin.

    Args:
        right: Centre of the subject's right eye (smaller x in the picture), in pixels.
        left: Centre of the subject's left eye.
    """
    distance = max(1.0, math.dist(left, right))
    side = 2.2 * distance
    middle_x, middle_y = (right[0] + left[0]) / 2, (right[1] + left[1]) / 2
    x0, y0 = middle_x - side / 2, middle_y - 0.38 * side
    return Box(x0, y0, x0 + side, y0 + side)


def within(box: Box, frame: Frame) -> Box | None:
    """Return the part of a box that lies in the picture; ``None`` where less than a pixel does.

    Numbers too large to compute with are of no use either: they make a box without end.
    """
    if not all(map(math.isfinite, box)):
        return None
    x0, y0 = max(0.0, box.x0), max(0.0, box.y0)
    x1, y1 = min(float(frame.width), box.x1), min(float(frame.height), box.y1)
    return Box(x0, y0, x1, y1) if min(x1 - x0, y1 - y0) >= 1 else None


def sidecar_rows(path: Path, separator: str | None = None) -> Iterator[list[float]]:
    """Yield the numbers of each line of a face annotation.

    A line that holds anything but finite numbers yields an empty list, so that rows keep their
    place. A file that is absent, not to be read, or longer than `MAX_SIDECAR_BYTES` yields nothing.

    Args:
        path: Text file, which need not exist.
        separator: What stands between the numbers; ``None`` for white space.
    """
    with suppress(OSError):
        if path.is_file() and path.stat().st_size <= MAX_SIDECAR_BYTES:
            with path.open(encoding="utf-8-sig", errors="replace") as lines:
                for line in lines:
                    yield _numbers(line, separator)


def _numbers(line: str, separator: str | None) -> list[float]:
    try:
        row = [float(word) for word in line.split(separator)]
    except ValueError:
        return []
    return row if all(map(math.isfinite, row)) else []


def list_lines(root: Path, path: Path) -> list[str]:
    """Return the lines of a list of samples, without byte-order mark and line ends.

    Args:
        root: Dataset root, so that an error names the file below it.
        path: Text file, which must exist.

    Raises:
        DatasetLayoutError: If the file cannot be read, is longer than `MAX_LIST_BYTES` or not UTF-8
            text.
    """
    where, fix = path.relative_to(root).as_posix(), "Replace the file by the official one."
    try:
        size = path.stat().st_size
        if size > MAX_LIST_BYTES:
            raise DatasetLayoutError(
                f"A list must hold at most {MAX_LIST_BYTES} bytes, but holds {size}.",
                where=where,
                fix=fix,
            )
        return path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise DatasetLayoutError(
            f"A list must be readable, but is not: {error.strerror}.",
            where=where,
            fix="Allow reading the file.",
        ) from error
    except UnicodeDecodeError as error:
        raise DatasetLayoutError(
            f"A list must be UTF-8 text, but is not at byte {error.start}.", where=where, fix=fix
        ) from error


def text_of(relative: PurePath) -> str:
    """Return a path below the root as text, with forward slashes.

    Raises:
        DatasetLayoutError: If no table can hold it: file systems allow bytes that are no text.
    """
    text = relative.as_posix()
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DatasetLayoutError(
            "A file name must be UTF-8 text, but is not.",
            where=ascii(text),
            fix="Rename the file or its folder.",
        ) from error
    return text


def media_files(folder: Path, suffixes: Collection[str] = PICTURES | VIDEOS) -> Iterator[Path]:
    """Yield the pictures and videos below a folder, sorted folder by folder.

    Hidden files are passed over, e.g. the ``._clip.mov`` that some unpackers leave beside
    ``clip.mov``. Links to folders are followed, but never back into a folder that led to them.

    Args:
        folder: Where to look, which must exist.
        suffixes: What makes a file media, in lower case.
    """
    yield from _media_files(folder, suffixes, frozenset())


def _media_files(folder: Path, suffixes: Collection[str], above: frozenset[Path]) -> Iterator[Path]:
    here = folder.resolve()
    if here in above:
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _media_files(path, suffixes, above | {here})
        elif path.suffix.lower() in suffixes:
            yield path
