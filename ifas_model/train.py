"""One training run: shards in, weights out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter

from ifas_model import baselines, plugins
from ifas_model.config import SETTINGS, TOWER, IFasConfig, PhaseConfig, TrainConfig
from ifas_model.data import load_faces
from ifas_model.errors import ConfigError
from ifas_model.features import FeatureStore, open_features, tower_of
from ifas_model.judging import Item
from ifas_model.lesson import Lesson, choose
from ifas_model.model import IFas
from ifas_model.phase import SCALARS, WEIGHTS, PhaseTrainer, steps_of
from ifas_model.protocols import protocol_of
from ifas_model.scoring import dev_part, target_parts
from ifas_model.selection import Exam, step_of

_SETTINGS: TypeAdapter[TrainConfig] = TypeAdapter(TrainConfig)


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
        ``curve`` (losses by step), ``seconds`` (of all phases), ``samples``, ``steps``,
        ``selected_step`` (of the last phase, whose weights these are), ``parameters`` and
        ``trained_parameters`` (in any phase).

    Raises:
        ConfigError: If I-FAS gets no language model.
        ModelError: If the features are another tower's.
        ShardError: If the shards lack the protocol's sources, or what weights are chosen by.
    """
    pictures = scratch / "pictures"
    shutil.rmtree(pictures, ignore_errors=True)  # of a run that was killed
    sources = protocol_of(config).sources
    faces = choose(load_faces(shards, sources, cache=pictures), config)
    judge = build(config, tower=tower, language=language, initial=initial)
    store = open_features(features, config.method, initial or tower)
    places = np.random.default_rng([config.seed, 2]).permutation(len(faces))[:MAX_CONCLUDED]
    told = Lesson(faces, config, store)
    texts = [told.text(int(place)) for place in places]
    exam = None if config.select == "last" else _exam(config, shards, pictures, store, texts)
    curve: list[dict[str, Any]] = []
    seconds = 0.0
    trained: set[str] = set()
    for number, phase in enumerate(config.phases):
        is_last = number == len(config.phases) - 1
        lesson = Lesson(faces, config, store, phase.name)
        judge.begin(phase.name)
        place = scratch / f"phase-{number}"
        trainer = PhaseTrainer(judge, lesson, config, number, place, exam if is_last else None)
        history = trainer.run(None if logs is None else logs / f"{number}-{phase.name}")
        points = [entry for entry in history if "loss" in entry]
        curve += [_point(entry, phase, len(faces)) for entry in points]
        seconds += points[-1]["seconds"]
        trained |= {name for name, p in judge.named_parameters() if p.requires_grad}
    judge.conclude(texts)
    judge.save_pretrained(out)
    plain = json.dumps(_SETTINGS.dump_python(config, mode="json"), indent=2, sort_keys=True)
    (out / SETTINGS).write_text(plain + "\n", "utf-8")
    (out / TOWER).write_text(f"{tower_of(initial or tower)}\n", "utf-8")
    return {
        "curve": curve,
        "seconds": seconds,
        "samples": len(faces),
        "steps": sum(steps_of(phase, len(faces)) for phase in config.phases),
        "selected_step": step_of(place / WEIGHTS),
        "parameters": sum(p.numel() for p in judge.parameters()),
        "trained_parameters": sum(
            p.numel() for name, p in judge.named_parameters() if name in trained
        ),
    }


MAX_CONCLUDED = 10_000
"""Most training faces whose texts a trained model is shown for its prototypes."""


def build(
    config: TrainConfig, *, tower: Path, language: Path | None, initial: Path | None = None
) -> Any:  # noqa: ANN401 - a Judge and a module
    """Return a fresh judge of any method.

    Raises:
        ConfigError: If I-FAS gets no language model.
    """
    if not isinstance(config.method, IFasConfig):
        method = plugins.load(baselines, "METHOD", config.method.method)
        return method.build(config.method, tower=tower, seed=config.seed)
    if initial is not None:
        model = IFas.go_on(initial, config.method)
    elif language is not None:
        model = IFas.build(config.method, tower=tower, language=language, seed=config.seed)
    else:
        raise ConfigError(
            "I-FAS must be given a language model, but is given none.",
            where="the option --language",
            fix="Name an OPT folder with its tokenizer.",
        )
    if torch.cuda.is_available():
        halved: list[Any] = [model.vision]
        if config.method.language_training == "frozen":
            halved.append(model.language)
        for part in halved:
            part.to(torch.bfloat16)
    return model


def _exam(
    config: TrainConfig,
    shards: Path,
    pictures: Path,
    store: FeatureStore | None,
    texts: Sequence[Item],
) -> Exam:
    """Return what weights are chosen by, where they are not the last."""
    held, rules = load_faces(shards, cache=pictures), protocol_of(config)
    if config.select == "best_on_dev":
        return Exam([dev_part(held, rules)], store, texts)
    return Exam(list(target_parts(held, rules).values()), store, texts)


def _point(entry: Mapping[str, Any], phase: PhaseConfig, faces: int) -> dict[str, Any]:
    """Return a point of the curve."""
    return {
        "phase": phase.name,
        "step": entry["step"],
        "epoch": entry["step"] * phase.batch_size / faces,
        **{name: entry.get(name) for name in SCALARS},
    }
