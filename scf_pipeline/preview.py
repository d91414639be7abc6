"""A contact sheet of crops: at a glance, whether the boxes lie where the faces are.

A few faces of each dataset are drawn by lot, in turn from each kind of box, so that whole frames,
which are few and doubtful, are among them. Memory holds one part, one source frame, and the small
pictures of the sheet.
"""

from __future__ import annotations

import hashlib
import heapq
import io
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image, ImageDraw, ImageFont
from upath import UPath

from ifas_model.text import in_line
from scf_pipeline.adapters import Adapter
from scf_pipeline.errors import ConfigError
from scf_pipeline.files import write_whole
from scf_pipeline.media import MediaError, Picture
from scf_pipeline.media.faces import PixelBox, square_around
from scf_pipeline.reach import as_local
from scf_pipeline.sources import find_sources, read_upright
from scf_pipeline.stages.crop import BoxSource, CropConfig
from scf_pipeline.store import Artifact

EACH = 8
"""Most faces of one dataset."""

ACROSS = 4
"""Faces side by side."""

SIDE_PX, GAP_PX, LINE_PX = 168, 10, 17
"""Side of a picture, space between pictures, height of a line of text."""

CELL_PX = (2 * SIDE_PX + 2 * GAP_PX, SIDE_PX + 3 * LINE_PX)
"""Width and height of what is shown of one face."""

WIDTH_PX = GAP_PX + ACROSS * CELL_PX[0]

COLOURS = {
    BoxSource.SIDECAR: "#2e8b57",
    BoxSource.DETECTOR: "#1f6fd6",
    BoxSource.CROPPED: "#777777",
    BoxSource.WHOLE_FRAME: "#d62728",
}

HEADING = (
    "Left the source: its box in the colour of what gave it, the square that was cut in white. "
    "Right the crop."
)

FACE_COLUMNS = ("face_id", "sample_id", "dataset", "pai_species", "frame", "box", "box_source")


@dataclass(slots=True)
class Strip:
    """What is shown of one dataset."""

    sources: Counter[str] = field(default_factory=Counter)
    """Live faces by what gave the box."""

    rejected: Counter[str] = field(default_factory=Counter)
    """Rejected rows by reason."""

    drawn: dict[str, list[tuple[bytes, dict[str, Any]]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """The first faces by lot, by what gave the box."""

    def take(self, row: dict[str, Any], lot: bytes) -> None:
        """Count a row, and keep it if its lot is among the first of its kind."""
        if row["reject"] is not None:
            self.rejected[row["reject"]] += 1
            return
        kind = row["box_source"]
        self.sources[kind] += 1
        first = [*self.drawn[kind], (lot, row)]
        self.drawn[kind] = heapq.nsmallest(EACH, first, key=lambda pair: pair[0])

    def chosen(self) -> list[dict[str, Any]]:
        """Return the faces to show, in turn from each kind of box."""
        turns = zip_longest(*(self.drawn[kind] for kind in sorted(self.drawn)))
        return [pair[1] for pair in chain.from_iterable(turns) if pair is not None][:EACH]

    def heading(self, dataset: str) -> str:
        """Return name and counts, in one line."""
        line = f"{dataset}: {self.sources.total():,} faces ({_told(self.sources)})"
        if self.rejected:
            line += f"; {self.rejected.total():,} rejected ({_told(self.rejected)})"
        return line


def write(
    config: CropConfig, *, samples: Artifact, faces: Artifact, file: UPath, seed: int = 0
) -> None:
    """Write the contact sheet of faces, as a PNG.

    Args:
        config: What the faces were cut with.
        samples: What they were cut out of.
        faces: A sealed artifact of the stage crop.
        file: Where to; must not lie in an artifact.
        seed: Of the lots.

    Raises:
        ConfigError: If the file's place or name will not do.
        ArtifactError: If the samples do not say where their datasets lie.
        StageError: If a root is gone.
    """
    check_place(file, faces.path)
    roots, known = find_sources(samples)
    strips = choose(faces, seed)
    shown = [row for strip in strips.values() for row in strip.chosen()]
    crops = _crops(faces, {row["face_id"] for row in shown})
    paths = _media_paths(samples, {row["sample_id"] for row in shown})
    sheet = Image.new("RGB", (WIDTH_PX, _height(strips)), "#f4f4f4")
    drawer, y = ImageDraw.Draw(sheet), GAP_PX
    _legend(drawer, f"Crops of {faces.path}, seed {seed}", y)
    y += 3 * LINE_PX + GAP_PX
    for dataset, strip in sorted(strips.items()):
        _text(drawer, (GAP_PX, y), strip.heading(dataset), WIDTH_PX - 2 * GAP_PX, size=15)
        y += 2 * LINE_PX
        for place, row in enumerate(strip.chosen()):
            x = GAP_PX + place % ACROSS * CELL_PX[0]
            top = y + place // ACROSS * CELL_PX[1]
            media_path = paths.get(row["sample_id"], "")
            source = _source(row, media_path, roots[dataset], known[dataset], config)
            _cell(sheet, (x, top), row, source, _decode(crops[row["face_id"]]))
        y += _rows(strip) * CELL_PX[1]
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write_whole(file, buffer.getvalue())


def check_place(file: UPath, out: UPath) -> None:
    """Refuse a contact sheet that is no PNG or would lie in the artifact that it shows.

    Raises:
        ConfigError: So it is.
    """
    inside = as_local(file).absolute().is_relative_to(as_local(out).absolute())
    if file.suffix.lower() == ".png" and not inside:
        return
    raise ConfigError(
        "A preview must be a PNG outside of its artifact, but is "
        + ("inside." if inside else f"named {file.name!r}."),
        where=str(file),
        fix="Name another file, e.g. --preview crops.png.",
    )


def choose(faces: Artifact, seed: int) -> dict[str, Strip]:
    """Count the rows of each dataset, and draw some of its faces by lot.

    Args:
        faces: A sealed artifact of the stage crop.
        seed: Of the lots.
    """
    strips: dict[str, Strip] = defaultdict(Strip)
    for part in faces.parts():
        for row in part.read_all([*FACE_COLUMNS, "reject"]).to_pylist():
            lot = hashlib.sha256(f"{seed}:{row['face_id']}".encode()).digest()
            strips[row["dataset"]].take(row, lot)
    return dict(strips)


def _crops(faces: Artifact, wanted: Iterable[str]) -> dict[str, bytes]:
    return _look_up(faces, "face_id", "image", wanted)


def _media_paths(samples: Artifact, wanted: Iterable[str]) -> dict[str, str]:
    return _look_up(samples, "sample_id", "media_path", wanted)


def _look_up(artifact: Artifact, key: str, value: str, wanted: Iterable[str]) -> dict[str, Any]:
    """Return a column's values of some rows, with one part in memory at a time."""
    keys = pa.array(sorted(wanted), pa.string())
    found: dict[str, Any] = {}
    for part in artifact.parts():
        table = part.read([key, value])
        rows = table.filter(pc.is_in(table[key], keys))
        found |= dict(zip(rows[key].to_pylist(), rows[value].to_pylist(), strict=True))
    return found


def _source(
    row: dict[str, Any], media_path: str, root: Path, adapter: Adapter, config: CropConfig
) -> Image.Image | None:
    """Return the source frame at the sheet's size, with box and square drawn in."""
    try:
        pictures = read_upright(media_path, root, adapter, config.frames, config.pixel_limit)
        picture = next((one for one in pictures if one.number == row["frame"]), None)
    except MediaError:
        return None
    return None if picture is None else _marked(picture, row, config.scale)


def _marked(picture: Picture, row: dict[str, Any], scale: float) -> Image.Image:
    height, width = picture.pixels.shape[:2]
    box = PixelBox(*row["box"])
    square = square_around(box, picture.pixels, scale)
    factor = SIDE_PX / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = Image.fromarray(picture.pixels).resize(size, Image.Resampling.BOX)
    drawer = ImageDraw.Draw(small)
    for corners, colour, line in ((square, "white", 1), (box, _colour(row), 3)):
        x0, y0, x1, y1 = (round(value * factor) for value in corners)
        drawer.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=line)
    return small


def _decode(png: bytes) -> Image.Image:
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        return image.convert("RGB").resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)


