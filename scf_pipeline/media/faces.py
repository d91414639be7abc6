"""Faces in a picture: detect the largest, cut a square around it, store it without loss.

PAPER: "crop faces" is all that is said. Detector, margin and shape of the crop are ours: a square
of 1.6 times the box's longer side, since captions speak of paper, screens and clothing, which lie
outside a tight box. No padding: a border would tell where the face was, not what it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from scf_pipeline.errors import ConfigError
from scf_pipeline.media.frames import Pixels

CASCADE = "haarcascade_frontalface_alt2.xml"
"""Frontal faces, Apache-2.0; ships with OpenCV 4."""

DETECT_PX = (200, 480)
"""Pictures are scaled until their longer side, in pixels, is between these, for detection only."""

SMALLEST_FACE = 1 / 12
"""Smallest face that is looked for, as a fraction of the longer side."""

WINDOW_PX = 20
"""Side of the cascade's window: nothing smaller can be looked at."""

YUNET_SCORE = 0.6
"""Least score of a face that YuNet finds."""

PNG_LEVEL = 3
"""Effort of zlib: 224 px take 6 ms; level 6 takes twice as long and saves 2 %."""

DetectorName = Literal["cascade", "yunet", "none"]


class PixelBox(NamedTuple):
    """A rectangle of whole pixels; x1 and y1 lie just outside."""

    x0: int
    y0: int
    x1: int
    y1: int


Detector = Callable[[Pixels], PixelBox | None]
"""Find the largest face of an RGB picture, (H, W, 3)."""


def whole(picture: Pixels) -> PixelBox:
    """Return the box of the whole picture."""
    return PixelBox(0, 0, picture.shape[1], picture.shape[0])


def load_detector(name: DetectorName, file: Path | None = None) -> Detector:
    """Build a detector; OpenCV runs in one thread from here on.

    Args:
        name: ``cascade`` comes with OpenCV, ``yunet`` with a file, ``none`` finds nothing.
        file: ONNX file of YuNet.

    Raises:
        ValueError: If the name is unknown, or YuNet is given no file.
        ConfigError: If OpenCV cannot load YuNet's file, or came without its cascades.
    """
    import cv2

    cv2.setNumThreads(1)  # parts run side by side, not the inside of one
    if name == "cascade":
        return _cascade()
    if name == "yunet":
        return _yunet(file)
    if name != "none":
        raise ValueError(f"`name` must be cascade, yunet or none, but is {name!r}.")
    return lambda picture: None  # noqa: ARG005 - the picture is what a detector takes


def _cascade() -> Detector:
    import cv2

    file = Path(cv2.__file__).parent / "data" / CASCADE
    cascade = cv2.CascadeClassifier(str(file))
    if cascade.empty():
        raise ConfigError(
            "OpenCV must come with its cascades, but has none.",
            where=str(file),
            fix="Install opencv-python-headless 4.x from its wheel, or choose another detector.",
        )

    def detect(picture: Pixels) -> PixelBox | None:
        small, scale = _for_detection(picture)
        if min(small.shape[:2]) < WINDOW_PX:
            return None
        least = max(WINDOW_PX, round(SMALLEST_FACE * max(small.shape[:2])))
        found = cascade.detectMultiScale(
            cv2.cvtColor(small, cv2.COLOR_RGB2GRAY),
            scaleFactor=1.1,
            minNeighbors=4,
            minSize=(least, least),
        )
        return _largest(found, scale, picture)

    return detect


def _yunet(file: Path | None) -> Detector:
    import cv2

    if file is None:
        raise ValueError("`file` must name YuNet's ONNX file, but is None.")
    try:
        network = cv2.FaceDetectorYN.create(str(file), "", (1, 1), score_threshold=YUNET_SCORE)
    except cv2.error as error:
        raise ConfigError(
            f"`detector_file` must hold YuNet as ONNX, but does not load: {error.err}.",
            where=str(file),
            fix="Name the face_detection_yunet ONNX file of OpenCV's model zoo.",
        ) from error

    def detect(picture: Pixels) -> PixelBox | None:
        small, scale = _for_detection(picture)
        if min(small.shape[:2]) < WINDOW_PX:
            return None
        network.setInputSize((small.shape[1], small.shape[0]))
        _, found = network.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        return _largest(() if found is None else found, scale, picture)

    return detect


