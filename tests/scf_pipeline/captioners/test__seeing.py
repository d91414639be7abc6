from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import BlipImageProcessorPil

from scf_pipeline.captioners import _seeing
from scf_pipeline.captioners._memory import KEPT_BYTES
from scf_pipeline.captioners._seeing import Eye, pictures_at_once, see
from scf_pipeline.miniature.models import Blip2Sizes, build_blip2
from scf_pipeline.miniature.tokenizer import learn_opt_tokenizer

SMALL, BIG = {"height": 32, "width": 32}, {"height": 48, "width": 48}
PROCESSORS = {
    "published": BlipImageProcessorPil(size=SMALL),
    "other-colours": BlipImageProcessorPil(
        size={"height": 48, "width": 48}, image_mean=[0.5, 0.4, 0.3], image_std=[0.2, 0.5, 1.0]
    ),
    "no-normalizing": BlipImageProcessorPil(size=SMALL, do_normalize=False),
    "bilinear": BlipImageProcessorPil(size=SMALL, resample=2),
}
SIZES = [(32, 32), (33, 47), (224, 224), (50, 30), (1, 1), (3, 3)]


@pytest.mark.parametrize("processor", PROCESSORS.values(), ids=PROCESSORS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pixels_are_those_of_the_processor_to_the_last_bit(processor, dtype):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]
    pictures += [np.full((8, 8, 3), level, dtype=np.uint8) for level in (0, 1, 128, 255)]
    whole = processor([Image.fromarray(picture) for picture in pictures], return_tensors="pt")
    eye = Eye(processor)
    prepared = [eye.prepare(picture) for picture in pictures]
    found = eye.pixel_values(prepared, device=torch.device("cpu"), dtype=dtype)
    assert torch.equal(found, whole["pixel_values"].to(dtype))


@pytest.mark.parametrize(
    ("processor", "asked"),
    [
        (PROCESSORS["published"], 0),
        (BlipImageProcessorPil(size=BIG, do_center_crop=True, crop_size=SMALL), 1),
    ],
    ids=["kept", "cropped"],
)
def test_the_processor_is_spared_pictures_that_it_would_leave_as_they_are(processor, asked):
    eye = Eye(processor)
    picture = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    wanted = eye._fit(picture)
    calls = []
    eye._fit = lambda _: calls.append(1) or wanted
    assert np.array_equal(eye.prepare(picture), wanted)
    assert len(calls) == asked


def test_a_prepared_picture_stays_in_8_bits():
    eye = Eye(PROCESSORS["published"])
    prepared = eye.prepare(np.zeros((224, 100, 3), dtype=np.uint8))
    assert (prepared.dtype, prepared.shape) == (np.uint8, (3, 32, 32))


@pytest.mark.parametrize("level", [0, 17, 255])
def test_every_level_becomes_what_the_processor_makes_of_it(level):
    eye = Eye(PROCESSORS["other-colours"])
    picture = np.full((48, 48, 3), level, dtype=np.uint8)
    whole = PROCESSORS["other-colours"](Image.fromarray(picture), return_tensors="pt")
    assert torch.equal(eye.values[:, level], whole["pixel_values"][0, :, 0, 0])


@pytest.mark.parametrize(
    ("count", "pieces"), [(1, [1]), (3, [3]), (5, [3, 2]), (8, [3, 3, 2]), (12, [3, 3, 3, 3])]
)
def test_in_pieces_the_same_is_seen(count, pieces, monkeypatch):
    sizes = Blip2Sizes(image_px=32, dim=32, vision_layers=1, language_layers=1, heads=2)
    model = build_blip2(learn_opt_tokenizer(["a photo of a man"]), sizes, seed=0)[0].eval()
    pixels = torch.randn(count, 3, 32, 32)
    seen = []
    model.vision_model.register_forward_hook(lambda *a: seen.append(len(a[2].last_hidden_state)))
    room_of_three = 3 * (KEPT_BYTES // pictures_at_once(model) + 1)
    with torch.inference_mode():
        whole = see(model, pixels)
        monkeypatch.setattr(_seeing, "KEPT_BYTES", room_of_three)
        assert torch.allclose(see(model, pixels), whole, atol=1e-5)
    assert seen == [count, *pieces]


@pytest.mark.parametrize(
    ("patch", "width", "inner", "dtype", "numbers"),
    [
        (32, 768, 3_072, torch.float32, 50 * 3_072 * 4),
        (14, 1_408, 6_144, torch.float32, 257 * 6_144 * 4),
        (14, 1_408, 6_144, torch.bfloat16, 257 * 6_144 * 2),
        (16, 128, 128, torch.float32, 197 * 384 * 4),  # queries, keys and values are wider
    ],
)
def test_pictures_fit_into_memory_that_serves_again(patch, width, inner, dtype, numbers):
    found = pictures_at_once(tower(224, patch, width, inner, dtype))
    assert found * numbers <= KEPT_BYTES < (found + 1) * numbers


def test_a_picture_too_large_for_it_is_seen_by_itself():
    assert pictures_at_once(tower(4_480, 14, 1_408, 6_144, torch.float32)) == 1


def tower(side, patch, width, inner, dtype):
    config = SimpleNamespace(
        image_size=side, patch_size=patch, hidden_size=width, intermediate_size=inner
    )
    return SimpleNamespace(
        config=SimpleNamespace(vision_config=config), vision_model=SimpleNamespace(dtype=dtype)
    )
