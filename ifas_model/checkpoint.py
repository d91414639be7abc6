"""Checkpoint folders in the Hugging Face layout, and what is said of broken ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, PreTrainedConfig

from ifas_model.errors import ModelError

_FIX = "Name a complete folder in the Hugging Face layout, with weights as safetensors."
_BROKEN = (OSError, ValueError, KeyError, RuntimeError, SafetensorError, StrictDataclassError)
"""What transformers, tokenizers and safetensors raise of folders that are not what they say."""


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Say of what goes wrong inside the block that it is the folder's fault.

    Raises:
        ModelError: If there is no such folder, or the block raises what libraries raise of broken
            files.
    """
    if not folder.is_dir():
        raise ModelError("A checkpoint must be a folder, but is none.", where=str(folder), fix=_FIX)
    try:
        yield
    except _BROKEN as error:
        raise ModelError(
            f"A checkpoint must be complete and sound, but is not: {error}",
            where=str(folder),
            fix=_FIX,
        ) from error


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
