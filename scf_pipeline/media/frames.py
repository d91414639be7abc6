"""What every reader of media shares: a decoded frame, presets of frames, the failure, the limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scf_pipeline.errors import ScfError
from scf_pipeline.schema import Reject

PIXEL_LIMIT = 50_000_000
"""Default of the largest picture or frame that is opened, in pixels."""

Pixels = NDArray[np.uint8]
"""Upright RGB, (H, W, 3)."""


class Picture(NamedTuple):
    """One decoded frame."""

    number: int
    """Position among the frames that decode, from 0; where frames have names (groups of an HDF5
    file, files of a folder), the number in the name."""

    pixels: Pixels
    """Upright RGB, (H, W, 3)."""


class MediaError(Exception):
    """A sample that cannot be read; the crop stage turns it into a rejected row.

    Args:
        reject: ``missing``, ``unreadable`` or ``no_frame``.
        detail: What was expected and what was found.
    """

    def __init__(self, reject: Reject, detail: str) -> None:
        super().__init__(reject, detail)
        self.reject, self.detail = reject, detail

    def __str__(self) -> str:
        return f"{self.reject}: {self.detail}"


class FramePreset(StrEnum):
    """Which frames of a video are taken; a picture is frame 0 under every preset.

    PAPER: the number of frames for each video is not stated; `FLIP2` is what FLIP's code takes.
    """

    FLIP2 = "flip2"
    """Frames 6 and 6 + T // 2 of T, both at most the last; one where they coincide."""
    EVERY5 = "every5"
    """Every fifth frame, from the first."""
    ALL = "all"
    """Every frame."""
    FIRST = "first"
    """The first frame."""

    def positions(self, count: int) -> Sequence[int]:
        """Return the positions to take of `count` frames, ascending.

        Raises:
            ValueError: If `count` is not positive.
        """
        if count < 1:
            raise ValueError(f"`count` must be positive, but is {count}.")
        if self is FramePreset.FLIP2:
            return sorted({min(6, count - 1), min(6 + count // 2, count - 1)})
        if self is FramePreset.FIRST:
            return range(1)
        return range(0, count, 5 if self is FramePreset.EVERY5 else 1)


def check_size(width: int, height: int, pixel_limit: int) -> None:
    """Refuse a picture by its declared size, before memory is taken for it.

    Raises:
        MediaError: If it has no pixel, or more than `pixel_limit`.
    """
    if not 0 < width * height <= pixel_limit:
        raise MediaError(
            Reject.UNREADABLE,
            f"A picture must have 1 to {pixel_limit:,} pixels, but is {width} x {height}.",
        )


@contextmanager
def unreadable_if_it_fails() -> Iterator[None]:
    """Turn every failure of a decoder into a `MediaError`.

    A missing library and a failure of the machine tell nothing about the file and pass as they are.
    A lack of memory does tell: damaged files declare sizes that no machine could hold.
    """
    try:
        yield
    except (MediaError, ImportError, ScfError):
        raise
    except Exception as error:  # decoders raise errors of every kind on hostile bytes
        raise MediaError(Reject.UNREADABLE, f"{type(error).__name__}: {error}") from error
