"""The Hugging Face layout of a checkpoint folder, looked at before a library reads it.

A checkpoint is plain data of one folder: it names no code to be run, and no file that lies
elsewhere, where no hash of the folder would tell of it.
"""

from __future__ import annotations

import json
from typing import Any

INDEX = "model.safetensors.index.json"
"""File that names the files of weights which are cut into several."""

CONFIGS = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer_config.json",
)
"""Files from which libraries read what to make of a folder."""

CODE = "auto_map"
"""Key under which such a file names classes of the folder's own modules."""

KERNELS = ("attn_implementation", "_attn_implementation")
"""Keys under which such a file may name a hub's repository of compiled code."""

ADAPTER = "adapter_config.json"
"""File of adapters to another model, which libraries would load in its place."""

_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


def flaw(folder: Any) -> str | None:  # noqa: ANN401 - a Path or a UPath
    """Return in words why a checkpoint folder must not be read, or ``None``.

    What libraries find by themselves, such as weights that are not there, is left to them.

    Args:
        folder: The folder, on this machine or elsewhere.
    """
    for name in CONFIGS:
        if (folder / name).is_file() and (key := _names_code(_read(folder / name))):
            return f"{name} names code to run (`{key}`)"
    if (folder / ADAPTER).is_file():
        return f"{ADAPTER} makes it an adapter of another model"
    if (folder / INDEX).is_file():
        return _flaw_of_index(folder)
    return None


def model_type(folder: Any) -> str | None:  # noqa: ANN401 - a Path or a UPath
    """Return what kind of model a folder's ``config.json`` names, if it is there and sound."""
    data = _read(folder / "config.json")
    found = data.get("model_type") if isinstance(data, dict) else None
    return found if isinstance(found, str) else None


def _flaw_of_index(folder: Any) -> str | None:  # noqa: ANN401 - a Path or a UPath
    index = _read(folder / INDEX)
    try:
        names = sorted(set(index["weight_map"].values()))
    except _DAMAGE:
        return f"{INDEX} is damaged"
    for name in names:
        if not isinstance(name, str) or not name.endswith(".safetensors"):
            return f"{INDEX} names {name!r}, which is no file of safetensors"
        if "/" in name or "\\" in name:
            return f"{INDEX} names {name!r}, which lies elsewhere"
        if not (folder / name).is_file():
            return f"{INDEX} names {name!r}, which is absent"
    return None


def _read(file: Any) -> Any:  # noqa: ANN401 - whatever the JSON holds
    """Return what a JSON file holds; nothing if it is damaged, of which its reader will tell."""
    try:
        return json.loads(file.read_bytes())
    except _DAMAGE:
        return None


def _names_code(data: object) -> str:
    """Return the key under which code is named, at any depth; nothing if there is none."""
    if isinstance(data, list):
        return next(filter(None, map(_names_code, data)), "")
    if not isinstance(data, dict):
        return ""
    if data.get(CODE):
        return CODE
    fetched = [key for key in KERNELS if "/" in json.dumps(data.get(key))]
    return fetched[0] if fetched else _names_code(list(data.values()))
