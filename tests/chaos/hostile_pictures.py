"""Pictures that are cut off, disguised, oversized or damaged, each with what must become of it."""

import io
import pickle
import struct
import zipfile
import zlib

import numpy as np
from hostile import (
    DRAWN,
    ENCODED,
    HEIGHT,
    IEND,
    JPEG,
    LOSSY,
    PIXEL_LIMIT,
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

# Cut off, disguised, bombs

TRUNCATED = {
    f"cut.{kind} after {end}": Case(f"a.{kind}", raw[:end], UNREADABLE)
    for kind, raw in ENCODED.items()
    for end in (1, 12, 40, len(raw) // 2, len(raw) * 4 // 5)
}


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as target:
        target.writestr("a.jpg", JPEG)
    return file.getvalue()


HTML = b"<!doctype html><img src=file:///etc/passwd>"
SVG = b'<?xml version="1.0"?><svg><image href="file:///etc/passwd"/></svg>'
PDF = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n"
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch x) (w) file\n"
ELF = b"\x7fELF\2\1\1" + bytes(57)

DISGUISED = {
    "empty": Case("a.jpg", b"", UNREADABLE),
    "text": Case("a.jpg", b"no picture, only words\n", UNREADABLE),
    "zeros": Case("a.png", bytes(5000), UNREADABLE),
    "HTML": Case("a.png", HTML, UNREADABLE),
    "SVG": Case("a.png", SVG, UNREADABLE),
    "PDF": Case("a.jpg", PDF, UNREADABLE),
    "PostScript": Case("a.jpg", POSTSCRIPT, UNREADABLE),
    "zip": Case("a.jpg", archive(), UNREADABLE),
    "pickle": Case("a.png", pickle.dumps(DRAWN), UNREADABLE),
    "ELF": Case("a.jpg", ELF, UNREADABLE),
    "GIF": Case("a.png", encode("GIF"), UNREADABLE),
    "JPEG 2000": Case("a.jpg", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60), UNREADABLE),
    "video": Case("a.jpg", b"\0\0\0\x18ftypisom" + bytes(500), UNREADABLE),
    "wave": Case("a.webp", b"RIFF\x24\0\0\0WAVEfmt " + bytes(40), UNREADABLE),
    "a JPEG's first bytes": Case("a.jpg", JPEG[:4] + HTML, UNREADABLE),
    "a PNG's first bytes": Case("a.png", PNG[:8] + archive(), UNREADABLE),
    "a JPEG named .png": Case("a.png", JPEG, seen(DRAWN, LOSSY)),
    "a PNG named .jpg": Case("a.JPG", PNG, seen(DRAWN)),
    "a JPEG that is a zip as well": Case("a.jpg", JPEG + archive(), seen(DRAWN, LOSSY)),
}


def text_bomb(kind: bytes) -> bytes:
    """Hold a comment of 64 MiB, in 300 KiB."""
    words = zlib.compress(bytes(2**26), 1)
    fields = {b"zTXt": b"a\0\0", b"iTXt": b"a\0\1\0\0\0", b"iCCP": b"a\0\0"}[kind]
    rows = DRAWN.reshape(HEIGHT, -1)
    return png(ihdr(WIDTH, HEIGHT), (kind, fields + words), idat(rows), IEND)


def pixel_bomb() -> bytes:
    """Hold pixels of 64 MiB where a few kilobytes are declared."""
    bomb = zlib.compress(DRAWN.tobytes() + bytes(2**26), 1)
    return png(ihdr(WIDTH, HEIGHT), (b"IDAT", bomb), IEND)


def frames_of_one(format_: str, count: int) -> bytes:
    others = [image(draw(n % 30)) for n in range(1, count)]
    options = {"lossless": True} if format_ == "WEBP" else {}
    return encode(format_, save_all=True, append_images=others, **options)


def tiff(*tags: tuple[int, int, int, int], pixels: bytes = b"", after: int = 0) -> bytes:
    """Return a TIFF of these tags: number, type, count, value."""
    begin = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(
        struct.pack("<HHII", tag, kind, count, begin if tag == 273 else value)
        for tag, kind, count, value in sorted(tags)
    )
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    return head + entries + struct.pack("<I", after) + pixels


def grey_tiff(width: int, height: int, *, size: int | None = None, after: int = 0) -> bytes:
    size = width * height if size is None else size
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1)]
    tags += [(262, 3, 1, 1), (273, 4, 1, 0), (278, 4, 1, height), (279, 4, 1, size)]
    return tiff(*tags, pixels=bytes([128]) * min(size, 99_999), after=after)


