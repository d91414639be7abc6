"""Faces of a shard folder: their columns in memory, their pictures on disk until asked for."""

from __future__ import annotations

import io
import shutil
import tempfile
import weakref
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

from ifas_model.errors import ShardError
from ifas_model.shard_rows import read_pictures, read_rows
from ifas_model.shards import IMAGE, LABEL_CODES
from ifas_model.vocabulary import Label, Split

Selection = Mapping[str, Sequence[Split]]
"""Datasets, and which of their splits."""

BROKEN_PICTURE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
"""What reading a file, and Pillow, raise of what is no sound picture."""

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM")
"""Formats that Pillow may try; it knows dozens more, some of which start other programs."""


class Faces:
    """Rows of a shard folder.

    Args:
        folder: The shard folder.
        table: Every column but the picture.
        rows: Place of each row among all rows of the folder.
        cache: Folder for what `Pictures` writes; ``None`` is the system's for temporary files.
    """

    def __init__(
        self, folder: Path, table: pa.Table, rows: NDArray[np.int64], cache: Path | None = None
    ) -> None:
        self.folder, self.table, self.rows, self.cache = folder, table, rows, cache
        self._pictures: Pictures | None = None

    def __len__(self) -> int:
        """Return the number of faces."""
        return int(self.table.num_rows)

    def column(self, name: str) -> list[Any]:
        """Return a column as Python values."""
        values: list[Any] = self.table[name].to_pylist()
        return values

    @property
    def is_bona_fide(self) -> NDArray[np.bool_]:
        """Which faces are bona fide."""
        return np.asarray(self.table["label"].to_numpy() == LABEL_CODES[Label.BONA_FIDE])

    def select(self, indices: NDArray[np.int64]) -> Faces:
        """Return the faces at some places, in that order."""
        chosen = Faces(self.folder, self.table.take(indices), self.rows[indices], self.cache)
        chosen._pictures = self._pictures
        return chosen

    def pixels(self, index: int) -> Tensor:
        """Return one crop, uint8 (3, S, S), RGB.

        Raises:
            ShardError: If the shards are damaged, or the picture is none.
        """
        if self._pictures is None:
            self._pictures = Pictures(self.folder, self.rows, self.cache)
        try:
            return decode(self._pictures.encoded(int(self.rows[index])))
        except BROKEN_PICTURE as error:
            raise ShardError(
                f"A picture must be a sound PNG, but is not: {error}.",
                where=f"{self.folder}: {self.table['face_id'][index]}",
                fix="Write the shards again.",
            ) from error


class Pictures:
    """Encoded pictures of some rows of a shard folder, in an Arrow file that is mapped.

    A Parquet file gives a row only with its whole row group; the copy gives any row at once. It is
    deleted with the last `Faces` that reads it, at the latest when the process ends.

    Args:
        folder: The shard folder.
        rows: Place of each row among all rows of the folder.
        cache: Folder for the copy; ``None`` is the system's for temporary files.

    Raises:
        ShardError: If a shard is damaged, a picture is no square PNG of the others' size, or the
            disk is full.
    """

    def __init__(self, folder: Path, rows: NDArray[np.int64], cache: Path | None) -> None:
        self.rows = np.unique(rows)
        if cache is not None:
            cache.mkdir(parents=True, exist_ok=True)
        self.place = Path(tempfile.mkdtemp(prefix="pictures-", dir=cache))
        weakref.finalize(self, shutil.rmtree, self.place, ignore_errors=True)
        file = self.place / "pictures.arrow"
        try:
            _copy_pictures(folder, self.rows, file)
        except OSError as error:
            raise ShardError(
                f"A copy of the pictures must be written, but cannot be: {error}.",
                where=str(file),
                fix="Free the disk and run the command again.",
            ) from error
        self.data = datasets.Dataset.from_file(str(file))

    def encoded(self, row: int) -> bytes:
        """Return the picture of a row of the folder, one of `rows`."""
        found: bytes = self.data[int(np.searchsorted(self.rows, row))][IMAGE]
        return found


def _copy_pictures(folder: Path, rows: NDArray[np.int64], file: Path) -> None:
    schema = pa.schema([(IMAGE, pa.large_binary())])
    first = 0
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for encoded in read_pictures(folder):
            low, high = np.searchsorted(rows, [first, first + len(encoded)])
            chosen = encoded.take(pa.array(rows[low:high] - first))
            if len(chosen):
                writer.write_batch(pa.record_batch([chosen.cast(pa.large_binary())], schema=schema))
            first += len(encoded)


def load_faces(
    folder: Path, selection: Selection | None = None, *, cache: Path | None = None
) -> Faces:
    """Load the faces of some datasets and splits.

    Args:
        folder: A shard folder, as `scf shard` writes it.
        selection: Which; everything without it.
        cache: Folder for a copy of their pictures, deleted after use; ``None`` is the system's for
            temporary files.

    Raises:
        ShardError: If the folder holds no shards, an unsound row, or no face of a dataset that is
            asked for.
    """
    table = read_rows(folder)
    rows = np.arange(table.num_rows)
    if selection is not None:
        masks = [_mask(table, dataset, splits) for dataset, splits in selection.items()]
        _refuse_absent(folder, selection, [bool(mask.any()) for mask in masks])
        rows = np.flatnonzero(np.logical_or.reduce(masks))
        table = table.take(rows)
    return Faces(folder, table, rows, cache)


def _mask(table: pa.Table, dataset: str, splits: Sequence[Split]) -> NDArray[np.bool_]:
    chosen = pa.array([str(split) for split in splits], pa.string())
    found = pc.and_(pc.equal(table["dataset"], dataset), pc.is_in(table["split"], chosen))
    return np.asarray(pc.fill_null(found, fill_value=False).to_numpy(), dtype=bool)


def _refuse_absent(folder: Path, selection: Selection, found: Sequence[bool]) -> None:
    absent = [
        f"{dataset} ({', '.join(splits)})"
        for (dataset, splits), is_found in zip(selection.items(), found, strict=True)
        if not is_found
    ]
    if absent or not selection:
        raise ShardError(
            "Shards must hold faces of every dataset that is asked for, "
            f"but hold none of: {'; '.join(absent) or 'no dataset'}.",
            where=str(folder),
            fix="Name shards of these datasets and splits, or another protocol.",
        )


def decode(encoded: bytes) -> Tensor:
    """Return an encoded picture as uint8 (3, S, S), RGB."""
    with Image.open(io.BytesIO(encoded), formats=FORMATS) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)
