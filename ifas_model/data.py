"""Faces of a shard folder: their columns in memory, their pictures on disk until asked for."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ifas_model.shards import SHARD_SCHEMA, ShardError, open_shards, shard_files
from ifas_model.vocabulary import Label, Split

Selection = Mapping[str, Sequence[Split]]
"""Datasets, and which of their splits."""

IMAGE = "image"


class Faces:
    """Rows of a shard folder.

    Args:
        folder: The shard folder.
        table: Every column but the picture.
        rows: Place of each row among all rows of the folder.
    """

    def __init__(self, folder: Path, table: pa.Table, rows: NDArray[np.int64]) -> None:
        self.folder, self.table, self.rows = folder, table, rows
        self._pictures: datasets.Dataset | None = None

    def __len__(self) -> int:
        """Return the number of faces."""
        return int(self.table.num_rows)

    def column(self, name: str) -> list[Any]:
        """Return a column as Python values."""
        return self.table[name].to_pylist()  # type: ignore[no-any-return]

    @property
    def is_bona_fide(self) -> NDArray[np.bool_]:
        """Which faces are bona fide."""
        return np.asarray(self.table["label"].to_numpy() == list(Label).index(Label.BONA_FIDE))

    def select(self, indices: NDArray[np.int64]) -> Faces:
        """Return the faces at some places, in that order."""
        chosen = Faces(self.folder, self.table.take(indices), self.rows[indices])
        chosen._pictures = self._pictures
        return chosen

    def pixels(self, index: int) -> Tensor:
        """Return one crop, uint8 (3, S, S), RGB."""
        return decode(self.pictures[int(self.rows[index])][IMAGE]["bytes"])

    @property
    def pictures(self) -> datasets.Dataset:
        """Every picture of the folder as it is encoded, in an Arrow file that is mapped."""
        if self._pictures is None:
            files = [str(file) for file in shard_files(self.folder)]
            found = datasets.load_dataset("parquet", data_files=files, split="train")
            plain = datasets.Image(decode=False)
            self._pictures = found.select_columns([IMAGE]).cast_column(IMAGE, plain)
        return self._pictures


def load_faces(folder: Path, selection: Selection | None = None) -> Faces:
    """Load the faces of some datasets and splits.

    Args:
        folder: A shard folder, as `scf shard` writes it.
        selection: Which; everything without it.

    Raises:
        ShardError: If the folder holds no shards, or none of the faces that are asked for.
    """
    columns = [name for name in SHARD_SCHEMA.names if name != IMAGE]
    table = open_shards(folder).to_table(columns=columns)
    rows = np.arange(table.num_rows)
    if selection is not None:
        mask = np.zeros(table.num_rows, dtype=bool)
        for dataset, splits in selection.items():
            chosen = pa.array([str(split) for split in splits], pa.string())
            is_split = pc.is_in(table["split"], value_set=chosen)
            mask |= pc.and_(pc.equal(table["dataset"], dataset), is_split).to_numpy()
        rows = np.flatnonzero(mask)
        table = table.take(rows)
    if not table.num_rows:
        wanted = ", ".join(f"{d} ({'+'.join(s)})" for d, s in (selection or {}).items())
        raise ShardError(
            f"Shards must hold the faces that are asked for, but hold none of: {wanted or 'any'}.",
            where=str(folder),
            fix="Name the shards of these datasets, or another protocol.",
        )
    return Faces(folder, table, rows)


def decode(encoded: bytes) -> Tensor:
    """Return an encoded picture as uint8 (3, S, S), RGB."""
    with Image.open(io.BytesIO(encoded)) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)
