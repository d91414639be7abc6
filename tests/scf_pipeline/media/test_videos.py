import re
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from scf_pipeline.media import videos
from scf_pipeline.media.frames import FramePreset, MediaError, Picture
from scf_pipeline.media.videos import read_video
from scf_pipeline.schema import Reject

LIMIT = 10_000
WriteVideo = Callable[..., Path]

CONTAINERS = {
    "clip.mp4": ("mov", {}),
    "b_frames.mp4": ("mov", {"between": 2}),
    "clip.mov": ("mov", {"codec": "mpeg4", "between": 2}),
    "clip.avi": ("avi", {"codec": "mjpeg"}),
    "b_frames.avi": ("avi", {"codec": "mpeg4", "between": 2}),
    "clip.mkv": ("matroska", {}),
    "clip.webm": ("matroska", {"codec": "libvpx"}),
    "clip.mpg": ("mpeg", {"codec": "mpeg1video", "between": 2}),
    "stream.mpg": ("mpegvideo", {"codec": "mpeg1video", "container": "mpeg1video"}),
}


def read(path: Path, preset: FramePreset, container: str = "mov") -> list[Picture]:
    return list(read_video(path, container, preset, LIMIT))


def draw(number: int) -> np.ndarray:
    """Return a frame whose upper left corner tells its number."""
    frame = np.full((48, 64, 3), 128, np.uint8)
    frame[:16, :16] = 8 * number
    return frame


def number_in(picture: Picture) -> int:
    """Read the number that is drawn into a frame, up to what coding does to it."""
    return round(float(picture.pixels[4:12, 4:12].mean()) / 8)


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_gives_its_frames_by_number(name: str, write_video: WriteVideo) -> None:
    container, options = CONTAINERS[name]
    path = write_video(name, 30, **options)
    pictures = read(path, FramePreset.ALL, container)
    assert [p.number for p in pictures] == list(range(30))
    assert [number_in(p) for p in pictures] == pytest.approx(range(30), abs=1)
    assert {p.pixels.shape for p in pictures} == {(48, 64, 3)}


@pytest.mark.parametrize("name", CONTAINERS)
def test_flip2_gives_the_very_frames_that_decoding_all_gives(
    name: str, write_video: WriteVideo
) -> None:
    container, options = CONTAINERS[name]
    path = write_video(name, 30, **options)
    pictures = read(path, FramePreset.ALL, container)
    pair = read(path, FramePreset.FLIP2, container)
    assert [p.number for p in pair] == [6, 21]
    for picture in pair:
        np.testing.assert_array_equal(picture.pixels, pictures[picture.number].pixels)


@pytest.mark.parametrize(("count", "expected"), [(1, [0]), (3, [2]), (7, [6]), (8, [6, 7])])
def test_flip2_of_short_clips(count: int, expected: list[int], write_video: WriteVideo) -> None:
    path = write_video("clip.mp4", count)
    assert [p.number for p in read(path, FramePreset.FLIP2)] == expected


def test_every5_and_first(write_video: WriteVideo) -> None:
    path = write_video("clip.mp4", 12)
    assert [p.number for p in read(path, FramePreset.EVERY5)] == [0, 5, 10]
    assert [p.number for p in read(path, FramePreset.FIRST)] == [0]


