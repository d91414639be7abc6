"""One training run: shards in, weights out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter

from ifas_model import baselines, plugins
from ifas_model.config import SETTINGS, FeaturesConfig, IFasConfig, TrainConfig
from ifas_model.data import load_faces
from ifas_model.errors import ConfigError
from ifas_model.features import FeatureStore, hash_tower
from ifas_model.lesson import Lesson, choose
from ifas_model.model import IFas
from ifas_model.phase import run_phase, steps_of
from ifas_model.protocols import protocol_of

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
        ``parameters`` and ``trained_parameters`` (in any phase).

    Raises:
        ConfigError: If I-FAS gets no language model.
        ModelError: If the features are another tower's.
        ShardError: If the shards lack the protocol's sources.
    """
    pictures = scratch / "pictures"
    shutil.rmtree(pictures, ignore_errors=True)  # of a run that was killed
    sources = protocol_of(config).sources
    faces = choose(load_faces(shards, sources, cache=pictures), config)
    judge = build(config, tower=tower, language=language, initial=initial)
    store = _open_features(config, features, tower) if judge.needs_features else None
    curve: list[dict[str, Any]] = []
    seconds = 0.0
    trained: set[str] = set()
    for number, phase in enumerate(config.phases):
        lesson = Lesson(faces, config, store, phase.name)
        points, spent = run_phase(judge, lesson, config, number, scratch / f"phase-{number}", logs)
        curve += points
        seconds += spent
        trained |= {name for name, p in judge.named_parameters() if p.requires_grad}
    places = np.random.default_rng([config.seed, 2]).permutation(len(faces))[:MAX_CONCLUDED]
    lesson = Lesson(faces, config, store)
    judge.conclude([lesson.text(int(place)) for place in places])
    judge.save_pretrained(out)
    plain = json.dumps(_SETTINGS.dump_python(config, mode="json"), indent=2, sort_keys=True)
    (out / SETTINGS).write_text(plain + "\n", "utf-8")
    return {
        "curve": curve,
        "seconds": seconds,
        "samples": len(faces),
        "steps": sum(steps_of(phase, len(faces)) for phase in config.phases),
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


def _open_features(config: TrainConfig, folder: Path | None, tower: Path) -> FeatureStore | None:
    if folder is None or not isinstance(config.method, IFasConfig):
        return None
    store = FeatureStore(folder)
    wanted = FeaturesConfig(
        local_layer=config.method.local_layer, keep_class_token=config.method.keep_class_token
    )
    store.require(hash_tower(tower), wanted)
    return store
