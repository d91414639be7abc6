"""Checkpoint folders in the Hugging Face layout, and what is said of broken ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, PreTrainedConfig

from ifas_model import json_data
from ifas_model.errors import ModelError

if TYPE_CHECKING:
    from upath import UPath

_FIX = "Name a complete folder in the Hugging Face layout, with weights as safetensors."
BROKEN = (
    *(OSError, ValueError, LookupError, TypeError, RuntimeError, OverflowError),
    *(SafetensorError, StrictDataclassError, UnpicklingError),
)
"""What transformers, tokenizers, safetensors and torch raise of files that are not what they say;
the last is torch's refusal of a pickle that would do more than make tensors."""

SETTINGS_FILES = (
    "config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json",
    "tokenizer_config.json",
)  # fmt: skip
"""Files of a checkpoint folder by which transformers chooses what it does."""

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


@contextmanager
def reading(folder: Path, fix: str = _FIX) -> Iterator[None]:
    """Say of what goes wrong inside the block that it is the folder's fault.

    Args:
        folder: The checkpoint.
        fix: What to do if it is broken.

    Raises:
        ModelError: If there is no such folder, it leads elsewhere (see `check_folder`), or the
            block raises what libraries raise of broken files.
    """
    if not folder.is_dir():
        raise ModelError("A checkpoint must be a folder, but is none.", where=str(folder), fix=_FIX)
    try:
        check_folder(folder)
        yield
    except BROKEN as error:
        raise ModelError(
            f"A checkpoint must be complete and sound, but is not: {error}",
            where=str(folder),
            fix=fix,
        ) from error


def check_folder(folder: Path | UPath) -> None:
    """Check that a checkpoint folder holds weights and settings, and leads nowhere else.

    transformers follows more than that: it puts adapters into a model that has them beside it,
    fetches kernels that a setting names, and may be told of code or other weights.

    Args:
        folder: On this disk or elsewhere.

    Raises:
        ValueError: If it holds adapters, or settings that lead elsewhere or are no plain settings.
        OSError: If its settings cannot be read.
    """
    if (folder / "adapter_config.json").exists():
        raise ValueError("its adapters must be merged into its weights, but lie beside them.")
    for name in SETTINGS_FILES:
        if (folder / name).is_file():
            try:
                settings = json_data.read(folder / name, max_bytes=MAX_SETTINGS_BYTES)
            except ValueError as error:
                raise ValueError(f"{name} must be JSON: {error}.") from error
            if not isinstance(settings, dict):
                raise ValueError(f"{name} must hold a mapping, but holds {settings!r:.80}.")
            if (found := _lead(settings)) is not None:
                raise ValueError(f"{name} must keep to the folder, but names {found}.")


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


def load_weights(kind: Any, folder: Path) -> Any:  # noqa: ANN401 - factories of transformers are untyped
    """Return a model of a local folder, in evaluation mode.

    Args:
        kind: A `PreTrainedModel` class.
        folder: In the Hugging Face layout.

    Raises:
        ModelError: If the folder holds no checkpoint of this class in safetensors, or one that
            lacks a weight.
    """
    with reading(folder):
        model, report = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
        if missing := sorted(report["missing_keys"]):
            raise ValueError(f"it must hold every weight, but lacks {missing[0]!r}.")
    return model.eval()


class IFasModelConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]
    """What a checkpoint's ``config.json`` holds: all settings as plain data."""

    model_type = "ifas"

    settings: dict[str, Any] | None = None
    """`IFasConfig`, with the connector's widths."""

    vision: dict[str, Any] | None = None
    """`CLIPVisionConfig`."""

    text: dict[str, Any] | None = None
    """`OPTConfig`."""

    words: dict[str, Any] | None = None
    """`language.Words`."""

    pixels: dict[str, Any] | None = None
    """`vision.Pixels`."""

    def held(self, name: str) -> dict[str, Any]:
        """Return one of the five.

        Raises:
            ValueError: If it is not held, as in a config that no model wrote.
        """
        found: dict[str, Any] | None = getattr(self, name)
        if found is None:
            raise ValueError(f"`config` must hold `{name}`, but does not: use `IFas.build`.")
        return found


AutoConfig.register("ifas", IFasModelConfig)  # so that AutoTokenizer knows the folder
