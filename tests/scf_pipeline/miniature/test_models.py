import pytest
import torch

from scf_pipeline.captioners._blip2 import check_agreement
from scf_pipeline.miniature.models import (
    CLIP_SIZES,
    Blip2Sizes,
    ClipSizes,
    build_blip2,
    build_clip,
)
from scf_pipeline.miniature.tokenizer import learn_clip_tokenizer, learn_opt_tokenizer

TEXTS = ["a photo of a man with red hair"]
BLIP2 = Blip2Sizes(image_px=32, dim=32, vision_layers=1, qformer_layers=1, language_layers=1)
CLIP = ClipSizes(image_px=32, stem_widths=(4, 8), vision_dim=32, vision_layers=1)


def blip2(seed=0):
    return build_blip2(learn_opt_tokenizer(TEXTS), BLIP2, seed=seed)


def clip(seed=0):
    return build_clip(learn_clip_tokenizer(TEXTS, max_length=16), CLIP, seed=seed)


def test_model_and_processor_agree():
    check_agreement(*blip2(), where="here")


@pytest.mark.parametrize("build", [blip2, clip])
def test_weights_follow_from_the_seed(build):
    first, same, other = (dict(build(seed)[0].named_parameters()) for seed in (3, 3, 4))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_query_tokens_differ_from_each_other():
    model, _ = blip2()
    distances = torch.cdist(model.query_tokens[0], model.query_tokens[0])
    assert distances[~torch.eye(len(distances), dtype=torch.bool)].min() > 1


def test_fresh_vision_weights_are_not_all_but_zero():
    model, _ = blip2()
    weights = model.vision_model.encoder.layers[0].mlp.fc1.weight
    assert weights.std().item() == pytest.approx(0.02, rel=0.1)


def test_captions_end_on_a_line_break():
    model, processor = blip2()
    newline = processor.tokenizer("\n", add_special_tokens=False)["input_ids"]
    assert [model.generation_config.eos_token_id] == newline


def test_a_clip_pools_its_text_at_the_end_token():
    model, processor = clip()
    tokens = processor.tokenizer(["a man", "a photo of a man"], padding=True, return_tensors="pt")
    with torch.no_grad():
        out = model.eval().text_model(**tokens)
    ends = (tokens["input_ids"] == processor.tokenizer.eos_token_id).int().argmax(1)
    assert ends.tolist() == [3, 6]
    assert torch.equal(out.pooler_output, out.last_hidden_state[torch.arange(2), ends])


@pytest.mark.parametrize("size", CLIP_SIZES)
def test_the_towers_see_64_pixels_as_16_patches_and_a_class_token(size):
    tokenizer = learn_clip_tokenizer(TEXTS, max_length=16)
    model, _ = build_clip(tokenizer, CLIP_SIZES[size], seed=0)
    with torch.no_grad():
        seen = model.eval().vision_model(pixel_values=torch.zeros(1, 3, 64, 64))
    assert seen.last_hidden_state.shape == (1, 17, CLIP_SIZES[size].vision_dim)


def test_base_is_larger_than_small():
    tokenizer = learn_clip_tokenizer(TEXTS, max_length=16)
    small, base = (
        sum(p.numel() for p in build_clip(tokenizer, CLIP_SIZES[size], seed=0)[0].parameters())
        for size in ("small", "base")
    )
    assert base > 1.5 * small
