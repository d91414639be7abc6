"""Identity of a config, and strict building of configs from plain data and YAML files."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Hashable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from scf_pipeline.errors import ConfigError

STRICT = ConfigDict(extra="forbid")
"""Setting of every config dataclass: an unknown field is an error."""

MAX_YAML_BYTES = 1_000_000
"""Largest settings file that is read; the project's own are a few kilobytes."""

T = TypeVar("T")


def canonical(data: object) -> str:
    """Return the one JSON text of plain data: sorted keys, no spaces."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(data: object) -> str:
    """Return the SHA-256 of plain data, as 64 hex digits."""
    return hashlib.sha256(canonical(data).encode("utf-8", "surrogatepass")).hexdigest()


def to_data(config: Any) -> dict[str, Any]:  # noqa: ANN401 - any config dataclass
    """Return a config as plain data in which a file stands for its content.

    A field that holds a path becomes ``{"sha256": ...}`` of the file, so that identity follows
    what a file says and not where it lies.

    Raises:
        ConfigError: If a file that the config names cannot be read.
    """
    data: dict[str, Any] = TypeAdapter(type(config)).dump_python(config, mode="json")
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, Path):
            data[field.name] = {"sha256": hash_file(value, field=field.name)}
    return data


def hash_file(path: Path, *, field: str) -> str:
    """Return the SHA-256 of a file that a setting names.

    Raises:
        ConfigError: If the file cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(
            f"`{field}` must name a readable file, but reading it failed: {error.strerror}.",
            where=str(path),
            fix="Correct the path.",
        ) from error


def build(kind: type[T], data: Mapping[str, Any], *, where: str) -> T:
    """Build a config dataclass from plain data, strictly.

    Args:
        kind: The config dataclass.
        data: Field values by name.
        where: File or source of the data, for the message.

    Raises:
        ConfigError: If a field is unknown, missing, or of a wrong type or value; the message names
            the dotted field, and for an unknown one the nearest known field.
    """
    try:
        return TypeAdapter(kind).validate_python(dict(data))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        known = [f.name for f in dataclasses.fields(kind)]  # type: ignore[arg-type]
        if first["type"] == "unexpected_keyword_argument":
            near = get_close_matches(field, known, n=1) or sorted(known)
            raise ConfigError(
                f"A setting must be one of `{kind.__name__}`'s, but is {field!r}.",
                where=f"{where}: {field}",
                fix=f"Did you mean {', '.join(near)}?",
            ) from error
        raise ConfigError(
            f"`{field}` is not valid: {first['msg']} (got {first.get('input')!r}).",
            where=f"{where}: {field}",
            fix=f"Correct this field of `{kind.__name__}`.",
        ) from error


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML that refuses duplicate keys and aliases."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases are not allowed here", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable) or key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"key {key!r} occurs twice", problem_mark=key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping, safely.

    Raises:
        ConfigError: If the file cannot be read, is larger than `MAX_YAML_BYTES`, is no YAML, holds
            a duplicate key or an alias, or is not a mapping; the message names file and line.
    """
    where, fix = str(path), "Correct the file."
    try:
        raw = path.read_bytes()
        if len(raw) > MAX_YAML_BYTES:
            raise ConfigError(
                f"A settings file must be at most {MAX_YAML_BYTES} bytes, but has {len(raw)}.",
                where=where,
                fix="Name the right file.",
            )
        data = yaml.load(raw.decode("utf-8"), Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise ConfigError(
            f"A settings file must be readable, but: {error.strerror}.", where=where, fix=fix
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f"{where}:{mark.line + 1}" if mark else where
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(
            f"A settings file must be YAML, but {problem}.", where=line, fix=fix
        ) from (error)
    if not isinstance(data, dict):
        raise ConfigError(
            f"A settings file must hold `key: value` lines, but holds a {type(data).__name__}.",
            where=where,
            fix=fix,
        )
    return data
