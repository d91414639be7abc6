"""ViTAF: adapters and feature-wise transforms in CLIP's frozen vision tower, and FLIP-V's head.

Shapes in this file:
    B batch, S side of a picture, N tokens (patches and class token), V vision width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.models.clip.modeling_clip import CLIPEncoderLayer

from ifas_model.augment import jitter_saturation
from ifas_model.baselines import Method, _tower
from ifas_model.baselines._head import Head, judge
from ifas_model.baselines._tower import BaselineConfig
from ifas_model.config import VitafConfig
from ifas_model.judging import Item, Judged
from ifas_model.vision import load_tower

ADAPTER_STD = 2e-4
"""Of an adapter's fresh weights; the released code's."""

SOFTPLUS_BETA = 100
"""How sharply the transforms' softplus bends; the released code's."""


class Adapter(nn.Module):
    """A(x) = x + W_up GELU(W_down x).

    Args:
        dim: V.
        hidden_dim: Width of the bottleneck.

    Source: ViTAF (ECCV 2022).
    """

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.down = nn.Linear(dim, hidden_dim)
        self.up = nn.Linear(hidden_dim, dim)
        for layer in (self.down, self.up):
            nn.init.normal_(layer.weight, std=ADAPTER_STD)
            nn.init.zeros_(layer.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Adapt tokens: (B, N, V) -> (B, N, V)."""
        return tokens + self.up(F.gelu(self.down(tokens)))


