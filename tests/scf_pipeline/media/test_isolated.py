import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import h5py
import numpy as np
import pytest

from scf_pipeline.errors import StageError
from scf_pipeline.media import isolated
from scf_pipeline.media.frames import FramePreset, MediaError, Picture, unreadable_if_it_fails
from scf_pipeline.media.isolated import read_isolated
from scf_pipeline.media.reader import read_frames
from scf_pipeline.media.sequences import read_hdf5
from scf_pipeline.media.videos import read_video
from scf_pipeline.schema import Reject

LIMIT = 10_000
SOON_S = 30.0
"""How long a process may take to be gone; it takes milliseconds."""

WriteVideo = Callable[..., Path]

CONTAINERS = {
    "a.mp4": ("mov", {"between": 2}),
    "a.mov": ("mov", {"codec": "mpeg4"}),
    "a.avi": ("avi", {"codec": "mjpeg"}),
    "a.mkv": ("matroska", {}),
    "a.webm": ("matroska", {"codec": "libvpx"}),
    "a.mpg": ("mpeg", {"codec": "mpeg1video"}),
}


def write_hdf5(path: Path, frames: int = 9) -> Path:
    with h5py.File(path, "w") as file:
        for number in range(frames):
            file[f"Frame_{number}/array"] = np.full((3, 4, 6), number, np.uint8)
    return path


def video(path: Path, container: str = "mov", preset: FramePreset = FramePreset.ALL) -> Iterator:
    return read_isolated(path, "video", container, preset, LIMIT)


def hdf5(path: Path) -> Iterator[Picture]:
    return read_isolated(path, "hdf5", "", FramePreset.ALL, LIMIT)


def refusal(frames: Iterator[Picture]) -> MediaError:
    with pytest.raises(MediaError) as caught:
        list(frames)
    return caught.value


def idle_pids() -> list[int]:
    return [decoder.process.pid for decoder in isolated._idle]


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def is_gone_soon(pid: int) -> bool:
    end = time.monotonic() + SOON_S
    while is_running(pid) and time.monotonic() < end:
        time.sleep(0.01)
    return not is_running(pid)


@pytest.fixture
def afresh() -> Iterator[None]:
    """No decoder of an earlier test, and none of this one afterwards."""
    isolated._end_all()
    yield
    isolated._end_all()


@pytest.fixture
def wild(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, afresh: None) -> Callable[[str], None]:
    """Let decoders do something else than to read a video, after frame 0."""

    def write(action: str) -> None:
        (tmp_path / "wild.py").write_text(
            "import ctypes, os, signal\n"
            "import numpy as np\n"
            "from scf_pipeline.media import decoder\n"
            "from scf_pipeline.media.frames import Picture\n"
            "def answer(request, answers):\n"
            "    def say(answer):\n"
            "        decoder._say(answers, answer)\n"
            "    def wild(*_):\n"
            "        yield Picture(0, np.zeros((2, 2, 3), np.uint8))\n"
            f"        {action}\n"
            "    decoder.read_video = wild\n"
            "    usual(request, answers)\n"
            "usual, decoder._answer = decoder._answer, answer\n"
            "decoder.main()\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(isolated, "PROGRAM", "wild")

    return write


# What is read


@pytest.mark.parametrize("preset", FramePreset)
@pytest.mark.parametrize("name", CONTAINERS)
def test_frames_are_those_that_this_process_would_read(
    name: str, preset: FramePreset, write_video: WriteVideo
) -> None:
    container, options = CONTAINERS[name]
    path = write_video(name, 20, **options)
    expected = list(read_video(path, container, preset, LIMIT))
    found = list(video(path, container, preset))
    assert [p.number for p in found] == [p.number for p in expected]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a.pixels, b.pixels)
        assert (a.pixels.dtype, a.pixels.flags.writeable) == (b.pixels.dtype, True)


def test_arrays_of_hdf5_are_those_that_this_process_would_read(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.hdf5")
    expected = list(read_hdf5(path, FramePreset.ALL, LIMIT))
    for a, b in zip(hdf5(path), expected, strict=True):
        assert a.number == b.number
        np.testing.assert_array_equal(a.pixels, b.pixels)


@pytest.mark.parametrize("kept", [0, 40, 0.3, 0.999])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mpg", "a.avi"])
def test_failures_say_what_they_would_say_in_this_process(
    name: str, kept: float, write_video: WriteVideo
) -> None:
    container, options = CONTAINERS[name]
    path = write_video(name, 4, **options)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(kept if kept > 1 else kept * len(raw))])

    def outcome(frames: Iterator[Picture]) -> object:
        try:
            with unreadable_if_it_fails():
                return [p.pixels.tobytes() for p in frames]
        except MediaError as error:
            return error.reject, error.detail

    expected = outcome(read_video(path, container, FramePreset.ALL, LIMIT))
    assert outcome(video(path, container)) == expected


