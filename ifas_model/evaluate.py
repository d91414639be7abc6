"""A trained model and shards -> scores, results, and answers for people to read."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor

from ifas_model import results
from ifas_model.config import EvaluateConfig, FeaturesConfig, IFasConfig, TrainConfig
from ifas_model.data import Faces, load_faces
from ifas_model.errors import ShardError
from ifas_model.features import FeatureStore
from ifas_model.figures import Judgments, judge_all, score_table
from ifas_model.judging import Item
from ifas_model.model import IFas
from ifas_model.predict import load_judge, make_batch
from ifas_model.prompt import JUDGMENTS
from ifas_model.protocols import Parts, Protocol, protocol_of
from ifas_model.results import RESPONSES, RESULTS, SCORES, Result
from ifas_model.vocabulary import Label

logger = logging.getLogger(__name__)


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
    store = _open_features(features, settings)
    judged = {
        name: score(judge, faces, store, config.batch_size)
        for name, faces in _parts(shards, rules).items()
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


@torch.no_grad()
def score(judge: Any, faces: Faces, store: FeatureStore | None, batch_size: int) -> Judgments:  # noqa: ANN401
    """Score faces in batches; a face's score does not depend on its batch.

    Source: I-FAS, section "Inference".
    """
    margins = [
        judge(**_batch(judge, faces, range(first, min(first + batch_size, len(faces))), store))
        .margin.double()
        .cpu()
        .numpy()
        for first in range(0, len(faces), batch_size)
    ]
    return Judgments(faces=faces, margin=np.concatenate(margins))


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
        batch = _batch(judge, judged.faces, places[some].tolist(), store)
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


def _parts(shards: Path, rules: Protocol) -> dict[str, Faces]:
    """Return the faces of each target that is there, and under "" those of the sources' own part.

    Raises:
        ShardError: If no target can be judged, or the sources' own part is not there.
    """
    held = load_faces(shards)
    keys = list(zip(held.column("dataset"), held.column("split"), strict=True))

    def select(parts: Parts) -> Faces:
        places = [n for n, (dataset, split) in enumerate(keys) if split in parts.get(dataset, ())]
        return held.select(np.array(places, dtype=np.int64))

    own = {name: select({name: splits}) for name, splits in rules.dev.items()}
    absent = {name: rules.dev[name] for name, faces in own.items() if not len(faces)}
    dev = select(rules.dev)
    if lacking := "faces" if absent else _lacking(dev):
        raise ShardError(
            "Shards must hold the sources' own part, which sets the threshold `eer_on_dev`, but "
            f"hold no {lacking} of {_name(absent or rules.dev)}.",
            where=str(shards),
            fix="Shard this part of the sources as well.",
        )
    targets = {name: select({name: splits}) for name, splits in rules.targets.items()}
    skipped = {name: kind for name, faces in targets.items() if (kind := _lacking(faces))}
    if len(skipped) == len(targets):
        raise ShardError(
            f"Shards must hold bona fide faces and attacks of a target of {rules.name}, but hold "
            f"both of none of {_name(rules.targets)}.",
            where=str(shards),
            fix="Name shards of these datasets and splits, or a model of another protocol.",
        )
    for name, kind in skipped.items():
        logger.warning("%s is not judged: %s holds no %s of it.", name, shards, kind)
    return {name: faces for name, faces in targets.items() if name not in skipped} | {"": dev}


def _lacking(faces: Faces) -> str:
    """Return what must be there to count errors and is not; nothing if all is."""
    if not len(faces):
        return "faces"
    if faces.is_bona_fide.all():
        return "attacks"
    return "" if faces.is_bona_fide.any() else "bona fide faces"


def _name(parts: Parts) -> str:
    return "; ".join(f"{dataset} ({', '.join(splits)})" for dataset, splits in parts.items())


def _batch(
    judge: Any,  # noqa: ANN401 - a Judge and a module
    faces: Faces,
    places: Sequence[int],
    store: FeatureStore | None,
) -> dict[str, Tensor]:
    items: list[Item] = []
    for place in places:
        if store is None or not judge.needs_features:
            items.append(Item(pixels=faces.pixels(place)))
        else:
            face_id = faces.table["face_id"][place].as_py()
            patches, class_tokens = store.at(face_id, is_mirrored=False)
            items.append(Item(patches=patches, class_tokens=class_tokens))
    return make_batch(judge, items)


def _open_features(features: Path | None, settings: TrainConfig) -> FeatureStore | None:
    """Return the cached features if the method can use them.

    Raises:
        ModelError: If they are not of the layers that the model looks at.
    """
    if features is None or not isinstance(settings.method, IFasConfig):
        return None
    store = FeatureStore(features)
    wanted = FeaturesConfig(
        local_layer=settings.method.local_layer, keep_class_token=settings.method.keep_class_token
    )
    store.require(store.index.get("tower", ""), wanted)  # whose tower it is, no model tells
    return store
