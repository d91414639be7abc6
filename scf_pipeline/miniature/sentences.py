"""Train the miniature's captioner, and judge what it says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Blip2ForConditionalGeneration, PreTrainedTokenizerFast

from ifas_model.prompt import QUESTION, answer
from ifas_model.vocabulary import Label
from scf_pipeline.captioners import _blip2
from scf_pipeline.captioners._checkpoint import resolve
from scf_pipeline.captioners._instructions import PROMPT, Decoding, Instructions
from scf_pipeline.captioners._saying import tidy
from scf_pipeline.captioners._teaching import Writer, summed_loss
from scf_pipeline.captioners._training import History, Schedule, fit, narrow
from scf_pipeline.miniature.accuracy import caption_accuracy
from scf_pipeline.miniature.captioner import CaptionerConfig
from scf_pipeline.miniature.corpus import read_corpus
from scf_pipeline.miniature.models import Blip2Sizes, build_blip2
from scf_pipeline.miniature.tokenizer import learn_opt_tokenizer
from scf_pipeline.miniature.words import draw, normalize, teach_words
from scf_pipeline.store import Artifact

CHUNK = 256
"""Pictures that are looked at, or captioned, at a time."""

LANGUAGE = "language"
"""Folder beside the captioner's files that holds its OPT by itself, for the trainer."""

NUM_SAMPLES = 12
"""Captions that the manifest shows."""


def teach_captioner(config: CaptionerConfig, corpus: Artifact, scratch: Path) -> dict[str, Any]:
    """Train C_G into ``<scratch>/weights`` and return its loss curves."""
    taught = read_corpus(corpus, "train")
    spoken = [[tidy(text, prompt=PROMPT) for text in texts] for texts in taught.captions]
    sizes = Blip2Sizes(image_px=taught.pictures.shape[1])
    model, processor = build_blip2(learn_tokenizer(spoken), sizes, seed=config.seed)
    # Sequences are short: plain attention takes two thirds of the time of the fused one.
    model.set_attn_implementation("eager")
    words = teach_words(
        _ClassToken(model.vision_model),
        sizes.dim,
        taught,
        _schedule(config, config.word_steps, config.word_learning_rate),
        batch_size=config.word_batch_size,
        checkpoint=scratch / "words.pt",
    )
    model.vision_model.requires_grad_(False)
    instructions = Instructions(
        decoding=Decoding(
            num_beams=1, min_new_tokens=2, temperature=config.temperature, top_p=config.top_p
        )
    )
    writer = Writer(processor, instructions, _blip2.end_tokens(model)[0])
    sentences = teach_sentences(model, writer, taught.pictures, spoken, config, scratch)
    folder = scratch / "weights"
    _blip2.save_parts(folder, model.train(mode=False), processor, instructions)
    model.language_model.save_pretrained(folder / LANGUAGE)
    processor.tokenizer.save_pretrained(folder / LANGUAGE)
    every = config.checkpoint_every
    return {"word_loss": words.curve(every), "caption_loss": sentences.curve(every)}


def learn_tokenizer(captions: list[list[str]]) -> PreTrainedTokenizerFast:
    """Return a tokenizer to which every word of captions, questions and answers is one token.

    The trainer's language model reads with it too, so the question and both judgments are learnt.
    """
    asked = [f"Question: {QUESTION} Answer:"]
    answered = [f" {answer(label, PROMPT).text}" for label in Label]
    return learn_opt_tokenizer(
        [f"{PROMPT} {text}" for texts in captions for text in texts] + asked + answered
    )


def teach_sentences(
    model: Blip2ForConditionalGeneration,
    writer: Writer,
    pictures: np.ndarray,
    captions: list[list[str]],
    config: CaptionerConfig,
    scratch: Path,
) -> History:
    """Train Q-Former and language model on captions, one of each picture's at a time.

    Args:
        model: BLIP-2 whose vision tower is frozen.
        writer: Turns captions into token batches.
        pictures: (N, S, S, 3).
        captions: Of each picture.
        config: How long and how fast.
        scratch: Folder of the checkpoint.
    """
    features = look_at(model, pictures)

    def losses_at(step: int) -> Iterator[Tensor]:
        model.train()
        rows, generator = draw(len(pictures), config.caption_batch_size, config.seed, step)
        which = torch.randint(len(captions[0]), (len(rows),), generator=generator).tolist()
        lesson = writer.write([captions[row][n] for row, n in zip(rows, which, strict=True)])
        with narrow():
            loss = summed_loss(model, features[rows], lesson)
        yield loss / lesson.num_targets

    return fit(
        model,
        losses_at,
        _schedule(config, config.caption_steps, config.caption_learning_rate),
        checkpoint=scratch / "captions.pt",
    )


def look_at(model: Blip2ForConditionalGeneration, pictures: np.ndarray) -> Tensor:
    """Return the frozen tower's features of all pictures."""
    model.train(mode=False)
    chunks = range(0, len(pictures), CHUNK)
    with torch.no_grad():
        return torch.cat(
            [
                model.vision_model(
                    pixel_values=normalize(torch.from_numpy(pictures[at : at + CHUNK]))
                ).last_hidden_state
                for at in chunks
            ]
        )


def judge(folder: Path, corpus: Artifact) -> dict[str, Any]:
    """Return how right the captions of the test pictures are, and some of them.

    Prints, displays, masks and figures hide part of what is true of whom they show, so pictures
    that show no medium are also judged by themselves.
    """
    test = read_corpus(corpus, "test")
    captioner = _blip2.load(resolve(str(folder)))
    pictures = [captioner.prepare(picture) for picture in test.pictures]
    said = [
        caption.text
        for at in range(0, len(pictures), CHUNK)
        for caption in captioner.caption(
            pictures[at : at + CHUNK], range(at, min(at + CHUNK, len(pictures)))
        )
    ]
    plain = [row for row, true in enumerate(test.attributes) if "medium" not in true]
    groups = {"accuracy": range(len(said)), "accuracy_without_medium": plain}
    judged = {
        name: caption_accuracy([said[row] for row in rows], [test.attributes[row] for row in rows])
        for name, rows in groups.items()
    }
    return {
        name: {attribute: asdict(found) for attribute, found in accuracy.items()}
        for name, accuracy in judged.items()
    } | {"samples": said[:NUM_SAMPLES]}


class _ClassToken(nn.Module):
    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, pixels: Tensor) -> Tensor:
        seen: Tensor = self.tower(pixel_values=pixels).last_hidden_state
        return seen[:, 0]


def _schedule(config: CaptionerConfig, steps: int, rate: float) -> Schedule:
    return Schedule(
        steps=steps,
        learning_rate=rate,
        warmup_steps=min(60, steps // 10),
        weight_decay=0.02,
        betas=(0.9, 0.98),
        muon_rate=config.muon_rate,
        seed=config.seed,
        checkpoint_every=config.checkpoint_every,
    )
