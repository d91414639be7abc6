import os
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from scf_pipeline.media import FramePreset, MediaError, read_frames
from scf_pipeline.schema import Reject

WriteVideo = Callable[..., Path]


def refusal(path: Path, preset: FramePreset = FramePreset.FLIP2) -> MediaError:
    with pytest.raises(MediaError) as caught:
        list(read_frames(path, preset))
    return caught.value


def picture(path: Path, **options: object) -> Path:
    Image.new("RGB", (6, 4), (9, 8, 7)).save(path, **options)
    return path


@pytest.mark.parametrize("preset", FramePreset)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tiff", ".ppm"])
def test_a_picture_is_frame_0_under_every_preset(
    suffix: str, preset: FramePreset, tmp_path: Path
) -> None:
    (frame,) = read_frames(picture(tmp_path / f"a{suffix}"), preset)
    assert frame.number == 0
    assert frame.pixels.shape == (4, 6, 3)
    assert frame.pixels.dtype == np.uint8


def test_suffixes_may_be_capital(tmp_path: Path, write_video: WriteVideo) -> None:
    assert len(list(read_frames(picture(tmp_path / "A.JPG"), FramePreset.ALL))) == 1
    clip = write_video("a.mp4", 3).rename(tmp_path / "A.MOV")
    assert len(list(read_frames(clip, FramePreset.ALL))) == 3


def test_hdf5_and_folders_are_sequences(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["Frame_3/array"] = np.zeros((3, 2, 2), np.uint8)
    assert [f.number for f in read_frames(tmp_path / "a.hdf5", FramePreset.ALL)] == [3]
    folder = tmp_path / "1_01_0_1_1_1"
    folder.mkdir()
    picture(folder / "0009.png")
    assert [f.number for f in read_frames(folder, FramePreset.ALL)] == [9]


def test_a_jpeg_may_be_named_png(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", format="JPEG")
    assert len(list(read_frames(path, FramePreset.FIRST))) == 1


def test_an_absent_file_is_missing(tmp_path: Path) -> None:
    assert refusal(tmp_path / "a.png").reject is Reject.MISSING


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".mp4", ".mov", ".avi", ".hdf5", ".xyz", ""])
@pytest.mark.parametrize("content", [b"", b"no picture, only words\n", bytes(5000)])
def test_empty_files_and_words_are_unreadable(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    error = refusal(path)
    assert error.reject is Reject.UNREADABLE
    assert repr(content[:16]) in error.detail


def test_a_file_of_one_family_named_like_another_is_a_disguise(
    tmp_path: Path, write_video: WriteVideo
) -> None:
    shutil.copy(write_video("a.mp4", 2), tmp_path / "clip.png")
    shutil.copy(picture(tmp_path / "b.png"), tmp_path / "picture.mp4")
    shutil.copy(tmp_path / "b.png", tmp_path / "picture.hdf5")
    for name, holds in (
        ("clip.png", "picture"),
        ("picture.mp4", "video"),
        ("picture.hdf5", "hdf5"),
    ):
        error = refusal(tmp_path / name)
        assert error.reject is Reject.UNREADABLE
        assert f"must hold {holds}" in error.detail


def test_an_unknown_suffix_goes_by_content(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.picture", format="PNG")
    assert len(list(read_frames(path, FramePreset.FIRST))) == 1


@pytest.mark.parametrize(
    "content",
    [b"#EXTM3U\n#EXTINF:1,\nb.mp4\n", b"ffconcat version 1.0\nfile b.mp4\n", b"\x1b[31mA"],
)
def test_playlists_that_would_open_other_files_are_refused(
    tmp_path: Path, content: bytes, write_video: WriteVideo
) -> None:
    write_video("b.mp4", 2)
    (tmp_path / "a.mp4").write_bytes(content)
    assert refusal(tmp_path / "a.mp4").reject is Reject.UNREADABLE


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.8])
@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
def test_a_truncated_video_that_lost_its_index_is_unreadable(
    name: str, kept: float, write_video: WriteVideo
) -> None:
    path = write_video(name, 20)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(kept * raw.index(b"moov"))])
    assert refusal(path).reject is Reject.UNREADABLE


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tiff", "a.bmp"])
def test_a_truncated_picture_is_unreadable(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / name
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert refusal(path).reject is Reject.UNREADABLE


def test_a_truncated_hdf5_file_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file["Frame_0/array"] = np.zeros((3, 99, 99), np.uint8)
    path.write_bytes(path.read_bytes()[:1000])
    assert refusal(path).reject is Reject.UNREADABLE


def test_an_empty_folder_has_no_frame(tmp_path: Path) -> None:
    assert refusal(tmp_path).reject is Reject.NO_FRAME


def test_a_folder_takes_pictures_only(tmp_path: Path, write_video: WriteVideo) -> None:
    shutil.copy(write_video("a.mp4", 2), tmp_path / "1.png")
    assert refusal(tmp_path).reject is Reject.NO_FRAME
    picture(tmp_path / "2.png")
    assert [f.number for f in read_frames(tmp_path, FramePreset.FIRST)] == [2]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    error = refusal(tmp_path / "a.png")
    assert error.reject is Reject.UNREADABLE
    assert "regular file" in error.detail


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [8000, 12_000, 60_000])
def test_a_bomb_is_unreadable_before_it_is_decoded(tmp_path: Path, side: int) -> None:
    header = b"P6 %d %d 255\n" % (side, side)
    (tmp_path / "a.ppm").write_bytes(header + bytes(100))
    error = refusal(tmp_path / "a.ppm")
    assert error.reject is Reject.UNREADABLE
    assert "50,000,000 pixels, but is" in error.detail or "decompression bomb" in error.detail


