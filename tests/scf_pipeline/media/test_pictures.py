import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from scf_pipeline.media.frames import MediaError
from scf_pipeline.media.pictures import read_picture

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
UPRIGHT = np.array([[RED, GREEN, BLUE], [WHITE, (0, 0, 0), (9, 99, 199)]], np.uint8)

# What EXIF 2.3 says of each orientation: where the stored row 0 and column 0 lie to the eye.
SIDES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """Return the pixels that a camera stores so that the tag shows `upright`, cell by cell."""
    row_side, column_side = SIDES[orientation]
    height, width = upright.shape[:2]
    is_turned = row_side in {"left", "right"}
    cells = np.zeros((width, height, 3) if is_turned else upright.shape, np.uint8)
    for y in range(height):
        for x in range(width):
            distance = {"top": y, "bottom": height - 1 - y, "left": x, "right": width - 1 - x}
            cells[distance[row_side], distance[column_side]] = upright[y, x]
    return cells


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", SIDES)
def test_every_exif_orientation_is_turned_upright(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    path = tmp_path / f"picture{suffix}"
    lossless = {"lossless": True} if suffix == ".webp" else {}
    picture = Image.fromarray(stored(UPRIGHT, orientation))
    picture.save(path, exif=exif(orientation), **lossless)
    np.testing.assert_array_equal(read_picture(path), UPRIGHT)


@pytest.mark.parametrize("orientation", SIDES)
def test_jpeg_orientation_is_turned_upright(tmp_path: Path, orientation: int) -> None:
    blocks = UPRIGHT.repeat(16, axis=0).repeat(16, axis=1)
    path = tmp_path / "picture.jpg"
    Image.fromarray(stored(blocks, orientation)).save(path, exif=exif(orientation), quality=95)
    found = read_picture(path)
    assert found.shape == blocks.shape
    centres = found[8::16, 8::16].astype(int)
    assert np.abs(centres - UPRIGHT).max() < 12


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_unknown_orientation_leaves_the_picture_as_it_is(
    tmp_path: Path, orientation: int
) -> None:
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png", exif=exif(orientation))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), UPRIGHT)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("tags", [b"Exif\0\0rubbish", b"Exif\0\0MM\0*\0\0\xff\xff", b"Exif\0\0"])
def test_a_broken_tag_leaves_the_picture_as_it_is(tmp_path: Path, tags: bytes) -> None:
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png", exif=tags)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), UPRIGHT)


def test_sixteen_bits_of_a_pgm_keep_their_upper_eight(tmp_path: Path) -> None:
    (tmp_path / "a.ppm").write_bytes(b"P5 2 1 65535\n\x12\x34\xff\xff")
    assert read_picture(tmp_path / "a.ppm").tolist() == [[[0x12] * 3, [0xFF] * 3]]


def test_sixteen_bits_keep_their_upper_eight(tmp_path: Path) -> None:
    grey = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    cv2.imwrite(str(tmp_path / "grey.tif"), grey)
    for name in ("grey.png", "grey.tif"):
        found = read_picture(tmp_path / name)
        np.testing.assert_array_equal(found, (grey >> 8)[..., None].repeat(3, axis=2))
    colour = np.array([[[65535, 32768, 256]]], np.uint16)
    cv2.imwrite(str(tmp_path / "colour.png"), colour[..., ::-1])
    np.testing.assert_array_equal(read_picture(tmp_path / "colour.png"), [[[255, 128, 1]]])


@pytest.mark.parametrize("mode", ["I", "F"])
def test_thirty_two_bits_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (4, 4), 7).save(tmp_path / "a.tif")
    with pytest.raises(MediaError, match="8 or 16 bits for each channel, but has 32"):
        read_picture(tmp_path / "a.tif")


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    found = read_picture(tmp_path / "a.jpg")
    assert found.shape == (16, 16, 3)
    assert np.abs(found.astype(int) - RED).max() < 12


@pytest.mark.parametrize(("mode", "shade"), [("L", 77), ("1", 1)])
def test_grey_pictures_have_three_equal_channels(tmp_path: Path, mode: str, shade: int) -> None:
    Image.new(mode, (5, 3), shade).save(tmp_path / "a.png")
    found = read_picture(tmp_path / "a.png")
    assert found.shape == (3, 5, 3)
    assert set(found.ravel().tolist()) == {77 if mode == "L" else 255}


def test_a_palette_with_a_transparent_colour_lies_on_white(tmp_path: Path) -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([*RED, *BLUE])
    picture.putpixel((1, 0), 1)
    picture.save(tmp_path / "a.png", transparency=1)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), [[RED, WHITE]])


@pytest.mark.parametrize(("mode", "clear"), [("RGBA", (0, 0, 0, 0)), ("LA", (0, 0))])
def test_transparency_lies_on_white(tmp_path: Path, mode: str, clear: tuple[int, ...]) -> None:
    Image.new(mode, (1, 1), clear).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), [[WHITE]])


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_of_an_animation_the_first_picture_counts(tmp_path: Path, suffix: str) -> None:
    first, second = (Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE))
    path = tmp_path / f"a{suffix}"
    first.save(path, save_all=True, append_images=[second], lossless=True)
    np.testing.assert_array_equal(read_picture(path)[4, 4], RED)


def test_a_broken_colour_profile_is_ignored(tmp_path: Path) -> None:
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png", icc_profile=b"no profile")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), UPRIGHT)


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1)])
def test_slivers_are_read(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size, GREEN).save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png").shape == (size[1], size[0], 3)


def bomb(width: int, height: int) -> bytes:
    """Return a PNG that declares a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(10_000, 5_001), (12_000, 12_000), (60_000, 60_000)])
def test_a_bomb_is_refused_by_its_declared_size(tmp_path: Path, size: tuple[int, int]) -> None:
    """The middle size makes Pillow warn, the last makes it raise; all are refused."""
    (tmp_path / "a.png").write_bytes(bomb(*size))
    with pytest.raises((MediaError, Image.DecompressionBombWarning, Image.DecompressionBombError)):
        read_picture(tmp_path / "a.png")


def test_a_file_far_longer_than_its_pixels_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.ppm"
    path.write_bytes(b"P6 #")  # and a comment that does not end
    most = 8 * 99 + 16 * 2**20
    os.truncate(path, most + 1)
    with pytest.raises(MediaError, match=f"at most {most:,} bytes, but takes {most + 1:,}"):
        read_picture(path, 99)


def test_the_pixel_limit_is_the_callers(tmp_path: Path) -> None:
    Image.new("RGB", (10, 10)).save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png", 100).shape == (10, 10, 3)
    with pytest.raises(MediaError, match="1 to 99 pixels, but is 10 x 10"):
        read_picture(tmp_path / "a.png", 99)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff", "bmp"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_truncated_picture_is_no_picture(tmp_path: Path, suffix: str, kept: float) -> None:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    noise.save(tmp_path / f"a.{suffix}")
    whole = (tmp_path / f"a.{suffix}").read_bytes()
    (tmp_path / f"a.{suffix}").write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises((OSError, SyntaxError, ValueError, RuntimeError)):
        read_picture(tmp_path / f"a.{suffix}")


def test_formats_beyond_the_list_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, format="GIF")
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    with pytest.raises(OSError, match="cannot identify image file"):
        read_picture(tmp_path / "a.png")
