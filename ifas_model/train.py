"""One training run: shards in, weights out, on the Hugging Face Trainer.

All order is a function of the seed: `Draw` lists every face of a phase before it begins, and the
Trainer restores weights, optimizer, schedule and generators, so a resumed run ends in the weights
of an undisturbed one.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.utils.data import Sampler
from transformers import PrinterCallback, Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from ifas_model import baselines, plugins
from ifas_model.config import SETTINGS, IFasConfig, PhaseConfig, TrainConfig
from ifas_model.data import load_faces
from ifas_model.errors import ConfigError
from ifas_model.features import FeatureStore
from ifas_model.judging import Judged
from ifas_model.lesson import Draw, Lesson, choose, group_names
from ifas_model.model import IFas
from ifas_model.protocols import protocol

_SETTINGS: TypeAdapter[TrainConfig] = TypeAdapter(TrainConfig)

WEIGHTS = "weights"
"""Folder, in a phase's scratch, of the weights that it ended with."""


def train(  # noqa: PLR0913 - every input by its name
    config: TrainConfig,
    *,
    shards: Path,
    tower: Path,
    out: Path,
    scratch: Path,
    language: Path | None = None,
    initial: Path | None = None,
    features: Path | None = None,
    logs: Path | None = None,
) -> dict[str, Any]:
    """Train a model and save it in the Hugging Face layout.

    Args:
        config: What and how.
        shards: Shard folder.
        tower: CLIP folder.
        out: Folder of the weights.
        scratch: Folder of the checkpoints that a killed run goes on from.
        language: OPT folder with its tokenizer; I-FAS alone needs it.
        initial: I-FAS checkpoint to begin with, in place of a fresh connector and `language`.
        features: Folder of the tower's features, as `features.compute` writes it.
        logs: Folder for TensorBoard; ``None`` logs to the returned curve alone.

    Returns:
        ``curve`` (losses by step), ``seconds``, ``samples``, ``steps``, ``parameters`` and
        ``trained_parameters``.

    Raises:
        ConfigError: If I-FAS gets no language model.
        ShardError: If the shards lack the protocol's sources.
    """
    started = time.monotonic()
    faces = choose(load_faces(shards, protocol(config.protocol, config.target).sources), config)
    judge = build(config, tower=tower, language=language, initial=initial)
    store = None
    if features is not None and judge.needs_features:
        store = FeatureStore(features)
    dataset = Lesson(faces, config, store)
    curve: list[dict[str, Any]] = []
    for number in range(len(config.phases)):
        curve += run_phase(judge, dataset, config, number, scratch / f"phase-{number}", logs)
    places = np.random.default_rng([config.seed, 2]).permutation(len(faces))[:MAX_CONCLUDED]
    judge.conclude([dataset.text(int(place)) for place in places])
    judge.save_pretrained(out)
    plain = json.dumps(_SETTINGS.dump_python(config, mode="json"), indent=2, sort_keys=True)
    (out / SETTINGS).write_text(plain + "\n", "utf-8")
    trained = sum(p.numel() for p in judge.parameters() if p.requires_grad)
    return {
        "curve": curve,
        "seconds": time.monotonic() - started,
        "samples": len(faces),
        "steps": sum(steps_of(phase, len(faces)) for phase in config.phases),
        "parameters": sum(p.numel() for p in judge.parameters()),
        "trained_parameters": trained,
    }


MAX_CONCLUDED = 10_000
"""Most training faces whose texts a trained model is shown for its prototypes."""


def build(  # noqa: ANN201
    config: TrainConfig, *, tower: Path, language: Path | None, initial: Path | None = None
) -> Any:
    """Return a fresh judge of any method.

    Raises:
        ConfigError: If I-FAS gets no language model.
    """
    if not isinstance(config.method, IFasConfig):
        method = plugins.load(baselines, "METHOD", config.method.method)
        return method.build(config.method, tower=tower, seed=config.seed)
    if initial is not None:
        return IFas.go_on(initial, config.method)
    if language is None:
        raise ConfigError(
            "I-FAS must be given a language model, but is given none.",
            where="the option --language",
            fix="Name an OPT folder with its tokenizer.",
        )
    model = IFas.build(config.method, tower=tower, language=language, seed=config.seed)
    if torch.cuda.is_available():
        model.vision.to(torch.bfloat16)
        if config.method.language_training == "frozen":
            model.language.to(torch.bfloat16)
    return model


def steps_of(phase: PhaseConfig, samples: int) -> int:
    """Return the updates of a phase over so many samples."""
    return phase.steps or max(1, math.ceil(phase.epochs * samples / phase.batch_size))


