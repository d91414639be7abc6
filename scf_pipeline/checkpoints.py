"""Models for the trainer that no stage made: CLIP and OPT as folders or pinned hub ids."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from upath import UPath

from ifas_model.layout import check_folder, model_type
from scf_pipeline.captioners._checkpoint import HUB_ID, WANTED, content_revision
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
        return Checkpoint(kind=kind, location=str(folder), revision=content_revision(UPath(folder)))
    match = HUB_ID.fullmatch(text)
    if match is None or match["revision"] is None:
        raise ModelError(
            "A model must be a checkpoint folder or a hub id with its revision, but is neither.",
            where=text,
            fix="Correct the path, or write a hub id as `owner/name@revision`.",
        )
    return Checkpoint(kind=kind, location=match["id"], revision=match["revision"])


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
    if not any(True for _ in folder.glob("*.safetensors")):
        raise ModelError(
            "A checkpoint must hold its weights as safetensors, but has no such file.",
            where=str(folder),
            fix="Convert the weights with `save_pretrained`; pickled weights are not read.",
        )
    try:
        check_folder(folder)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"A checkpoint must be weights and settings alone, but is not: {error}",
            where=str(folder),
            fix="Name the folder of a plain model, as it was published.",
        ) from error


def in_cache(hub_id: str, revision: str) -> Path | None:
    """Return the folder of the hub's cache that holds a revision; without a look at the network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                hub_id, revision=revision, allow_patterns=list(WANTED), local_files_only=True
            )
        )
    except (LocalEntryNotFoundError, OSError, ValueError):
        return None


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
    if not folder.is_dir():
        folder = _fetch(source)
        check(folder, source.kind)
    elif (found := content_revision(UPath(folder))) != source.revision:
        raise ModelError(
            f"A checkpoint must have the files that its revision {source.revision} names, "
            f"but they hash to {found}: it was edited or damaged.",
            where=source.location,
            fix="Restore the folder.",
        )
    yield folder


def _fetch(source: Checkpoint) -> Path:
    from huggingface_hub import snapshot_download

    if (cached := in_cache(source.location, source.revision)) is not None:
        return cached
    try:
        return Path(
            snapshot_download(
                source.location, revision=source.revision, allow_patterns=list(WANTED)
            )
        )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"A hub id must be in the local cache or within reach, but is not: {error}.",
            where=f"{source.location}@{source.revision}",
            fix="Fetch it once on a machine with network access, or name a local folder.",
        ) from error
