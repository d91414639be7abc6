"""Reads videos and HDF5 files in a process of its own, which their bytes may crash, hang or fill.

FFmpeg and HDF5 are C libraries, and files come from strangers. Whatever one of them does to its
process costs that sample, and neither the worker nor the samples before and after it. The process
(`decoder`) starts when it is first needed and is kept for the samples that follow. Only the frames
that are wanted cross the border: lines of JSON one way; JSON and pixels, never a pickle, the other.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from scf_pipeline.errors import StageError
from scf_pipeline.media.frames import FramePreset, MediaError, Picture, check_size
from scf_pipeline.schema import Reject

PATIENCE_S = 600.0
"""Longest wait for the decoder of one sample, all waits together: 30 ms for each frame of the
longest video that is read. What the reader does between frames does not count."""

START_S = 120.0
"""Longest wait for a decoder to start; it takes about half a second."""

MEMORY_BYTES = 4 * 2**30
"""Address space of a decoder. Sixteen frames of 50 million pixels, as H.264 may refer back to, and
two copies in RGB take 1.6 GB."""

MOST_SAMPLES = 1000
"""Samples after which a decoder is replaced, so that what its libraries leak comes to an end."""

PROGRAM = "scf_pipeline.media.decoder"
"""Module that a decoder runs."""

LENGTH = struct.Struct("<I")
"""What precedes an answer's JSON: how many bytes it takes."""

_LONGEST_ANSWER = 2**20
"""Bytes of an answer's JSON; a detail holds a path and a few sentences at most."""

_GRACE_S = 5.0
"""Longest wait for a decoder that has nothing to do but to greet, or to end."""

_idle: list[_Decoder] = []
"""Decoders of this process that wait for a sample: one, unless samples were read side by side."""


def read_isolated(
    path: Path, family: str, container: str, preset: FramePreset, pixel_limit: int
) -> Iterator[Picture]:
    """Yield the frames that a preset names, as `read_video` and `read_hdf5` do.

    Args:
        path: Local file.
        family: ``video`` or ``hdf5``.
        container: Format of a video, as FFmpeg names it.
        preset: Which frames.
        pixel_limit: Largest frame, in pixels.

    Raises:
        MediaError: What the reader says; or that the decoder crashed, or took more than
            `PATIENCE_S`.
        ImportError: If a library is not installed.
        StageError: If no decoder can be started, whatever the sample.
    """
    decoder = _take()
    try:
        yield from decoder.read(
            {
                "path": str(path.absolute()),  # where this process is now, not where it began
                "family": family,
                "container": container,
                "preset": preset.value,
                "pixel_limit": pixel_limit,
            }
        )
    finally:
        if decoder.is_fit:
            _idle.append(decoder)
        else:
            decoder.end()


def _take() -> _Decoder:
    while _idle:
        decoder = _idle.pop()
        if decoder.greets(_GRACE_S):  # else it died in its sleep, which is no sample's fault
            return decoder
        decoder.end()
    return _Decoder()


@atexit.register
def _end_all() -> None:
    while _idle:
        _idle.pop().end()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_end_all)  # there it lets go of its parent's decoders


