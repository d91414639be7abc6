"""Face crops as bytes and as pixels."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scf_pipeline.errors import ArtifactError

NO_MEMORY = "out of memory"
"""What Pillow's decoders say of a picture, sound or not, when an allocation of theirs fails."""


def decode_png(data: bytes, *, name: str) -> NDArray[np.uint8]:
    """Return the pixels of a PNG, RGB, (H, W, 3).

    Args:
        data: The PNG.
        name: Whose picture it is, for the message.

    Raises:
        ArtifactError: If it is none, or ends early.
        MemoryError: If memory does not suffice for its pixels.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if str(error).startswith(NO_MEMORY):
            raise MemoryError(str(error)) from error
        raise ArtifactError(
            f"A picture must be a sound PNG, but is not: {error}.",
            where=name,
            fix="Delete the artifact of the pictures and rerun the stage that writes it.",
        ) from error


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return pixels, RGB, (H, W, 3), as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
