"""The Globally Aware Connector (I-FAS, eq. 2).

Shapes in this file:
    B batch, M learnable queries, L encoder layers, N image patches,
    V vision width, D query width, T language width.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ifas_model.config import ConnectorConfig
from ifas_model.errors import ModelError


class GacBlock(nn.Module):
    """Self-attention among queries, cross-attention to patches, MLP; all pre-norm."""

    def __init__(self, config: ConnectorConfig) -> None:
        super().__init__()
        dim, heads, dropout = config.dim, config.num_heads, config.dropout
        self.num_attending = config.num_queries if config.cross_attend == "learnable" else None
        self.norm_queries = nn.LayerNorm(dim)
        self.self_attention = nn.MultiheadAttention(dim, heads, dropout, batch_first=True)
        self.norm_cross = nn.LayerNorm(dim)
        self.norm_patches = nn.LayerNorm(dim)
        self.cross_attention = nn.MultiheadAttention(dim, heads, dropout, batch_first=True)
        self.norm_mlp = nn.LayerNorm(dim)
        hidden = config.mlp_ratio * dim
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, patches: Tensor) -> Tensor:
        """Apply eq. (2) once: (B, M + L, D), (B, N, D) -> (B, M + L, D)."""
        q = self.norm_queries(queries)
        told = self.self_attention(q, q, q, need_weights=False)[0]
        queries = queries + self.dropout(told)  # Q'
        # PAPER: the text lets only the learnable queries attend to patches; eq. (2)
        # cross-attends all of them. We follow the equation unless the config says otherwise.
        q, x = self.norm_cross(queries[:, : self.num_attending]), self.norm_patches(patches)
        seen = self.dropout(self.cross_attention(q, x, x, need_weights=False)[0])
        if self.num_attending is not None:
            seen = nn.functional.pad(seen, (0, 0, 0, queries.shape[1] - self.num_attending))
        queries = queries + seen  # Q''
        return queries + self.dropout(self.mlp(self.norm_mlp(queries)))


class GloballyAwareConnector(nn.Module):
    """Turn visual features of every depth into soft tokens for the language model.

    Args:
        config: Widths and counts; see `ConnectorConfig`.

    Raises:
        ModelError: If `config.initial_weights` names no sound weights of this shape.

    Source: I-FAS, section "Globally Aware Connector", eq. (2).
    """

    def __init__(self, config: ConnectorConfig) -> None:
        super().__init__()
        self.config = config
        layers, dim, std = config.encoder_layers, config.dim, config.initial_std
        self.queries = nn.Parameter(torch.randn(config.num_queries, dim) * std)  # Q_P
        self.project_patches = nn.Linear(config.vision_dim, dim)
        self.blocks = nn.ModuleList(GacBlock(config) for _ in range(config.num_blocks))
        self.project_out = nn.Linear(dim, config.language_dim)
        if config.global_queries == "learned":
            self.learned = nn.Parameter(torch.randn(layers, dim) * std)
        else:
            maps = layers if config.class_token_projection == "per_layer" else 1  # noqa: S105 - no secret
            self.project_class_tokens = nn.ModuleList(
                nn.Linear(config.vision_dim, dim) for _ in range(maps)
            )
        if config.level_embedding:
            self.level = nn.Parameter(torch.randn(layers, dim) * std)
        if config.initial_weights is not None:
            self._begin_with(config.initial_weights)

    def forward(self, patches: Tensor, class_tokens: Tensor) -> Tensor:
        """Connect one batch of images.

        Args:
            patches: X_V, patch tokens of the layer that the config names, (B, N, V).
            class_tokens: G_V, class token of each encoder layer, shallow first, (B, L, V).

        Returns:
            X_T, soft tokens in the language model's embedding space, (B, M + L, T).

        Raises:
            ValueError: If `class_tokens` does not hold one token for each encoder layer.
        """
        batch, layers, _ = class_tokens.shape
        if layers != self.config.encoder_layers:
            raise ValueError(
                f"`class_tokens` must hold {self.config.encoder_layers} layers, but holds {layers}."
            )
        q_p = self.queries.expand(batch, -1, -1)  # (B, M, D)
        queries = torch.cat([q_p, self._global_queries(class_tokens)], dim=1)  # (B, M + L, D)
        x_v = self.project_patches(patches)  # (B, N, D)
        for block in self.blocks:
            queries = block(queries, x_v)
        return self.project_out(queries)

    def _global_queries(self, class_tokens: Tensor) -> Tensor:
        """Return Q_V, or what takes its place: (B, L, V) -> (B, L, D)."""
        if self.config.global_queries == "learned":
            q_v = self.learned.expand(len(class_tokens), -1, -1)
        elif self.config.class_token_projection == "shared":  # noqa: S105 - no secret
            q_v = self.project_class_tokens[0](class_tokens)
        else:
            maps = zip(self.project_class_tokens, class_tokens.unbind(dim=1), strict=True)
            q_v = torch.stack([project(tokens) for project, tokens in maps], dim=1)
        return q_v + self.level if self.config.level_embedding else q_v

    def _begin_with(self, file: Path) -> None:
        try:
            self.load_state_dict(load_file(file))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise _refusal(file, str(error)) from error
        odd = [name for name, one in self.named_parameters() if not torch.isfinite(one).all()]
        if odd:
            raise _refusal(file, f"{odd[0]!r} holds NaN or infinity.")


def _refusal(file: Path, problem: str) -> ModelError:
    return ModelError(
        f"`initial_weights` must be of a connector of these settings, but is not: {problem}",
        where=str(file),
        fix="Name the safetensors of a connector that was trained with these settings.",
    )
