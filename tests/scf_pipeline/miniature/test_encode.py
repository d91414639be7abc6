from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from scf_pipeline.miniature.encode import write_jpeg, write_png, write_video

CONTAINERS = [
    ("libx264", "mp4"),
    ("libx264", "mov"),
    ("mpeg4", "avi"),
    ("mpeg4", "mp4"),
    ("mjpeg", "avi"),
    ("mjpeg", "mov"),
]


def clip(num_frames: int = 5, width: int = 48, height: int = 64) -> list[np.ndarray]:
    """Smooth pictures without symmetry: bright towards the bottom, red towards the right."""
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([60 + 120 * x / width, 30 + 190 * y / height, 90 + 0 * x], axis=-1)
    return [(base + 4 * n).clip(0, 255).astype(np.uint8) for n in range(num_frames)]


def decode(path: Path) -> tuple[list[np.ndarray], set[int]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [f.to_ndarray(format="rgb24") for f in frames], {int(f.rotation) for f in frames}


def error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b.astype(float)).mean())


@pytest.mark.parametrize(("codec", "suffix"), CONTAINERS)
def test_a_video_decodes_to_the_frames_that_went_in(codec, suffix, tmp_path) -> None:
    path = tmp_path / "new" / f"clip.{suffix}"
    write_video(path, clip(), codec=codec, fps=30)
    frames, rotations = decode(path)
    assert len(frames) == 5
    assert rotations == {0}
    assert max(error(a, b) for a, b in zip(frames, clip(), strict=True)) < 4
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.average_rate) == (
            codec.replace("libx264", "h264"),
            30,
        )


@pytest.mark.parametrize(("codec", "suffix"), CONTAINERS)
def test_the_same_frames_give_the_same_bytes(codec, suffix, tmp_path) -> None:
    paths = [tmp_path / f"{name}.{suffix}" for name in "ab"]
    for path in paths:
        write_video(path, clip(), codec=codec)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(("codec", "suffix"), CONTAINERS)
def test_a_lower_quality_number_is_nearer_to_the_input(codec, suffix, tmp_path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 64, 48, 3), dtype=np.uint8)
    good, poor = tmp_path / f"good.{suffix}", tmp_path / f"poor.{suffix}"
    write_video(good, list(noise), codec=codec, quality=4)
    write_video(poor, list(noise), codec=codec, quality=30)
    assert good.stat().st_size > 1.5 * poor.stat().st_size
    assert error(decode(good)[0][1], noise[1]) < error(decode(poor)[0][1], noise[1])


def test_odd_sizes_grow_by_their_last_row_and_column(tmp_path) -> None:
    write_video(tmp_path / "odd.mp4", clip(width=47, height=63), codec="libx264")
    frames, _ = decode(tmp_path / "odd.mp4")
    assert frames[0].shape == (64, 48, 3)
    assert error(frames[0][:63, :47], clip(width=47, height=63)[0]) < 4


@pytest.mark.parametrize("degrees", [90, 180, 270, -90])
@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_a_tagged_video_is_stored_turned_and_seen_upright(degrees, suffix, tmp_path) -> None:
    path = tmp_path / f"phone.{suffix}"
    write_video(path, clip(), codec="libx264", rotation_tag=degrees)
    stored, rotations = decode(path)
    assert {r % 360 for r in rotations} == {degrees % 360}
    assert stored[0].shape[:2] == ((48, 64) if degrees % 180 else (64, 48))
    assert error(np.rot90(stored[0], degrees // 90), clip()[0]) < 4


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_second_reader_turns_a_tagged_video_upright(degrees, tmp_path) -> None:
    path = tmp_path / "phone.mp4"
    write_video(path, clip(), codec="libx264", rotation_tag=degrees)
    reader = cv2.VideoCapture(str(path))
    seen, picture = reader.read()
    reader.release()
    assert seen
    assert picture.shape == (64, 48, 3)
    assert error(picture[..., ::-1], clip()[0]) < 6


def test_impossible_requests_are_named(tmp_path) -> None:
    with pytest.raises(ValueError, match="must be a multiple of 90, but is 45"):
        write_video(tmp_path / "a.mp4", clip(), codec="libx264", rotation_tag=45)
    with pytest.raises(ValueError, match="to hold a tag, but is 'a"):
        write_video(tmp_path / "a.avi", clip(), codec="mpeg4", rotation_tag=90)
    with pytest.raises(ValueError, match="must all have one size"):
        write_video(tmp_path / "a.mp4", [*clip(), *clip(width=50)], codec="libx264")
    with pytest.raises(ValueError, match="must all have one size"):
        write_video(tmp_path / "a.mp4", [], codec="libx264")


def test_pictures_are_rgb_and_create_their_folder(tmp_path) -> None:
    picture = clip()[0]
    write_png(tmp_path / "x" / "p.png", picture)
    write_jpeg(tmp_path / "y" / "p.jpg", picture)
    with Image.open(tmp_path / "x" / "p.png") as png, Image.open(tmp_path / "y" / "p.jpg") as jpeg:
        assert (png.format, jpeg.format) == ("PNG", "JPEG")
        assert np.array_equal(np.asarray(png), picture)
        assert error(np.asarray(jpeg), picture) < 4
