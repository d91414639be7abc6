"""Memory that captioning on a CPU asks the system for, which clears every page before it gives it.

Asked for in larger pages and in pieces that serve again, or not asked for, it takes less time.
Nothing of what is computed changes but, with other numbers of rows, last bits.
"""

from __future__ import annotations

import os

import torch
from torch import nn
from transformers.activations import GELUActivation

LARGE_PAGES = "THP_MEM_ALLOC_ENABLE"
"""Torch's own switch: tensors of 2 MiB and more ask for pages of that size."""

KEPT_BYTES = 24 << 20
"""Size up to which memory of a tensor serves again; from 32 MiB on, glibc asks anew each time."""


def use_large_pages() -> None:
    """Let torch ask for large pages, unless the environment says otherwise.

    Torch heeds it at the first tensor of the process; Linux alone has such pages.
    """
    os.environ.setdefault(LARGE_PAGES, "1")


def overwrite_activations(model: nn.Module) -> None:
    """Let GELU and ReLU write over what they are given, which nothing else may read."""
    for part in model.modules():
        if isinstance(part, nn.ReLU):
            part.inplace = True
        elif isinstance(part, GELUActivation) and part.act is nn.functional.gelu:
            part.act = torch.ops.aten.gelu_
