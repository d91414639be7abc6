"""What hostile pictures and videos share: a case, and what must become of it."""

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 64, 48
PIXEL_LIMIT = 40_000
"""What the stage is told; small, so that pictures at the limit are cheap."""

MEMORY_BYTES = 2**30
"""What a decoder may take here; small, so that a bomb is cheap."""

UNREADABLE, MISSING, NO_FRAME = "unreadable", "missing", "no_frame"

PASSED_OVER = "passed over"
"""No sample at all: not what the layout says a picture or video is."""


class Faces(NamedTuple):
    """Live rows that must come of a file."""

    frames: Mapping[int, np.ndarray]
    """Upright RGB of each frame, by its number."""

    within: float = 0.0
    """How far the mean colour of a patch may lie off, for codings that lose something."""


class Case(NamedTuple):
    """One hostile file."""

    name: str
    """Name of the file, in a folder of its own."""

    content: bytes | Callable[[Path], object]
    """Its bytes, or what makes it at a path."""

    expected: str | Faces
    """Reason for its rejection, or its faces."""

    later: Callable[[Path], object] | None = None
    """What happens to it after it was listed."""


def draw(number: int = 0, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Return four colours, upright in one way only; the grey about the middle tells the number."""
    frame = np.zeros((height, width, 3), np.uint8)
    down, across = height // 2, width // 2
    frame[:down, :across], frame[:down, across:] = (255, 0, 0), (0, 255, 0)
    frame[down:, :across], frame[down:, across:] = (0, 0, 255), (255, 255, 255)
    frame[down - height // 6 : down + height // 6, across - width // 6 : across + width // 6] = (
        8 * number
    )
    return frame


def seen(pixels: np.ndarray, within: float = 0.0) -> Faces:
    """Expect one face, of frame 0."""
    return Faces({0: pixels}, within)


def encode(format_: str, pixels: np.ndarray | Image.Image | None = None, **options: Any) -> bytes:
    """Encode a picture by Pillow."""
    if pixels is None:
        pixels = draw()
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    picture.save(file, format_, **options)
    return file.getvalue()


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG of these chunks, without the last."""
    raw = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks:
        raw += struct.pack(">I", len(data)) + kind + data
        raw += struct.pack(">I", zlib.crc32(kind + data))
    return raw


def ihdr(width: int, height: int, bits: int = 8, colour: int = 2) -> tuple[bytes, bytes]:
    """Return the header of a PNG; colour is 0 grey, 2 RGB, 3 palette, 4 grey + alpha, 6 RGBA."""
    return b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)


def idat(rows: np.ndarray) -> tuple[bytes, bytes]:
    """Return the pixels of a PNG from the bytes of its rows, (H, bytes)."""
    plain = b"".join(b"\0" + row.tobytes() for row in rows)
    return b"IDAT", zlib.compress(plain)


IEND = (b"IEND", b"")


DRAWN = draw()
GREY = np.array(Image.fromarray(DRAWN).convert("L").convert("RGB"))
JPEG = encode("JPEG", quality=95, subsampling=0)
PNG = encode("PNG")
LOSSY = 12.0
"""What JPEG may lose."""

ENCODED = {
    "jpg": JPEG,
    "png": PNG,
    "webp": encode("WEBP", lossless=True),
    "tiff": encode("TIFF"),
    "bmp": encode("BMP"),
    "ppm": encode("PPM"),
}
"""The same picture, by suffix; all but the first lose nothing."""


def patched(raw: bytes, place: int, new: bytes) -> bytes:
    return raw[:place] + new + raw[place + len(new) :]


def image(pixels: np.ndarray = DRAWN, mode: str | None = None) -> Image.Image:
    picture = Image.fromarray(pixels)
    return picture if mode is None else picture.convert(mode)
