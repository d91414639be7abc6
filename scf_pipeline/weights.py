"""Published weights: folders in the Hugging Face layout, and hub ids that are pinned to a revision.

Captioners and the models of the trainer are both named so, and refused for the same faults; whoever
asks says which error that is.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

from upath import UPath

from ifas_model.layout import check_folder
from scf_pipeline.config import digest
from scf_pipeline.errors import ScfError
from scf_pipeline.files import MANIFEST, SETTINGS

WANTED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
"""Files of a checkpoint that are read. Pickled weights and code are not among them; templates of
conversations are, which transformers runs in a sandbox."""

HUB_ID = re.compile(r"(?P<id>[\w-][\w.-]*/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
BRANCHES = frozenset({"main", "master", "HEAD"})
"""Revisions that move, as all do whose names begin with `REFS`."""

REFS = "refs/"


class Pin(NamedTuple):
    """A hub id and the revision that stays what it is."""

    hub_id: str
    revision: str


def pinned(text: str, *, error: type[ScfError]) -> Pin:
    """Return what ``hub-id@revision`` names; nothing is downloaded.

    Args:
        text: What names no folder.
        error: Kind of the refusal.

    Raises:
        ScfError: If it is no hub id, or one without a revision, or with one that moves.
    """
    match = HUB_ID.fullmatch(text)
    if match is None:
        raise error(
            "A checkpoint must be a folder or a hub id with its revision, but there is no such "
            "folder.",
            where=text,
            fix="Correct the path, or write a hub id as `owner/name@revision`.",
        )
    revision = match["revision"]
    if revision is None or revision in BRANCHES or revision.startswith(REFS):
        found = "has none" if revision is None else f"is the branch {revision!r}, which moves"
        raise error(
            f"A hub id must be pinned to a revision, but it {found} "
            f"(and there is no folder of this name).",
            where=text,
            fix=f"Write `{match['id']}@` and the 40 hex digits of a commit, or a tag.",
        )
    return Pin(match["id"], revision)


def in_cache(pin: Pin) -> Path | None:
    """Return the folder of the hub's cache that holds a revision; without a look at the network."""
    from huggingface_hub import snapshot_download

    patterns = list(WANTED)
    try:
        return Path(
            snapshot_download(
                pin.hub_id, revision=pin.revision, allow_patterns=patterns, local_files_only=True
            )
        )
    except (OSError, ValueError):  # of the first kind is the hub's own, where nothing is there
        return None


def fetch(pin: Pin, *, error: type[ScfError]) -> Path:
    """Return a folder of the hub's cache that holds a revision, fetched if it is not there.

    Args:
        pin: Which.
        error: Kind of the refusal.

    Raises:
        ScfError: If it is neither there nor within reach.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(pin.hub_id, revision=pin.revision, allow_patterns=list(WANTED))
        )
    except (OSError, ValueError) as cause:
        raise error(
            f"A hub id must be in the local cache or within reach, but is not: {cause}.",
            where=f"{pin.hub_id}@{pin.revision}",
            fix="Fetch it once on a machine with network access, or name a local folder.",
        ) from cause


def check_weights(folder: UPath, *, error: type[ScfError]) -> None:
    """Refuse a folder that holds no safetensors, or leads elsewhere.

    Args:
        folder: On this disk or elsewhere.
        error: Kind of the refusal.

    Raises:
        ScfError: If it is refused.
    """
    if not any(True for _ in folder.glob("*.safetensors")):
        raise error(
            "A checkpoint must hold its weights as safetensors, but has no such file.",
            where=str(folder),
            fix="Convert them once, with `from_pretrained` and `save_pretrained` of its class in "
            "transformers; pickled weights are not read.",
        )
    try:
        check_folder(folder)
    except (OSError, ValueError) as cause:
        raise error(
            f"A checkpoint must be weights and settings alone, but is not: {cause}",
            where=str(folder),
            fix="Name a plain checkpoint, as it was published; merge adapters into it.",
        ) from cause


def check_revision(folder: UPath, revision: str, *, where: str, error: type[ScfError]) -> None:
    """Refuse a folder whose files are no longer those that a revision names.

    Args:
        folder: On this disk or elsewhere.
        revision: What `content_revision` said of it.
        where: What the user knows it by.
        error: Kind of the refusal.

    Raises:
        ScfError: If one was edited, added or removed.
    """
    if (found := content_revision(folder)) != revision:
        raise error(
            f"A checkpoint must have the files that its revision {revision} names, "
            f"but they hash to {found}: it was edited or damaged.",
            where=where,
            fix="Restore the folder, or rerun the stage that writes it.",
        )


def content_revision(folder: UPath) -> str:
    """Return the hash of those files of a folder that are read."""
    hashes = {}
    for file in folder.iterdir():
        if is_read(file.name) and file.is_file():
            sha = hashlib.sha256()
            with file.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    sha.update(chunk)
            hashes[file.name] = sha.hexdigest()
    return revision_of(hashes)


def revision_of(hashes: dict[str, str]) -> str:
    """Return the revision of a folder whose files have these SHA-256, by name."""
    return digest({name: sha for name, sha in hashes.items() if is_read(name)})[:12]


def is_read(name: str) -> bool:
    """Tell whether a file of a checkpoint, by its path below the folder, is read."""
    if "/" in name or name in (MANIFEST, SETTINGS):
        return False
    return any(Path(name).match(pattern) for pattern in WANTED)
