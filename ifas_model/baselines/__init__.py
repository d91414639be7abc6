"""Baselines: one file per method, each a judge built from the same tower as I-FAS.

An entry is a module with ``METHOD``. Importing this package imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ifas_model.judging import Judge


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A way to judge faces that is compared with I-FAS."""

    title: str
    """What the tables call it."""

    build: Callable[[Any, Path, int], Judge]
    """(its own config, folder of a CLIP checkpoint, seed of the fresh weights) -> a judge to
    train."""

    load: Callable[[Path], Judge]
    """Load a folder that `save_pretrained` of such a judge wrote, in evaluation mode."""
