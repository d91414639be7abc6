"""Identity of a config: its plain data, in which files stand for their content, and a digest."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from scf_pipeline.errors import ConfigError


def canonical(data: object) -> str:
    """Return the one JSON text of plain data: sorted keys, no spaces."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(data: object) -> str:
    """Return the SHA-256 of plain data, as 64 hex digits."""
    return hashlib.sha256(canonical(data).encode("utf-8", "surrogatepass")).hexdigest()


def to_data(config: Any) -> dict[str, Any]:  # noqa: ANN401 - any config dataclass
    """Return a config as plain data in which a file stands for its content.

    A path, however deep in the config, becomes ``{"sha256": ...}`` of the file, so that identity
    follows what a file says and not where it lies.

    Raises:
        ConfigError: If a file that the config names cannot be read.
    """
    data: dict[str, Any] = TypeAdapter(type(config)).dump_python(config, mode="json")
    return {name: _by_content(getattr(config, name), data[name], name) for name in data}


def _by_content(value: Any, data: Any, field: str) -> Any:  # noqa: ANN401 - any field's value
    """Return the plain data of a value, with paths replaced by the content of their files."""
    if isinstance(value, Path):
        return {"sha256": hash_file(value, field=field)}
    if isinstance(data, dict):
        values = (
            [getattr(value, name) for name in data]
            if dataclasses.is_dataclass(value)
            else value.values()
        )
        return {
            name: _by_content(item, data[name], f"{field}.{name}")
            for name, item in zip(data, values, strict=True)
        }
    if isinstance(data, list) and isinstance(value, list | tuple):
        pairs = enumerate(zip(value, data, strict=True))
        return [_by_content(item, plain, f"{field}.{n}") for n, (item, plain) in pairs]
    return data


def hash_file(path: Path, *, field: str) -> str:
    """Return the SHA-256 of a file that a setting names.

    Raises:
        ConfigError: If the file cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        problem = error.strerror or error
        raise ConfigError(
            f"`{field}` must name a readable file, but reading it failed: {problem}.",
            where=str(path),
            fix="Correct the path.",
        ) from error
