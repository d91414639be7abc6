"""ViT: CLIP's vision tower with FLIP-V's head, all weights tuned, or the head alone.

Shapes in this file:
    B batch, S side of a picture, V vision width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ifas_model.augment import jitter_saturation
from ifas_model.baselines import Method, _tower
from ifas_model.baselines._head import Head, judge
from ifas_model.baselines._tower import BaselineConfig
from ifas_model.config import VitConfig
from ifas_model.judging import Item, Judged
from ifas_model.vision import load_tower


class VitModelConfig(BaselineConfig):  # type: ignore[no-untyped-call]
    """What a saved ViT is rebuilt from."""

    model_type = "scf-vit"


class Vit(PreTrainedModel):  # type: ignore[no-untyped-call]
    """Two classes from the class token of CLIP's last block, before CLIP's projection.

    Source: FLIP (ICCV 2023), FLIP-V. PAPER: I-FAS names ViT-B and ViT-L and gives no recipe.
    """

    config_class = VitModelConfig
    config: VitModelConfig
    needs_features = False

    def __init__(self, config: VitModelConfig) -> None:
        super().__init__(config)
        self.settings = VitConfig(**config.settings)
        self.tower = _tower.rebuild(config).vision_model
        width = self.tower.config.hidden_size
        self.head = Head(width, self.settings.head_dim, self.settings.dropout)
        self.post_init()  # type: ignore[no-untyped-call]

    def _init_weights(self, module: nn.Module) -> None:
        """Leave modules as they drew themselves: transformers passes over some of ours."""

    def train(self, mode: bool = True) -> Self:
        """Switch to training or evaluation; a frozen tower stays in evaluation."""
        super().train(mode)
        _tower.hold_statistics(self.tower)
        if not any(weight.requires_grad for weight in self.tower.parameters()):
            self.tower.eval()
        return self

    def begin(self, phase: str) -> None:
        """Let learn: in ``main`` everything, or the head if the tower is frozen; in ``head`` it.

        Raises:
            ValueError: If there is no such phase.
        """
        if phase not in {"main", "head"}:
            raise _tower.refuse(phase, ["main", "head"])
        is_probe = phase == "head" or self.settings.is_tower_frozen
        _tower.learn(self, [self.head] if is_probe else [self])

    def collate(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """Stack the pixels, and the labels where there are any."""
        return _tower.stack(items)

    def forward(self, **batch: Tensor) -> Judged:
        """Judge a batch.

        Args:
            batch: ``pixels``, uint8 (B, 3, S, S); where known ``labels``, (B,).
        """
        pictures = _tower.to_pictures(batch["pixels"], self.config)
        if self.training:
            pictures = jitter_saturation(pictures, self.settings.saturation)
        seen = self.tower(pixel_values=_tower.normalize(pictures, self.config)).pooler_output
        return judge(self.head(seen), batch.get("labels"))  # seen: (B, V)

    def conclude(self, items: Sequence[Item]) -> None:
        """Do nothing: the weights are all that it judges by."""


def build(config: VitConfig, tower: Path, seed: int) -> Vit:
    """Return a ViT to train; only the head is fresh.

    Args:
        config: Its settings.
        tower: Folder of a CLIP checkpoint.
        seed: Of the fresh weights.
    """
    source = load_tower(tower)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Vit(VitModelConfig(settings=asdict(config), **_tower.describe(tower, source)))
    model.tower.load_state_dict(source.vision_model.state_dict())
    return model


def load(folder: Path) -> Vit:
    """Load a saved ViT in evaluation mode."""
    return _tower.load(Vit, folder)


METHOD = Method(title="ViT", build=build, load=load)