def turn(path: Path, degrees: int) -> None:
    """Patch the display matrix of the track header (ISO/IEC 14496-12, section 8.3.2)."""
    matrix = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}
    a, b, c, d = (value << 16 for value in matrix[degrees])
    raw = bytearray(path.read_bytes())
    header = raw.index(b"tkhd") + 4
    assert raw[header] == 0, "a version 0 header is what the offset below holds for"
    raw[header + 40 : header + 76] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(raw)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_rotation_tag_is_applied_clockwise_as_players_do(
    degrees: int, write_video: WriteVideo
) -> None:
    path = write_video("clip.mp4", 8)
    (plain,) = read(path, FramePreset.FIRST)
    turn(path, degrees)
    for picture in read(path, FramePreset.FLIP2) + read(path, FramePreset.FIRST):
        assert picture.pixels.shape == ((48, 64, 3) if degrees % 180 == 0 else (64, 48, 3))
    expected = np.rot90(plain.pixels, -degrees // 90)
    np.testing.assert_array_equal(picture.pixels, expected)
    shown = cv2.cvtColor(cv2.VideoCapture(str(path)).read()[1], cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(picture.pixels, shown)


@pytest.mark.parametrize(("name", "container"), [("clip.mp4", "mov"), ("clip.mkv", "matroska")])
def test_frames_of_a_variable_rate_are_numbered_as_they_decode_not_by_time(
    name: str, container: str, tmp_path: Path
) -> None:
    """Phones drop the rate in the dark: a frame's number says nothing of when it was taken."""
    times = np.cumsum([1, 1, 1, 7, 1, 1, 30, 2, 1, 90, 1, 1, 1, 5, 1, 1, 1, 1, 12, 1]) * 40
    path = tmp_path / name
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = 6, 2
        for number, moment in enumerate(times):
            frame = av.VideoFrame.from_ndarray(draw(number), format="rgb24")
            frame.pts, frame.time_base = int(moment), Fraction(1, 1000)
            target.mux(stream.encode(frame))
        target.mux(stream.encode())
    with av.open(str(path)) as source:
        gaps = np.diff([float(frame.time) for frame in source.decode(video=0)])
    assert gaps.max() > 50 * gaps.min()  # the file's rate does vary
    pictures = read(path, FramePreset.ALL, container)
    assert [p.number for p in pictures] == list(range(20))
    assert [number_in(p) for p in pictures] == pytest.approx(range(20), abs=1)
    pair = read(path, FramePreset.FLIP2, container)
    assert [p.number for p in pair] == [6, 16]
    for picture in pair:
        np.testing.assert_array_equal(picture.pixels, pictures[picture.number].pixels)


def test_declared_counts_are_not_trusted(write_video: WriteVideo) -> None:
    path = write_video("clip.avi", 20, codec="mjpeg")
    raw = bytearray(path.read_bytes())
    raw[(total := raw.index(b"avih") + 24) : total + 4] = struct.pack("<I", 999)
    raw[(length := raw.index(b"strh") + 40) : length + 4] = struct.pack("<I", 999)
    path.write_bytes(raw)
    with av.open(str(path)) as source:
        assert source.streams.video[0].frames == 999
    assert [p.number for p in read(path, FramePreset.FLIP2, "avi")] == [6, 16]


def test_a_video_that_breaks_off_gives_its_beginning(write_video: WriteVideo) -> None:
    path = write_video("clip.avi", 20, codec="mjpeg")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    pictures = read(path, FramePreset.ALL, "avi")
    assert 8 <= len(pictures) < 20
    last = len(pictures) - 1
    expected = sorted({min(6, last), min(6 + len(pictures) // 2, last)})
    assert [p.number for p in read(path, FramePreset.FLIP2, "avi")] == expected


def test_a_broken_frame_is_passed_over(write_video: WriteVideo) -> None:
    path = write_video("clip.avi", 10, codec="mjpeg")
    raw = bytearray(path.read_bytes())
    starts = [m.start() for m in re.finditer(b"00dc", raw) if m.start() > raw.index(b"movi")]
    raw[starts[3] + 8 : starts[4]] = bytes(starts[4] - starts[3] - 8)
    path.write_bytes(raw)
    pictures = read(path, FramePreset.ALL, "avi")
    assert [p.number for p in pictures] == list(range(9))
    assert [number_in(p) for p in pictures] == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert [number_in(p) for p in read(path, FramePreset.FLIP2, "avi")] == [7, 9]


def test_a_video_whose_seeks_miss_is_read_from_the_start(
    write_video: WriteVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video("clip.mp4", 30)
    expected = read(path, FramePreset.FLIP2)
    monkeypatch.setattr(videos, "_seek", lambda *_: None)
    found = read(path, FramePreset.FLIP2)
    assert [p.number for p in found] == [p.number for p in expected]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a.pixels, b.pixels)


@pytest.mark.parametrize("preset", FramePreset)
def test_a_video_without_a_frame_says_so(preset: FramePreset, tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as target:
        stream = target.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        sound.sample_rate = 8000
        target.mux(stream.encode(sound))
        target.mux(stream.encode())
    with pytest.raises(MediaError, match="but decodes to none") as caught:
        read(path, preset)
    assert caught.value.reject is Reject.NO_FRAME


def test_a_cover_beside_sound_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as target:
        art = target.add_stream("mjpeg", rate=1)
        art.width, art.height, art.pix_fmt = 64, 48, "yuvj420p"
        art.disposition = av.stream.Disposition.attached_pic
        target.mux(art.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))))
        target.mux(art.encode())
    with pytest.raises(MediaError, match="but decodes to none") as caught:
        read(path, FramePreset.ALL)
    assert caught.value.reject is Reject.NO_FRAME


def test_an_unknown_codec_is_told(write_video: WriteVideo) -> None:
    path = write_video("clip.mp4", 2)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"none"))
    with pytest.raises(MediaError, match="a codec that FFmpeg knows, but is not") as caught:
        read(path, FramePreset.ALL)
    assert caught.value.reject is Reject.UNREADABLE


def test_frames_beyond_the_pixel_limit_are_refused(write_video: WriteVideo) -> None:
    path = write_video("clip.mp4", 2)
    with pytest.raises(MediaError, match="1 to 3,071 pixels, but is 64 x 48") as caught:
        list(read_video(path, "mov", FramePreset.FIRST, 64 * 48 - 1))
    assert caught.value.reject is Reject.UNREADABLE


@pytest.mark.parametrize("preset", [FramePreset.FLIP2, FramePreset.ALL, FramePreset.EVERY5])
def test_endless_videos_are_refused(
    preset: FramePreset, write_video: WriteVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video("clip.mp4", 12)
    monkeypatch.setattr(videos, "MAX_FRAMES", 12)
    assert read(path, preset)
    monkeypatch.setattr(videos, "MAX_FRAMES", 11)
    with pytest.raises(MediaError, match="at most 11 frames, but has more"):
        read(path, preset)


def test_one_frame_at_a_time_is_held(write_video: WriteVideo) -> None:
    stream = read_video(write_video("clip.mp4", 30), "mov", FramePreset.ALL, LIMIT)
    assert next(stream).number == 0
    assert next(stream).number == 1
    stream.close()
