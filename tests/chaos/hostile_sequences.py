"""HDF5 sequences as strangers may send them, each with what must become of it."""

import os
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np
from hostile import MEMORY_BYTES, NO_FRAME, UNREADABLE, Case, Faces, draw

FRAMES = [draw(number) for number in range(12)]
SHAPE = (3, *FRAMES[0].shape[:2])
USUAL = Faces({6: FRAMES[6], 11: FRAMES[11]})

Make = Callable[[h5py.File], object]


def planes(number: int) -> np.ndarray:
    return np.moveaxis(FRAMES[number], 2, 0)


def sequence(make: Make | None = None, *numbers: int) -> Callable[[Path], None]:
    """Write frames of these numbers, and then something hostile."""

    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            for number in numbers:
                file[f"Frame_{number}/array"] = planes(number)
            if make is not None:
                make(file)

    return write


def array(values: object, name: str = "Frame_0/array") -> Make:
    return lambda file: file.__setitem__(name, values)


def link(name: str, target: object) -> Make:
    def make(file: h5py.File) -> None:
        file.require_group("Frame_0")
        if name == "Frame_0":
            del file[name]
        file[name] = target

    return make


def declared(shape: tuple[int, ...], **options: object) -> Make:
    return lambda file: file.create_dataset("Frame_0/array", shape, "u1", **options)


def other_file(kind: str) -> Callable[[Path], None]:
    """Write a sequence whose frame 0 is bytes of a file beside the dataset."""

    def write(path: Path) -> None:
        secret = path.parents[2] / f"secret-{kind}"
        if kind == "storage":
            secret.write_bytes(planes(1).tobytes())
            make = declared(SHAPE, external=[(str(secret), 0, int(np.prod(SHAPE)))])
        else:
            sequence(array(planes(1)))(secret)
            if kind == "virtual":
                make = virtual(secret)
            else:
                name = "Frame_0" if kind == "group" else "Frame_0/array"
                make = link(name, h5py.ExternalLink(str(secret), name))
        sequence(make)(path)

    return write


def virtual(secret: Path) -> Make:
    layout = h5py.VirtualLayout(SHAPE, "u1")
    layout[:] = h5py.VirtualSource(str(secret), "Frame_0/array", SHAPE)
    return lambda file: file.create_group("Frame_0").create_virtual_dataset("array", layout)


def packed(chunk: bytes) -> Make:
    """Declare a frame, and store other bytes for it."""

    def make(file: h5py.File) -> None:
        kept = file.create_dataset("Frame_0/array", SHAPE, "u1", chunks=SHAPE, compression=1)
        kept.id.write_direct_chunk((0, 0, 0), chunk)

    return make


def bomb() -> bytes:
    """Pack more zeros than a decoder has memory, in a five-hundredth."""
    packer = zlib.compressobj(1)
    block = packer.compress(bytes(2**22)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block[:2] + block[2:] * (MEMORY_BYTES // 2**22 + 1)


def circle(file: h5py.File) -> None:
    file["Frame_0"] = file["/"]
    file["array"] = file["/"]


def cut(share: float) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        sequence(None, *range(12))(path)
        os.truncate(path, int(share * path.stat().st_size))

    return write


SEQUENCES: Mapping[str, Case] = {
    title: Case("a.hdf5", content, expected)
    for title, content, expected in (
        ("whole", sequence(None, *range(12)), USUAL),
        ("empty", b"", UNREADABLE),
        ("text", b"no sequence, only words\n", UNREADABLE),
        ("signature alone", b"\x89HDF\r\n\x1a\n", UNREADABLE),
        (
            "noise after a signature",
            b"\x89HDF\r\n\x1a\n" + np.random.default_rng(0).bytes(4096),
            UNREADABLE,
        ),
        ("cut off at a twentieth", cut(0.05), UNREADABLE),
        ("cut off in the middle", cut(0.5), UNREADABLE),
        ("cut off near the end", cut(0.99), UNREADABLE),
        ("no frame", sequence(), NO_FRAME),
        ("no array", sequence(lambda file: file.create_group("Frame_0")), NO_FRAME),
        ("a number for a frame", sequence(array(5, "Frame_0")), NO_FRAME),
        ("four channels", sequence(declared((4, 9, 9))), NO_FRAME),
        ("no channel", sequence(declared((9, 9))), NO_FRAME),
        ("no pixel", sequence(declared((3, 0, 9))), NO_FRAME),
        ("floats", sequence(array(np.zeros((3, 9, 9)))), NO_FRAME),
        ("words", sequence(array(np.full((3, 9, 9), b"word"))), NO_FRAME),
        ("a table", sequence(array(np.zeros((3, 9, 9), [("a", "u1")]))), NO_FRAME),
        (
            "frames beside a broken one",
            sequence(array(5, "Frame_99"), *range(12)),
            Faces({6: FRAMES[6]}),
        ),
        ("a number of no table", sequence(array(planes(0), f"Frame_{2**31}/array")), NO_FRAME),
        (
            "2^62 pixels declared",
            sequence(declared((3, 2**31, 2**31), chunks=(3, 64, 64))),
            NO_FRAME,
        ),
        ("a pixel more than may be", sequence(declared((3, 13, 3077))), NO_FRAME),
        ("a bomb", lambda path: sequence(packed(bomb()))(path), NO_FRAME),
        ("a chunk of noise", sequence(packed(np.random.default_rng(0).bytes(500))), NO_FRAME),
        ("a link to a frame of another file", other_file("group"), NO_FRAME),
        ("a link to an array of another file", other_file("array"), NO_FRAME),
        ("an array stored in another file", other_file("storage"), NO_FRAME),
        ("an array made of other files", other_file("virtual"), NO_FRAME),
        (
            "a link to a file of secrets",
            sequence(link("Frame_0", h5py.ExternalLink("/etc/passwd", "/"))),
            NO_FRAME,
        ),
        ("a link to itself", sequence(link("Frame_0", h5py.SoftLink("/Frame_0"))), NO_FRAME),
        ("groups in a circle", sequence(circle), NO_FRAME),
    )
}
