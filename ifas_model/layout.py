"""The Hugging Face layout of a checkpoint folder, looked at before a library reads it.

A checkpoint is plain data of one folder: it names no code to be run, and no file that lies
elsewhere, where no hash of the folder would tell of it. transformers follows more than that: it
puts adapters into a model that has them beside it, fetches kernels that a setting names, and may be
told of code or other weights.
"""

from __future__ import annotations

from typing import Any

from ifas_model import json_data

SETTINGS_FILES = (
    "config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json",
    "tokenizer_config.json",
)  # fmt: skip
"""Files of a checkpoint folder by which transformers chooses what it does."""

INDEX = "model.safetensors.index.json"
"""File that names the files of weights which are cut into several."""

ADAPTER = "adapter_config.json"
"""File of adapters to another model, which libraries would load in its place."""

MAX_SETTINGS_BYTES = 2**22
"""Largest of them that is read; tokenizers with thousands of added words take a hundredth."""

LEADS = {
    "auto_map": "code of its own",
    "quantization_config": "a quantization",
    "fusion_config": "a fusion",
    "transformers_weights": "other weights",
    "initial_weights": "other weights",
}
"""Settings that send a library on to code or files that are no part of the checkpoint."""


def check_folder(folder: Any) -> None:  # noqa: ANN401 - a Path or a UPath
    """Check that a checkpoint folder holds weights and settings, and leads nowhere else.

    What libraries find by themselves, such as weights that are not there, is left to them.

    Args:
        folder: On this disk or elsewhere.

    Raises:
        ValueError: If it holds adapters, settings that lead elsewhere or are no plain settings, or
            an index that names anything but files of safetensors in the folder.
        OSError: If its settings cannot be read.
    """
    if (folder / ADAPTER).exists():
        raise ValueError("its adapters must be merged into its weights, but lie beside them.")
    for name in SETTINGS_FILES:
        if (folder / name).is_file() and (found := _lead(_read(folder, name))) is not None:
            raise ValueError(f"{name} must keep to the folder, but names {found}.")
    if (folder / INDEX).is_file():
        _check_index(folder)


def model_type(folder: Any) -> str | None:  # noqa: ANN401 - a Path or a UPath
    """Return what kind of model a folder's ``config.json`` names, if it is there and sound."""
    try:
        found = _read(folder, "config.json").get("model_type")
    except (OSError, ValueError):
        return None
    return found if isinstance(found, str) else None


def _read(folder: Any, name: str) -> dict[str, Any]:  # noqa: ANN401 - a Path or a UPath
    try:
        settings = json_data.read(folder / name, max_bytes=MAX_SETTINGS_BYTES)
    except ValueError as error:
        raise ValueError(f"{name} must be JSON: {error}.") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{name} must hold a mapping, but holds {settings!r:.80}.")  # noqa: TRY004 - the file is wrong, no caller
    return settings


def _lead(data: Any, setting: str = "") -> str | None:  # noqa: ANN401 - plain data
    """Return the first setting, however deep, that leads elsewhere, and to what."""
    if isinstance(data, dict):
        for key, value in data.items():
            if value is not None and key in LEADS:
                return f"{LEADS[key]} (`{key}`)"
            if found := _lead(value, key if "_implementation" in key else setting):
                return found
    elif isinstance(data, list):
        return next((found for one in data if (found := _lead(one, setting))), None)
    elif setting and isinstance(data, str) and "/" in data:
        return f"a kernel, {data!r:.80} (`{setting}`)"
    return None


def _check_index(folder: Any) -> None:  # noqa: ANN401 - a Path or a UPath
    try:
        names = sorted(set(_read(folder, INDEX)["weight_map"].values()))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{INDEX} must map weights to files, but is damaged.") from error
    for name in names:
        if not isinstance(name, str) or not name.endswith(".safetensors"):
            raise ValueError(f"{INDEX} must name files of safetensors, but names {name!r}.")
        if "/" in name or "\\" in name:
            raise ValueError(f"{INDEX} must keep to the folder, but names {name!r}.")
        if not (folder / name).is_file():
            raise ValueError(f"{INDEX} must name files that are there, but names {name!r}.")
