"""What the baselines share: a CLIP tower inside a saved model, and pictures made ready for it.

Shapes in this file:
    B batch, S side of a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, PreTrainedConfig, PreTrainedModel

from ifas_model.checkpoint import load_weights
from ifas_model.judging import Item
from ifas_model.vision import Clip, load_pixels

M = TypeVar("M", bound=PreTrainedModel)


class BaselineConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]
    """What a saved baseline is rebuilt from, as plain data."""

    model_type = "scf-baseline"

    clip: dict[str, Any] = field(default_factory=dict)
    """CLIP's own config."""

    mean: list[float] = field(default_factory=list)
    """Mean of each colour, of pixels in [0, 1], that the tower takes off."""

    std: list[float] = field(default_factory=list)
    """Standard deviation of each colour, by which the tower divides."""

    settings: dict[str, Any] = field(default_factory=dict)
    """Fields of the method's own config."""


def describe(folder: Path, tower: CLIPModel) -> dict[str, Any]:
    """Return the fields of a `BaselineConfig` that tell of a tower.

    Args:
        folder: Checkpoint that the tower was loaded from, with its ``preprocessor_config.json``.
        tower: The tower.
    """
    clip = tower.config.to_dict()
    for part in (clip, clip["vision_config"], clip["text_config"]):
        part["dtype"] = None  # whatever the checkpoint holds, baselines are trained in float32
    # PAPER: the released code of FLIP and ViTAF takes ImageNet's mean and deviation, with CLIP's
    # weights too; we take those that the tower was trained with.
    pixels = load_pixels(folder)
    return {"clip": clip, "mean": list(pixels.mean), "std": list(pixels.std)}


def rebuild(config: BaselineConfig) -> Clip:
    """Return a tower of the config's shape, with fresh weights."""
    return Clip(CLIPConfig.from_dict(config.clip))


def load(kind: type[M], folder: Path) -> M:
    """Load a saved baseline in evaluation mode.

    Raises:
        ModelError: If the folder holds no checkpoint in safetensors, or one that lacks a weight.
    """
    model: M = load_weights(kind, folder, is_ours=True)
    return model


def learn(model: nn.Module, parts: Sequence[nn.Module]) -> None:
    """Let some parts of a model learn, and nothing else of it."""
    model.requires_grad_(False)
    for part in parts:
        part.requires_grad_(True)
    model.train(model.training)  # a frozen part is held in evaluation mode, a thawed one no more


def hold_statistics(tower: nn.Module) -> None:
    """Keep the batch norms of a stem in evaluation, so that their statistics stay as they came.

    CLIP's own patches have none; a stem's would follow the source, and FLIP's views, away from the
    pictures to be judged. Their weights go on to learn.
    """
    for module in tower.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def refuse(phase: str, known: Sequence[str]) -> ValueError:
    """Return the error of a phase that a method does not have."""
    return ValueError(f"`phase` must be one of {', '.join(known)}, but is {phase!r}.")


def stack(items: Sequence[Item]) -> dict[str, Tensor]:
    """Make a batch of pixels, (B, 3, S, S), and of labels, (B,), where every item holds one."""
    batch = {"pixels": torch.stack([item["pixels"] for item in items])}
    if all("label" in item for item in items):
        batch["labels"] = torch.tensor([item["label"] for item in items])
    return batch


def to_pictures(pixels: Tensor, config: BaselineConfig) -> Tensor:
    """Return pixels in [0, 1] and in the tower's size: uint8 (B, 3, S, S) -> (B, 3, S', S')."""
    pictures = pixels.float() / 255
    side = config.clip["vision_config"]["image_size"]
    if pictures.shape[-2:] != (side, side):
        pictures = F.interpolate(pictures, (side, side), mode="bicubic", antialias=True)
    return pictures.clamp(0, 1)


def normalize(pictures: Tensor, config: BaselineConfig) -> Tensor:
    """Return pictures in [0, 1] as the tower takes them, (B, 3, S, S)."""
    mean, std = (torch.tensor(of).to(pictures)[:, None, None] for of in (config.mean, config.std))
    return (pictures - mean) / std
