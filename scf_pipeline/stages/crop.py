"""samples -> faces: frames, boxes, square crops.

Where a face lies is told by the dataset's own box, else by a detector, else the whole frame is
taken; `box_source` says which. A sample that cannot be read stays as one row with its reason.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field
from pydantic.dataclasses import dataclass
from upath import UPath

from ifas_model.strict import STRICT
from scf_pipeline import progress, reach
from scf_pipeline.adapters import Adapter, Box, Frame
from scf_pipeline.counts import Counts, Tally
from scf_pipeline.engine import Engine, Kernel, Resources
from scf_pipeline.errors import StageError
from scf_pipeline.files import DATA, part_name
from scf_pipeline.media import PIXEL_LIMIT, FramePreset, MediaError, Picture
from scf_pipeline.media.faces import (
    Detector,
    DetectorName,
    PixelBox,
    clip,
    encode_png,
    load_detector,
    square_crop,
    whole,
)
from scf_pipeline.schema import FACE_SCHEMA, SAMPLE_SCHEMA
from scf_pipeline.settings import settings
from scf_pipeline.sources import find_sources, read_upright
from scf_pipeline.store import Artifact, ArtifactWriter

logger = logging.getLogger(__name__)

REACH = 5
"""A frame without a box of its own takes the nearest one of at most so many frames away."""

NAMED_FAILURES = 5
"""Failures that an error names."""


class BoxSource(StrEnum):
    """Who says where the face lies."""

    SIDECAR = "sidecar"
    """The dataset's own annotation."""
    DETECTOR = "detector"
    """The detector that the config names."""
    CROPPED = "cropped"
    """Nobody needs to: the dataset ships face crops, which are taken whole."""
    WHOLE_FRAME = "whole_frame"
    """Nobody can: the whole frame is taken."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class CropConfig:
    """Settings that change which frames are taken and what is cut out of them.

    PAPER: of all these only the size of 224 px is stated.
    """

    stage: ClassVar[str] = "crop"
    version: ClassVar[int] = 1

    frames: FramePreset = FramePreset.FLIP2
    """Which frames of a video: ``flip2``, ``every5``, ``all`` or ``first``."""

    image_size: int = Field(default=224, ge=16, le=1024)
    """Side of a crop, in pixels. The paper: 224."""

    scale: float = Field(default=1.6, ge=1, le=8, allow_inf_nan=False)
    """Side of the square that is cut, in longer sides of the face box; 1 is a tight crop."""

    detector: DetectorName = "cascade"
    """Finds faces where the dataset ships no box: OpenCV's frontal ``cascade``, ``yunet``, or
    ``none``."""

    detector_file: Path | None = None
    """ONNX file of YuNet, exactly if `detector` is ``yunet``."""

    max_reject_fraction: float = Field(default=0.01, ge=0, le=1)
    """Largest tolerated share of samples that cannot be read."""

    pixel_limit: int = Field(default=PIXEL_LIMIT, ge=1, le=89_000_000)
    """Largest picture or frame that is opened, in pixels; Pillow itself warns of larger ones."""

    def __post_init__(self) -> None:
        if (self.detector_file is None) is (self.detector == "yunet"):
            raise ValueError(
                f"`detector_file` must be given exactly for yunet, but is {self.detector_file} "
                f"for {self.detector}."
            )


def run(config: CropConfig, *, samples: Artifact, out: UPath, engine: Engine) -> Artifact:
    """Cut the faces out of all samples.

    Raises:
        ArtifactError: If the samples do not say where their datasets lie.
        StageError: If a root is gone, or more than `max_reject_fraction` of the samples cannot be
            read. Then nothing is sealed, and the parts with failures are done anew next time.
    """
    roots, known = find_sources(samples)
    writer = ArtifactWriter(out, FACE_SCHEMA, settings=settings(config, samples=samples))
    if (sealed := writer.sealed()) is not None:
        return sealed
    todo = writer.missing(samples.parts(SAMPLE_SCHEMA))
    make = partial(make_kernel, config, roots, known)
    done = engine.map_parts(make, todo, writer.write, Resources(cpus=1), writer.holds)
    progress.consume(done, total=len(todo), label=config.stage)
    failed = _refuse_many_failures(config, samples, writer)
    return writer.seal(inputs=_count_samples(samples, failed))


def make_kernel(
    config: CropConfig, roots: Mapping[str, Path], known: Mapping[str, Adapter]
) -> Kernel:
    """Load the detector, once in each worker, and return the kernel.

    Args:
        config: Frames, crop and detector.
        roots: Folder of each dataset.
        known: Adapter of each dataset.
    """
    detect = load_detector(config.detector, config.detector_file)
    return partial(crop_samples, config=config, roots=roots, known=known, detect=detect)


def crop_samples(
    samples: pa.Table,
    *,
    config: CropConfig,
    roots: Mapping[str, Path],
    known: Mapping[str, Adapter],
    detect: Detector,
) -> pa.Table:
    """Cut the faces out of the samples of one part.

    Args:
        samples: Live rows of ``SAMPLE_SCHEMA``.
        config: Frames and crop.
        roots: Folder of each dataset.
        known: Adapter of each dataset.
        detect: Finds a face where the dataset ships no box.

    Returns:
        Rows of ``FACE_SCHEMA``, samples in the same order, frames ascending. A sample that cannot
        be read is one row with frame 0, no image, and its reason in `reject`.
    """
    batches = []
    for sample in samples.to_pylist():
        name = sample["dataset"]
        try:
            faces = list(_faces(sample, roots[name], known[name], detect, config))
        except MediaError as error:
            logger.warning("%s: %s", sample["sample_id"], error)
            faces = [{"frame": 0, "reject": error.reject.value}]
        rows = [
            sample | {"reject": None} | face | {"face_id": f"{sample['sample_id']}#{face['frame']}"}
            for face in faces
        ]
        batches.append(pa.RecordBatch.from_pylist(rows, schema=FACE_SCHEMA))
    return pa.Table.from_batches(batches, schema=FACE_SCHEMA)


def _faces(
    sample: Mapping[str, Any], root: Path, adapter: Adapter, detect: Detector, config: CropConfig
) -> Iterator[dict[str, Any]]:
    media_path = sample["media_path"]
    boxes: dict[Frame, Mapping[int, Box]] = {}
    for picture in read_upright(media_path, root, adapter, config.frames, config.pixel_limit):
        height, width = picture.pixels.shape[:2]
        frame = Frame(width, height)
        if frame not in boxes:  # one size for each sample, but for rare videos that change it
            boxes[frame] = adapter.boxes(root, media_path, frame)
        box, source = _locate(picture, boxes[frame], adapter, detect)
        crop = square_crop(picture.pixels, box, scale=config.scale, size=config.image_size)
        png = encode_png(crop)
        yield {
            "frame": picture.number,
            "box": list(box),
            "box_source": source.value,
            "image": png,
            "sha256": hashlib.sha256(png).hexdigest(),
        }


def _locate(
    picture: Picture, boxes: Mapping[int, Box], adapter: Adapter, detect: Detector
) -> tuple[PixelBox, BoxSource]:
    if (shipped := _nearest(boxes, picture)) is not None:
        return shipped, BoxSource.SIDECAR
    if adapter.is_cropped:
        return whole(picture.pixels), BoxSource.CROPPED
    if (found := detect(picture.pixels)) is not None:
        return found, BoxSource.DETECTOR
    return whole(picture.pixels), BoxSource.WHOLE_FRAME


def _nearest(boxes: Mapping[int, Box], picture: Picture) -> PixelBox | None:
    """Return the usable box of the nearest frame within reach; of two as near, the earlier."""
    near = [(abs(n - picture.number), n) for n in boxes if abs(n - picture.number) <= REACH]
    usable = (clip(boxes[number], picture.pixels) for _, number in sorted(near))
    return next((box for box in usable if box is not None), None)


def _count_samples(samples: Artifact, failed: Mapping[str, Counter[str]]) -> Counts:
    """Count the samples that came in: each gave faces or was rejected."""
    counts = Counts()
    for name, tally in samples.counts.datasets.items():
        rejected = failed.get(name, Counter())
        counts.datasets[name] = Tally(tally.live - rejected.total(), rejected, tally.live)
    return counts


def _refuse_many_failures(
    config: CropConfig, samples: Artifact, writer: ArtifactWriter
) -> dict[str, Counter[str]]:
    """Return the failures by dataset and reason, if they are few enough."""
    failures: list[str] = []
    files: list[UPath] = []
    reasons: dict[str, Counter[str]] = {}
    for part in samples.parts():
        file = writer.path / DATA / part_name(part.number)
        with reach.stream(file) as stream:
            faces = pq.read_table(stream, columns=["sample_id", "dataset", "reject"])
        failed = faces.filter(pc.is_valid(faces["reject"])).to_pylist()
        failures += [f"{row['sample_id']} ({row['reject']})" for row in failed]
        files += [file] if failed else []
        for row in failed:
            reasons.setdefault(row["dataset"], Counter())[row["reject"]] += 1
    if len(failures) <= config.max_reject_fraction * samples.counts.live:
        return reasons
    for file in files:
        reach.discard(file)
    more = ", ..." if len(failures) > NAMED_FAILURES else ""
    raise StageError(
        f"Failures must be at most {config.max_reject_fraction:.2%} of the samples, but are "
        f"{len(failures)} of {samples.counts.live}: {', '.join(failures[:NAMED_FAILURES])}{more}.",
        where=str(writer.path),
        fix="Restore the files and rerun, or raise `max_reject_fraction`.",
    )