def _for_detection(picture: Pixels) -> tuple[Pixels, float]:
    """Return the picture at a size that detectors take well, and the factor it was scaled by."""
    import cv2

    height, width = picture.shape[:2]
    longer, (least, most) = max(height, width), DETECT_PX
    scale = min(max(longer, least), most) / longer
    if scale == 1:
        return picture, 1.0
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(picture, size, interpolation=way).astype(np.uint8, copy=False), scale


def _largest(found: Iterable[Iterable[float]], scale: float, picture: Pixels) -> PixelBox | None:
    """Return the largest of some x, y, width, height, ..., at the picture's own scale."""
    boxes = []
    for face in found:
        x, y, width, height = (float(value) / scale for value in list(face)[:4])
        boxes.append(clip((x, y, x + width, y + height), picture))
    usable = [box for box in boxes if box is not None]
    return max(usable, key=lambda b: ((b.x1 - b.x0) * (b.y1 - b.y0), b), default=None)


def clip(
    box: tuple[float, float, float, float], picture: Pixels, *, least_inside: float = 0.5
) -> PixelBox | None:
    """Return the whole pixels that a box covers, or ``None`` where it is of no use.

    Args:
        box: x0, y0, x1, y1 in pixels.
        picture: What the box lies in, (H, W, 3).
        least_inside: Least share of the box's area that must lie in the picture. Less speaks of
            coordinates of another picture, e.g. of one that was not turned yet.

    Returns:
        The box, rounded outwards and cut at the borders; ``None`` if it is not finite, less than
        2 pixels wide or high in the picture, or too much of it lies outside.
    """
    if not all(map(math.isfinite, box)):
        return None
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = box
    inner = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    across, down = inner[2] - inner[0], inner[3] - inner[1]
    if across < 2 or down < 2 or across * down < least_inside * (x1 - x0) * (y1 - y0):
        return None
    return PixelBox(
        math.floor(inner[0]), math.floor(inner[1]), math.ceil(inner[2]), math.ceil(inner[3])
    )


def square_around(box: PixelBox, picture: Pixels, scale: float) -> PixelBox:
    """Return the square to cut: `scale` times the box's longer side, about its centre.

    The square lies in the picture: it is shifted inwards where it would stick out, and shrunk to
    the picture's shorter side where it would not fit at all. For a scale of at least 1 it holds
    the whole box, unless the box is longer than the picture's shorter side.
    """
    height, width = picture.shape[:2]
    longer = max(box.x1 - box.x0, box.y1 - box.y0)
    side = max(1, min(round(scale * longer), width, height))
    x0 = min(max((box.x0 + box.x1 - side) // 2, 0), width - side)
    y0 = min(max((box.y0 + box.y1 - side) // 2, 0), height - side)
    return PixelBox(x0, y0, x0 + side, y0 + side)


def square_crop(picture: Pixels, box: PixelBox, *, scale: float, size: int) -> Pixels:
    """Cut the square around a face and bring it to (size, size, 3).

    Args:
        picture: RGB, (H, W, 3).
        box: The face.
        scale: Side of the square, in longer sides of the box; see `square_around`.
        size: Side of the result, in pixels. Larger squares are averaged down, smaller ones
            interpolated by cubics.
    """
    import cv2

    x0, y0, x1, y1 = square_around(box, picture, scale)
    cut = picture[y0:y1, x0:x1]
    if x1 - x0 == size:
        return np.ascontiguousarray(cut)
    way = cv2.INTER_AREA if x1 - x0 > size else cv2.INTER_CUBIC
    return cv2.resize(cut, (size, size), interpolation=way).astype(np.uint8, copy=False)


def encode_png(picture: Pixels) -> bytes:
    """Return RGB pixels as a PNG: no loss, no metadata, the same bytes for the same pixels."""
    import cv2

    reversed_ = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2BGR)
    done, png = cv2.imencode(".png", reversed_, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])
    if not done:
        raise ValueError(
            f"`picture` must be RGB of 8 bits, but is {picture.dtype} {picture.shape}."
        )
    return png.tobytes()