def test_a_frame_beyond_the_limit_and_a_file_without_one_say_so(
    tmp_path: Path, write_video: WriteVideo
) -> None:
    path = write_video("a.mp4", 2)
    error = refusal(read_isolated(path, "video", "mov", FramePreset.ALL, 64 * 48 - 1))
    assert error.reject is Reject.UNREADABLE
    assert error.detail == "A picture must have 1 to 3,071 pixels, but is 64 x 48."
    error = refusal(hdf5(write_hdf5(tmp_path / "a.hdf5", 0)))
    assert error.reject is Reject.NO_FRAME
    assert error.detail == "A sequence must hold a frame that decodes, but holds none"


def test_a_relative_path_is_of_where_the_reader_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_hdf5(tmp_path / "a.hdf5")
    assert len(list(hdf5(tmp_path / "a.hdf5"))) == 9
    monkeypatch.chdir(tmp_path)
    assert len(list(hdf5(Path("a.hdf5")))) == 9


def test_a_name_that_is_no_text_is_opened(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n'.hdf5"))
    try:
        path.touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    write_hdf5(tmp_path / "a.hdf5").rename(path)
    assert len(list(hdf5(path))) == 9


# One process for many samples


def test_one_process_reads_all_samples_good_or_bad(tmp_path: Path, write_video: WriteVideo) -> None:
    path = write_video("a.mp4", 3)
    assert len(list(video(path))) == 3
    (pid,) = idle_pids()
    assert refusal(video(tmp_path / "absent.mp4")).reject is Reject.UNREADABLE
    assert len(list(hdf5(write_hdf5(tmp_path / "a.hdf5")))) == 9
    assert len(list(video(path))) == 3
    assert idle_pids() == [pid]


def test_a_process_is_replaced_after_many_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, afresh: None
) -> None:
    monkeypatch.setattr(isolated, "MOST_SAMPLES", 2)
    path = write_hdf5(tmp_path / "a.hdf5")
    assert len(list(hdf5(path))) == 9
    (pid,) = idle_pids()
    assert len(list(hdf5(path))) == 9
    assert idle_pids() == []
    assert not is_running(pid)
    assert len(list(hdf5(path))) == 9


def test_two_samples_may_be_read_side_by_side(write_video: WriteVideo, afresh: None) -> None:
    path = write_video("a.mp4", 20)
    for first, second in zip(video(path), video(path), strict=True):
        assert first.number == second.number
        np.testing.assert_array_equal(first.pixels, second.pixels)
    assert len(set(idle_pids())) == 2


def test_a_reader_that_stops_halfway_leaves_no_process_and_harms_none(
    write_video: WriteVideo,
) -> None:
    path = write_video("a.mp4", 20)
    assert len(list(video(path))) == 20
    (pid,) = idle_pids()
    frames = video(path)
    assert next(frames).number == 0
    frames.close()
    assert not is_running(pid)
    assert [p.number for p in video(path)] == list(range(20))


# What a sample may do


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_crash_in_the_middle_costs_that_sample_alone(
    number: signal.Signals, write_video: WriteVideo
) -> None:
    large = write_video("large.mp4", [np.zeros((96, 96, 3), np.uint8)] * 30)
    path = write_video("a.mp4", 3)
    assert len(list(video(path))) == 3
    (pid,) = idle_pids()
    frames = video(large)
    next(frames)
    os.kill(pid, number)
    error = refusal(frames)
    assert error.reject is Reject.UNREADABLE
    assert error.detail.endswith(f"but it died of {number.name}.")
    assert len(list(video(path))) == 3
    assert pid not in idle_pids()


@pytest.mark.parametrize(
    ("action", "fate"),
    [
        ("ctypes.string_at(0)", "died of SIGSEGV"),
        ("os.abort()", "died of SIGABRT"),
        ("os._exit(3)", "ended with status 3"),
    ],
)
def test_a_decoder_that_crashes_is_told_by_its_fate(action: str, fate: str, wild) -> None:
    wild(action)
    error = refusal(video(Path("a.mp4")))
    assert error.reject is Reject.UNREADABLE
    assert error.detail == f"A sample must leave its decoder alive, but it {fate}."
    assert idle_pids() == []


def test_a_decoder_that_closes_its_pipe_and_lives_on_is_killed(
    wild, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolated, "_GRACE_S", 0.1)
    wild("os.closerange(3, 20); ctypes.PyDLL(None).sleep(600)")
    frames = video(Path("a.mp4"))
    next(frames)
    pid = frames.gi_frame.f_locals["decoder"].process.pid
    assert "but it fell silent" in refusal(frames).detail
    assert not is_running(pid)


