"""Random views of pictures, as the baselines' published code draws them, on batches of tensors.

Every function takes pictures in [0, 1], (B, 3, H, W), RGB, and returns new ones. What is random
is drawn on the CPU from torch's global generator, whatever the pictures' device, so that a seed
gives the same views everywhere and a resumed run goes on with the next ones.

Shapes in this file:
    B batch, H and W sides of a picture, K taps of a blur.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

AREA = (0.08, 1.0)
"""Least and greatest share of a picture that a random crop keeps."""

ASPECT = (3 / 4, 4 / 3)
"""Least and greatest width over height of a random crop, in parts of the picture's sides."""

CROP_TRIES = 10
"""Boxes drawn for a crop before the whole picture is taken, as in torchvision."""

JITTER = 0.4
"""Brightness, contrast and saturation are scaled by 1 +- this."""

HUE = 0.1
"""Hue is turned by up to this part of a full turn, either way."""

BLUR = (0.1, 2.0)
"""Least and greatest standard deviation of a blur, in pixels."""

GREY = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R 601-2)."""

_BLUR_RADIUS = 6  # three times the greatest standard deviation


def jitter_saturation(pictures: Tensor, strength: float, probability: float = 0.5) -> Tensor:
    """Scale the saturation of some pictures, each by its own factor.

    Args:
        pictures: In [0, 1], (B, 3, H, W).
        strength: Factors are uniform in 1 +- this; 0 leaves the pictures as they are.
        probability: Of a picture's being changed.
    """
    if strength == 0:
        return pictures
    factors = _uniform(len(pictures), 1 - strength, 1 + strength)
    factors = torch.where(torch.rand(len(pictures)) < probability, factors, 1.0)
    return scale_saturation(pictures, factors.to(pictures))


def scale_saturation(pictures: Tensor, factors: Tensor) -> Tensor:
    """Scale the saturation of each picture in HSV space; hue and value stay.

    A colour's distance from its own maximum is proportional to its saturation, so none of it has
    to leave RGB. PAPER: the released code of FLIP and ViTAF does not limit the product to 1, and
    its bytes wrap around there; we limit it.

    Args:
        pictures: In [0, 1], (B, 3, H, W).
        factors: Of the saturation, (B,).
    """
    value, least = pictures.amax(1, keepdim=True), pictures.amin(1, keepdim=True)
    saturation = (value - least) / value.clamp(min=1e-12)
    most = 1 / saturation.clamp(min=1e-12)
    return value - (value - pictures) * torch.minimum(_per_picture(factors), most)


def draw_view(pictures: Tensor) -> Tensor:
    """Return one SimCLR view of each picture: crop, colour, grey, blur and mirror, all random.

    Args:
        pictures: In [0, 1], (B, 3, H, W).

    Source: FLIP (ICCV 2023), after SimCLR.
    """
    count = len(pictures)
    views = crop(pictures, draw_boxes(count).to(pictures))
    views = _some(views, jitter_colour(views), 0.8)
    views = _some(views, to_grey(views).expand_as(views), 0.2)
    views = _some(views, blur(views, _uniform(count, *BLUR).to(pictures)), 0.5)
    return _some(views, views.flip(-1), 0.5)


def draw_boxes(count: int) -> Tensor:
    """Draw boxes of random area, shape and place.

    Returns:
        Left, top, width and height in parts of the picture's sides, (count, 4).
    """
    area = _uniform((count, CROP_TRIES), *AREA)
    low, high = torch.tensor(ASPECT).log().tolist()
    aspect = _uniform((count, CROP_TRIES), low, high).exp()
    width, height = (area * aspect).sqrt(), (area / aspect).sqrt()
    fits = (width <= 1) & (height <= 1)
    first = fits.int().argmax(1, keepdim=True)  # 0 where none fits
    sides = torch.stack([width.gather(1, first)[:, 0], height.gather(1, first)[:, 0]], dim=1)
    sides = torch.where(fits.any(1, keepdim=True), sides, 1.0)
    return torch.cat([torch.rand(count, 2) * (1 - sides), sides], dim=1)


def crop(pictures: Tensor, boxes: Tensor) -> Tensor:
    """Return each picture's box, enlarged to the picture's size with bilinear weights.

    Args:
        pictures: In [0, 1], (B, 3, H, W).
        boxes: From `draw_boxes`, (B, 4).
    """
    corners, sides = boxes[:, :2], boxes[:, 2:]
    shift = 2 * corners + sides - 1  # grid_sample counts from -1 to 1
    maps = torch.cat([torch.diag_embed(sides), shift[:, :, None]], dim=2)  # (B, 2, 3)
    size = list(pictures.shape)
    grid = F.affine_grid(maps, size, align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def jitter_colour(pictures: Tensor) -> Tensor:
    """Change brightness, contrast, saturation and hue of each picture, by its own factors.

    The order of the four is drawn once for the batch.
    """
    count = len(pictures)
    gains = _per_picture(_uniform((3, count), 1 - JITTER, 1 + JITTER).to(pictures))
    turns = _uniform(count, -HUE, HUE).to(pictures)
    steps: list[Callable[[Tensor], Tensor]] = [
        lambda x: _blend(x, torch.zeros_like(x), gains[0]),
        lambda x: _blend(x, to_grey(x).mean((2, 3), keepdim=True), gains[1]),
        lambda x: _blend(x, to_grey(x), gains[2]),
        lambda x: turn_hue(x, turns),
    ]
    for index in torch.randperm(len(steps)).tolist():
        pictures = steps[index](pictures)
    return pictures


def to_grey(pictures: Tensor) -> Tensor:
    """Return the brightness of each pixel, (B, 1, H, W)."""
    weights = torch.tensor(GREY).to(pictures)
    return (pictures * weights[:, None, None]).sum(1, keepdim=True)


def turn_hue(pictures: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of each picture; saturation and value stay.

    Args:
        pictures: In [0, 1], (B, 3, H, W).
        turns: Parts of a full turn, (B,).
    """
    value, least = pictures.amax(1), pictures.amin(1)  # (B, H, W)
    chroma = value - least
    red, green, blue = pictures.unbind(1)
    safe = chroma.clamp(min=1e-12)
    sector = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sector = sector + 6 * turns[:, None, None]
    places = torch.tensor([5.0, 3.0, 1.0]).to(pictures)[:, None, None]  # red, green, blue
    k = (places + sector[:, None]) % 6  # (B, 3, H, W)
    below = torch.minimum(k, 4 - k).clamp(0, 1)
    return value[:, None] - chroma[:, None] * below


