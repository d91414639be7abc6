"""I-FAS: a frozen vision tower, the Globally Aware Connector, and a language model that answers.

Shapes in this file:
    B batch, S side of a picture, N image patches, L encoder layers, M learnable queries,
    V vision width, T language width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import TypeAdapter
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
)

from ifas_model.checkpoint import IFasModelConfig, check_vocabulary, load_weights
from ifas_model.config import IFasConfig
from ifas_model.connector import GloballyAwareConnector
from ifas_model.errors import ModelError
from ifas_model.judging import Item, Judged
from ifas_model.language import (
    Words,
    adapt,
    answer_logits,
    copy_weights,
    interpret,
    load_language,
    load_tokenizer,
    margin_of,
    write_answers,
    write_captions,
)
from ifas_model.loss import LanguageLoss, lopsided_lm_loss, standard_lm_loss
from ifas_model.vision import Features, Pixels, VisionTower, load_pixels, load_tower, look

_SETTINGS: TypeAdapter[IFasConfig] = TypeAdapter(IFasConfig)


class IFas(PreTrainedModel):  # type: ignore[no-untyped-call]
    """The I-FAS model.

    Source: I-FAS, Figure 2.
    """

    config_class = IFasModelConfig
    base_model_prefix = "ifas"
    needs_features: ClassVar[bool] = True
    _tied_weights_keys: ClassVar[dict[str, str]] = {  # type: ignore[misc]
        "language.lm_head.weight": "language.model.decoder.embed_tokens.weight"
    }

    def __init__(self, config: IFasModelConfig) -> None:
        super().__init__(config)
        self.settings = _SETTINGS.validate_python(config.held("settings"))
        self.words = Words(**{k: _hashable(v) for k, v in config.held("words").items()})
        self.pixels = Pixels(**{k: _hashable(v) for k, v in config.held("pixels").items()})
        self.vision = VisionTower(CLIPVisionConfig(**config.held("vision")))
        self.connector = GloballyAwareConnector(self.settings.connector)
        self.language = OPTForCausalLM(OPTConfig(**config.held("text")))
        self.tokenizer: Any = None
        self.post_init()  # type: ignore[no-untyped-call]
        if self.settings.language_training == "lora":  # after OPT's fresh start, which fills B
            adapt(self.language, rank=self.settings.lora_rank, alpha=self.settings.lora_alpha)
        self.begin("main")

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Leave fresh weights as their modules made them; the rest is loaded."""

    @classmethod
    def build(cls, settings: IFasConfig, *, tower: Path, language: Path, seed: int) -> IFas:
        """Return a model whose connector is new, on trained tower and language model.

        Args:
            settings: Its settings.
            tower: CLIP folder in the Hugging Face layout.
            language: OPT folder in the Hugging Face layout, with its tokenizer.
            seed: Of the connector and the adapters.

        Raises:
            ModelError: If a folder does not hold what it should.
        """
        clip, opt = load_tower(tower), load_language(language)
        tokenizer, words = load_tokenizer(language, settings.prompt)
        check_vocabulary(tokenizer, opt.config.vocab_size, folder=language)
        vision_config: Any = clip.config.vision_config
        text_config: Any = opt.config
        sized = replace(
            settings.connector,
            vision_dim=vision_config.hidden_size,
            encoder_layers=vision_config.num_hidden_layers,
            language_dim=text_config.word_embed_proj_dim,
        )
        plain = _SETTINGS.dump_python(replace(settings, connector=sized), mode="json")
        torch.manual_seed(seed)
        config = IFasModelConfig(
            settings=plain,
            vision=vision_config.to_dict(),
            text=text_config.to_dict(),
            words=asdict(words),
            pixels=load_pixels(tower)._asdict(),
        )
        model = cls(config)
        # What it began with is in the checkpoint; the file may be gone when that is loaded.
        model.adopt(replace(model.settings, connector=replace(sized, initial_weights=None)))
        model.vision.load_state_dict(clip.vision_model.state_dict())
        copy_weights(opt, model.language)
        model.tokenizer = tokenizer
        return model

    @classmethod
    def load(cls, folder: Path) -> IFas:
        """Load a checkpoint folder with its tokenizer, in evaluation mode.

        Raises:
            ModelError: If the folder holds no whole model, or another model's tokenizer.
        """
        model: IFas = load_weights(cls, folder, is_ours=True)
        model.begin("main")  # transformers makes every weight anew, and willing to learn
        model.tokenizer, words = load_tokenizer(folder, model.settings.prompt)
        if words != model.words:
            raise ModelError(
                "The tokenizer must be the one that the model learnt with, but is another.",
                where=str(folder),
                fix="Restore the tokenizer's files from the model's training.",
            )
        return model

    @classmethod
    def go_on(cls, folder: Path, settings: IFasConfig) -> IFas:
        """Load a checkpoint to train it further, perhaps under another loss.

        Args:
            folder: The checkpoint.
            settings: New settings; those of connector and adapters must be the checkpoint's.

        Raises:
            ModelError: If `load` would raise it, or connector or adapters are others.
        """
        model = cls.load(folder)
        old = model.settings
        sized = replace(
            settings.connector,
            vision_dim=old.connector.vision_dim,
            encoder_layers=old.connector.encoder_layers,
            language_dim=old.connector.language_dim,
        )
        if sized != old.connector or _adapters(settings) != _adapters(old):
            raise ModelError(
                "Connector and adapters must be the checkpoint's, but their settings differ.",
                where=str(folder),
                fix="Train on from a checkpoint of these settings.",
            )
        _, model.words = load_tokenizer(folder, settings.prompt)
        model.config.words = asdict(model.words)
        model.adopt(replace(settings, connector=sized))
        model.begin("main")
        return model

    def save_pretrained(self, save_directory: Any, **options: Any) -> None:  # type: ignore[override]  # noqa: ANN401
        """Save weights, settings and tokenizer in the Hugging Face layout."""
        super().save_pretrained(save_directory, **options)
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(save_directory)

    def begin(self, phase: str) -> None:
        """Let the connector learn, and of the language model what the settings say.

        Args:
            phase: ``main`` or ``align``; what they differ in is what the items hold.

        Raises:
            ValueError: If there is no such phase.
        """
        if phase not in ("main", "align"):
            raise ValueError(f"`phase` must be 'main' or 'align', but is {phase!r}.")
        self.requires_grad_(False)
        self.connector.requires_grad_(True)
        if self.settings.language_training != "frozen":
            for name, parameter in self.language.named_parameters():
                wanted = self.settings.language_training == "full" or "lora_" in name
                parameter.requires_grad_(wanted)

    def train(self, mode: bool = True) -> IFas:
        """Switch dropout; the tower is frozen and stays in evaluation mode."""
        super().train(mode)
        self.vision.train(mode=False)
        return self

    def look(self, pixels: Tensor) -> Features:
        """Return X_V and G_V of a batch of crops: uint8 (B, 3, S, S)."""
        layer, keeps = self.settings.local_layer, self.settings.keep_class_token
        with torch.no_grad():
            normal = self.pixels.normalize(pixels).to(self.vision.dtype)
            return look(self.vision, normal, local_layer=layer, keep_class_token=keeps)

    def collate(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """Make a batch of features or pixels, with answers if the items hold labels."""
        batch: dict[str, Tensor] = {}
        for name in ("pixels", "patches", "class_tokens"):
            if name in items[0]:
                batch[name] = torch.stack([item[name] for item in items])
        limit = self.settings.max_interpretation_tokens
        if "caption" in items[0]:
            captions = [item["caption"] for item in items]
            batch["captions"], batch["segments"] = write_captions(
                self.tokenizer, self.words, captions, max_tokens=limit
            )
        elif "label" in items[0]:
            batch["targets"], batch["segments"] = write_answers(
                self.tokenizer,
                self.words,
                [item["label"] for item in items],
                [item["interpretation"] for item in items],
                max_tokens=limit,
            )
        return batch

    def forward(self, **batch: Tensor) -> Judged:
        """Judge a batch; with `targets` and `segments`, its loss as well.

        Args:
            batch: `patches` (B, N, V) and `class_tokens` (B, L, V), or `pixels` (B, 3, S, S).
        """
        soft = self.connect(batch)
        if "captions" in batch:
            return self._describe(soft, batch["captions"], batch["segments"])
        targets = batch.get("targets")
        logits = answer_logits(self.language, soft, self.words.prompt, targets)
        margin = margin_of(logits, self.words)
        if targets is None:
            return Judged(margin)
        loss = self._loss(logits, targets, batch["segments"])
        return Judged(margin, loss.total, loss.judgment.detach(), loss.interpretation.detach())

    def connect(self, batch: dict[str, Tensor]) -> Tensor:
        """Return X_T of a batch, (B, M + L, T)."""
        if "pixels" in batch:
            patches, class_tokens = self.look(batch["pixels"])
        else:
            patches, class_tokens = batch["patches"], batch["class_tokens"]
        dtype = self.connector.queries.dtype
        soft: Tensor = self.connector(patches.to(dtype), class_tokens.to(dtype))
        return soft

    @torch.no_grad()
    def interpret(self, batch: dict[str, Tensor], is_bona_fide: Tensor) -> list[str]:
        """Generate the interpretations that go with judgments.

        Args:
            batch: As in `forward`.
            is_bona_fide: The judgment of each face, bool (B,).
        """
        soft = self.connect(batch)
        yes, no = (torch.tensor(i, device=soft.device) for i in (self.words.yes, self.words.no))
        judgments = torch.where(is_bona_fide.to(soft.device), yes, no)
        limit = self.settings.max_interpretation_tokens
        rows = interpret(self.language, soft, self.words, judgments, max_tokens=limit)
        texts: list[str] = self.tokenizer.batch_decode(rows, skip_special_tokens=True)
        return [text.strip().lstrip(".").strip() for text in texts]

    def conclude(self, items: Sequence[Item]) -> None:
        """Take nothing: a trained I-FAS is complete."""

    def adopt(self, settings: IFasConfig) -> None:
        """Take other settings, and write them into checkpoints from now on."""
        self.settings = settings
        self.config.settings = _SETTINGS.dump_python(settings, mode="json")

    def _loss(self, logits: Tensor, targets: Tensor, segments: Tensor) -> LanguageLoss:
        loss = self.settings.loss
        if loss.kind == "standard":
            return standard_lm_loss(logits, targets, segments)
        return lopsided_lm_loss(logits, targets, segments, alpha=loss.alpha)

    def _describe(self, soft: Tensor, captions: Tensor, segments: Tensor) -> Judged:
        logits = answer_logits(self.language, soft, self.words.caption_prompt, captions)
        loss = lopsided_lm_loss(logits, captions, segments, alpha=0.0)
        return Judged(margin_of(logits, self.words), loss.total, None, loss.interpretation.detach())


def _hashable(value: Any) -> Any:  # noqa: ANN401 - plain data
    return tuple(value) if isinstance(value, list) else value


def _adapters(settings: IFasConfig) -> tuple[int, int] | None:
    has_adapters = settings.language_training == "lora"
    return (settings.lora_rank, settings.lora_alpha) if has_adapters else None
