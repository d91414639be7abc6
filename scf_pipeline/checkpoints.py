"""Models for the trainer that no stage made: CLIP and OPT as folders or pinned hub ids."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from upath import UPath

from ifas_model.layout import model_type
from scf_pipeline import weights
from scf_pipeline.errors import ModelError
from scf_pipeline.files import local_folder
from scf_pipeline.store import Artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One of them, as it was found."""

    kind: str
    """The `model_type` of its ``config.json``: ``clip`` or ``opt``."""

    location: str
    """Folder, or hub id."""

    revision: str
    """Hash of the folder's files, or the pinned revision of a hub id."""

    @property
    def name(self) -> str:
        """``<kind>@<revision>``: its identity wherever it lies."""
        return f"{self.kind}@{self.revision}"


def find(text: str, kind: str) -> Checkpoint:
    """Return the checkpoint that a folder or ``hub-id@revision`` names; nothing is downloaded.

    Args:
        text: Folder on this machine, or hub id with its revision.
        kind: What its ``config.json`` must say it is.

    Raises:
        ModelError: If it is neither, or the folder holds no checkpoint of this kind in safetensors.
    """
    folder = Path(text).expanduser()
    if folder.is_dir():
        check(folder, kind)
        revision = weights.content_revision(UPath(folder))
        return Checkpoint(kind=kind, location=str(folder), revision=revision)
    pin = weights.pinned(text, error=ModelError)
    return Checkpoint(kind=kind, location=pin.hub_id, revision=pin.revision)


def check(folder: Path, kind: str) -> None:
    """Refuse a folder that is no checkpoint of a kind, in safetensors and self-contained.

    Raises:
        ModelError: If it is none.
    """
    found = model_type(folder)
    if found != kind:
        raise ModelError(
            f"config.json must name the `model_type` {kind!r}, but names {found!r}.",
            where=str(folder),
            fix="Name a complete folder in the Hugging Face layout.",
        )
    weights.check_weights(UPath(folder), error=ModelError)


@contextmanager
def lend(source: Artifact | Checkpoint) -> Iterator[Path]:
    """Lend a local folder that holds a model: an artifact's, or exactly what a checkpoint names.

    Raises:
        ModelError: If a hub id cannot be fetched, or a folder's files are no longer those that
            `find` saw.
    """
    if isinstance(source, Artifact):
        yield local_folder(source.path)
        return
    folder = Path(source.location)
    if folder.is_dir():
        weights.check_revision(
            UPath(folder), source.revision, where=source.location, error=ModelError
        )
    else:
        folder = _fetch(source)
        check(folder, source.kind)
    yield folder


def _fetch(source: Checkpoint) -> Path:
    pin = weights.Pin(source.location, source.revision)
    return weights.in_cache(pin) or weights.fetch(pin, error=ModelError)
