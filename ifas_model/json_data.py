"""JSON of strangers: no larger and no deeper than what this project writes could be."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from upath import UPath

MAX_BYTES = 64 * 2**20
"""Largest file that is read; the manifest of a hundred thousand files takes a quarter of it."""

MAX_DEPTH = 64
"""Deepest nesting that is read; the project's own files nest ten deep."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read(file: Path | UPath, *, max_bytes: int = MAX_BYTES) -> Any:  # noqa: ANN401 - plain data
    """Return the plain data of a JSON file, on this disk or elsewhere.

    Raises:
        ValueError: As `read_bytes` and `parse` do.
        OSError: If the file cannot be read.
    """
    return parse(read_bytes(file, max_bytes=max_bytes))


def read_bytes(file: Path | UPath, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of a file that is not too large.

    Raises:
        ValueError: If it is larger than `max_bytes`.
        OSError: If the file cannot be read.
    """
    with file.open("rb") as stream:
        raw: bytes = stream.read(max_bytes + 1)
    if len(raw) > max_bytes:
        raise ValueError(f"it must hold at most {max_bytes} bytes, but holds more")
    return bytes(raw)


def parse(raw: bytes) -> Any:  # noqa: ANN401 - plain data
    """Return the plain data of a JSON text.

    Raises:
        ValueError: If it is none, holds a number of thousands of digits or text that cannot be
            written, or is deeper than `MAX_DEPTH`.
    """
    text = raw.decode("utf-8")
    try:
        data = json.loads(text)
    except RecursionError as error:
        raise _too_deep() from error
    if _SURROGATE.search(text):  # which may be one half of a character, without the other
        json.dumps(data, ensure_ascii=False).encode("utf-8")
    level = [data]
    for _ in range(MAX_DEPTH):
        level = [below for one in level for below in _below(one)]
        if not level:
            return data
    raise _too_deep()


def _below(data: Any) -> list[Any]:  # noqa: ANN401 - plain data
    """Return the mappings and lists that one of them holds."""
    held = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return [one for one in held if isinstance(one, dict | list)]


def _too_deep() -> ValueError:
    return ValueError(f"it must nest at most {MAX_DEPTH} levels, but nests deeper")
