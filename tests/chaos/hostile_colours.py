"""Pictures of rare kinds, sound all of them, each with what must become of it."""

import struct

import numpy as np
from hostile import (
    DRAWN,
    GREY,
    HEIGHT,
    IEND,
    JPEG,
    LOSSY,
    PNG,
    UNREADABLE,
    WIDTH,
    Case,
    draw,
    encode,
    idat,
    ihdr,
    image,
    patched,
    png,
    seen,
)
from PIL import Image, ImageCms

# Colours


def sixteen_bits(colour: int, values: np.ndarray) -> bytes:
    """Return a PNG of 16 bits, whose lower eight are noise."""
    noise = np.random.default_rng(0).integers(0, 256, values.shape)
    rows = (values.astype(np.uint16) << 8 | noise).astype(">u2").reshape(HEIGHT, -1)
    return png(ihdr(WIDTH, HEIGHT, 16, colour), idat(rows.view(np.uint8)), IEND)


def half_clear() -> np.ndarray:
    """Return the picture with its left half transparent."""
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[:, : WIDTH // 2] = 0
    return np.concatenate([DRAWN, alpha], axis=2)


def half_white(pixels: np.ndarray) -> np.ndarray:
    picture = pixels.copy()
    picture[:, : WIDTH // 2] = 255
    return picture


def palette(*, transparent: bool) -> bytes:
    """Return a PNG of one byte for each pixel; of entry 0, black, nothing is seen."""
    colours = [(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]
    index = np.zeros((HEIGHT, WIDTH), np.uint8)
    for number, colour in enumerate(colours):
        index[(colour == DRAWN).all(axis=2)] = number
    entries = bytes(value for colour in colours for value in colour)
    chunks = [ihdr(WIDTH, HEIGHT, 8, 3), (b"PLTE", entries)]
    chunks += [(b"tRNS", b"\0")] if transparent else []
    return png(*chunks, idat(index), IEND)


def black_on_white() -> np.ndarray:
    picture = DRAWN.copy()
    picture[(DRAWN == 0).all(axis=2)] = 255
    return picture


def cmyk(*, transform: int | None = None) -> bytes:
    """Return a JPEG of four inks; of transform 2, which is YCCK, its inks as brightness and hue."""
    inks = image(mode="CMYK")
    if transform is None:
        return encode("JPEG", inks, quality=95, subsampling=0)
    cyan, magenta, yellow, black = inks.split()
    hues = Image.merge("RGB", (cyan, magenta, yellow)).convert("YCbCr").split()
    inverted = [band.point(lambda value: 255 - value) for band in hues]
    raw = encode("JPEG", Image.merge("CMYK", (*inverted, black)), quality=95, subsampling=0)
    return patched(raw, raw.index(b"Adobe") + 11, bytes([transform]))


def lab() -> bytes:
    profiles = [ImageCms.createProfile(name) for name in ("sRGB", "LAB")]
    turn = ImageCms.buildTransform(*profiles, "RGB", "LAB")
    return encode("TIFF", ImageCms.applyTransform(image(), turn))


DEEP = GREY[..., 0].astype(np.uint16) * 257
BILEVEL = np.where(GREY > 127, 255, 0).astype(np.uint8)
COLOURS = {
    "16 bits, grey": Case("a.png", sixteen_bits(0, GREY[..., 0]), seen(GREY)),
    "16 bits, RGB": Case("a.png", sixteen_bits(2, DRAWN), seen(DRAWN)),
    "16 bits, RGBA": Case("a.png", sixteen_bits(6, half_clear()), seen(half_white(DRAWN), 1)),
    "16 bits, little-endian TIFF": Case("a.tiff", encode("TIFF", DEEP.astype("<u2")), seen(GREY)),
    "16 bits, big-endian TIFF": Case("a.tiff", encode("TIFF", DEEP.astype(">u2")), seen(GREY)),
    "16 bits, PGM": Case(
        "a.ppm", b"P5 %d %d 65535\n" % (WIDTH, HEIGHT) + DEEP.astype(">u2").tobytes(), seen(GREY)
    ),
    "32 bits, whole": Case("a.tiff", encode("TIFF", DEEP.astype(np.int32)), UNREADABLE),
    "32 bits, float": Case("a.tiff", encode("TIFF", DEEP.astype(np.float32)), UNREADABLE),
    "1 bit": Case("a.png", encode("PNG", image(BILEVEL, "1")), seen(BILEVEL)),
    "grey": Case("a.jpg", encode("JPEG", image(mode="L"), quality=95), seen(GREY, LOSSY)),
    "palette": Case("a.png", palette(transparent=False), seen(DRAWN)),
    "palette, black transparent": Case("a.png", palette(transparent=True), seen(black_on_white())),
    "RGB, black transparent": Case(
        "a.png", encode("PNG", transparency=(0, 0, 0)), seen(black_on_white())
    ),
    "grey and alpha": Case(
        "a.png", encode("PNG", image(half_clear()).convert("LA")), seen(half_white(GREY))
    ),
    "RGBA": Case("a.png", encode("PNG", half_clear()), seen(half_white(DRAWN))),
    "CMYK": Case("a.jpg", cmyk(), seen(DRAWN, LOSSY)),
    "YCCK": Case("a.jpg", cmyk(transform=2), seen(DRAWN, LOSSY)),
    "LAB": Case("a.tiff", lab(), seen(DRAWN, 25)),
    "BMP of 8 bits": Case("a.bmp", encode("BMP", image(mode="L")), seen(GREY)),
    "BMP of 1 bit": Case("a.bmp", encode("BMP", image(BILEVEL, "1")), seen(BILEVEL)),
    "bitmap of 1 bit": Case("a.ppm", b"P4 8 1\n\xaa", UNREADABLE),
    "progressive": Case(
        "a.jpg", encode("JPEG", quality=95, subsampling=0, progressive=True), seen(DRAWN, LOSSY)
    ),
    "colours at a quarter": Case(
        "a.jpg", encode("JPEG", quality=95, subsampling="4:2:0"), seen(DRAWN, LOSSY)
    ),
}

# What pictures carry beside their pixels

STORED = {
    1: DRAWN,
    2: np.fliplr(DRAWN),
    3: np.rot90(DRAWN, 2),
    4: np.flipud(DRAWN),
    5: np.swapaxes(DRAWN, 0, 1),
    6: np.rot90(DRAWN, 1),
    7: np.swapaxes(np.rot90(DRAWN, 2), 0, 1),
    8: np.rot90(DRAWN, -1),
}
"""How the upright picture is stored under each EXIF orientation."""


def exif(orientation: object = 6, **more: bytes) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    if more:
        tags[0x927C] = more["note"]  # the maker's own
    return tags


IN_WORDS = (
    exif(6)
    .tobytes()
    .replace(b"\x12\x01\x03\0", b"\x12\x01\x02\0")
    .replace(b"\1\x12\0\3", b"\1\x12\0\2")
)
"""An orientation whose type is text."""

TURNED = {
    f"EXIF orientation {number}": Case(
        "a.jpg",
        encode("JPEG", stored, quality=95, subsampling=0, exif=exif(number)),
        seen(DRAWN, LOSSY),
    )
    for number, stored in STORED.items()
} | {
    "orientation of a PNG": Case("a.png", encode("PNG", STORED[6], exif=exif(6)), seen(DRAWN)),
    "orientation of a TIFF": Case("a.tiff", encode("TIFF", STORED[8], exif=exif(8)), seen(DRAWN)),
    "orientation of a WebP": Case(
        "a.webp", encode("WEBP", STORED[5], lossless=True, exif=exif(5)), seen(DRAWN)
    ),
    "orientation 0": Case("a.png", encode("PNG", exif=exif(0)), seen(DRAWN)),
    "orientation 9": Case("a.png", encode("PNG", exif=exif(9)), seen(DRAWN)),
    "orientation in words": Case("a.png", encode("PNG", exif=IN_WORDS), seen(DRAWN)),
}

SEGMENT = JPEG.index(b"\xff\xdb")


def with_segment(kind: int, data: bytes) -> bytes:
    """Return the JPEG with another segment before its tables."""
    head = struct.pack(">BBH", 0xFF, kind, 2 + len(data))
    return JPEG[:SEGMENT] + head + data + JPEG[SEGMENT:]


LOOP = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0"
"""Directories that lead back into themselves."""

CARRIED = {
    "EXIF of words": Case("a.jpg", with_segment(0xE1, b"Exif\0\0 no tags"), seen(DRAWN, LOSSY)),
    "EXIF that is cut off": Case("a.jpg", with_segment(0xE1, b"Exif\0\0II*\0"), seen(DRAWN, LOSSY)),
    "EXIF in a circle": Case("a.jpg", with_segment(0xE1, LOOP), seen(DRAWN, LOSSY)),
    "EXIF of 64 KiB": Case(
        "a.jpg",
        encode("JPEG", quality=95, subsampling=0, exif=exif(1, note=bytes(65_000))),
        seen(DRAWN, LOSSY),
    ),
    "a colour profile of words": Case(
        "a.jpg",
        encode("JPEG", quality=95, subsampling=0, icc_profile=b"no profile " * 99),
        seen(DRAWN, LOSSY),
    ),
    "half of a colour profile": Case(
        "a.jpg", with_segment(0xE2, b"ICC_PROFILE\0\1\2half"), seen(DRAWN, LOSSY)
    ),
    "a comment": Case(
        "a.jpg", with_segment(0xFE, b"<?php system('id'); ?>" * 2000), seen(DRAWN, LOSSY)
    ),
    "two pictures in one (MPO)": Case(
        "a.jpg",
        encode("MPO", save_all=True, append_images=[image(draw(20))], quality=95, subsampling=0),
        seen(DRAWN, LOSSY),
    ),
    "bytes after the end": Case("a.png", PNG + bytes(9999), seen(DRAWN)),
    "no end of a JPEG": Case("a.jpg", JPEG[:-2], UNREADABLE),
    "no end of a PNG": Case("a.png", PNG[:-12], seen(DRAWN)),
    "JPEG in a TIFF": Case("a.tiff", encode("TIFF", compression="jpeg"), seen(DRAWN, LOSSY)),
}
