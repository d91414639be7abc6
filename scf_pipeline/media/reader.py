"""Reads the frames of any sample: tells what a file is by its first bytes, and opens only that.

Frames come upright, as RGB: EXIF orientation and a video's rotation tag are applied here, once.
Mirrored rotation tags, colour profiles and non-square pixels are ignored, as OpenCV ignores them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from scf_pipeline.media.frames import (
    PIXEL_LIMIT,
    FramePreset,
    MediaError,
    Picture,
    Pixels,
    unreadable_if_it_fails,
)
from scf_pipeline.media.isolated import read_isolated
from scf_pipeline.media.pictures import read_picture
from scf_pipeline.media.sequences import numbered, read_numbered
from scf_pipeline.schema import Reject

FAMILIES = {
    "picture": {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"},
    "video": {".3gp", ".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"},
    "hdf5": {".h5", ".hdf5"},
}
"""Suffixes of each family. A JPEG may be named ``.png``; a video so named is a disguise."""

STARTS = {
    b"\xff\xd8\xff": ("picture", ""),  # JPEG
    b"\x89PNG\r\n\x1a\n": ("picture", ""),
    b"BM": ("picture", ""),  # BMP
    b"II*\0": ("picture", ""),  # TIFF, both byte orders
    b"MM\0*": ("picture", ""),
    b"P5": ("picture", ""),  # PPM, grey and colour
    b"P6": ("picture", ""),
    b"\x1a\x45\xdf\xa3": ("video", "matroska"),
    b"\0\0\1\xba": ("video", "mpeg"),
    b"\0\0\1\xb3": ("video", "mpegvideo"),
    b"\x89HDF\r\n\x1a\n": ("hdf5", ""),
}
"""Family by first bytes, and FFmpeg's name of a video's container."""

RIFF = {b"WEBP": ("picture", ""), b"AVI ": ("video", "avi")}
QUICKTIME_ATOMS = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"}


def read_frames(
    path: Path, preset: FramePreset, *, pixel_limit: int = PIXEL_LIMIT
) -> Iterator[Picture]:
    """Yield the frames of one sample that a preset names, one at a time, in order.

    An error may come after frames that were yielded already; then none of them counts.

    Args:
        path: A local file, or a folder of numbered pictures.
        preset: Which frames.
        pixel_limit: Largest picture or frame to open, in pixels.

    Raises:
        MediaError: If there is no such file, it cannot be read, or it holds no frame.
    """
    with unreadable_if_it_fails():
        if path.is_dir():
            files = numbered(path, FAMILIES["picture"])
            yield from read_numbered(files, lambda file: _still(file, pixel_limit), preset)
            return
        family, container = _identify(path)
        if family == "picture":
            yield Picture(0, read_picture(path, pixel_limit))
        else:
            yield from read_isolated(path, family, container, preset, pixel_limit)


def _still(path: Path, pixel_limit: int) -> Pixels:
    _identify(path)
    return read_picture(path, pixel_limit)


def _identify(path: Path) -> tuple[str, str]:
    """Return the family of a file and, of a video, its container as FFmpeg names it."""
    if not path.exists():
        raise MediaError(Reject.MISSING, "A media file must exist, but is absent.")
    if not path.is_file():
        raise MediaError(Reject.UNREADABLE, "A media file must be a regular file, but is not.")
    with path.open("rb") as file:
        head = file.read(16)
    family, container = _family(head)
    suffix = path.suffix.lower()
    named = next((name for name, suffixes in FAMILIES.items() if suffix in suffixes), family)
    if not family or named != family:
        raise MediaError(
            Reject.UNREADABLE,
            f"A file named {path.name!r} must hold {named or 'a known format'}, "
            f"but begins with {head!r}.",
        )
    return family, container


def _family(head: bytes) -> tuple[str, str]:
    if head.startswith(b"RIFF"):
        return RIFF.get(head[8:12], ("", ""))
    if head[4:8] in QUICKTIME_ATOMS:
        return "video", "mov"
    return next((kind for start, kind in STARTS.items() if head.startswith(start)), ("", ""))
