"""A BLIP-2 of random weights, small, in transformers' layout, for the tests of LAVIS's."""

from pathlib import Path

import torch
from transformers import Blip2ForConditionalGeneration

from scf_pipeline.captioners import _blip2
from scf_pipeline.captioners._instructions import Decoding, Instructions
from scf_pipeline.miniature.models import Blip2Sizes, build_blip2
from scf_pipeline.miniature.tokenizer import learn_opt_tokenizer

SIZES = Blip2Sizes(
    image_px=32, dim=32, vision_layers=2, qformer_layers=2, language_layers=2, queries=4, heads=2
)
TEXTS = ["a photo of a man with red hair in front of a wall", "a woman wearing a blue shirt\n"]
GREEDY = Decoding(num_beams=1, min_new_tokens=2, max_new_tokens=12)


def small_blip2() -> tuple[Blip2ForConditionalGeneration, object]:
    """Return a model whose captions depend on pixels, and its processor.

    Every weight is drawn, biases as well, but for the biases of the vision tower's keys: those are
    zero, as in all that LAVIS trained.
    """
    model, processor = build_blip2(learn_opt_tokenizer(TEXTS), SIZES, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.mul_(6)
            if weight.dim() == 1:
                weight.add_(torch.randn(weight.shape, generator=generator) * 0.3)
            if name.endswith("qkv.bias"):
                weight.chunk(3)[1].zero_()
    return model.eval(), processor


def write_small_blip2(folder: Path, decoding: Decoding = GREEDY) -> Path:
    """Write that model into a folder."""
    folder.mkdir(parents=True)
    model, processor = small_blip2()
    _blip2.save_parts(folder, model, processor, Instructions(decoding=decoding))
    return folder
