"""Where a checkpoint lies, and which one it is: folders, sealed artifacts, pinned hub ids.

A private module is no entry of the registry.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from upath import UPath

from ifas_model import json_data
from ifas_model.layout import MAX_SETTINGS_BYTES, check_folder
from scf_pipeline.captioners import DEFAULT_BACKEND, Model
from scf_pipeline.config import digest
from scf_pipeline.errors import CaptionerError
from scf_pipeline.files import MANIFEST, SETTINGS
from scf_pipeline.store import Artifact

KINDS = {"blip2": "blip-2"}
"""Backends that run one kind of model alone, and its ``model_type``."""

WANTED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
"""Files of a checkpoint that are read. Pickled weights and code are not among them; templates of
conversations are, which transformers runs in a sandbox."""

HUB_ID = re.compile(r"(?P<id>[\w-][\w.-]*/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
BRANCHES = frozenset({"main", "master", "HEAD"})
"""Revisions that move, as all do whose names begin with `REFS`."""

REFS = "refs/"


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
    match = HUB_ID.fullmatch(text)
    if match is None:
        raise CaptionerError(
            "A captioner must be a checkpoint folder or a hub id with revision, "
            "but there is no such folder.",
            where=text,
            fix="Correct the path, or write a hub id as `owner/name@revision`.",
        )
    revision = match["revision"]
    if revision is None or revision in BRANCHES or revision.startswith(REFS):
        found = "has none" if revision is None else f"is the branch {revision!r}, which moves"
        raise CaptionerError(
            f"A hub id must be pinned to a revision, but it {found} "
            f"(and there is no folder of this name).",
            where=text,
            fix=f"Write `{match['id']}@` and the 40 hex digits of a commit, or a tag.",
        )
    return Model(backend=backend, location=match["id"], revision=revision)


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
        found = content_revision(UPath(local))
        if found != model.revision:
            raise CaptionerError(
                f"A checkpoint must have the files that its revision {model.revision} names, "
                f"but they hash to {found}: it was edited or damaged.",
                where=model.location,
                fix="Restore the folder, or rerun the stage that writes it.",
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
        return content_revision(folder)
    _check_kind(folder, backend)
    return _short({name: entry["sha256"] for name, entry in files.items()})


def content_revision(folder: UPath) -> str:
    """Return the hash of those files of a folder that are read."""
    hashes = {}
    for file in folder.iterdir():
        if _is_read(file.name) and file.is_file():
            sha = hashlib.sha256()
            with file.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    sha.update(chunk)
            hashes[file.name] = sha.hexdigest()
    return _short(hashes)


def _short(hashes: dict[str, str]) -> str:
    return digest({name: sha for name, sha in hashes.items() if _is_read(name)})[:12]


def _is_read(name: str) -> bool:
    if "/" in name or name in (MANIFEST, SETTINGS):
        return False
    return any(Path(name).match(pattern) for pattern in WANTED)


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
    if not any(True for _ in folder.glob("*.safetensors")):
        raise CaptionerError(
            "A checkpoint must hold its weights as safetensors, but has no such file.",
            where=str(folder),
            fix="Convert them once, with `from_pretrained` and `save_pretrained` of its class in "
            "transformers; pickled weights are not read.",
        )
    try:
        check_folder(folder)
    except (OSError, ValueError) as error:
        raise CaptionerError(
            f"A checkpoint must be weights and settings alone, but is not: {error}",
            where=str(folder),
            fix="Name a plain checkpoint; merge adapters into it.",
        ) from error


def _copy(folder: UPath, target: Path) -> Path:
    for file in folder.iterdir():
        if file.is_file() and _is_read(file.name):
            (target / file.name).write_bytes(file.read_bytes())
    return target


def _fetch(model: Model) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = Path(
            snapshot_download(model.location, revision=model.revision, allow_patterns=list(WANTED))
        )
    except (OSError, ValueError) as error:
        raise CaptionerError(
            f"A hub id must be in the local cache or within reach, but is not: {error}.",
            where=f"{model.location}@{model.revision}",
            fix="Fetch it once on a machine with network access, or name a local folder.",
        ) from error
    _check_kind(UPath(folder), model.backend)
    return folder
