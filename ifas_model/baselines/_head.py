"""FLIP-V's head: two classes from the features of a tower; ViT and ViTAF end in it.

Shapes in this file:
    B batch, V width of the features, H width of the bottleneck.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ifas_model.judging import Judged

BOTTLENECK_STD, BOTTLENECK_BIAS = 0.005, 0.1
"""Of the fresh bottleneck; the released code's."""

CLASSIFIER_STD = 2**-0.5
"""Of the fresh classifier: columns of two such weights are about as long as they will be used."""


class Head(nn.Module):
    """Bottleneck, ReLU, dropout, h / sqrt(2 |h|), and a classifier with unit weight columns.

    Args:
        dim: V.
        hidden_dim: H.
        dropout: Share of the bottleneck that is set to zero in training.

    Source: FLIP (ICCV 2023), FLIP-V, after its released code.
    """

    def __init__(self, dim: int, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        self.bottleneck = nn.Linear(dim, hidden_dim)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden_dim, 2)
        nn.init.normal_(self.bottleneck.weight, std=BOTTLENECK_STD)
        nn.init.constant_(self.bottleneck.bias, BOTTLENECK_BIAS)
        nn.init.normal_(self.classifier.weight, std=CLASSIFIER_STD)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits of attack and bona fide: (B, V) -> (B, 2), float32 or wider."""
        # bfloat16 would give many faces the same score
        with torch.autocast(features.device.type, enabled=False):
            features = features.to(self.bottleneck.weight.dtype)
            hidden = self.dropout(F.relu(self.bottleneck(features)))
            length = hidden.norm(dim=1, keepdim=True).clamp(min=1e-12)
            hidden = hidden / (2 * length).sqrt()
            # PAPER: the released code overwrites the weights with their normalised selves at each
            # step; here they are normalised where they are used, so gradients are tangents.
            weight = F.normalize(self.classifier.weight, dim=0)
            return F.linear(hidden, weight, self.classifier.bias)


def judge(logits: Tensor, labels: Tensor | None) -> Judged:
    """Return what two logits say, with their cross-entropy where there are labels.

    Args:
        logits: Of attack and bona fide, (B, 2).
        labels: 1 bona fide, 0 attack, (B,).
    """
    margin = (logits[:, 1] - logits[:, 0]).float()
    if labels is None:
        return Judged(margin)
    loss = F.cross_entropy(logits.float(), labels)
    return Judged(margin, loss, loss)
