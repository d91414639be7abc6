"""Train a small CLIP on pictures and their captions: the words of each, and which belong together.

Shapes in this file:
    B batch, S side of a picture, D shared width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn
from transformers import CLIPModel, PreTrainedTokenizerFast

from scf_pipeline.captioners._training import Schedule, fit, narrow
from scf_pipeline.miniature.corpus import Corpus, bag_of_phrases, common_phrases, read_corpus
from scf_pipeline.miniature.models import CLIP_SIZES, build_clip
from scf_pipeline.miniature.tokenizer import learn_clip_tokenizer
from scf_pipeline.miniature.tower import TowerConfig
from scf_pipeline.miniature.words import (
    Augmentation,
    augment,
    draw,
    normalize,
    word_head,
    word_loss,
)
from scf_pipeline.store import Artifact

MAX_TEXT_TOKENS = 48
"""Longest text of the towers."""

MAX_LOGIT_SCALE = 4.6052
"""Logarithm of 100, CLIP's bound."""

CANDIDATES = 100
"""Captions among which a test picture is to find its own."""


def teach_tower(config: TowerConfig, corpus: Artifact, scratch: Path) -> dict[str, Any]:
    """Train a CLIP into ``<scratch>/weights``; return its loss curve and how well it matches."""
    taught = read_corpus(corpus, "train")
    tokenizer = learn_clip_tokenizer(
        (text for texts in taught.captions for text in texts), max_length=MAX_TEXT_TOKENS
    )
    sizes = replace(CLIP_SIZES[config.size], image_px=taught.pictures.shape[1])
    clip, processor = build_clip(tokenizer, sizes, seed=config.seed)
    # Sequences are short: plain attention takes two thirds of the time of the fused one.
    clip.set_attn_implementation("eager")
    school = _School(clip, tokenizer, taught, config)
    history = fit(school.taught, school.losses_at, _schedule(config), checkpoint=scratch / "c.pt")
    clip.train(mode=False)
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    clip.save_pretrained(scratch / "weights")
    processor.save_pretrained(scratch / "weights")
    found = retrieval(clip, tokenizer, read_corpus(corpus, "test"))
    return {"loss": history.curve(config.checkpoint_every), "retrieval": found}


class _School:
    """A tower and what it learns from."""

    def __init__(
        self,
        clip: CLIPModel,
        tokenizer: PreTrainedTokenizerFast,
        corpus: Corpus,
        config: TowerConfig,
    ) -> None:
        self.clip, self.tokenizer, self.corpus, self.config = clip, tokenizer, corpus, config
        vocabulary = common_phrases(corpus.captions)
        self.bags = torch.from_numpy(bag_of_phrases(corpus.captions, vocabulary)).float()
        self.head = word_head(clip.vision_embed_dim, self.bags.mean(0))
        self.taught = nn.ModuleDict({"clip": clip, "head": self.head})
        self.pictures = torch.from_numpy(corpus.pictures)

    def losses_at(self, step: int) -> Iterator[Tensor]:
        """Yield the loss of one batch: words of the class token, and contrast with captions."""
        self.taught.train()
        config, captions = self.config, self.corpus.captions
        rows, generator = draw(len(self.pictures), config.batch_size, config.seed, step)
        which = torch.randint(len(captions[0]), (len(rows),), generator=generator).tolist()
        texts = [captions[row][n] for row, n in zip(rows, which, strict=True)]
        with narrow():
            pixels = augment(self.pictures[rows], Augmentation(), generator)
            pooled = self.clip.vision_model(pixel_values=pixels).pooler_output
            seen = self.clip.visual_projection(pooled)
            read = read_texts(self.clip, self.tokenizer, texts)
        words = word_loss(self.head(pooled.float()), self.bags[rows])
        scale = self.clip.logit_scale.clamp(max=MAX_LOGIT_SCALE).exp()
        yield words + config.contrast * contrastive_loss(seen.float(), read.float(), scale, texts)


def read_texts(clip: CLIPModel, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> Tensor:
    """Return the place of each text in the shared space, (B, D)."""
    tokens = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
    pooled = clip.text_model(
        input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
    ).pooler_output
    read: Tensor = clip.text_projection(pooled)
    return read


def contrastive_loss(seen: Tensor, read: Tensor, scale: Tensor, texts: Sequence[str]) -> Tensor:
    """Return CLIP's loss in both directions; pictures of one and the same caption share it.

    Args:
        seen: Pictures in the shared space, (B, D).
        read: Their captions, (B, D).
        scale: Factor on the cosines.
        texts: The captions, B of them.
    """
    logits = scale * F.normalize(seen, dim=1) @ F.normalize(read, dim=1).T  # (B, B)
    numbers = {text: index for index, text in enumerate(texts)}
    key = torch.tensor([numbers[text] for text in texts])
    same = (key[:, None] == key[None, :]).float()
    wanted = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, wanted) + F.cross_entropy(logits.T, wanted)) / 2


@torch.no_grad()
def retrieval(
    clip: CLIPModel, tokenizer: PreTrainedTokenizerFast, corpus: Corpus
) -> dict[str, float]:
    """Return how often a picture finds its caption among those of others, and how often by chance.

    A caption that several of the pictures share counts as found by each of them.
    """
    texts = [captions[0] for captions in corpus.captions]
    hits, chances = [], []
    for at in range(0, len(texts), CANDIDATES):
        group = texts[at : at + CANDIDATES]
        pixels = normalize(torch.from_numpy(corpus.pictures[at : at + CANDIDATES]))
        seen = clip.visual_projection(clip.vision_model(pixel_values=pixels).pooler_output)
        read = read_texts(clip, tokenizer, group)
        nearest = (F.normalize(seen, dim=1) @ F.normalize(read, dim=1).T).argmax(1).tolist()
        hits += [group[found] == own for found, own in zip(nearest, group, strict=True)]
        chances += [group.count(own) / len(group) for own in group]
    return {"right": sum(hits) / len(hits), "chance": sum(chances) / len(chances)}


def _schedule(config: TowerConfig) -> Schedule:
    return Schedule(
        steps=config.steps,
        learning_rate=config.learning_rate,
        warmup_steps=min(60, config.steps // 10),
        weight_decay=0.02,
        betas=(0.9, 0.98),
        muon_rate=config.muon_rate,
        seed=config.seed,
        checkpoint_every=config.checkpoint_every,
    )