def _cell(
    sheet: Image.Image,
    corner: tuple[int, int],
    row: dict[str, Any],
    source: Image.Image | None,
    crop: Image.Image,
) -> None:
    x, y = corner
    drawer, width = ImageDraw.Draw(sheet), 2 * SIDE_PX
    if source is None:
        _text(drawer, (x, y), "source cannot be read any more", SIDE_PX)
    else:  # flush right, beside its crop
        sheet.paste(source, (x + SIDE_PX - source.width, y + (SIDE_PX - source.height) // 2))
    sheet.paste(crop, (x + SIDE_PX + 3, y))
    kind, given = row["pai_species"] or "bona fide", row["box_source"].replace("_", " ")
    line = f"{kind}, frame {row['frame']}, {given}"
    _text(drawer, (x, y + SIDE_PX + 3), line, width, colour=_colour(row))
    name = row["sample_id"].removeprefix(f"{row['dataset']}/")
    _text(drawer, (x, y + SIDE_PX + 3 + LINE_PX), name, width)


def _legend(drawer: ImageDraw.ImageDraw, title: str, y: int) -> None:
    _text(drawer, (GAP_PX, y), title, WIDTH_PX - 2 * GAP_PX, size=15)
    _text(drawer, (GAP_PX, y + LINE_PX + 4), HEADING, WIDTH_PX - 2 * GAP_PX)
    for place, (source, colour) in enumerate(COLOURS.items()):
        x = GAP_PX + 120 * place
        drawer.rectangle((x, y + 2 * LINE_PX + 8, x + 10, y + 2 * LINE_PX + 18), fill=colour)
        _text(drawer, (x + 16, y + 2 * LINE_PX + 6), source.replace("_", " "), 100)


def _text(
    drawer: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    text: str,
    width: int,
    *,
    size: int = 13,
    colour: str = "#222222",
) -> None:
    """Write one line; of a text that is too long, its end, which tells names apart."""
    font = ImageFont.load_default(size)
    text = line = in_line(text)[-400:]
    while text and font.getlength(line) > width:
        text = text[1:]
        line = f"...{text}"
    drawer.text(corner, line, fill=colour, font=font)


def _colour(row: dict[str, Any]) -> str:
    return COLOURS[BoxSource(row["box_source"])]


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in sorted(counts.items()))


def _rows(strip: Strip) -> int:
    return -(-len(strip.chosen()) // ACROSS)


def _height(strips: dict[str, Strip]) -> int:
    cells = sum(_rows(strip) * CELL_PX[1] + 2 * LINE_PX for strip in strips.values())
    return 2 * GAP_PX + 3 * LINE_PX + cells + GAP_PX
