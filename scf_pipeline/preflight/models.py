"""The models of a site: whether they are there or within reach, pinned, and what they hold."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ifas_model import json_data
from ifas_model.layout import MAX_SETTINGS_BYTES
from scf_pipeline import captioners, checkpoints, weights
from scf_pipeline.captioners._checkpoint import KINDS
from scf_pipeline.errors import ScfError
from scf_pipeline.preflight.findings import (
    Finding,
    missing,
    note,
    of_error,
    ready,
    reason_of,
)
from scf_pipeline.steps import External, Wanted

COMMIT = re.compile(r"[0-9a-f]{40}")
"""What pins a hub id: tags and branches move."""

MAX_HEADER_BYTES = 100_000_000
"""Longest table of contents of a safetensors file; the format's own limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A model that is there, or within reach."""

    external: External
    """As the flow takes it."""

    folder: Path | None
    """Where it lies; ``None`` if it is still to be fetched."""

    @property
    def parameters(self) -> int | None:
        """Number of its weights, of which nothing is read but where they lie."""
        return None if self.folder is None else count_parameters(self.folder)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Its ``config.json``."""
        return {} if self.folder is None else _settings(self.folder)


def check_models(
    texts: Mapping[str, str], wanted: Mapping[str, Wanted]
) -> tuple[dict[str, Held], list[Finding]]:
    """Return every wanted model that the texts name and that can be used, and what was found."""
    held: dict[str, Held] = {}
    findings = []
    for name, one in wanted.items():
        try:
            found, finding = _look(name, texts.get(name, one.published), one)
        except ScfError as error:
            found, finding = None, of_error(name, error)
        if found is not None:
            held[name] = found
        findings.append(finding)
    return held, findings


def _look(name: str, text: str, wanted: Wanted) -> tuple[Held | None, Finding]:
    location = _without_backend(text)
    folder = Path(location).expanduser()
    if folder.is_dir():
        return _local(name, text, folder, wanted)
    match = weights.HUB_ID.fullmatch(location)
    if match is None:
        fix = f"Correct the path, or write `{name}: {wanted.published}@<commit>`."
        return None, missing(name, f"there is no folder {text!r}", fix=fix)
    if not COMMIT.fullmatch(match["revision"] or ""):
        return None, missing(
            name,
            f"a hub id must be pinned to a commit, but {text!r} is not",
            fix=f"Write `{name}: {match['id']}@` and the 40 hex digits of a commit, which the "
            "hub's page of the model lists, or name a folder.",
        )
    external = External(text, wanted.kind)
    pin = weights.Pin(match["id"], match["revision"])
    if (cached := weights.in_cache(pin)) is None:
        return _reach(name, external, pin)
    checkpoints.check(cached, wanted.kind or KINDS["blip2"])
    return _fits(
        name, Held(external=external, folder=cached), wanted, f"{text}, in the hub's cache"
    )


def _local(name: str, text: str, folder: Path, wanted: Wanted) -> tuple[Held | None, Finding]:
    found = (
        captioners.find(text) if wanted.kind is None else checkpoints.find(str(folder), wanted.kind)
    )
    external = External(text, wanted.kind, content=found.name)
    return _fits(name, Held(external=external, folder=folder), wanted, f"{folder} ({found.name})")


def _fits(name: str, held: Held, wanted: Wanted, told: str) -> tuple[Held | None, Finding]:
    """Return a model that lies on this disk, if it sees pictures of the size that the flow cuts."""
    side = held.settings.get("vision_config", {}).get("image_size")
    if wanted.side is not None and side != wanted.side:
        return None, missing(
            name,
            f"it must see pictures of {wanted.side} px, but sees {side}",
            fix=f"Name {wanted.published}.",
        )
    if held.parameters is None:
        return held, ready(name, told)
    return held, ready(name, f"{told}, {held.parameters / 1e6:,.1f} million weights")


def _reach(name: str, external: External, pin: weights.Pin) -> tuple[Held | None, Finding]:
    """Return a model that the hub would give, which is asked for its list of files alone."""
    from huggingface_hub import snapshot_download

    fix = "Fetch it where there is a network, or name a folder."
    try:
        files = snapshot_download(
            pin.hub_id, revision=pin.revision, allow_patterns=list(weights.WANTED), dry_run=True
        )
    except Exception as error:  # noqa: BLE001 - the client's own network library raises some
        told = "must be in the hub's cache or within reach, but is not"
        text = f"{external.name} {told}: {reason_of(error)}"
        return None, missing(name, text, fix=fix)
    if not any(file.filename.endswith(".safetensors") for file in files):
        return None, missing(
            name,
            f"{external.name} must hold its weights as safetensors, but holds none",
            fix="Convert them into a folder with `save_pretrained`, as the README shows, "
            "and name that.",
        )
    size = sum(file.file_size or 0 for file in files if file.will_download)
    held = Held(external=external, folder=None)
    return held, note(
        name, f"{external.name} is within reach; {size / 1e9:,.1f} GB will be fetched"
    )


def count_parameters(folder: Path) -> int | None:
    """Return the number of weights in a folder's safetensors; ``None`` if a file is damaged.

    A file begins with the length of its table of contents in eight bytes, and that table.
    """
    total = 0
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with file.open("rb") as stream:
                length = int.from_bytes(stream.read(8), "little")
                table = json_data.parse(stream.read(min(length, MAX_HEADER_BYTES)))
            total += sum(
                math.prod(one["shape"]) for key, one in table.items() if key != "__metadata__"
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
    return total


def _settings(folder: Path) -> Mapping[str, Any]:
    try:
        data = json_data.read(folder / "config.json", max_bytes=MAX_SETTINGS_BYTES)
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _without_backend(text: str) -> str:
    """Return a model's text without the captioner's backend that may stand before a colon."""
    prefix, colon, rest = text.partition(":")
    return rest if colon and prefix.isidentifier() and not rest.startswith("//") else text