def blur(pictures: Tensor, deviations: Tensor) -> Tensor:
    """Blur each picture with its own Gaussian; the border repeats outwards.

    Args:
        pictures: In [0, 1], (B, 3, H, W).
        deviations: Standard deviations in pixels, (B,), at most `BLUR`'s.
    """
    count, channels, height, width = pictures.shape
    offsets = torch.arange(-_BLUR_RADIUS, _BLUR_RADIUS + 1).to(pictures)
    taps = (-(offsets**2) / (2 * deviations[:, None] ** 2)).softmax(1)  # (B, K)
    taps = taps.repeat_interleave(channels, 0)[:, None]  # (3 B, 1, K)
    planes = pictures.reshape(1, count * channels, height, width)
    planes = F.pad(planes, [_BLUR_RADIUS] * 4, mode="replicate")
    planes = F.conv2d(planes, taps[..., None], groups=count * channels)
    planes = F.conv2d(planes, taps[:, :, None], groups=count * channels)
    return planes.reshape(pictures.shape)


def _blend(pictures: Tensor, other: Tensor, gains: Tensor) -> Tensor:
    return (gains * pictures + (1 - gains) * other).clamp(0, 1)


def _some(pictures: Tensor, changed: Tensor, probability: float) -> Tensor:
    chosen = torch.rand(len(pictures)) < probability
    return torch.where(_per_picture(chosen.to(pictures.device)), changed, pictures)


def _per_picture(values: Tensor) -> Tensor:
    return values[..., None, None, None]


def _uniform(size: int | tuple[int, ...], low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(size)
