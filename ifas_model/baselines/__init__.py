"""Baselines: one file per method, each a judge built from the same tower as I-FAS.

An entry is a module with ``METHOD``. Importing this package imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ifas_model.judging import Judge


class Build(Protocol):
    """How a baseline is begun."""

    def __call__(self, config: Any, tower: Path, seed: int) -> Judge:  # noqa: ANN401 - configs differ
        """Return a judge to train.

        Args:
            config: The baseline's own settings, e.g. `VitConfig`.
            tower: Folder of a CLIP checkpoint in the Hugging Face layout.
            seed: Of the fresh weights.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A way to judge faces that is compared with I-FAS."""

    title: str
    """What the tables call it."""

    build: Build
    """Begin from a tower."""

    load: Callable[[Path], Judge]
    """Load a folder that `save_pretrained` of such a judge wrote, in evaluation mode."""
