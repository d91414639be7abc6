"""The curation of a few drawn faces, stage by stage, to be killed at any moment.

The stages, the engine and the store are the package's own. Only the captioner is not: it describes
a picture by its pixels, in no time, and notes whom it was shown.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from ifas_model.vocabulary import Label
from scf_pipeline import reach
from scf_pipeline.captioners import Backend, Caption, Model
from scf_pipeline.captioners._pictures import encode_png
from scf_pipeline.engine import Engine
from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.errors import ArtifactError
from scf_pipeline.files import DATA, hash_files, part_files, read_sealed
from scf_pipeline.keywords import default_dictionary
from scf_pipeline.schema import FACE_SCHEMA
from scf_pipeline.settings import Settings
from scf_pipeline.stages import caption, shard
from scf_pipeline.stages import filter as keyword_filter
from scf_pipeline.stages.caption import CaptionConfig
from scf_pipeline.stages.filter import FilterConfig
from scf_pipeline.stages.shard import ShardConfig
from scf_pipeline.store import Artifact, ArtifactWriter

NUM_PARTS, FACES_OF_A_PART = 3, 6
NUM_FACES = NUM_PARTS * FACES_OF_A_PART
STAGES = ("faces", "t_f", "d_s", "t_r", "t_s", "shards")
"""Artifacts in the order in which they are made."""

TOLD = {
    "t_f": (Label.ATTACK, "c_g"),
    "t_r": (Label.BONA_FIDE, "c_g"),
    "t_s": (Label.ATTACK, "c_s"),
}
"""Of each caption artifact, who is described, and by which captioner."""

NOTES = "shown.txt"
"""Whom the captioner was shown: a line for each batch, its stage and its pixels' hashes."""

TEXTS = ("a man with paper", "a man on a tablet", "a woman with a hat", "a wall", "a paper mask")


class Speaker:
    """Describes pictures by their pixels.

    Args:
        notes: Where it notes whom it was shown.
        model: Name of the captioner that it stands for.
        pause_s: Seconds that a batch takes.
    """

    def __init__(self, notes: Path, model: str, pause_s: float) -> None:
        self.notes, self.model, self.pause_s = notes, model, pause_s

    def prepare(self, picture: np.ndarray) -> np.ndarray:
        """Return the picture as it is."""
        return picture

    def caption(self, pictures: Any, seeds: Any, *, insist: bool = False) -> list[Caption]:
        """Return a text for each picture, and note the batch before it is returned."""
        names = [_name(picture) for picture in pictures]
        time.sleep(self.pause_s)
        with self.notes.open("a") as file:
            file.write(f"{self.model} {' '.join(names)}\n")
        return [
            Caption(
                text=TEXTS[(int(picture[0, 0, 0]) + seed % 2 + insist) % len(TEXTS)],
                num_tokens=4,
                mean_log_probability=-1.0,
            )
            for picture, seed in zip(pictures, seeds, strict=True)
        ]


def run(root: Path, *, engine: Engine | None = None, out: UPath | None = None) -> None:
    """Make what is missing of every artifact.

    Args:
        root: Local folder of the notes, and of the artifacts too, unless `out` is given.
        engine: What works on parts; in this process by default.
        out: Where the artifacts lie.
    """
    engine = LocalEngine() if engine is None else engine
    place = UPath(root) if out is None else out
    faces = write_faces(place / "faces")
    listen(root)
    told: dict[str, Artifact] = {}
    for name in TOLD:
        told[name] = describe(name, faces=faces, place=place, engine=engine)
        if name == "t_f":
            words = FilterConfig(dictionary=default_dictionary())
            keyword_filter.run(words, captions=told[name], out=place / "d_s", engine=engine)
    shard.run(
        ShardConfig(dictionary=default_dictionary()),
        faces=faces,
        captions=[told["t_r"], told["t_s"]],
        out=place / "shards",
        engine=engine,
    )


def listen(root: Path, pause_s: float = 0.0) -> None:
    """Make the captioner known to this process; it notes below `root` whom it was shown."""
    load = partial(_load_backend, root / NOTES, pause_s)
    caption.plugins = SimpleNamespace(load=load)  # type: ignore[attr-defined]  # of this stage alone


def describe(name: str, *, faces: Artifact, place: UPath, engine: Engine) -> Artifact:
    """Make one of the caption artifacts, where `listen` was called."""
    label, revision = TOLD[name]
    return caption.run(
        CaptionConfig(label=label, batch_size=2),
        faces=faces,
        model=Model(backend="speaker", location="nowhere", revision=revision),
        out=place / name,
        engine=engine,
    )


