"""Checkpoint folders in the Hugging Face layout, and what is said of broken ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, PreTrainedConfig, PreTrainedTokenizerBase

from ifas_model.errors import ModelError
from ifas_model.layout import check_folder, model_type

_FIX = "Name a complete folder in the Hugging Face layout, with weights as safetensors."
_CONVERT = (
    "Convert the folder once, by the `from_pretrained(...).save_pretrained(...)` that README.md "
    "shows: it writes safetensors; pickled weights are not read."
)
BROKEN = (
    *(OSError, ValueError, LookupError, TypeError, RuntimeError, OverflowError, ImportError),
    *(SafetensorError, StrictDataclassError, UnpicklingError),
)
"""What transformers, tokenizers, safetensors and torch raise of files that are not what they say;
the last is torch's refusal of a pickle that would do more than make tensors."""


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


def load_weights(kind: Any, folder: Path, *, is_ours: bool = False) -> Any:  # noqa: ANN401 - factories of transformers are untyped
    """Return a model of a local folder, in evaluation mode.

    Args:
        kind: A `PreTrainedModel` class.
        folder: In the Hugging Face layout.
        is_ours: Whether `ifas train` wrote it. Published folders may hold weights that the class
            has no use for; ours may not.

    Raises:
        ModelError: If the folder holds no checkpoint of this class in safetensors, one that lacks a
            weight, or one with a weight that is no number.
    """
    with reading(folder, _CONVERT if _is_pickled(folder) else _FIX):
        wanted, found = kind.config_class.model_type, model_type(folder)
        if found != wanted:
            told = "is absent, damaged or names none" if found is None else f"names {found!r}"
            raise ValueError(f"config.json must name the `model_type` {wanted!r}, but {told}.")
        model, report = kind.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        if (problem := unsound(model, report["missing_keys"])) is not None:
            raise ValueError(f"{problem}.")
        if is_ours and (strange := sorted(report["unexpected_keys"])):
            raise ValueError(f"it must hold its own weights alone, but holds {strange[0]!r}.")
    return model.eval()


def _is_pickled(folder: Path) -> bool:
    return any(folder.glob("*.bin")) and not any(folder.glob("*.safetensors"))


def unsound(model: torch.nn.Module, missing: Iterable[str] = ()) -> str | None:
    """Return in words what is wrong with weights that were loaded, or ``None``.

    Args:
        model: Holds them.
        missing: Names of those that were not there.
    """
    if lost := sorted(missing):
        return f"it must hold every weight, but lacks {lost[0]!r}"
    for name, weight in model.state_dict().items():
        if weight.is_floating_point() and not torch.isfinite(weight).all():
            return f"its weights must be numbers, but {name!r} holds NaN or infinity"
    return None


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, size: int, *, folder: Path) -> None:
    """Refuse a tokenizer that knows words which its model does not.

    Args:
        tokenizer: The tokenizer.
        size: Words of the model.
        folder: Where it was read.

    Raises:
        ModelError: If it does.
    """
    if len(tokenizer) > size:
        raise ModelError(
            f"A tokenizer must know at most the {size} words of its model, but knows "
            f"{len(tokenizer)}.",
            where=str(folder),
            fix="Restore the tokenizer's files that belong to these weights.",
        )


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
