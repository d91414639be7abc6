"""The program by itself; what its parent makes of it is tested with `isolated`."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from scf_pipeline.media.isolated import LENGTH, PROGRAM

Run = tuple[subprocess.Popen[bytes], int]


@pytest.fixture
def decoder() -> Iterator[Run]:
    """The program, greeted, and our end of its lifeline."""
    theirs, ours = os.pipe()
    command = [sys.executable, "-m", PROGRAM, str(2**32), str(theirs)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, pass_fds=[theirs], **pipes) as process:
        os.close(theirs)
        process.stdin.write(b"{}\n")
        process.stdin.flush()
        assert answer(process) == {}
        yield process, ours
        process.kill()
    os.close(ours)


def answer(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert process.stdout is not None
    (size,) = LENGTH.unpack(process.stdout.read(LENGTH.size))
    return json.loads(process.stdout.read(size))


def ask(process: subprocess.Popen[bytes], path: Path, **changes: Any) -> None:
    request = {
        "path": str(path),
        "family": "hdf5",
        "container": "",
        "preset": "all",
        "pixel_limit": 99,
    }
    assert process.stdin is not None
    process.stdin.write(json.dumps(request | changes).encode() + b"\n")
    process.stdin.flush()


def write_hdf5(path: Path, *frames: int) -> Path:
    with h5py.File(path, "w") as file:
        for number in frames:
            file[f"Frame_{number}/array"] = np.full((3, 2, 5), number, np.uint8)
    return path


def test_an_answer_is_each_frame_and_its_pixels_and_then_nothing(
    decoder: Run, tmp_path: Path
) -> None:
    process, _ = decoder
    for _ in range(2):
        ask(process, write_hdf5(tmp_path / "a.hdf5", 4, 7))
        for number in (4, 7):
            assert answer(process) == {"number": number, "width": 5, "height": 2}
            assert process.stdout.read(30) == bytes([number]) * 30
        assert answer(process) == {}


def test_a_failure_is_the_last_answer(decoder: Run, tmp_path: Path) -> None:
    process, _ = decoder
    ask(process, write_hdf5(tmp_path / "a.hdf5"))
    detail = "A sequence must hold a frame that decodes, but holds none"
    assert answer(process) == {"reject": "no_frame", "detail": detail}
    ask(process, tmp_path / "absent.mp4", family="video", container="mov")
    told = answer(process)
    assert told["reject"] == "unreadable"
    assert "FileNotFoundError" in told["detail"]


def test_it_ends_with_its_requests(decoder: Run) -> None:
    process, _ = decoder
    assert process.communicate() == (b"", b"")
    assert process.returncode == 0


def test_it_dies_with_its_lifeline_and_not_of_ctrl_c(decoder: Run, tmp_path: Path) -> None:
    process, lifeline = decoder
    process.send_signal(signal.SIGINT)
    ask(process, write_hdf5(tmp_path / "a.hdf5"))
    assert answer(process)["reject"] == "no_frame"
    if sys.platform != "linux":
        pytest.skip("this system may send no signal when a pipe closes")
    os.dup2(process.stdin.fileno(), lifeline)  # closes it, and leaves the fixture one to close
    assert process.wait() == -signal.SIGIO


def test_what_a_library_prints_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "chatty.py").write_text(
        "import os\n"
        "from scf_pipeline.media import decoder\n"
        "def read(*_):\n"
        "    os.write(1, b'chatter')\n"
        "    return iter(())\n"
        "decoder.read_hdf5 = read\n"
        "decoder.main()\n"
    )
    theirs, ours = os.pipe()
    request = {"path": "", "family": "hdf5", "container": "", "preset": "all", "pixel_limit": 9}
    done = subprocess.run(
        [sys.executable, "chatty.py", str(2**32), str(theirs)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
        input=json.dumps(request).encode(),
        capture_output=True,
        pass_fds=[theirs],
        check=True,
    )
    assert done.stdout == LENGTH.pack(2) + b"{}"
    assert done.stderr == b"chatter"
    for end in (theirs, ours):
        os.close(end)