def write_faces(folder: UPath) -> Artifact:
    """Draw the faces, as the crop stage would write them."""
    writer = ArtifactWriter(folder, FACE_SCHEMA, settings=Settings("crop", 1, {}, {}))
    if (done := writer.sealed()) is not None:
        return done
    for number in range(NUM_PARTS):
        numbers = range(number * FACES_OF_A_PART, (number + 1) * FACES_OF_A_PART)
        table = pa.Table.from_pylist([_face(n) for n in numbers], schema=FACE_SCHEMA)
        writer.write(number, table)
    return writer.seal(rows_in={"siw": NUM_FACES})


def _pixels(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)


def _face(number: int) -> dict[str, Any]:
    image, is_attack = encode_png(_pixels(number)), number % 3 > 0
    return {
        "face_id": f"siw/{number}#0",
        "sample_id": f"siw/{number}",
        "dataset": "siw",
        "split": ("train", "dev", "test")[number % 3],
        "label": "attack" if is_attack else "bona_fide",
        "pai_species": "print" if is_attack else None,
        "fine_type": "print_flat" if is_attack else None,
        "native_label": "x",
        "frame": 0,
        "box": [0, 0, 8, 8],
        "box_source": "whole_frame",
        "image": image,
        "sha256": hashlib.sha256(image).hexdigest(),
    }


def _load_backend(
    notes: Path, pause_s: float, _package: object, _attribute: str, _name: str
) -> Backend:
    return Backend(
        title="",
        prompt="",
        resolve=lambda _: (_ for _ in ()).throw(AssertionError("nobody asks")),
        describe=lambda _: {"prompt": ""},
        load=lambda model: Speaker(notes, model.revision, pause_s),
    )


def _name(picture: np.ndarray) -> str:
    return hashlib.sha256(picture.tobytes()).hexdigest()[:12]


def committed(root: UPath | Path) -> set[str]:
    """Return which picture has a committed caption of which captioner, as `shown` names them."""
    found: set[str] = set()
    for name, (_, model) in TOLD.items():
        for file in part_files(UPath(root) / name):
            with reach.stream(file) as stream:
                faces = pq.read_table(stream, columns=["face_id"])["face_id"].to_pylist()
            numbers = [int(face.removeprefix("siw/").removesuffix("#0")) for face in faces]
            found |= {f"{model} {_name(_pixels(number))}" for number in numbers}
    return found


def contents(root: UPath | Path) -> Mapping[str, str]:
    """Return the hash of every file of every artifact, but of manifests, which tell the time."""
    return {
        f"{name}/{file}": entry["sha256"]
        for name in STAGES
        for file, entry in hash_files(UPath(root) / name).items()
    }


def identities(root: UPath | Path) -> list[str]:
    """Return what the sealed artifacts are."""
    return [Artifact.open(UPath(root) / name).identity for name in STAGES]


def rows_lost(root: UPath | Path) -> int:
    """Return how many faces are absent from the shards, or twice in them."""
    made = Artifact.open(root / "shards")
    found: list[str] = []
    for name, entry in made.files.items():
        if name.startswith(f"{DATA}/"):
            raw = read_sealed(made.path / name, entry["sha256"])
            table = pq.read_table(pa.BufferReader(raw), columns=["face_id"])
            found += table["face_id"].to_pylist()
    return abs(NUM_FACES - len(set(found))) + len(found) - len(set(found))


def shown(root: Path) -> list[str]:
    """Return which picture was shown to which captioner, in order."""
    lines = (root / NOTES).read_text().splitlines() if (root / NOTES).exists() else []
    return [f"{line.split()[0]} {name}" for line in lines for name in line.split()[1:]]


def run_and_die(root: Path, step: int, moment: str) -> None:
    """Run up to the `step`-th commit, and die before or after it.

    A commit is the rename of a whole file to its final name.
    """
    counted = iter(range(1, 1_000_000))

    def dying(act: Callable[..., Any]) -> Callable[..., Any]:
        def acting(*arguments: Any, **options: Any) -> Any:
            number = next(counted)
            if number == step and moment == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            done = act(*arguments, **options)
            if number == step and moment == "after":
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        return acting

    Path.replace = dying(Path.replace)  # type: ignore[method-assign]
    run(root)


def run_and_tell(root: Path, told: Path) -> None:
    """Run, and write what an expected error says."""
    try:
        run(root)
    except ArtifactError as error:
        told.write_text(error.what)


def count_commits(root: Path) -> None:
    """Run undisturbed and write how many commits that takes to ``<root>/commits``."""
    count, replace = 0, Path.replace

    def counting(path: Path, target: Any) -> Any:
        nonlocal count
        count += 1
        return replace(path, target)

    Path.replace = counting  # type: ignore[assignment]
    run(root)
    Path.replace = replace  # type: ignore[method-assign]
    (root / "commits").write_text(str(count))
