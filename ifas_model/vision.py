"""Vision towers: CLIP's own, and the miniature's, which sees through a convolutional stem.

Shapes in this file:
    B batch, S side of a picture, V vision width, N patches, L encoder layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    logging,
)

from ifas_model.checkpoint import load_weights, reading

STEM_STRIDE = 2
"""Every convolution of a stem halves the picture."""

logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # a library draws nothing


class ConvolutionalStem(nn.Module):
    """Overlapping 3 x 3 convolutions in place of CLIP's one linear map of each patch.

    A small tower learns texture with it (moire, print dots) that a linear map of 16 x 16 pixels
    does not find in the same time.

    Args:
        widths: Channels of the 3 x 3 convolutions; a last one of 2 x 2 maps to `dim`.
        dim: V.
    """

    def __init__(self, widths: Sequence[int], dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for width in widths:
            convolution = nn.Conv2d(before, width, 3, stride=STEM_STRIDE, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        layers.append(nn.Conv2d(before, dim, 2, stride=STEM_STRIDE))
        self.layers = nn.Sequential(*layers)

    @property
    def weight(self) -> Tensor:
        """The first weight: `CLIPVisionEmbeddings` reads its type there."""
        first = self.layers[0]
        if not isinstance(first, nn.Conv2d):
            raise TypeError(f"The first layer must be a Conv2d, but is a {type(first).__name__}.")
        return first.weight

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pictures to patches: (B, 3, S, S) -> (B, V, N ** 0.5, N ** 0.5)."""
        patches: Tensor = self.layers(pixels)
        return patches


class Clip(CLIPModel):  # type: ignore[no-untyped-call]
    """CLIP, with a `ConvolutionalStem` if its vision config names ``stem_widths``.

    Published checkpoints name none and load as they are.
    """

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__(config)
        vision: Any = config.vision_config
        widths = getattr(vision, "stem_widths", None)
        if widths is not None:
            self.vision_model.embeddings.patch_embedding = _stem(widths, vision)


class VisionTower(CLIPVisionModel):
    """The vision half of a `Clip`."""

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__(config)  # type: ignore[no-untyped-call]
        widths = getattr(config, "stem_widths", None)
        if widths is not None:
            embeddings: Any = self.embeddings
            embeddings.patch_embedding = _stem(widths, config)


class Features(NamedTuple):
    """What the connector sees of a batch."""

    patches: Tensor
    """X_V, (B, N, V); (B, N + 1, V) with the class token."""

    class_tokens: Tensor
    """G_V, the class token after each encoder layer, shallow first, (B, L, V)."""


def look(
    tower: CLIPVisionModel, pixels: Tensor, *, local_layer: int, keep_class_token: bool
) -> Features:
    """Return local and global features of a batch.

    Args:
        tower: The encoder.
        pixels: Normalized pictures, (B, 3, S, S).
        local_layer: Layer whose patch tokens are X_V: 1 is the first, -1 the last.
        keep_class_token: Whether X_V holds the class token as well, first.

    Raises:
        ValueError: If there is no such layer.

    Source: I-FAS, section "Globally Aware Connector".
    """
    states = tower(pixel_values=pixels, output_hidden_states=True).hidden_states
    depth = len(states) - 1  # before the first layer, and after each
    if local_layer == 0 or not -depth <= local_layer <= depth:
        raise ValueError(
            f"`local_layer` must be in 1..{depth} or -{depth}..-1, but is {local_layer}."
        )
    # PAPER: which layer's patches are X_V is not said. No final norm: it belongs to CLIP's head.
    local = states[local_layer]
    return Features(
        patches=local if keep_class_token else local[:, 1:],
        class_tokens=torch.stack([state[:, 0] for state in states[1:]], dim=1),
    )


class Pixels(NamedTuple):
    """How a tower wants its pictures; plain data, so that checkpoints can hold it."""

    side: int
    """Side, in pixels."""

    mean: tuple[float, float, float]
    """Of red, green and blue, in [0, 1]."""

    std: tuple[float, float, float]
    """Of red, green and blue, in [0, 1]."""

    def normalize(self, pictures: Tensor) -> Tensor:
        """Return pictures as the tower wants them, resized where their side is another.

        uint8 (B, 3, H, W) -> float32 (B, 3, S, S).
        """
        values = pictures.float()
        if values.shape[-2:] != (self.side, self.side):
            size = (self.side, self.side)
            values = nn.functional.interpolate(values, size, mode="bicubic", antialias=True)
            values = values.clamp(0, 255)  # the cubic overshoots at edges
        mean, std = (
            torch.tensor(each, device=pictures.device).view(3, 1, 1)
            for each in (self.mean, self.std)
        )
        return (values / 255 - mean) / std


def load_pixels(folder: Path) -> Pixels:
    """Read from a CLIP folder how its tower wants pictures.

    Raises:
        ModelError: If the folder holds no settings of an image processor.
    """
    with reading(folder):
        processor: Any = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
    size = processor.crop_size
    return Pixels(int(size["height"]), tuple(processor.image_mean), tuple(processor.image_std))


def load_tower(folder: Path) -> CLIPModel:
    """Load a tower from a local folder in the Hugging Face layout, in evaluation mode.

    Raises:
        ModelError: If the folder holds no CLIP checkpoint in safetensors, or one that lacks a
            weight.
    """
    tower: CLIPModel = load_weights(Clip, folder)
    return tower


def _stem(widths: Sequence[int], vision: CLIPVisionConfig) -> ConvolutionalStem:
    stride = STEM_STRIDE ** (len(widths) + 1)
    if vision.patch_size != stride:
        raise ValueError(
            f"`patch_size` must be {stride} with {len(widths)} stem widths, "
            f"but is {vision.patch_size}."
        )
    return ConvolutionalStem(widths, vision.hidden_size)