def flat(width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


SIDE = 200
assert PIXEL_LIMIT == SIDE * SIDE

BOMBS = {
    "PNG of 60,000 x 60,000": Case(
        "a.png", png(ihdr(60_000, 60_000), idat(DRAWN[0]), IEND), UNREADABLE
    ),
    "PNG of 2^31 - 1": Case("a.png", png(ihdr(2**31 - 1, 2**31 - 1), idat(DRAWN[0])), UNREADABLE),
    "PNG of no pixel": Case("a.png", png(ihdr(0, 9), idat(DRAWN[0]), IEND), UNREADABLE),
    "zTXt bomb": Case("a.png", lambda path: path.write_bytes(text_bomb(b"zTXt")), UNREADABLE),
    "iTXt bomb": Case("a.png", lambda path: path.write_bytes(text_bomb(b"iTXt")), UNREADABLE),
    "iCCP bomb": Case("a.png", lambda path: path.write_bytes(text_bomb(b"iCCP")), UNREADABLE),
    "IDAT bomb": Case("a.png", lambda path: path.write_bytes(pixel_bomb()), UNREADABLE),
    "TIFF of 60,000 x 60,000": Case("a.tif", grey_tiff(60_000, 60_000, size=9), UNREADABLE),
    "TIFF of a strip that is not there": Case("a.tif", grey_tiff(100, 100, size=9), UNREADABLE),
    "TIFF of directories in a circle": Case("a.tif", grey_tiff(9, 9, after=8), seen(flat(9, 9))),
    "TIFF of 2^32 - 1 widths": Case("a.tif", tiff((256, 4, 2**32 - 1, 8)), UNREADABLE),
    "TIFF of 500 pages": Case("a.tiff", frames_of_one("TIFF", 500), seen(DRAWN)),
    "PNG of 100 frames": Case("a.png", frames_of_one("PNG", 100), seen(DRAWN)),
    "WebP of 20 frames": Case("a.webp", frames_of_one("WEBP", 20), seen(DRAWN)),
    "JPEG of 65,535 x 65,535": Case(
        "a.jpg", patched(JPEG, JPEG.index(b"\xff\xc0") + 5, b"\xff" * 4), UNREADABLE
    ),
    "JPEG of no height": Case(
        "a.jpg", patched(JPEG, JPEG.index(b"\xff\xc0") + 5, b"\0\0"), UNREADABLE
    ),
    "BMP of 2^31 rows, upside down": Case(
        "a.bmp", patched(ENCODED["bmp"], 22, struct.pack("<i", -(2**31))), UNREADABLE
    ),
    "WebP of 16,384 x 16,384": Case("a.webp", encode("WEBP", flat(16_383, 3)), UNREADABLE),
    "PPM of a number without end": Case("a.ppm", b"P6 " + b"9" * 10**6, UNREADABLE),
    "PPM of a comment without end": Case("a.ppm", b"P6 #" + b" " * 10**6, UNREADABLE),
    "one pixel": Case("a.png", encode("PNG", DRAWN[:1, :1]), seen(DRAWN[:1, :1])),
    "1 x 10,000": Case("a.png", encode("PNG", draw(0, 1, 10_000)), seen(draw(0, 1, 10_000))),
    "10,000 x 1": Case("a.png", encode("PNG", draw(0, 10_000, 1)), seen(draw(0, 10_000, 1))),
    "as many pixels as may be": Case(
        "a.png", encode("PNG", draw(0, SIDE, SIDE)), seen(draw(0, SIDE, SIDE))
    ),
    "a pixel more": Case("a.png", encode("PNG", draw(0, 13, 3077)), UNREADABLE),
    "a pixel less": Case("a.png", encode("PNG", draw(0, 1, 39_999)), seen(draw(0, 1, 39_999))),
}

# Damage

START = PNG.index(b"IDAT")
TABLES, FRAME = JPEG.index(b"\xff\xdb"), JPEG.index(b"\xff\xc0")

TOP = DRAWN.copy()
TOP[24:] = 0  # what a whole stream does not tell is black

DAMAGED = {
    "a flipped bit in a PNG": Case("a.png", patched(PNG, START + 30, b"\xa5"), UNREADABLE),
    "another checksum of a PNG": Case("a.png", patched(PNG, 29, b"\0\0\0\0"), UNREADABLE),
    "a PNG of no pixels": Case("a.png", png(ihdr(WIDTH, HEIGHT), IEND), UNREADABLE),
    "a PNG of half the pixels": Case(
        "a.png", png(ihdr(WIDTH, HEIGHT), idat(DRAWN[:24].reshape(24, -1)), IEND), seen(TOP)
    ),
    "a PNG of no palette": Case(
        "a.png", png(ihdr(9, 9, 8, 3), idat(DRAWN[:9, :3]), IEND), UNREADABLE
    ),
    "a PNG of an unknown colour": Case(
        "a.png", png(ihdr(9, 9, 8, 5), idat(DRAWN), IEND), UNREADABLE
    ),
    "a PNG chunk of 2 GiB": Case(
        "a.png", patched(PNG, START - 4, b"\x7f\xff\xff\xff"), seen(DRAWN)
    ),
    "a PNG filter that is none": Case(
        "a.png", png(ihdr(3, 1), (b"IDAT", zlib.compress(b"\x09" + bytes(9))), IEND), UNREADABLE
    ),
    "a JPEG of no tables": Case("a.jpg", JPEG[:TABLES] + JPEG[FRAME:], UNREADABLE),
    "a JPEG of 12 bits": Case("a.jpg", patched(JPEG, FRAME + 4, b"\x0c"), UNREADABLE),
    "a lossless JPEG": Case("a.jpg", patched(JPEG, FRAME + 1, b"\xc3"), UNREADABLE),
    "a BMP whose pixels lie elsewhere": Case(
        "a.bmp", patched(ENCODED["bmp"], 10, b"\xff\xff\xff\x7f"), UNREADABLE
    ),
    "a BMP of 7 bits": Case("a.bmp", patched(ENCODED["bmp"], 28, b"\7"), UNREADABLE),
    "a WebP of another size": Case(
        "a.webp", patched(ENCODED["webp"], 21, b"\xff\xff\xff"), UNREADABLE
    ),
    "a big TIFF": Case("a.tiff", encode("TIFF", big_tiff=True), UNREADABLE),
}
