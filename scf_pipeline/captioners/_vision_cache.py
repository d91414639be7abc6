"""Features of the vision tower, kept from one pass over the faces to the next.

C_G and C_S look at the same attacks. Where fine-tuning leaves the vision tower as it was (the
default: Q-Former, query tokens and language projection learn), both see the same, and the second
pass need not look again. The environment variable ``SCF_VISION_CACHE`` names a folder on the
worker's machine; it changes no caption, so it is no part of any identity.

    <folder>/<hash of the tower>/<two digits>/<hash of the prepared picture>

A file holds the bare tensor of one picture: 257 x 1,408 numbers, 0.72 MB in bfloat16, for BLIP-2
with ViT-g at 224 px.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import Blip2ForConditionalGeneration

from scf_pipeline.captioners._seeing import Eye, num_patches

PLACE = "SCF_VISION_CACHE"

logger = logging.getLogger(__name__)

Prepared = NDArray[np.uint8]


class VisionCache:
    """Looks, or remembers.

    Args:
        folder: Where features of all towers are kept.
        model: Whose vision tower looks.
        eye: Its image processor.
    """

    def __init__(self, folder: Path, model: Blip2ForConditionalGeneration, eye: Eye) -> None:
        self.folder = folder / identify(model, eye)
        self.device, self.dtype = model.device, model.dtype
        config: Any = model.config.vision_config
        self.shape = (num_patches(model), config.hidden_size)
        self.writes = True

    def features(self, pictures: Sequence[Prepared], look: Callable[..., Tensor]) -> Tensor:
        """Return what the tower sees in prepared pictures, (B, P, V).

        Args:
            pictures: As `Eye.prepare` returned them.
            look: Computes it, for those that are not remembered.
        """
        files = [self._file(picture) for picture in pictures]
        seen = [self._read(file) for file in files]
        new = [row for row, found in enumerate(seen) if found is None]
        if len(new) == len(pictures):
            fresh = look(pictures)
            self._write(files, fresh)
            return fresh
        if new:
            fresh = look([pictures[row] for row in new])
            self._write([files[row] for row in new], fresh)
            for row, found in zip(new, fresh.cpu(), strict=True):
                seen[row] = found
        return torch.stack([found for found in seen if found is not None]).to(self.device)

    def _file(self, picture: Prepared) -> Path:
        name = hashlib.blake2b(picture.tobytes(), digest_size=20).hexdigest()
        return self.folder / name[:2] / name[2:]

    def _read(self, file: Path) -> Tensor | None:
        size = self.shape[0] * self.shape[1]
        try:
            if file.stat().st_size != size * self.dtype.itemsize:
                return None
        except OSError:
            return None
        stored = torch.from_file(str(file), shared=False, size=size, dtype=self.dtype)
        return stored.view(self.shape)

    def _write(self, files: Sequence[Path], features: Tensor) -> None:
        if not self.writes:
            return
        try:
            for file, found in zip(files, features.cpu().contiguous(), strict=True):
                file.parent.mkdir(parents=True, exist_ok=True)
                _write_whole(file, found.view(torch.uint8).numpy().tobytes())
        except OSError as error:
            # Captions do not depend on it, so a full disk must not end the run.
            logger.warning("Nothing more is kept in %s: %s", self.folder, error)
            self.writes = False


def open_cache(model: Blip2ForConditionalGeneration, eye: Eye) -> VisionCache | None:
    """Return the cache in the folder that the environment names, if it names one."""
    place = os.environ.get(PLACE)
    return VisionCache(Path(place).expanduser(), model, eye) if place else None


def identify(model: Blip2ForConditionalGeneration, eye: Eye) -> str:
    """Return the hash of all that features depend on, the picture excepted."""
    tower = model.vision_model
    sha = hashlib.sha256(tower.config.to_json_string().encode())
    sha.update(f"{model.dtype} {model.device.type} {torch.__version__}".encode())
    sha.update(eye.values.numpy().tobytes())
    for name, weight in sorted(tower.state_dict().items()):
        sha.update(f"{name} {tuple(weight.shape)}".encode())
        sha.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return sha.hexdigest()[:24]


def _write_whole(file: Path, data: bytes) -> None:
    """Write a file that others see whole or not at all."""
    handle, partial = tempfile.mkstemp(dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        Path(partial).replace(file)
    except OSError:
        Path(partial).unlink(missing_ok=True)
        raise
