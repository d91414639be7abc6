"""What a process of `isolated` runs: reads the samples that its parent names, one after another.

It is confined before it sees the first: its address space is limited, it leaves no core dump, and
it dies with its parent, whatever a decoder is about.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from scf_pipeline.media.frames import (
    FramePreset,
    MediaError,
    Picture,
    Pixels,
    unreadable_if_it_fails,
)
from scf_pipeline.media.isolated import LENGTH
from scf_pipeline.media.sequences import read_hdf5
from scf_pipeline.media.videos import read_video


def main() -> None:
    """Answer each line of stdin until it ends.

    A request is a line of JSON; an empty one is a greeting. An answer is JSON, preceded by its
    length: ``number``, ``width`` and ``height`` of a frame, whose pixels follow; then, last,
    nothing, or why it failed.
    """
    memory_bytes, lifeline = map(int, sys.argv[1:])
    _die_with_parent(lifeline)
    answers = _take_stdout()
    for library in ("av", "h5py"):  # now, for the wait for a sample is bounded
        with suppress(ImportError):  # whoever needs it is told then
            importlib.import_module(library)
    _confine(memory_bytes)
    for line in sys.stdin.buffer:
        if request := json.loads(line):
            _answer(request, answers)
        else:
            _say(answers, {})


def _die_with_parent(lifeline: int) -> None:
    """Ask the kernel for a deadly signal when the parent's end of a pipe closes.

    No thread of ours need run for that, so a library that hangs does not outlive the parent.
    Where the system has no such signal, the process ends at its next request or answer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    with suppress(ImportError, AttributeError):
        import fcntl
        import select

        signal.signal(signal.SIGIO, signal.SIG_DFL)
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
        flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC)
        hung_up = select.poll()
        hung_up.register(lifeline, 0)
        if hung_up.poll(0):  # it died before it could be told
            sys.exit()


def _take_stdout() -> BinaryIO:
    """Return stdout for answers alone; what libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _confine(memory_bytes: int) -> None:
    with suppress(ImportError):  # a system without such limits
        import resource

        for what, most in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_CORE, 0)):
            _, hard = resource.getrlimit(what)
            least = most if hard == resource.RLIM_INFINITY else min(most, hard)
            with suppress(ValueError, OSError):  # macOS knows RLIMIT_AS, and refuses it
                resource.setrlimit(what, (least, least))


def _answer(request: dict[str, Any], answers: BinaryIO) -> None:
    try:
        with unreadable_if_it_fails():
            for number, pixels in _frames(request):
                height, width = pixels.shape[:2]
                _say(answers, {"number": number, "width": width, "height": height}, pixels)
    except MediaError as error:
        _say(answers, {"reject": error.reject.value, "detail": error.detail})
    except ImportError as error:
        _say(answers, {"absent": str(error)})
    else:
        _say(answers, {})


def _frames(request: dict[str, Any]) -> Iterator[Picture]:
    path, preset = Path(request["path"]), FramePreset(request["preset"])
    if request["family"] == "hdf5":
        return read_hdf5(path, preset, request["pixel_limit"])
    return read_video(path, request["container"], preset, request["pixel_limit"])


def _say(answers: BinaryIO, answer: dict[str, Any], pixels: Pixels | None = None) -> None:
    text = json.dumps(answer).encode()
    answers.write(LENGTH.pack(len(text)) + text)
    if pixels is not None:
        answers.write(pixels.data)
    answers.flush()


if __name__ == "__main__":
    main()
