"""Still pictures: JPEG, PNG, BMP, WebP, TIFF and PPM, upright and in eight bits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scf_pipeline.media.frames import PIXEL_LIMIT, MediaError, Pixels, check_size
from scf_pipeline.schema import Reject

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM")
"""Formats that Pillow may try; it knows dozens more, which no dataset uses."""

BYTES_OF_A_PIXEL, BYTES_BESIDE = 8, 16 * 2**20
"""Longest file: four channels of 16 bits for each pixel that is allowed, and 16 MiB beside them."""


def read_picture(path: Path, pixel_limit: int = PIXEL_LIMIT) -> Pixels:
    """Return the first picture of a file, upright, (H, W, 3).

    EXIF orientation is applied; transparency is laid on white; 16-bit channels keep their upper
    eight bits; CMYK is converted plainly and colour profiles are ignored.

    Raises:
        MediaError: If the picture or its file is too large, or it has 32 bits for each channel.
        Exception: Whatever else the decoder raises on a damaged file.
    """
    from PIL import Image

    _check_bytes(path, pixel_limit)
    with Image.open(path, formats=FORMATS) as image:
        check_size(image.width, image.height, pixel_limit)
        image.load()  # a TIFF turns itself upright here, and forgets its tag
        turn = _orientation(image)
        return _rgb(image if turn is None else image.transpose(turn))


def _check_bytes(path: Path, pixel_limit: int) -> None:
    """Refuse a file by its length: Pillow reads comments without end, byte by byte."""
    size, most = path.stat().st_size, BYTES_OF_A_PIXEL * pixel_limit + BYTES_BESIDE
    if size > most:
        raise MediaError(
            Reject.UNREADABLE, f"A picture must take at most {most:,} bytes, but takes {size:,}."
        )


def _orientation(image: Image.Image) -> Image.Transpose | None:
    from PIL import ExifTags, Image

    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    try:
        return turns.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001 - a broken tag, of whatever kind, leaves the picture as it is
        return None


def _rgb(image: Image.Image) -> Pixels:
    from PIL import Image

    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        upper = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(upper[..., None], 3, axis=2)
    if image.mode in {"I", "F"}:
        raise MediaError(
            Reject.UNREADABLE, "A picture must have 8 or 16 bits for each channel, but has 32."
        )
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen)
    return np.array(image.convert("RGB"))
