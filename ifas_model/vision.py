"""Vision towers: CLIP's own, and the miniature's, which sees through a convolutional stem.

Shapes in this file:
    B batch, S side of a picture, V vision width, P patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig, logging

STEM_STRIDE = 2
"""Every convolution of a stem halves the picture."""


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
        """Map pictures to patches: (B, 3, S, S) -> (B, V, P ** 0.5, P ** 0.5)."""
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


def load_tower(folder: Path) -> CLIPModel:
    """Load a tower from a local folder in the Hugging Face layout, in evaluation mode.

    Raises:
        OSError: If the folder holds no CLIP checkpoint in safetensors.
        ValueError: If the checkpoint lacks a weight.
    """
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    found: Any = Clip.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, output_loading_info=True
    )
    tower, report = found
    if missing := sorted(report["missing_keys"]):
        raise ValueError(f"`folder` must hold every weight of a tower, but lacks {missing[0]!r}.")
    return tower.eval()


def _stem(widths: Sequence[int], vision: CLIPVisionConfig) -> ConvolutionalStem:
    stride = STEM_STRIDE ** (len(widths) + 1)
    if vision.patch_size != stride:
        raise ValueError(
            f"`patch_size` must be {stride} with {len(widths)} stem widths, "
            f"but is {vision.patch_size}."
        )
    return ConvolutionalStem(widths, vision.hidden_size)
