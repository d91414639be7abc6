"""Faces that the detector finds and misses, in photographs and in drawings, and its time.

The photographs are of the public domain and lie in packages: NASA's portrait of Eileen Collins and
scikit-image's pictures without a face, and the US Navy's portrait of Grace Hopper in matplotlib.
They are scaled, tilted, darkened, blurred, cut, and pasted on large canvases and side by side; the
drawings are those of the miniature world. A face counts as found if the detector's box and the true
one share at least `OVERLAP` of what both cover; where there are several, if it is the largest. The
true boxes of the photographs were read off by eye. Prints a table to stderr and JSON to stdout.

Example: python tests/benchmarks/faces.py --drawn 20
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[2]))  # where the package is not installed

from _report import machine, publish, skip, spread

from scf_pipeline.media.faces import Detector, load_detector
from scf_pipeline.miniature.draw import Shot, draw_clip
from scf_pipeline.miniature.faces import sample_person
from scf_pipeline.miniature.layouts import Sensor

Pixels = NDArray[np.uint8]
Box = tuple[float, float, float, float]

OVERLAP = 0.4
SHARES = (0.9, 0.6, 0.3, 0.2, 0.12, 0.1, 0.08, 0.06, 0.04)
"""Side of a face, as a share of the picture's longer side."""

PASTED = 0.3
"""Up to this share the picture is pasted on a wide canvas; for more it is cut about its face."""

DEGREES = (10, 20, 30, 45, 90, 180)
WITHOUT_FACE = ("coffee", "chelsea", "rocket", "brick", "grass", "gravel", "coins", "moon", "page",
                "retina", "hubble_deep_field")  # fmt: skip
WIDE, HIGH = 1920, 1080
SENSOR = {
    "width": 640,
    "height": 480,
    "blur": 0.4,
    "noise": 2.0,
    "gamma": 1.1,
    "warmth": 0.0,
    "quality": 95,
}


class Shown(NamedTuple):
    """One picture."""

    case: str
    """What is done to it."""

    pixels: Pixels
    """RGB, (H, W, 3)."""

    box: Box | None
    """The largest face; ``None`` if there is none."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Look for faces, and print what was found."""
    options = parse(arguments)
    detect = load_detector(options.detector, options.file)
    shown = [*photographs(), *drawings(options.drawn)]
    found = {name: judge(some, detect) for name, some in grouped(shown).items()}
    times = {f"{w} x {h}": timed(detect, w, h) for w, h in ((640, 480), (WIDE, HIGH), (3840, 2160))}
    publish(
        {
            "machine": machine(["opencv-python-headless", "scikit-image", "matplotlib"]),
            "detector": options.detector,
            "found": found,
            "ms": times,
        },
        [
            ("pictures: found / missed / elsewhere", ""),
            *((n, f"{f['found']} / {f['missed']} / {f['elsewhere']}") for n, f in found.items()),
            *((f"ms a picture of {size}", ms) for size, ms in times.items()),
        ],
    )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return which detector, and how many drawings of each size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--detector", choices=["cascade", "yunet"], default="cascade")
    parser.add_argument("--file", type=Path, help="ONNX file of YuNet")
    parser.add_argument("--drawn", type=int, default=10, help="people of each size")
    return parser.parse_args(arguments)


def grouped(shown: Sequence[Shown]) -> dict[str, list[Shown]]:
    """Return the pictures of each case."""
    groups: dict[str, list[Shown]] = defaultdict(list)
    for one in shown:
        groups[one.case].append(one)
    return groups


def judge(shown: Sequence[Shown], detect: Detector) -> dict[str, Any]:
    """Count faces found, missed, and boxes that lie elsewhere."""
    told = {"found": 0, "missed": 0, "elsewhere": 0}
    for one in shown:
        box = detect(one.pixels)
        if box is None:  # right, where there is no face
            told["missed" if one.box else "found"] += 1
        else:
            is_there = one.box is not None and overlap(box, one.box) >= OVERLAP
            told["found" if is_there else "elsewhere"] += 1
    return told


def overlap(a: Box, b: Box) -> float:
    """Return what two boxes share, as a part of what they cover."""
    across = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    down = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (a, b))
    return across * down / (both - across * down)


# Photographs