def test_a_sample_that_hangs_is_given_up(wild, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "PATIENCE_S", 2.5)
    wild("ctypes.PyDLL(None).sleep(600)")  # holds the interpreter's lock, as libraries do
    frames = video(Path("a.mp4"))
    next(frames)
    pid = frames.gi_frame.f_locals["decoder"].process.pid
    error = refusal(frames)
    assert error.reject is Reject.UNREADABLE
    assert error.detail == "A sample must decode within 2.5 s, but does not."
    assert not is_running(pid)


def test_what_the_reader_does_between_frames_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_hdf5(tmp_path / "a.hdf5", 3)
    assert list(hdf5(path))
    now = [0.0]
    monkeypatch.setattr(isolated, "PATIENCE_S", 5.0)
    monkeypatch.setattr(isolated, "time", type("Clock", (), {"monotonic": lambda: now[0]}))
    for _ in hdf5(path):
        now[0] += 100


def write_bomb(path: Path, megabytes: int) -> Path:
    """Write an array of 72 bytes whose compressed chunk inflates to many more."""
    packer = zlib.compressobj(1)
    packer.compress(b"")
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    head, body = block[:2], block[2:]
    with h5py.File(path, "w") as file:
        array = file.create_dataset(
            "Frame_0/array", (3, 4, 6), "u1", chunks=(3, 4, 6), compression=1
        )
        array.id.write_direct_chunk((0, 0, 0), head + body * megabytes)
    return path


def test_memory_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, afresh: None) -> None:
    monkeypatch.setattr(isolated, "MEMORY_BYTES", 2**30)
    path = write_hdf5(tmp_path / "a.hdf5")
    assert len(list(hdf5(path))) == 9
    (pid,) = idle_pids()
    error = refusal(hdf5(write_bomb(tmp_path / "bomb.hdf5", 2000)))
    assert error.reject in {Reject.NO_FRAME, Reject.UNREADABLE}
    assert len(list(hdf5(path))) == 9
    assert idle_pids() == [pid]


def test_a_lack_of_memory_is_told(wild, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "MEMORY_BYTES", 2**30)
    wild("np.ones(2**30, np.uint8)")
    error = refusal(video(Path("a.mp4")))
    assert error.reject is Reject.UNREADABLE
    assert "MemoryError: Unable to allocate 1.00 GiB" in error.detail


@pytest.mark.parametrize(
    ("action", "detail"),
    [
        ("say({'number': 0, 'width': 101, 'height': 100})", "101 x 100"),
        ("say({'number': 0, 'width': -1, 'height': -1})", "ValueError"),
        ("say({'number': 0, 'width': 0, 'height': 4})", "0 x 4"),
        ("say({'number': 0})", "KeyError: 'width'"),
        ("say({'reject': 'fine', 'detail': ''})", "'fine' is not a valid"),
        ("answers.write(b'\\xff' * 9); answers.flush()", "but is 4294967295"),
        ("answers.write(b'\\1\\0\\0\\0}'); answers.flush()", "JSONDecodeError"),
    ],
)
def test_a_decoder_that_was_taken_over_is_not_believed(
    action: str, detail: str, wild, write_video: WriteVideo
) -> None:
    wild(f"{action}; signal.pause()")
    path = write_video("a.mp4", 1)
    with pytest.raises(MediaError) as caught:
        list(read_frames(path, FramePreset.ALL, pixel_limit=LIMIT))
    assert caught.value.reject is Reject.UNREADABLE
    assert detail in caught.value.detail
    assert idle_pids() == []


