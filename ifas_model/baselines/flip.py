"""FLIP: both halves of CLIP are tuned; a picture is judged against the texts of the two classes.

Shapes in this file:
    B batch, S side of a picture, C classes (2), K templates of a class, T tokens of a text,
    D width where pictures meet texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, field
from pathlib import Path
from typing import Any, Self

import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoTokenizer, PreTrainedModel

from ifas_model.augment import draw_view, jitter_saturation
from ifas_model.baselines import Method, _contrast, _tower
from ifas_model.baselines._head import judge
from ifas_model.baselines._tower import BaselineConfig
from ifas_model.checkpoint import check_vocabulary, reading
from ifas_model.config import FlipConfig
from ifas_model.judging import Item, Judged
from ifas_model.prompt import Answer, answer
from ifas_model.vision import load_tower
from ifas_model.vocabulary import Label

TEMPLATES = Path(__file__).with_name("templates.yaml")
"""The sentences that stand for the classes."""

MIN_TEMPLATES = 4
"""Fewest sentences of a class: of three, one view could draw all and leave the other none."""

TEXTS_AT_ONCE = 64
"""Training texts that are embedded at a time for the prototypes."""

JUDGMENTS = tuple(answer(label, "a face").judgment for label in Label)
"""What begins the text of a picture, by label."""


def read_templates(file: Path = TEMPLATES) -> dict[str, list[str]]:
    """Return the sentences that stand for each class.

    Args:
        file: YAML, a list of sentences under the name of each label.

    Raises:
        ValueError: If a class has too few sentences, or fewer than the other.
    """
    found = yaml.safe_load(file.read_text(encoding="utf-8"))
    templates: dict[str, list[str]] = {label.value: found[label] for label in Label}
    counts = {label: len(sentences) for label, sentences in templates.items()}
    if len(set(counts.values())) > 1 or min(counts.values()) < MIN_TEMPLATES:
        raise ValueError(
            f"`{file.name}` must hold as many sentences of each class, at least {MIN_TEMPLATES}, "
            f"but holds {counts}."
        )
    return templates


class FlipModelConfig(BaselineConfig):  # type: ignore[no-untyped-call]
    """What a saved FLIP is rebuilt from."""

    model_type = "scf-flip"

    templates: dict[str, list[str]] = field(default_factory=dict)
    """Sentences that stand for each class; as many for one as for the other."""


class Flip(PreTrainedModel):  # type: ignore[no-untyped-call]
    """A picture's cosines with two texts, over CLIP's temperature, as the logits of two classes.

    Source: FLIP (ICCV 2023), FLIP-IT and FLIP-MCL; with ``text="captions"`` I-FAS, Table 4.
    """

    config_class = FlipModelConfig
    config: FlipModelConfig
    needs_features = False

    def __init__(self, config: FlipModelConfig) -> None:
        super().__init__(config)
        self.settings = FlipConfig(**config.settings)
        self.clip = _tower.rebuild(config)
        self.tokenizer: Any = None  # joined by `build` and `load`: it is no weight
        dim = self.clip.visual_projection.out_features
        if self.settings.variant == "mcl":
            self.projection = _contrast.Projection(
                dim, self.settings.hidden_dim, self.settings.view_dim
            )
        self.prototypes: Tensor  # (C, D), zeros until `conclude`
        self.register_buffer("prototypes", torch.zeros(2, dim))
        self.post_init()  # type: ignore[no-untyped-call]

    def _init_weights(self, module: nn.Module) -> None:
        """Leave modules as they drew themselves: transformers passes over some of ours."""

    def train(self, mode: bool = True) -> Self:
        """Switch to training or evaluation; the tower's statistics stay in evaluation."""
        super().train(mode)
        _tower.hold_statistics(self.clip)
        return self

    def begin(self, phase: str) -> None:
        """Let everything learn, in ``main``.

        Raises:
            ValueError: If there is no such phase.
        """
        if phase != "main":
            raise _tower.refuse(phase, ["main"])
        _tower.learn(self, [self])

    def collate(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """Stack the pixels, and labels and texts where there are any.

        Texts are read with ``text="captions"`` only, and cut to CLIP's longest.
        """
        batch = _tower.stack(items)
        has_texts = "labels" in batch and all(item.get("interpretation") for item in items)
        if self.settings.text == "captions" and has_texts:
            batch |= self._tokenize([text_of(item) for item in items])
        return batch

    def forward(self, **batch: Tensor) -> Judged:
        """Judge a batch.

        Args:
            batch: ``pixels``, uint8 (B, 3, S, S); where known ``labels``, (B,); to learn from
                captions ``input_ids`` and ``attention_mask`` as well, (B, T).

        Raises:
            ValueError: If captions are to be learnt from and are absent, or if ``text="captions"``
                is to judge before `conclude`.
        """
        pictures = _tower.to_pictures(batch["pixels"], self.config)
        labels = batch.get("labels")
        if not (self.training and labels is not None):
            seen = self._see(pictures)
            return judge(self._scale(_contrast.cosines(seen, self._classes())), labels)
        pictures = jitter_saturation(pictures, self.settings.saturation)
        seen = self._see(pictures)
        if self.settings.text == "template":
            judged, texts = self._learn_templates(seen, labels)
        else:
            judged, texts = self._learn_captions(seen, labels, batch)
        if self.settings.variant == "mcl" and judged.loss is not None:
            return judged._replace(loss=judged.loss + self._consistency(pictures, texts))
        return judged

    @torch.no_grad()
    def conclude(self, items: Sequence[Item]) -> None:
        """With ``text="captions"``, take the prototype of each class from training texts.

        A prototype is the normalised mean of the embeddings of the first `prototype_texts` texts.
        With templates there is nothing to take: their sentences are part of the model.

        Args:
            items: Training faces, with label and interpretation.

        Raises:
            ValueError: If a class has no text.
        """
        if self.settings.text == "template":
            return
        was_training = self.training
        self.train(mode=False)
        for label, name in enumerate(Label):
            texts = [text_of(item) for item in items if item["label"] == label]
            texts = texts[: self.settings.prototype_texts]
            if not texts:
                raise ValueError(f"`items` must hold a text of each class, but none of {name}.")
            total = torch.zeros_like(self.prototypes[label])
            for start in range(0, len(texts), TEXTS_AT_ONCE):
                total += self._read(self._tokenize(texts[start : start + TEXTS_AT_ONCE])).sum(0)
            self.prototypes[label] = F.normalize(total, dim=0)
        self.train(was_training)

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - transformers' own signature, passed on
        """Save in the Hugging Face layout, with the tokenizer."""
        super().save_pretrained(save_directory, *args, **kwargs)
        self.tokenizer.save_pretrained(save_directory)

    def _see(self, pictures: Tensor) -> Tensor:
        pixel_values = _tower.normalize(pictures, self.config)
        pooled = self.clip.vision_model(pixel_values=pixel_values).pooler_output
        return self.clip.visual_projection(pooled)  # (B, D)

    def _tokenize(self, texts: list[str]) -> dict[str, Tensor]:
        longest = self.clip.text_model.embeddings.position_embedding.num_embeddings
        tokens = self.tokenizer(
            texts, padding=True, truncation=True, max_length=longest, return_tensors="pt"
        )
        return {name: tokens[name] for name in ("input_ids", "attention_mask")}

    def _read(self, tokens: dict[str, Tensor]) -> Tensor:
        tokens = {name: ids.to(self.prototypes.device) for name, ids in tokens.items()}
        return self.clip.text_projection(self.clip.text_model(**tokens).pooler_output)  # (B, D)

    def _read_templates(self) -> Tensor:
        sentences = [text for label in Label for text in self.config.templates[label]]
        return torch.stack(self._read(self._tokenize(sentences)).chunk(2))  # (C, K, D)

    def _read_own(self, batch: dict[str, Tensor]) -> Tensor:
        if "input_ids" not in batch:
            raise ValueError("`interpretation` must hold a text of each face, but is empty.")
        return self._read({name: batch[name] for name in ("input_ids", "attention_mask")})

    def _learn_templates(
        self, seen: Tensor, labels: Tensor
    ) -> tuple[Judged, tuple[Tensor, Tensor]]:
        templates = self._read_templates()
        judged = judge(self._scale(_contrast.cosines(seen, templates.mean(1))), labels)
        return judged, _contrast.draw_text_views(templates, labels)

    def _learn_captions(
        self, seen: Tensor, labels: Tensor, batch: dict[str, Tensor]
    ) -> tuple[Judged, tuple[Tensor, Tensor]]:
        own = self._read_own(batch)
        judged = judge(self._scale(_contrast.own_cosines(seen, own, labels)), labels)
        # a picture's own text would tell its label, so the log's margin is of the class means
        classes = _contrast.class_means(own, labels)
        told = judge(self._scale(_contrast.cosines(seen, classes)), None)
        return judged._replace(margin=told.margin), (own, own)

    def _classes(self) -> Tensor:
        if self.settings.text == "template":
            return self._read_templates().mean(1)  # (C, D)
        if not self.prototypes.any():
            raise ValueError("`conclude` must give the prototypes before judging, but has not.")
        return self.prototypes

    def _scale(self, cosines: Tensor) -> Tensor:
        return self.clip.logit_scale.exp() * cosines

    def _consistency(self, pictures: Tensor, texts: tuple[Tensor, Tensor]) -> Tensor:
        first, second = (self._see(draw_view(pictures)) for _ in range(2))
        contrast = _contrast.contrast(
            self.projection(first), self.projection(second), self.settings.temperature
        )
        return contrast + _contrast.disagreement((first, second), texts)


def text_of(item: Item) -> str:
    """Return the text of a training face: ``Yes`` or ``No``, and its interpretation.

    Raises:
        ValueError: If the interpretation is empty.
    """
    interpretation = item.get("interpretation", "")
    if not interpretation:
        raise ValueError("`interpretation` must hold words, but is empty.")
    return Answer(JUDGMENTS[item["label"]], interpretation).text


def build(config: FlipConfig, tower: Path, seed: int) -> Flip:
    """Return a FLIP to train; only the head of the views is fresh.

    Args:
        config: Its settings.
        tower: Folder of a CLIP checkpoint with its tokenizer.
        seed: Of the fresh weights.
    """
    source = load_tower(tower)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Flip(
            FlipModelConfig(
                settings=asdict(config),
                templates=read_templates(),
                **_tower.describe(tower, source),
            )
        )
    model.clip.load_state_dict(source.state_dict())
    with reading(tower):
        model.tokenizer = AutoTokenizer.from_pretrained(
            tower, local_files_only=True, trust_remote_code=False
        )
    text_config: Any = source.config.text_config
    check_vocabulary(model.tokenizer, text_config.vocab_size, folder=tower)
    return model


def load(folder: Path) -> Flip:
    """Load a saved FLIP in evaluation mode, with its tokenizer."""
    model = _tower.load(Flip, folder)
    with reading(folder):
        model.tokenizer = AutoTokenizer.from_pretrained(
            folder, config=model.config, local_files_only=True, trust_remote_code=False
        )
    return model


METHOD = Method(title="FLIP", build=build, load=load)