def portraits() -> list[tuple[Pixels, Box]]:
    """Return the portraits and where their faces lie."""
    try:
        from matplotlib import cbook
        from skimage import data, io
    except ImportError as error:
        skip(f"needs the packages that hold the photographs: {error}")
    hopper = io.imread(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    return [(data.astronaut(), (175, 65, 272, 162)), (hopper, (165, 125, 365, 325))]


def photographs() -> Iterator[Shown]:
    """Yield every photograph of every case."""
    from skimage import data

    for pixels, box in portraits():
        for view, place in ((pixels, box), mirrored(pixels, box)):
            yield Shown("photograph as it is", view, place)
            yield from of_shares(view, place)
            yield from tilted(view, place)
            yield Shown("photograph, a quarter of its light", (view * 0.25).astype(np.uint8), place)
            yield Shown("photograph, out of focus", out_of_focus(view, place), place)
            for count in (2, 4):
                yield side_by_side(view, place, count)
    for name in WITHOUT_FACE:
        picture = np.atleast_3d(getattr(data, name)())
        rgb = np.ascontiguousarray(np.broadcast_to(picture[..., :3], (*picture.shape[:2], 3)))
        yield Shown("photograph without a face", rgb.astype(np.uint8), None)


def mirrored(pixels: Pixels, box: Box) -> tuple[Pixels, Box]:
    """Return the picture as a mirror shows it."""
    x0, y0, x1, y1 = box
    width = pixels.shape[1]
    return np.ascontiguousarray(pixels[:, ::-1]), (width - x1, y0, width - x0, y1)


def of_shares(pixels: Pixels, box: Box) -> Iterator[Shown]:
    """Yield the picture on a wide canvas, its face of every share, and cut about its face."""
    for share in SHARES:
        side = box[2] - box[0]
        if share <= PASTED:
            canvas, place = pasted(pixels, box, share * WIDE / side)
        else:
            canvas, place = cut(pixels, box, side / share)
        yield Shown(f"photograph, face of {share:.0%} of the longer side", canvas, place)


def pasted(pixels: Pixels, box: Box, scale: float) -> tuple[Pixels, Box]:
    """Return the picture at a scale in the middle of a wide grey canvas."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    move = np.array([[scale, 0, WIDE / 2 - scale * x], [0, scale, HIGH / 2 - scale * y]])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = pixels
    if scale < 0.5:  # warping averages over nothing
        small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=way)
        move[:, :2] /= scale
    canvas = cv2.warpAffine(small, move, (WIDE, HIGH), borderValue=(128, 128, 128))
    half = scale * (box[2] - box[0]) / 2
    place = (WIDE / 2 - half, HIGH / 2 - half, WIDE / 2 + half, HIGH / 2 + half)
    return canvas.astype(np.uint8), place


def cut(pixels: Pixels, box: Box, side: float) -> tuple[Pixels, Box]:
    """Return a square of the picture about its face."""
    height, width = pixels.shape[:2]
    side = min(side, height, width)
    x0 = round(min(max((box[0] + box[2] - side) / 2, 0), width - side))
    y0 = round(min(max((box[1] + box[3] - side) / 2, 0), height - side))
    piece = np.ascontiguousarray(pixels[y0 : y0 + round(side), x0 : x0 + round(side)])
    return piece, (box[0] - x0, box[1] - y0, box[2] - x0, box[3] - y0)


def tilted(pixels: Pixels, box: Box) -> Iterator[Shown]:
    """Yield the picture turned about its face."""
    height, width = pixels.shape[:2]
    middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    for degrees in DEGREES:
        turn = cv2.getRotationMatrix2D(middle, degrees, 1)
        turned = cv2.warpAffine(pixels, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
        yield Shown(f"photograph, tilted by {degrees} degrees", turned.astype(np.uint8), box)


def out_of_focus(pixels: Pixels, box: Box) -> Pixels:
    """Return the picture blurred by a twentieth of its face."""
    return cv2.GaussianBlur(pixels, (0, 0), (box[2] - box[0]) / 20).astype(np.uint8)


def side_by_side(pixels: Pixels, box: Box, count: int) -> Shown:
    """Return the picture beside smaller ones of itself; the first is the largest."""
    height, width = pixels.shape[:2]
    canvas = np.full((height, width * count, 3), 128, np.uint8)
    canvas[:, :width] = pixels
    for number in range(1, count):
        size = (round(width * 0.6), round(height * 0.6))
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        canvas[: size[1], number * width : number * width + size[0]] = small
    return Shown(f"photograph, largest of {count} faces", canvas, box)


# Drawings


def drawings(count: int) -> Iterator[Shown]:
    """Yield people of the miniature world, in rooms, larger and smaller."""
    for share in (0.7, 0.5, 0.3, 0.2, 0.15):
        for seed in range(count):
            rng = np.random.default_rng(seed)
            sensor = Sensor(**SENSOR)
            shot = Shot(sensor=sensor, background="wall", face_share=share)
            clip = draw_clip(sample_person(rng), shot, rng)
            box = tuple(map(float, clip.boxes[0]))
            yield Shown(f"drawing, face of {share:.0%} of the height", clip.frames[0], box)


def timed(detect: Detector, width: int, height: int) -> dict[str, Any]:
    """Return the milliseconds that a picture of a size takes, over the portraits."""
    pictures = [cv2.resize(pixels, (width, height)).astype(np.uint8) for pixels, _ in portraits()]
    spent = []
    for _ in range(10):
        for picture in pictures:
            begun = time.perf_counter()
            detect(picture)
            spent.append(1e3 * (time.perf_counter() - begun))
    return spread(spent) | {"mean": statistics.mean(spent)}


if __name__ == "__main__":
    main()
