"""The manifest of an artifact as data: what it must hold, and the seal that keeps it from edits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from scf_pipeline.config import digest
from scf_pipeline.counts import Counts
from scf_pipeline.files import DATA, part_number
from scf_pipeline.schema import is_below
from scf_pipeline.settings import Settings

SEAL = "seal"
"""Key of a manifest: the hash of all the rest of it."""


@dataclass(kw_only=True)
class _Provenance:
    """What a manifest tells beside settings, counts and files; all of it is for people."""

    notes: dict[str, Any] = field(default_factory=dict)
    packages: dict[str, str | None] = field(default_factory=dict)
    commit: str | None = None
    machine: str | None = None
    seconds: Annotated[float, Field(strict=True)] | None = None


_PROVENANCE = TypeAdapter(_Provenance)


def with_seal(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest as its reader will have it, with the hash of all that it holds."""
    told: dict[str, Any] = json.loads(to_json(manifest))
    return told | {SEAL: digest(told)}


def to_json(data: object) -> bytes:
    """Return plain data as the project's own files hold it."""
    return (json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def check(manifest: Any) -> None:  # noqa: ANN401 - whatever the JSON holds
    """Check that a manifest is as a stage wrote it.

    Args:
        manifest: What its file holds, whatever that is.

    Raises:
        Exception: One of `scf_pipeline.settings.DAMAGE`, if it is not.
    """
    if Settings.from_dict(manifest).fingerprint != manifest["fingerprint"]:
        raise ValueError("the fingerprint is not that of its settings")
    if Counts.from_dict(manifest["counts"]).to_dict() != manifest["counts"]:
        raise ValueError("the counts do not add up")
    if not all(map(_is_named, manifest["inputs"].values())):
        raise TypeError("an input is neither a name nor a list of names")
    _PROVENANCE.validate_python(manifest)
    for name, entry in manifest["files"].items():
        _check_entry(name, entry)
    rest = {name: value for name, value in manifest.items() if name != SEAL}
    if manifest.get(SEAL, digest(rest)) != digest(rest):  # absent where an earlier version wrote it
        raise ValueError("its content was edited: the seal is that of another")


def _check_entry(name: str, entry: Any) -> None:  # noqa: ANN401 - whatever the JSON holds
    if not is_below(name) or "://" in name:
        raise ValueError(f"the file {name!r} lies elsewhere")
    if not isinstance(entry["sha256"], str) or not isinstance(entry["bytes"], int):
        raise TypeError(f"the entry of the file {name!r} is {entry!r}")
    if name.startswith(f"{DATA}/part-"):
        part_number(name)


def _is_named(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(map(_is_named, value)))
