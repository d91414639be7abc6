"""Where a checkpoint lies, and which one it is: folders, sealed artifacts, pinned hub ids.

A private module is no entry of the registry.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from upath import UPath

from ifas_model import json_data
from ifas_model.layout import MAX_SETTINGS_BYTES
from scf_pipeline import weights
from scf_pipeline.captioners import DEFAULT_BACKEND, Model
from scf_pipeline.errors import CaptionerError
from scf_pipeline.files import MANIFEST, SETTINGS
from scf_pipeline.store import Artifact

KINDS = {"blip2": "blip-2"}
"""Backends that run one kind of model alone, and its ``model_type``."""


def resolve(text: str, *, backend: str = DEFAULT_BACKEND) -> Model:
    """Return the model that a checkpoint folder or ``hub-id@revision`` names.

    Nothing is downloaded. The revision of a folder is the hash of its files.

    Args:
        text: Folder or hub id.
        backend: Which is to run it.

    Raises:
        CaptionerError: If there is no such folder and the text is no pinned hub id, or if the
            folder is unfinished, holds no safetensors, or another kind of model than the backend
            runs.
    """
    folder = UPath(text).expanduser()
    if folder.is_dir():
        revision = _revision(folder, backend)
        return Model(backend=backend, location=str(folder), revision=revision)
    pin = weights.pinned(text, error=CaptionerError)
    return Model(backend=backend, location=pin.hub_id, revision=pin.revision)


@contextmanager
def checkpoint_folder(model: Model) -> Iterator[Path]:
    """Lend a local folder that holds exactly the checkpoint that the model names.

    A folder on this machine is lent as it is, a remote one is copied for the while, a hub id is
    fetched into the hub's cache.

    Raises:
        CaptionerError: If it cannot be fetched, or a folder's files are no longer those that
            `resolve` saw.
    """
    folder = UPath(model.location)
    if not folder.is_dir():
        yield _fetch(model)
        return
    with tempfile.TemporaryDirectory() as copies:
        local = folder if isinstance(folder, Path) else _copy(folder, Path(copies))
        weights.check_revision(
            UPath(local), model.revision, where=model.location, error=CaptionerError
        )
        yield Path(local)


def read_json(path: UPath) -> dict[str, Any]:
    """Return the mapping that a JSON file of a checkpoint holds.

    Raises:
        CaptionerError: If the file cannot be read or is no mapping.
    """
    try:
        data = json_data.read(path, max_bytes=MAX_SETTINGS_BYTES)
    except (OSError, ValueError) as error:
        raise CaptionerError(
            f"A checkpoint's {path.name} must be readable JSON, but: {error}.",
            where=str(path),
            fix="Fetch the checkpoint again.",
        ) from error
    if not isinstance(data, dict):
        raise CaptionerError(
            f"A checkpoint's {path.name} must hold a mapping, but holds a {type(data).__name__}.",
            where=str(path),
            fix="Fetch the checkpoint again.",
        )
    return data


def _revision(folder: UPath, backend: str) -> str:
    """Return a folder's revision; of a sealed artifact without reading its weights."""
    if (folder / MANIFEST).is_file():
        files = Artifact.open(folder).files
    elif (folder / SETTINGS).is_file():
        raise CaptionerError(
            "A captioner's folder must be finished, but holds settings.json and no manifest.json.",
            where=str(folder),
            fix="Rerun the stage that writes it; it resumes from its last checkpoint.",
        )
    else:
        _check_kind(folder, backend)
        return weights.content_revision(folder)
    _check_kind(folder, backend)
    return weights.revision_of({name: entry["sha256"] for name, entry in files.items()})


def _check_kind(folder: UPath, backend: str) -> None:
    kind = read_json(folder / "config.json").get("model_type")
    wanted = KINDS.get(backend, kind)
    if kind != wanted:
        raise CaptionerError(
            f"A captioner's config.json must have `model_type` {wanted!r}, but has {kind!r}.",
            where=str(folder),
            fix="Name a BLIP-2 checkpoint in the Hugging Face layout, or write "
            "`image_text_to_text:` before the name of another.",
        )
    weights.check_weights(folder, error=CaptionerError)


def _copy(folder: UPath, target: Path) -> Path:
    for file in folder.iterdir():
        if file.is_file() and weights.is_read(file.name):
            (target / file.name).write_bytes(file.read_bytes())
    return target


def _fetch(model: Model) -> Path:
    folder = weights.fetch(weights.Pin(model.location, model.revision), error=CaptionerError)
    _check_kind(UPath(folder), model.backend)
    return folder