def run_phase(  # noqa: PLR0913, PLR0917 - one call, above
    judge: Any,  # noqa: ANN401 - a Judge and a module
    lesson: Lesson,
    config: TrainConfig,
    number: int,
    scratch: Path,
    logs: Path | None,
) -> list[dict[str, Any]]:
    """Train through one phase, from its last checkpoint if there is one, and return its curve."""
    phase = config.phases[number]
    steps = steps_of(phase, len(lesson.faces))
    judge.begin(phase.name)
    draw = Draw(
        group_names(lesson.faces),
        steps * phase.batch_size,
        [config.seed, 1, number],
        is_balanced=config.sampler == "balanced",
        flip=config.flip,
    )
    trainer = PhaseTrainer(
        judge,
        _arguments(phase, config, steps, scratch, logs),
        train_dataset=lesson,
        data_collator=judge.collate,
        phase=phase,
        draw=draw,
    )
    history = trainer.run(scratch)
    return [
        {
            "phase": phase.name,
            "step": entry["step"],
            "epoch": entry["step"] * phase.batch_size / len(lesson.faces),
            "loss": entry["loss"],
            "judgment": entry["judgment"],
            "interpretation": entry.get("interpretation"),
            "learning_rate": entry["learning_rate"],
        }
        for entry in history
        if "judgment" in entry
    ]


class PhaseTrainer(Trainer):
    """The Hugging Face Trainer with our order, our rates, and both parts of the loss in its log."""

    def __init__(
        self,
        model: nn.Module,
        args: TrainingArguments,
        *,
        phase: PhaseConfig,
        draw: Draw,
        **options: Any,  # noqa: ANN401 - the Trainer's own
    ) -> None:
        super().__init__(model, args, **options)
        self.phase, self.draw = phase, draw
        self.remove_callback(PrinterCallback)  # stdout is for paths and JSON
        self.model_accepts_loss_kwargs = False  # our losses are means over a batch
        self.parts: list[tuple[Tensor, Tensor | None]] = []

    def run(self, scratch: Path) -> list[dict[str, Any]]:
        """Train, or take up what an earlier run ended with, and return the log."""
        ended = scratch / WEIGHTS
        if ended.is_dir():
            load_model(self.model, ended / "model.safetensors")
            history: list[dict[str, Any]] = json.loads((ended / "log.json").read_text("utf-8"))
            return history
        checkpoint = get_last_checkpoint(str(scratch)) if scratch.is_dir() else None
        self.train(resume_from_checkpoint=checkpoint)
        partial = scratch / "weights.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_model(self.model, str(partial / "model.safetensors"))
        (partial / "log.json").write_text(json.dumps(self.state.log_history), "utf-8")
        partial.rename(ended)
        for folder in scratch.glob("checkpoint-*"):
            shutil.rmtree(folder)
        return self.state.log_history

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,  # noqa: ANN401, ARG002 - the Trainer's own
    ) -> Any:  # noqa: ANN401 - the Trainer's own
        """Return the loss, and keep its parts for the log."""
        judged: Judged = model(**inputs)
        if judged.judgment is not None:
            self.parts.append((judged.judgment, judged.interpretation))
        return (judged.loss, judged) if return_outputs else judged.loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the mean of both parts of the loss since the last time."""
        if "loss" in logs and self.parts:
            for name, values in zip(
                ("judgment", "interpretation"), zip(*self.parts, strict=True), strict=True
            ):
                known = [value for value in values if value is not None]
                if known:
                    logs[name] = float(torch.stack(known).mean())
            self.parts = []
        super().log(logs, start_time)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Return AdamW: matrices decay, the language model may have a rate of its own."""
        if self.optimizer is None:
            groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
            for name, parameter in self.model.named_parameters():
                if parameter.requires_grad:
                    is_matrix = parameter.ndim > 1 and not name.endswith("queries")
                    is_language = name.startswith("language.")
                    groups.setdefault((is_matrix, is_language), []).append(parameter)
            rates = {False: self.phase.learning_rate}
            rates[True] = self.phase.language_rate or self.phase.learning_rate
            self.optimizer = torch.optim.AdamW(
                [
                    {
                        "params": parameters,
                        "lr": rates[is_language],
                        "weight_decay": self.phase.weight_decay * is_matrix,
                    }
                    for (is_matrix, is_language), parameters in groups.items()
                ],
                lr=self.phase.learning_rate,
            )
        return self.optimizer

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:  # noqa: ANN401, ARG002
        return self.draw


def _arguments(
    phase: PhaseConfig, config: TrainConfig, steps: int, scratch: Path, logs: Path | None
) -> TrainingArguments:
    has_gpu = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(scratch),
        per_device_train_batch_size=phase.batch_size // phase.accumulation,
        gradient_accumulation_steps=phase.accumulation,
        max_steps=steps,
        learning_rate=phase.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(phase.warmup_fraction * steps),
        max_grad_norm=phase.max_gradient_norm,
        logging_steps=config.log_every,
        save_steps=config.checkpoint_every,
        save_total_limit=1,
        seed=config.seed,
        use_cpu=not has_gpu,
        bf16=has_gpu,
        report_to="none" if logs is None else "tensorboard",
        remove_unused_columns=False,
        dataloader_pin_memory=has_gpu,
        disable_tqdm=True,
        log_level="error",
    )
