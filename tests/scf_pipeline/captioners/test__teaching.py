import numpy as np
import pytest
import torch

from scf_pipeline.captioners._blip2 import end_tokens
from scf_pipeline.captioners._instructions import Instructions
from scf_pipeline.captioners._seeing import pixel_values, see
from scf_pipeline.captioners._teaching import IGNORED, Writer, summed_loss
from scf_pipeline.miniature.models import Blip2Sizes, build_blip2
from scf_pipeline.miniature.tokenizer import learn_opt_tokenizer

SIZES = Blip2Sizes(
    image_px=32, dim=32, vision_layers=1, qformer_layers=1, language_layers=1, queries=4, heads=2
)
CAPTIONS = ["a man", "a woman with long red hair"]


@pytest.fixture(scope="module")
def parts():
    model, processor = build_blip2(
        learn_opt_tokenizer([f"a photo of {caption}" for caption in CAPTIONS]), SIZES, seed=0
    )
    return model.eval(), processor


@pytest.fixture(scope="module")
def lesson(parts):
    model, processor = parts
    return Writer(processor, Instructions(), end_tokens(model)[0]).write(CAPTIONS)


def test_only_caption_and_end_are_taught(parts, lesson):
    _, processor = parts
    taught = [
        processor.tokenizer.decode([token for token in row.tolist() if token != IGNORED])
        for row in lesson.labels
    ]
    assert taught == [" a man\n", " a woman with long red hair\n"]
    assert lesson.num_targets == 3 + 7


def test_a_lesson_begins_as_the_captioners_prompt_does(parts, lesson):
    _, processor = parts
    image = np.zeros((32, 32, 3), dtype=np.uint8)
    asked = processor(images=[image], text=["a photo of"], return_tensors="pt")["input_ids"][0]
    assert torch.equal(lesson.input_ids[0, : len(asked)], asked)
    assert (lesson.labels[:, : len(asked)] == IGNORED).all()


def test_padding_is_on_the_right_and_unseen(parts, lesson):
    pad = parts[1].tokenizer.pad_token_id
    assert lesson.input_ids[0, -4:].tolist() == [pad] * 4
    assert lesson.attention_mask.sum(1).tolist() == [4 + 4 + 3, 4 + 4 + 7]


def test_long_captions_are_cut_and_still_end(parts):
    model, processor = parts
    writer = Writer(processor, Instructions(), end_tokens(model)[0])
    labels = writer.write(["a man " * 60]).labels[0]
    assert (labels != IGNORED).sum() == 48 + 1
    assert labels[-1] == end_tokens(model)[0]


def test_the_loss_is_transformers_own(parts, lesson):
    model, processor = parts
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in CAPTIONS]
    pixels = pixel_values(processor, pictures)
    with torch.no_grad():
        ours = summed_loss(model, see(model, pixels), lesson) / lesson.num_targets
        theirs = model(
            pixel_values=pixels,
            input_ids=lesson.input_ids,
            attention_mask=lesson.attention_mask,
            labels=lesson.labels,
        ).loss
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)


def test_an_empty_prompt_leaves_the_start_token_alone(parts):
    model, processor = parts
    writer = Writer(processor, Instructions(prompt=""), end_tokens(model)[0])
    row = writer.write(["a man"]).input_ids[0].tolist()
    assert row[4] == processor.tokenizer.bos_token_id
    assert processor.tokenizer.decode(row[5:]) == "a man\n"
