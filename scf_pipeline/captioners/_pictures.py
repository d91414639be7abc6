"""Face crops as bytes and as pixels."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def decode_png(data: bytes) -> NDArray[np.uint8]:
    """Return the pixels of a PNG, RGB, (H, W, 3)."""
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        return np.asarray(image.convert("RGB"))


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return pixels, RGB, (H, W, 3), as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