# What is no sample's fault


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_the_death_of_an_idle_process_costs_nothing(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_hdf5(tmp_path / "a.hdf5")
    assert list(hdf5(path))
    (pid,) = idle_pids()
    monkeypatch.setattr(isolated, "_GRACE_S", 0.5)
    os.kill(pid, number)
    assert len(list(hdf5(path))) == 9
    assert not is_running(pid)


def test_a_process_that_cannot_start_is_no_samples_fault(
    write_video: WriteVideo, monkeypatch: pytest.MonkeyPatch, afresh: None
) -> None:
    path = write_video("a.mp4", 1)
    monkeypatch.setattr(isolated, "PROGRAM", "no_such_program")
    with pytest.raises(StageError, match="must start, but ended with status 1") as caught:
        list(read_frames(path, FramePreset.ALL))
    assert "no_such_program" in caught.value.where


def test_a_machine_out_of_processes_is_no_samples_fault(
    write_video: WriteVideo, monkeypatch: pytest.MonkeyPatch, afresh: None
) -> None:
    path = write_video("a.mp4", 1)
    monkeypatch.setattr(sys, "executable", "/no/such/interpreter")
    with pytest.raises(StageError, match=r"must start, but cannot: .*No such file"):
        list(read_frames(path, FramePreset.ALL))


def test_a_process_that_starts_for_ever_is_no_samples_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, afresh: None
) -> None:
    (tmp_path / "asleep.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(isolated, "PROGRAM", "asleep")
    monkeypatch.setattr(isolated, "START_S", 0.1)
    with pytest.raises(StageError, match="must start, but takes too long"):
        list(hdf5(tmp_path / "a.hdf5"))


def test_an_absent_library_is_no_samples_fault(wild) -> None:
    wild("raise ImportError('no av')")
    with pytest.raises(ImportError, match="no av"):
        list(video(Path("a.mp4")))


# Processes


def in_another_process(tmp_path: Path, body: str) -> subprocess.Popen[str]:
    """Run code beside this process that has read a video, and has told its decoder's id."""
    path = write_hdf5(tmp_path / "sample.hdf5")
    (tmp_path / "hanging.py").write_text(
        "import ctypes\n"
        "from pathlib import Path\n"
        "from scf_pipeline.media import decoder\n"
        "def hang(path, *_):\n"
        "    path.with_name('hangs').touch()\n"
        "    ctypes.PyDLL(None).sleep(600)  # holds the interpreter's lock, as libraries do\n"
        "decoder.read_video = hang\n"
        "decoder.main()\n"
    )
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from scf_pipeline.media import FramePreset, isolated\n"
        "def read(family='hdf5'):\n"
        f"    path = Path({str(path)!r})\n"
        "    return isolated.read_isolated(path, family, '', FramePreset.ALL, 999)\n"
        f"sys.path.append({str(tmp_path)!r})\n"
        "isolated.PROGRAM = 'hanging'\n"
        "assert len(list(read())) == 9\n"
        "pid = isolated._idle[0].process.pid\n"
        "print(pid, flush=True)\n" + body
    )
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


@pytest.mark.parametrize("body", ["signal.pause()", "list(read('video'))"])
def test_no_process_outlives_a_parent_that_was_killed(tmp_path: Path, body: str) -> None:
    parent = in_another_process(tmp_path, body)
    pid = told(parent)
    while "video" in body and not (tmp_path / "hangs").exists():
        time.sleep(0.01)
    assert is_running(pid)
    parent.kill()
    assert is_gone_soon(pid)
    parent.communicate()


@pytest.mark.parametrize("body", ["", "sys.exit(0)", "frames = read(); next(frames)", "1 / 0"])
def test_nothing_is_left_running_at_exit(tmp_path: Path, body: str) -> None:
    parent = in_another_process(tmp_path, body)
    pid = told(parent)
    _, errors = parent.communicate(timeout=SOON_S)
    assert is_gone_soon(pid)
    assert "ZeroDivisionError" in errors if body == "1 / 0" else errors == ""


def test_a_fork_reads_by_a_process_of_its_own(tmp_path: Path) -> None:
    parent = in_another_process(
        tmp_path,
        "frames = read(); next(frames); other = isolated._idle\n"
        "if (fork := os.fork()) == 0:\n"
        "    frames.close()\n"
        "    assert isolated._idle == []\n"
        "    assert len(list(read())) == 9\n"
        "    assert isolated._idle[0].process.pid != pid\n"
        "    isolated._end_all()\n"
        "    os._exit(7)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]) == 7\n"
        "assert len(list(frames)) == 8\n"
        "assert isolated._idle[0].process.pid == pid\n",
    )
    pid = told(parent)
    assert parent.communicate(timeout=SOON_S) == ("", "")
    assert is_gone_soon(pid)


def test_one_thread_reads_and_no_core_is_dumped(tmp_path: Path) -> None:
    assert list(hdf5(write_hdf5(tmp_path / "a.hdf5")))
    (pid,) = idle_pids()
    if not Path("/proc/self/limits").exists():
        pytest.skip("this system does not tell the limits of a process")
    limits = Path(f"/proc/{pid}/limits").read_text()
    rows = {line[:26].strip(): line[26:].split()[:2] for line in limits.splitlines()}
    assert rows["Max core file size"] == ["0", "0"]
    assert rows["Max address space"] == [str(isolated.MEMORY_BYTES)] * 2
    threads = [(task / "comm").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    assert len([name for name in threads if name != "jemalloc_bg_thd\n"]) == 1  # that is Arrow's


def test_videos_are_no_longer_decoded_here(
    write_video: WriteVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video("a.mp4", 3)
    monkeypatch.setattr(av, "open", None)
    assert len(list(read_frames(path, FramePreset.ALL))) == 3
