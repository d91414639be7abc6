"""Videos: MP4, MOV, AVI, Matroska, WebM and MPEG through PyAV, counted by decoding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scf_pipeline.media.frames import FramePreset, MediaError, Picture, Pixels, check_size
from scf_pipeline.schema import Reject

if TYPE_CHECKING:
    import av

MAX_FRAMES = 20_000
"""Longest video that is read, in decoded frames: eleven minutes at 30 frames a second."""

INDEXED = {"avi", "matroska", "mov"}
"""Containers whose time stamps mean the same after a seek; those of MPEG streams are guessed."""

Decode = Callable[..., "Iterator[av.VideoFrame]"]


def read_video(
    path: Path, container: str, preset: FramePreset, pixel_limit: int
) -> Iterator[Picture]:
    """Yield the frames that a preset names, in order, turned as the rotation tag says.

    Frames are numbered as they decode. The numbers that a container declares are never trusted,
    and a frame or a tail that does not decode is passed over, so a file that breaks off still
    gives its beginning. Memory holds one frame at a time.

    Args:
        path: Local file.
        container: Format as FFmpeg names it; no other is tried, for some (playlists) open
            further files.
        preset: Which frames.
        pixel_limit: Largest frame, in pixels.

    Raises:
        MediaError: If no frame decodes, one is too large, or there are too many.
        Exception: Whatever PyAV raises on a damaged file.
    """
    decode = partial(_decode, path, container, pixel_limit)
    if preset is FramePreset.FLIP2:  # the only preset that must know T
        frames = _look_up(decode, preset, is_indexed=container in INDEXED)
    else:
        frames = _pass_through(decode, preset)
    found = False
    for number, frame in frames:
        found = True
        yield Picture(number, _upright(frame))
    if not found:
        raise MediaError(Reject.NO_FRAME, "A video must decode to a frame, but decodes to none.")


def _pass_through(decode: Decode, preset: FramePreset) -> Iterator[tuple[int, av.VideoFrame]]:
    wanted = preset.positions(MAX_FRAMES)
    for number, frame in enumerate(decode()):
        if number in wanted:
            yield number, frame
        if preset is FramePreset.FIRST:
            return


def _look_up(
    decode: Decode, preset: FramePreset, *, is_indexed: bool
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Count the frames by decoding them all, then go back for those that are wanted.

    Going back by seeking gives the same frame as decoding from the start, in the time of one
    group of pictures. Where a seek does not come upon the frame, this decodes from the start.
    """
    stamps = [frame.pts for frame in decode()]
    is_seekable = is_indexed and len(set(stamps)) == len(stamps)
    for number in preset.positions(len(stamps)) if stamps else ():
        frame = _seek(decode, stamps[number]) if is_seekable else None
        yield number, next(islice(decode(), number, None)) if frame is None else frame


def _seek(decode: Decode, stamp: int | None) -> av.VideoFrame | None:
    """Return the frame of this time stamp; ``None`` where seeking does not come upon it."""
    import av

    if stamp is None:
        return None
    with suppress(av.error.FFmpegError):  # e.g. a file that broke off before its index
        for frame in decode(stamp):
            if frame.pts is None or frame.pts >= stamp:
                return frame if frame.pts == stamp else None
    return None


def _decode(
    path: Path, container: str, pixel_limit: int, stamp: int | None = None
) -> Iterator[av.VideoFrame]:
    """Yield the frames that decode, from the key frame before `stamp` (in units of the stream)."""
    import av

    count = 0
    with av.open(f"file:{path}", format=container) as source:
        stream = source.streams.best("video")
        if not isinstance(stream, av.VideoStream):
            return
        if stream.disposition & av.stream.Disposition.attached_pic:
            return  # no film but a picture beside sound, as music has a cover
        if stream.codec_context is None:
            raise MediaError(
                Reject.UNREADABLE, "A video must be of a codec that FFmpeg knows, but is not."
            )
        check_size(stream.width, stream.height, pixel_limit)
        stream.codec_context.thread_count = 1  # parts run side by side, not frames
        if stamp is not None:
            source.seek(stamp, stream=stream)
        for frame in _frames(source, stream):
            check_size(frame.width, frame.height, pixel_limit)
            count += 1
            if count > MAX_FRAMES:
                raise MediaError(
                    Reject.UNREADABLE,
                    f"A video must have at most {MAX_FRAMES:,} frames, but has more.",
                )
            yield frame


def _frames(source: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """Yield the frames that decode, until the file ends or breaks off."""
    import av

    packets = source.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:
            return  # the file breaks off
        if packet is None:
            return
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            continue  # this packet is broken, the next may not be
        yield from (frame for frame in frames if not frame.is_corrupt)


def _upright(frame: av.VideoFrame) -> Pixels:
    quarters = round(frame.rotation / 90) % 4  # counter-clockwise, as rot90 turns
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), quarters))
