"""Pictures and videos as files: the one place of the miniature that knows codecs and containers.

The same input gives the same bytes on one build of the codecs: one thread, no date, no encoder tag.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scf_pipeline.miniature.layouts import Picture

Codec = Literal["libx264", "mpeg4", "mjpeg"]

PIXEL_FORMATS = {"libx264": "yuv420p", "mpeg4": "yuv420p", "mjpeg": "yuvj420p"}
QUANTIZERS = {"libx264": 18, "mpeg4": 3, "mjpeg": 3}
"""Default `quality` of each codec: high, so that moire and print texture survive."""

TRANSFORMS = {90: (0, -1, 1, 0), 180: (-1, 0, 0, -1), 270: (0, 1, -1, 0)}
"""Entries a, b, c, d of a track's matrix by degrees counter-clockwise; y points down."""


def write_jpeg(path: Path, picture: Picture, quality: int = 92) -> None:
    """Write an RGB picture as JPEG, creating its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, format="JPEG", quality=quality)


def write_png(path: Path, picture: Picture) -> None:
    """Write an RGB picture as PNG, creating its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, format="PNG")


def write_video(
    path: Path,
    frames: Sequence[Picture],
    *,
    codec: Codec,
    fps: int = 25,
    quality: int | None = None,
    rotation_tag: int = 0,
) -> None:
    """Write RGB frames as a video, creating its folder; the suffix names the container.

    Odd sizes grow by one row or column, a copy of the last one, because chroma is halved.

    Args:
        path: File to write, ``.mp4``, ``.mov`` or ``.avi``.
        frames: Upright pictures, all of one size.
        codec: libx264 and mpeg4 predict frames from each other; mjpeg does not.
        fps: Frames in a second.
        quality: Constant rate factor of libx264, quantizer of the others; lower is better.
        rotation_tag: Degrees counter-clockwise that a player must turn the stored frames to see
            them upright, a multiple of 90. Frames are stored turned the other way, as phones do;
            only ``.mp4`` and ``.mov`` hold such a tag.

    Raises:
        ValueError: If there is no frame, sizes differ, or the tag is impossible.
    """
    _check(path, frames, rotation_tag)
    turns = rotation_tag // 90 % 4
    stored = [_even(np.rot90(frame, -turns)) for frame in frames]
    height, width = stored[0].shape[:2]
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height = width, height
        stream.pix_fmt = PIXEL_FORMATS[codec]
        _tune(stream.codec_context, codec, quality or QUANTIZERS[codec])
        for number, picture in enumerate(stored):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    if turns:
        _tag(path, 90 * turns, (width, height))


def _check(path: Path, frames: Sequence[Picture], rotation_tag: int) -> None:
    shapes = {frame.shape for frame in frames}
    if len(shapes) != 1:
        raise ValueError(f"`frames` must all have one size, but have {sorted(shapes)}.")
    if rotation_tag % 90:
        raise ValueError(f"`rotation_tag` must be a multiple of 90, but is {rotation_tag}.")
    if rotation_tag and path.suffix not in {".mp4", ".mov"}:
        raise ValueError(f"`path` must be .mp4 or .mov to hold a tag, but is {path.name!r}.")


def _even(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    padded = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(padded)


def _tune(context: av.VideoCodecContext, codec: Codec, quality: int) -> None:
    context.thread_count = 1
    if codec == "libx264":
        context.options = {"preset": "superfast", "crf": str(quality)}
        return
    context.flags |= av.codec.context.Flags.qscale | av.codec.context.Flags.bitexact
    context.qmin = context.qmax = quality


def _tag(path: Path, degrees: int, size: tuple[int, int]) -> None:
    """Put a rotation into the header of the only track; `size` is width, height as stored."""
    data = bytearray(path.read_bytes())
    header = data.index(b"tkhd", data.rindex(b"moov"))  # the index follows the media data
    matrix = header + (56 if data[header + 4] == 1 else 44)  # version 1 has 64-bit times
    a, b, c, d = TRANSFORMS[degrees]
    width, height = size
    x, y = max(0, -a * width, -c * height), max(0, -b * width, -d * height)
    entries = (a, b, 0, c, d, 0, x, y)
    data[matrix : matrix + 36] = struct.pack(">9i", *(v << 16 for v in entries), 1 << 30)
    path.write_bytes(data)