def test_the_pixel_limit_reaches_every_reader(tmp_path: Path, write_video: WriteVideo) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["Frame_0/array"] = np.zeros((3, 4, 6), np.uint8)
    folder = tmp_path / "unit"
    folder.mkdir()
    picture(folder / "1.png")
    for path in (tmp_path / "a.hdf5", folder, picture(tmp_path / "a.png"), write_video("a.mp4", 1)):
        with pytest.raises(MediaError, match="must have 1 to 23 pixels"):
            list(read_frames(path, FramePreset.FIRST, pixel_limit=23))


def test_names_that_look_like_addresses_are_plain_files(
    tmp_path: Path, write_video: WriteVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video("a.mp4", 2).rename(tmp_path / "concat:a|b.mp4")
    monkeypatch.chdir(tmp_path)
    assert len(list(read_frames(Path("concat:a|b.mp4"), FramePreset.ALL))) == 2


def damaged(raw: bytes, rng: np.random.Generator) -> bytes:
    """Overwrite some bytes, half of the time near the start; cut a few out now and then."""
    broken = bytearray(raw)
    reach = len(raw) if rng.random() < 0.5 else min(len(raw), 200)
    for _ in range(rng.integers(1, 20)):
        broken[rng.integers(reach)] = rng.integers(256)
    if rng.random() < 0.3:
        start = rng.integers(len(raw))
        del broken[start : start + rng.integers(1, 40)]
    return bytes(broken)


@pytest.mark.filterwarnings("ignore")  # decoders warn of what they find in damaged files
@pytest.mark.parametrize(
    "name", ["a.jpg", "a.png", "a.webp", "a.tiff", "a.bmp", "a.mp4", "a.avi", "a.mkv", "a.hdf5"]
)
def test_damaged_files_give_frames_or_a_media_error_and_nothing_else(
    name: str, tmp_path: Path, write_video: WriteVideo
) -> None:
    path = tmp_path / name
    if path.suffix in {".mp4", ".avi", ".mkv"}:
        write_video(name, 12, codec="mjpeg" if path.suffix == ".avi" else "libx264")
    elif path.suffix == ".hdf5":
        with h5py.File(path, "w") as file:
            for number in range(3):
                file[f"Frame_{number}/array"] = np.full((3, 20, 20), number, np.uint8)
    else:
        picture(path)
    raw, rng, rejects = path.read_bytes(), np.random.default_rng(0), []
    for _ in range(30):
        path.write_bytes(damaged(raw, rng))
        try:
            list(read_frames(path, FramePreset.FLIP2))
        except MediaError as error:
            rejects.append(error.reject)
    assert rejects
    assert set(rejects) <= {Reject.UNREADABLE, Reject.NO_FRAME}