class AdaptedBlock(nn.Module):
    """What ViTAF adds to one block of a tower; the block itself stays where it is.

    Args:
        dim: V.
        settings: ViTAF's.

    Source: ViTAF (ECCV 2022), after its released code.
    """

    def __init__(self, dim: int, settings: VitafConfig) -> None:
        super().__init__()
        pair = 2
        self.after_attention = nn.ModuleList(
            Adapter(dim, settings.adapter_dim) for _ in range(pair)
        )
        self.after_mlp = nn.ModuleList(Adapter(dim, settings.adapter_dim) for _ in range(pair))
        self.scale = nn.Parameter(torch.full((dim,), settings.initial_scale))  # its theta
        self.shift = nn.Parameter(torch.full((dim,), settings.initial_shift))  # its theta

    def forward(self, block: CLIPEncoderLayer, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Run one block of CLIP with the adapters in it.

        Args:
            block: CLIP's.
            tokens: (B, N, V).

        Returns:
            The block's tokens, (B, N, V), and the mean squared cosine of its parallel adapters.
        """
        found, _ = block.self_attn(hidden_states=block.layer_norm1(tokens), attention_mask=None)
        first, second = (adapter(found) for adapter in self.after_attention)
        cosine = squared_cosine(first, second)
        # PAPER: each adapter has a skip of its own in the released code, so that a fresh block adds
        # twice what CLIP's adds, and its cosine is nearly 1.
        tokens = tokens + first + second
        found = block.mlp(block.layer_norm2(tokens))
        first, second = (adapter(found) for adapter in self.after_mlp)
        cosine = (cosine + squared_cosine(first, second)) / 2
        tokens = tokens + first + second
        return (self.transform(tokens) if self.training else tokens), cosine

    def transform(self, tokens: Tensor) -> Tensor:
        """Scale and shift each channel by random amounts, one for the whole batch.

        They are drawn on the CPU from torch's global generator. Source: ViTAF (ECCV 2022).
        """
        noise = torch.randn(2, tokens.shape[-1]).to(tokens)
        gamma = 1 + noise[0] * F.softplus(self.scale, beta=SOFTPLUS_BETA)
        beta = noise[1] * F.softplus(self.shift, beta=SOFTPLUS_BETA)
        return gamma * tokens + beta


def squared_cosine(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean over tokens of cos(A_1, A_2) ** 2, over channels: two (B, N, V) -> ()."""
    return F.cosine_similarity(first, second, dim=-1).square().mean()


class VitafModelConfig(BaselineConfig):  # type: ignore[no-untyped-call]
    """What a saved ViTAF is rebuilt from."""

    model_type = "scf-vitaf"

    phase: Literal["main", "head"] = "main"
    """The last phase of training. In ``head`` nothing is added to the tower yet."""


class Vitaf(PreTrainedModel):  # type: ignore[no-untyped-call]
    """Two classes from the class token of an adapted tower. Source: ViTAF (ECCV 2022).

    No picture of the target teaches it (0-shot). PAPER: the released code takes five of each
    class; I-FAS does not say what it did.
    """

    config_class = VitafModelConfig
    config: VitafModelConfig
    needs_features = False

    def __init__(self, config: VitafModelConfig) -> None:
        super().__init__(config)
        self.settings = VitafConfig(**config.settings)
        self.tower = _tower.rebuild(config).vision_model
        width = self.tower.config.hidden_size
        self.blocks = nn.ModuleList(
            AdaptedBlock(width, self.settings) for _ in self.tower.encoder.layers
        )
        self.head = Head(width, self.settings.head_dim, self.settings.dropout)
        self.post_init()  # type: ignore[no-untyped-call]

    def _init_weights(self, module: nn.Module) -> None:
        """Leave modules as they drew themselves: transformers passes over some of ours."""

    def train(self, mode: bool = True) -> Self:
        """Switch to training or evaluation; the tower stays in evaluation, for it never learns."""
        super().train(mode)
        self.tower.eval()
        return self

    def begin(self, phase: str) -> None:
        """Let learn: in ``head`` the head, on the tower as it came; in ``main`` all that is added.

        ``head`` comes first: ``main`` leaves the head as it is, as the released code does (the
        copy of it that FLIP's authors ran goes on to train the head).

        Raises:
            ValueError: If there is no such phase.
        """
        if phase == "head":
            self.config.phase = "head"
            _tower.learn(self, [self.head])
        elif phase == "main":
            self.config.phase = "main"
            _tower.learn(self, [self.blocks])
        else:
            raise _tower.refuse(phase, ["main", "head"])

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
        seen, cosine = self._see(_tower.normalize(pictures, self.config))
        judged = judge(self.head(seen), batch.get("labels"))
        # PAPER: the released block computes the cosines and never adds them to the loss.
        weight = self.settings.cosine_weight
        if judged.loss is None or cosine is None or weight == 0:
            return judged
        return judged._replace(loss=judged.loss + weight * cosine)

    def conclude(self, items: Sequence[Item]) -> None:
        """Do nothing: the weights are all that it judges by."""

    def _see(self, pictures: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.config.phase == "head":
            return self.tower(pixel_values=pictures).pooler_output, None
        tokens = self.tower.pre_layrnorm(self.tower.embeddings(pictures))  # (B, N, V)
        cosines = []
        for block, added in zip(self.tower.encoder.layers, self.blocks, strict=True):
            tokens, cosine = added(block, tokens)
            cosines.append(cosine)
        return self.tower.post_layernorm(tokens[:, 0]), torch.stack(cosines).mean()


def build(config: VitafConfig, tower: Path, seed: int) -> Vitaf:
    """Return a ViTAF to train; all but the tower is fresh.

    Args:
        config: Its settings.
        tower: Folder of a CLIP checkpoint. PAPER: the released code's ViT-B/16 learnt ImageNet.
        seed: Of the fresh weights.
    """
    source = load_tower(tower)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Vitaf(VitafModelConfig(settings=asdict(config), **_tower.describe(tower, source)))
    model.tower.load_state_dict(source.vision_model.state_dict())
    return model


def load(folder: Path) -> Vitaf:
    """Load a saved ViTAF in evaluation mode."""
    return _tower.load(Vitaf, folder)


METHOD = Method(title="ViTAF", build=build, load=load)
