"""Frozen vision features, computed once and mapped into memory.

A folder of features holds ``index.json``, ``faces.txt`` (a face id on each line), ``patches.npy``
(F, W, N, V) and ``class_tokens.npy`` (F, W, L, V): F faces, W views (plain, mirrored), N patches,
L layers, V width.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ifas_model.config import FeaturesConfig
from ifas_model.data import Faces, load_faces
from ifas_model.errors import ModelError
from ifas_model.vision import Features, load_pixels, load_tower, look

INDEX, FACES = "index.json", "faces.txt"
PATCHES, CLASS_TOKENS = "patches.npy", "class_tokens.npy"
VERSION = 1
"""Of the layout; raised when the same tower and faces give other files."""


class FeatureStore:
    """Features of one frozen tower, by face.

    Args:
        folder: As `compute` writes it.

    Raises:
        ModelError: If the folder holds no finished features.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self.index: dict[str, Any] = json.loads((folder / INDEX).read_text("utf-8"))
            names = (folder / FACES).read_text("utf-8").splitlines()
            self.patches = np.load(folder / PATCHES, mmap_mode="r")
            self.class_tokens = np.load(folder / CLASS_TOKENS, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise ModelError(
                f"A folder of features must be complete, but is not: {error}.",
                where=str(folder),
                fix="Delete the folder; it is computed again.",
            ) from error
        self.folder = folder
        self.rows = {name: row for row, name in enumerate(names)}

    def require(self, tower: str, config: FeaturesConfig) -> None:
        """Refuse features of another tower or other settings.

        Args:
            tower: `hash_tower` of the tower that is to be stood in for.
            config: What the model wants of it; the batch size does not matter.

        Raises:
            ModelError: If they are not its features.
        """
        wanted = _index(tower, config)
        for name in ("tower", "local_layer", "keep_class_token"):
            if self.index[name] != wanted[name]:
                raise ModelError(
                    f"`{name}` of the features must be {wanted[name]!r}, "
                    f"but is {self.index[name]!r}.",
                    where=str(self.folder),
                    fix="Compute the features of this tower and these settings.",
                )

    def at(self, face_id: str, *, is_mirrored: bool) -> tuple[Tensor, Tensor]:
        """Return `patches` (N, V) and `class_tokens` (L, V) of one view of one face.

        Raises:
            ModelError: If this view of the face was not computed.
        """
        row, view = self.rows.get(face_id), int(is_mirrored)
        if row is None or view >= self.patches.shape[1]:
            raise ModelError(
                f"Features must hold {face_id!r}{' mirrored' if view else ''}, but do not.",
                where=str(self.folder),
                fix="Compute the features of these shards, with `flip` if training mirrors faces.",
            )
        return tuple(  # type: ignore[return-value]
            torch.from_numpy(array[row, view].astype(np.float32))
            for array in (self.patches, self.class_tokens)
        )


def compute(
    config: FeaturesConfig, *, tower: Path, shards: Sequence[Path], out: Path
) -> FeatureStore:
    """Compute the features of every face of some shard folders; a face in several counts once.

    Args:
        config: Which features.
        tower: CLIP folder.
        shards: Shard folders.
        out: Folder to write; `INDEX` comes last, so an unfinished folder is not taken for one.
    """
    faces = [load_faces(folder) for folder in shards]
    places = _unique(faces, config)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    clip, pixels = load_tower(tower).to(device), load_pixels(tower)  # type: ignore[arg-type]
    out.mkdir(parents=True, exist_ok=True)
    files: list[NDArray[np.float32]] = []
    row = 0
    for batch in _batches(faces, places, config.batch_size):
        seen = []
        for view in (batch, batch.flip(-1))[: 1 + config.flip]:
            with torch.no_grad():
                normal = pixels.normalize(view.to(device))
                layer, keeps = config.local_layer, config.keep_class_token
                seen.append(
                    look(clip.vision_model, normal, local_layer=layer, keep_class_token=keeps)
                )
        views = Features(*(torch.stack(parts, dim=1) for parts in zip(*seen, strict=True)))
        if not files:
            files = [
                np.lib.format.open_memmap(
                    out / name,
                    mode="w+",
                    dtype=np.dtype(config.precision),
                    shape=(len(places), *tensor.shape[1:]),
                )
                for name, tensor in zip((PATCHES, CLASS_TOKENS), views, strict=True)
            ]
        for file, tensor in zip(files, views, strict=True):
            file[row : row + len(batch)] = tensor.cpu().numpy()
        row += len(batch)
    for file in files:
        file.flush()  # type: ignore[attr-defined]
    names = [faces[n].table["face_id"][place].as_py() for n, place in places]
    (out / FACES).write_text("".join(f"{name}\n" for name in names), "utf-8")
    index = json.dumps(_index(hash_tower(tower), config), indent=2, sort_keys=True)
    (out / INDEX).write_text(index + "\n", "utf-8")
    return FeatureStore(out)


def cached(
    config: FeaturesConfig, *, tower: Path, shards: Sequence[Path], cache: Path
) -> FeatureStore:
    """Return the features of some shards, computed where `cache` does not hold them yet.

    Args:
        config: Which features.
        tower: CLIP folder.
        shards: Shard folders.
        cache: Folder that holds a folder for each tower, settings and set of shards.
    """
    key = json.dumps([_index(hash_tower(tower), config), [hash_shards(s) for s in shards]])
    folder = cache / hashlib.sha256(key.encode()).hexdigest()[:16]
    if not (folder / INDEX).is_file():
        return compute(config, tower=tower, shards=shards, out=folder)
    return FeatureStore(folder)


def hash_tower(folder: Path) -> str:
    """Return the SHA-256 of a tower's settings and weights."""
    found = hashlib.sha256()
    for file in (folder / "config.json", *sorted(folder.glob("*.safetensors"))):
        with file.open("rb") as opened:
            found.update(hashlib.file_digest(opened, "sha256").digest())
    return found.hexdigest()


def hash_shards(folder: Path) -> str:
    """Return a hash of a shard folder's content: its manifest's, or else of every file."""
    manifest = folder / "manifest.json"
    files = [manifest] if manifest.is_file() else sorted((folder / "data").glob("*.parquet"))
    found = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            found.update(hashlib.file_digest(opened, "sha256").digest())
    return found.hexdigest()


def _index(tower: str, config: FeaturesConfig) -> dict[str, Any]:
    settings = {k: v for k, v in asdict(config).items() if k not in ("batch_size", "splits")}
    splits = [str(split) for split in config.splits]
    return {"version": VERSION, "tower": tower, "splits": splits, **settings}


def _unique(faces: Sequence[Faces], config: FeaturesConfig) -> list[tuple[int, int]]:
    """Return number of the shard folder and place in it of each face, the first of equal ones."""
    found: dict[str, tuple[int, int]] = {}
    for number, one in enumerate(faces):
        rows = zip(one.column("face_id"), one.column("split"), strict=True)
        for place, (face_id, split) in enumerate(rows):
            if split in config.splits:
                found.setdefault(face_id, (number, place))
    return list(found.values())


def _batches(
    faces: Sequence[Faces], places: Sequence[tuple[int, int]], size: int
) -> Iterator[Tensor]:
    for first in range(0, len(places), size):
        chosen = places[first : first + size]
        yield torch.stack([faces[number].pixels(place) for number, place in chosen])