class _Decoder:
    """One child process, which reads a sample at a time.

    Raises:
        StageError: If it does not start.
    """

    def __init__(self) -> None:
        self._owner, self._read, self._patience_s = os.getpid(), 0, 0.0
        self.is_fit = False
        # Nothing is ever written to the lifeline: the child is told that it closed.
        lifeline, self._lifeline = os.pipe()
        self._command = [sys.executable, "-P", "-m", PROGRAM, str(MEMORY_BYTES), str(lifeline)]
        try:
            self.process = subprocess.Popen(  # noqa: S603 - this interpreter and our own module
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env=os.environ | _environment(),
                pass_fds=[lifeline],
            )
        except OSError as error:
            os.close(self._lifeline)
            raise self._no_start(f"cannot: {error}") from error
        finally:
            os.close(lifeline)
        self._requests = cast("IO[bytes]", self.process.stdin)
        self._answers = cast("Any", self.process.stdout)
        self._poll = select.poll()
        self._poll.register(self._answers, select.POLLIN)
        _widen(self._answers.fileno())
        if not self.greets(START_S):
            fate = "takes too long" if self._patience_s <= 0 else self._fate()
            self.end()
            raise self._no_start(fate)

    def _no_start(self, fate: str) -> StageError:
        return StageError(
            f"A process that decodes videos must start, but {fate}.",
            where=" ".join(self._command),
            fix="Read what it wrote to stderr; give this machine more memory or fewer workers.",
        )

    def greets(self, patience_s: float) -> bool:
        """Tell whether the process answers an empty request in time."""
        self._patience_s = patience_s
        try:
            self._requests.write(b"{}\n")
            return self._receive() == {}
        except (EOFError, BrokenPipeError, TimeoutError, ValueError):
            return False

    def read(self, request: dict[str, Any]) -> Iterator[Picture]:
        """Yield the frames of one sample; afterwards `is_fit` tells whether it can read another."""
        self.is_fit, self._patience_s = False, PATIENCE_S
        self._read += 1
        try:
            self._requests.write(json.dumps(request).encode() + b"\n")
            while "number" in (answer := self._receive()):
                yield self._picture(answer, request["pixel_limit"])
        except TimeoutError as error:
            raise MediaError(
                Reject.UNREADABLE, f"A sample must decode within {PATIENCE_S:g} s, but does not."
            ) from error
        except (EOFError, BrokenPipeError) as error:
            raise MediaError(
                Reject.UNREADABLE, f"A sample must leave its decoder alive, but it {self._fate()}."
            ) from error
        failure = _failure(answer)
        self.is_fit = self._read < MOST_SAMPLES
        if failure is not None:
            raise failure

    def end(self) -> None:
        """Kill the process, whatever it does; in a fork of its parent's, only let go of it."""
        if os.getpid() == self._owner:
            self.process.kill()
            self.process.wait()
        else:
            self.process.returncode = 0  # not ours to wait for
        self._requests.close()
        self._answers.close()
        with suppress(OSError):
            os.close(self._lifeline)

    def _picture(self, answer: dict[str, Any], pixel_limit: int) -> Picture:
        width, height = int(answer["width"]), int(answer["height"])
        check_size(width, height, pixel_limit)  # the child has seen hostile bytes: believe nothing
        pixels = np.empty((height, width, 3), np.uint8)
        self._fill(pixels.data.cast("B"))
        return Picture(int(answer["number"]), pixels)

    def _receive(self) -> dict[str, Any]:
        length = bytearray(LENGTH.size)
        self._fill(memoryview(length))
        (size,) = LENGTH.unpack(length)
        if size > _LONGEST_ANSWER:
            raise ValueError(f"An answer must take at most {_LONGEST_ANSWER} bytes, but is {size}.")
        text = bytearray(size)
        self._fill(memoryview(text))
        return dict(json.loads(text))

    def _fill(self, room: memoryview) -> None:
        while room:
            begun = time.monotonic()
            is_ready = self._poll.poll(max(0.0, 1000 * self._patience_s))
            self._patience_s -= time.monotonic() - begun
            if not is_ready:
                raise TimeoutError
            count = self._answers.readinto(room)
            if not count:
                raise EOFError
            room = room[count:]

    def _fate(self) -> str:
        """Tell how a process ended that closed its pipe."""
        try:
            code = self.process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            return "fell silent"
        return f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"


def _widen(pipe: int) -> None:
    """Let a pipe hold a mebibyte, so that a large frame crosses in a few turns."""
    with suppress(ImportError, AttributeError, OSError):  # Linux has it, up to a limit
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 2**20)


def _failure(answer: dict[str, Any]) -> Exception | None:
    """Return what the last answer to a request says."""
    if "absent" in answer:
        return ImportError(answer["absent"])
    return MediaError(Reject(answer["reject"]), answer["detail"]) if answer else None


def _environment() -> dict[str, str]:
    """Return what a decoder needs to import what this process imports, and to have one thread."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return threads | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
