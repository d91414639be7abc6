"""Frozen vision features, computed once and mapped into memory.

A folder of features holds ``index.json``, ``faces.txt`` (a face id on each line), ``patches.npy``
(F, W, N, V) and ``class_tokens.npy`` (F, W, L, V): F faces, W views (plain, mirrored), N patches,
L layers, V width.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ifas_model import json_data
from ifas_model.config import TOWER, FeaturesConfig, IFasConfig, MethodConfig
from ifas_model.data import Faces, load_faces
from ifas_model.errors import ModelError, ShardError
from ifas_model.protocols import Parts
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
            self.index: dict[str, Any] = dict(json_data.read(folder / INDEX))
            names = (folder / FACES).read_bytes().decode("utf-8").split("\n")[:-1]
            self.patches = _map(folder / PATCHES)
            self.class_tokens = _map(folder / CLASS_TOKENS)
        except (OSError, TypeError, ValueError) as error:
            raise ModelError(
                f"A folder of features must be complete, but is not: {error}.",
                where=str(folder),
                fix="Delete the folder; it is computed again.",
            ) from error
        self.folder = folder
        self.rows = {name: row for row, name in enumerate(names)}
        for array in (self.patches, self.class_tokens):
            if len(array) != len(names):
                raise ModelError(
                    f"Features must be of {len(names)} faces, but are of {len(array)}.",
                    where=str(folder),
                    fix="Delete the folder; it is computed again.",
                )

    def require(self, tower: str, config: FeaturesConfig) -> None:
        """Refuse features of another tower or other settings.

        Args:
            tower: `hash_tower` of the tower that is to be stood in for.
            config: What the model wants of it; the batch size does not matter.

        Raises:
            ModelError: If they are not its features.
        """
        wanted = _index(tower, config)
        for name in ("version", "tower", "local_layer", "keep_class_token"):
            if self.index.get(name) != wanted[name]:
                raise ModelError(
                    f"`{name}` of the features must be {wanted[name]!r}, "
                    f"but is {self.index.get(name)!r}.",
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

    Raises:
        ShardError: If the shards hold no face of `config.splits`.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / INDEX).unlink(missing_ok=True)
    faces = [load_faces(folder, cache=out.parent) for folder in shards]
    places = _unique(faces, config)
    seer = _Seer(config, tower)
    files: list[NDArray[np.float32]] = []
    for first in range(0, len(places), config.batch_size):
        chosen = places[first : first + config.batch_size]
        views = seer.look(torch.stack([faces[number].pixels(place) for number, place in chosen]))
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
            file[first : first + len(chosen)] = tensor.numpy()
    for file in files:
        file.flush()  # type: ignore[attr-defined]
    names = [faces[number].table["face_id"][place].as_py() for number, place in places]
    (out / FACES).write_bytes("".join(f"{name}\n" for name in names).encode())
    index = json.dumps(_index(hash_tower(tower), config), indent=2, sort_keys=True)
    (out / f"{INDEX}.partial").write_text(index + "\n", "utf-8")
    (out / f"{INDEX}.partial").rename(out / INDEX)
    return FeatureStore(out)


def features_of(method: IFasConfig, parts: Iterable[Parts], *, flip: bool) -> FeaturesConfig:
    """Return the settings of the features that a model is to see of some parts of datasets."""
    splits = {split for part in parts for several in part.values() for split in several}
    return FeaturesConfig(
        local_layer=method.local_layer,
        keep_class_token=method.keep_class_token,
        flip=flip,
        splits=tuple(sorted(splits)),
    )


def open_features(folder: Path | None, method: MethodConfig, tower: Path) -> FeatureStore | None:
    """Return the features of a folder, if there is one and the method can use them.

    Args:
        folder: As `compute` writes it.
        method: Of the model that is to see them.
        tower: CLIP folder, or a model folder whose tower they must be of.

    Raises:
        ModelError: If they are of another tower or other layers.
    """
    if folder is None or not isinstance(method, IFasConfig):
        return None
    store = FeatureStore(folder)
    store.require(tower_of(tower), features_of(method, (), flip=False))
    return store


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


def _map(file: Path) -> NDArray[Any]:
    """Map an array of features into memory.

    Raises:
        ValueError: If the file holds anything but floats, by face, view, place and width: pickled
            objects above all.
    """
    array = np.lib.format.open_memmap(file, mode="r")
    if array.ndim != 4 or array.dtype.kind != "f":
        raise ValueError(
            f"{file.name} must hold floats in four dimensions, but holds {array.dtype} in "
            f"{array.ndim}"
        )
    return array


class _Seer:
    """A tower that looks at batches, in all views that are wanted."""

    def __init__(self, config: FeaturesConfig, tower: Path) -> None:
        self.config, self.pixels = config, load_pixels(tower)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        clip: Any = load_tower(tower)
        self.tower = clip.vision_model.to(self.device)

    @torch.no_grad()
    def look(self, pixels: Tensor) -> Features:
        """Return the features of all views on the CPU: `patches` (B, W, N, V) and so on."""
        layer, keeps = self.config.local_layer, self.config.keep_class_token
        seen = []
        for view in (pixels, pixels.flip(-1))[: 1 + self.config.flip]:
            normal = self.pixels.normalize(view.to(self.device))
            seen.append(look(self.tower, normal, local_layer=layer, keep_class_token=keeps))
        patches, class_tokens = (
            torch.stack(parts, dim=1).cpu() for parts in zip(*seen, strict=True)
        )
        return Features(patches, class_tokens)


def hash_tower(folder: Path) -> str:
    """Return the SHA-256 of a tower's settings and weights."""
    found = hashlib.sha256()
    for file in (folder / "config.json", *sorted(folder.glob("*.safetensors"))):
        with file.open("rb") as opened:
            found.update(hashlib.file_digest(opened, "sha256").digest())
    return found.hexdigest()


def tower_of(folder: Path) -> str:
    """Return `hash_tower` of a CLIP folder, or of the one that a model folder was trained with."""
    told = folder / TOWER
    return told.read_text("utf-8").strip() if told.is_file() else hash_tower(folder)


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
    if not found:
        raise ShardError(
            f"Shards must hold faces of {', '.join(config.splits)}, but hold none.",
            where=", ".join(str(one.folder) for one in faces),
            fix="Name other shards, or other splits.",
        )
    return list(found.values())
