"""A trained model and shards -> scores, results, and answers for people to read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from ifas_model import results
from ifas_model.config import EvaluateConfig, IFasConfig
from ifas_model.data import load_faces
from ifas_model.errors import ModelError
from ifas_model.features import FeatureStore, cached, features_of, open_features, tower_of
from ifas_model.figures import judge_all, score_table
from ifas_model.model import IFas
from ifas_model.predict import load_judge, read_settings
from ifas_model.prompt import JUDGMENTS
from ifas_model.protocols import protocol_of
from ifas_model.results import RESPONSES, RESULTS, SCORES, Result
from ifas_model.scoring import Judgments, batch_of, dev_part, score, target_parts
from ifas_model.vocabulary import Label


def evaluate(
    config: EvaluateConfig,
    *,
    model: Path,
    shards: Path,
    out: Path,
    features: Path | None = None,
    inputs: Mapping[str, str] | None = None,
) -> list[Result]:
    """Judge the targets of a model's protocol, and the part of its sources that sets thresholds.

    Targets that the shards do not hold, or of which they hold one class alone, are skipped with a
    warning; the rest is judged.

    Args:
        config: How.
        model: Folder that `train` wrote.
        shards: Shard folder.
        out: Folder of `SCORES`, `RESULTS` and `RESPONSES`.
        features: Folder of the tower's features, in place of the pictures.
        inputs: What the results are to name as model and shards; their paths without it.

    Raises:
        ModelError: If the model or the features cannot be used.
        ShardError: If the shards hold no target, or lack the sources' own part.
    """
    settings, judge = load_judge(model)
    rules = protocol_of(settings)
    store = open_features(features, settings.method, model)
    held = load_faces(shards)
    own = dev_part(held, rules)
    judged = {
        name: score(judge, faces, store, config.batch_size)
        for name, faces in (target_parts(held, rules) | {"": own}).items()
    }
    named = dict(inputs or {"model": str(model), "shards": str(shards)})
    found = judge_all(config, settings, rules, judged, named)
    out.mkdir(parents=True, exist_ok=True)
    results.save(found, out / RESULTS)
    pq.write_table(score_table(judged.values()), out / SCORES, write_page_checksum=True)
    spoken = [
        row for name, one in judged.items() if name for row in respond(judge, one, store, config)
    ]
    (out / RESPONSES).write_text(json.dumps(spoken, ensure_ascii=False, indent=1) + "\n", "utf-8")
    return found


def keep_features(model: Path, *, tower: Path, shards: Path, cache: Path) -> Path | None:
    """Return the folder of the features that a model is judged by, computed unless it is there.

    Args:
        model: Folder that `train` wrote.
        tower: CLIP folder that it was trained with.
        shards: Shard folder.
        cache: As `features.cached` keeps it.

    Returns:
        Nothing for a baseline, which sees no features.

    Raises:
        ModelError: If the model was trained with another tower.
    """
    settings = read_settings(model)
    if not isinstance(settings.method, IFasConfig):
        return None
    if tower_of(tower) != tower_of(model):
        raise ModelError(
            f"`--tower` must be what {model} was trained with, but {tower} is another.",
            where="--tower",
            fix="Name the folder that `ifas train` was given, or leave out --features.",
        )
    rules = protocol_of(settings)
    wanted = features_of(settings.method, [rules.dev, rules.targets], flip=False)
    return cached(wanted, tower=tower, shards=[shards], cache=cache).folder


def respond(
    judge: Any,  # noqa: ANN401 - a Judge and a module
    judged: Judgments,
    store: FeatureStore | None,
    config: EvaluateConfig,
) -> list[dict[str, Any]]:
    """Return what I-FAS says of some faces of a dataset, half of them attacks.

    The judgment is the one that the score implies at the fixed threshold. Baselines say nothing.

    Source: I-FAS, Figure 4.
    """
    if not isinstance(judge, IFas) or not config.responses:
        return []
    rng = np.random.default_rng(config.seed)
    is_bona_fide = judged.faces.is_bona_fide
    places = np.concatenate(
        [
            rng.permutation(np.flatnonzero(is_bona_fide == kind))[:number]
            for kind, number in ((False, -(-config.responses // 2)), (True, config.responses // 2))
        ]
    )
    p_yes = judged.p_yes[places]
    accepted = p_yes >= config.fixed_threshold
    told: list[str] = []
    for first in range(0, len(places), config.batch_size):
        some = slice(first, first + config.batch_size)
        batch = batch_of(judge, judged.faces, places[some].tolist(), store)
        told += judge.interpret(batch, torch.from_numpy(accepted[some]))
    rows = judged.faces.select(places).table.to_pylist()
    labels = list(Label)
    return [
        {
            "face_id": row["face_id"],
            "dataset": row["dataset"],
            "label": str(labels[row["label"]]),
            "pai_species": row["pai_species"],
            "p_yes": float(one),
            "judgment": JUDGMENTS[Label.BONA_FIDE if is_accepted else Label.ATTACK],
            "interpretation": text,
            "reference": row["interpretation"],
        }
        for row, one, is_accepted, text in zip(rows, p_yes, accepted, told, strict=True)
    ]
