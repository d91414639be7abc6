"""BLIP-2 through transformers: any checkpoint folder or pinned hub id, as C_G or as C_S.

A checkpoint is found, and hashed, far more often than it is run. So this entry brings no torch
before it loads one; what has torch is in `_blip2`.
"""

from __future__ import annotations

from scf_pipeline.captioners import Backend, Captioner, Model
from scf_pipeline.captioners._checkpoint import resolve
from scf_pipeline.captioners._instructions import PROMPT, describe


def load(model: Model) -> Captioner:
    """Load a checkpoint; see `_blip2.load`."""
    from scf_pipeline.captioners import _blip2

    return _blip2.load(model)


BACKEND = Backend(
    title="BLIP-2 (transformers)", prompt=PROMPT, resolve=resolve, describe=describe, load=load
)
