"""The pure parts of FLIP: cosines of pictures and texts, two views of either, what they contrast.

Shapes in this file:
    B batch, C classes (2), K templates of a class, D width where pictures meet texts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def cosines(pictures: Tensor, texts: Tensor) -> Tensor:
    """Return the cosine of every picture with the text of every class: (B, D), (C, D) -> (B, C)."""
    return F.cosine_similarity(pictures[:, None], texts[None], dim=-1)


def class_means(texts: Tensor, labels: Tensor) -> Tensor:
    """Return the mean text of each class; zeros for a class of which there is none.

    Args:
        texts: Of pictures, (B, D).
        labels: (B,).

    Returns:
        (C, D).
    """
    members = F.one_hot(labels, 2).to(texts).T  # (C, B)
    return members @ texts / members.sum(1, keepdim=True).clamp(min=1)


def own_cosines(pictures: Tensor, texts: Tensor, labels: Tensor) -> Tensor:
    """Return the cosine of each picture with its own text and with the other class's mean text.

    PAPER: Table 4 has a row of FLIP with SCF's captions and no formula. A picture's own text stands
    for its class, and the mean of the other texts of the batch for the other class; a class that
    the batch lacks counts as cosine 0.

    Args:
        pictures: (B, D).
        texts: One of each picture, (B, D).
        labels: (B,).

    Returns:
        Of attack and bona fide, (B, C).
    """
    found = cosines(pictures, class_means(texts, labels))
    own = F.cosine_similarity(pictures, texts, dim=-1)
    return found.scatter(1, labels[:, None], own[:, None].to(found))


def draw_text_views(templates: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return two texts of each picture's class, from templates that the two do not share.

    The first is the mean of K // 2 templates drawn with replacement, the second of those that were
    not drawn. The draw is on the CPU, from torch's global generator.

    Args:
        templates: (C, K, D).
        labels: (B,).

    Returns:
        Two of (B, D). Source: FLIP (ICCV 2023), FLIP-MCL.
    """
    count = templates.shape[1]
    drawn = torch.randint(count, (len(labels), count // 2))
    times = F.one_hot(drawn, count).sum(1).to(templates)  # (B, K)
    left = (times == 0).to(templates)
    own = templates[labels]  # (B, K, D)
    first, second = (
        ((weights / weights.sum(1, keepdim=True))[:, :, None] * own).sum(1)
        for weights in (times, left)
    )
    return first, second


def contrast(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return the InfoNCE loss of two views of each picture; all other views are negatives.

    Args:
        first: (B, any width).
        second: (B, the same width).
        temperature: By which cosines are divided.

    Source: SimCLR, as in FLIP-MCL.
    """
    views = F.normalize(torch.cat([first, second]).float(), dim=1)
    count = len(first)
    itself = torch.eye(2 * count, dtype=torch.bool, device=views.device)
    logits = (views @ views.T / temperature).masked_fill(itself, float("-inf"))
    twins = torch.arange(2 * count, device=views.device).roll(count)
    return F.cross_entropy(logits, twins)


def disagreement(pictures: tuple[Tensor, Tensor], texts: tuple[Tensor, Tensor]) -> Tensor:
    """Return how much two views differ in the cosine of picture and text, squared, on average.

    Args:
        pictures: Two views, (B, D) each.
        texts: Two views, (B, D) each.

    Source: FLIP (ICCV 2023), FLIP-MCL.
    """
    first, second = (
        F.cosine_similarity(picture, text, dim=-1)
        for picture, text in zip(pictures, texts, strict=True)
    )
    return F.mse_loss(first, second)


class Projection(nn.Sequential):
    """Three layers with batch norm that lead pictures to where two views are contrasted.

    Args:
        dim: D.
        hidden_dim: Width of the two hidden layers.
        out_dim: Width of what comes out.

    Source: FLIP (ICCV 2023), FLIP-MCL, after SLIP.
    """

    def __init__(self, dim: int, hidden_dim: int, out_dim: int) -> None:
        super().__init__(
            nn.Linear(dim, hidden_dim),
            nn.BatchNorm1d(hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.BatchNorm1d(hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, out_dim),
        )
