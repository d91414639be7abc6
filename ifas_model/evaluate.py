"""A trained model and shards -> scores, results, and answers for people to read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import Tensor

from ifas_model import baselines, metrics, plugins, results
from ifas_model.config import SETTINGS, EvaluateConfig, IFasConfig, TrainConfig
from ifas_model.data import Faces, decode, load_faces
from ifas_model.errors import ModelError
from ifas_model.features import FeatureStore
from ifas_model.judging import Item
from ifas_model.model import IFas
from ifas_model.prompt import JUDGMENTS
from ifas_model.protocols import Protocol, protocol
from ifas_model.results import RESPONSES, RESULTS, SCORE_SCHEMA, SCORES, ErrorRates, Result
from ifas_model.vocabulary import Label, Split

_TRAIN: TypeAdapter[TrainConfig] = TypeAdapter(TrainConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgments:
    """Scores of the faces of one dataset."""

    faces: Faces
    """The faces."""

    margin: NDArray[np.float64]
    """Log-odds of bona fide."""

    @property
    def p_yes(self) -> NDArray[np.float64]:
        """Probability of "Yes" against "No", in float64 so that ranks do not saturate."""
        return np.asarray(1 / (1 + np.exp(-self.margin)), np.float64)

    def samples(self) -> metrics.Samples:
        """Return score, label and species of each sample: the mean over its faces.

        Source: I-FAS does not say; the public baselines average frames.
        """
        table = self.faces
        return metrics.by_sample(
            table.column("sample_id"),
            self.p_yes,
            table.is_bona_fide,
            table.column("pai_species"),
        )


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

    Args:
        config: How.
        model: Folder that `train` wrote.
        shards: Shard folder.
        out: Folder of `SCORES`, `RESULTS` and `RESPONSES`.
        features: Folder of the tower's features, in place of the pictures.
        inputs: What the results are to name as model and shards; their paths without it.

    Raises:
        ModelError: If the model or the features cannot be used.
        ShardError: If the shards lack the protocol's datasets.
    """
    settings, judge = load_judge(model)
    rules = protocol(settings.protocol, settings.target)
    store = _open_features(features, settings)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    judge.to(device)
    judged = {
        name: score(judge, faces, store, config.batch_size)
        for name, faces in _parts(shards, rules).items()
    }
    named = dict(inputs or {"model": str(model), "shards": str(shards)})
    found = judge_all(config, settings, rules, judged, named)
    out.mkdir(parents=True, exist_ok=True)
    results.save(found, out / RESULTS)
    pq.write_table(_score_table(judged.values()), out / SCORES, write_page_checksum=True)
    spoken = [row for name in rules.targets for row in respond(judge, judged[name], store, config)]
    (out / RESPONSES).write_text(json.dumps(spoken, ensure_ascii=False, indent=1) + "\n", "utf-8")
    return found


def load_judge(folder: Path) -> tuple[TrainConfig, Any]:
    """Load a trained model and the settings of its training.

    Raises:
        ModelError: If the folder is not one that `train` wrote.
    """
    try:
        settings = _TRAIN.validate_json((folder / SETTINGS).read_bytes())
    except (OSError, ValueError) as error:
        raise ModelError(
            f"A model folder must hold its {SETTINGS}, but: {error}.",
            where=str(folder),
            fix="Name a folder that `ifas train` wrote.",
        ) from error
    if isinstance(settings.method, IFasConfig):
        return settings, IFas.load(folder)
    return settings, plugins.load(baselines, "METHOD", settings.method.method).load(folder)


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


def judge_all(
    config: EvaluateConfig,
    settings: TrainConfig,
    rules: Protocol,
    judged: Mapping[str, Judgments],
    inputs: Mapping[str, str],
) -> list[Result]:
    """Return a result for each target and, last, one for the sources' own part.

    Args:
        config: Policies and bootstrap.
        settings: Of the training.
        rules: The protocol.
        judged: Scores by target, and those of the sources' own part under ``""``.
        inputs: What the results name.
    """
    own = judged[""].samples()
    on_dev = metrics.eer(own.scores, own.is_bona_fide)[1]
    is_inverted = metrics.auc(own.scores, own.is_bona_fide) < 0.5
    found = []
    for name in (*rules.targets, ""):
        samples = judged[name].samples()
        scores, labels = samples.scores, samples.is_bona_fide
        eer, on_test = metrics.eer(scores, labels)
        thresholds = zip(
            results.THRESHOLD_POLICIES, (on_test, on_dev, config.fixed_threshold), strict=True
        )
        rates: dict[str, ErrorRates] = {
            policy: metrics.error_rates(scores, labels, samples.species, threshold)
            for policy, threshold in thresholds
        }
        by_face = judged[name].p_yes, judged[name].faces.is_bona_fide
        found.append(
            Result(
                method=settings.method.method,
                variant=config.variant,
                world=config.world,
                protocol=settings.protocol,
                target=name or "+".join(rules.dev),
                role="target" if name else "source",
                sources=tuple(rules.sources),
                seed=settings.seed,
                checkpoint_policy="last",
                auc=metrics.auc(scores, labels),
                eer=eer,
                tpr_at_fpr_1=metrics.tpr_at_fpr(scores, labels, 0.01),
                tpr_at_fpr_01=metrics.tpr_at_fpr(scores, labels, 0.001),
                ece=metrics.ece(scores, labels),
                rates=rates,
                intervals=metrics.bootstrap(
                    scores, labels, resamplings=config.bootstrap, seed=config.seed
                ),
                frame_auc=metrics.auc(*by_face),
                frame_hter=metrics.eer(*by_face)[0],
                counts=_count(samples, len(judged[name].faces)),
                roc=metrics.roc(scores, labels),
                is_inverted=is_inverted,
                settings=_TRAIN.dump_python(settings, mode="json"),
                inputs=dict(inputs),
            )
        )
    return found


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
    accepted = judged.p_yes[places] >= config.fixed_threshold
    batch = _batch(judge, judged.faces, places.tolist(), store)
    told = judge.interpret(batch, torch.from_numpy(accepted))
    rows = judged.faces.select(places).table.to_pylist()
    labels = list(Label)
    return [
        {
            "face_id": row["face_id"],
            "dataset": row["dataset"],
            "label": str(labels[row["label"]]),
            "pai_species": row["pai_species"],
            "p_yes": float(judged.p_yes[place]),
            "judgment": JUDGMENTS[Label.BONA_FIDE if is_accepted else Label.ATTACK],
            "interpretation": text,
            "reference": row["interpretation"],
        }
        for row, place, is_accepted, text in zip(rows, places, accepted, told, strict=True)
    ]


def predict(model: Path, images: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Judge face crops, one after the other.

    Args:
        model: Folder that `train` wrote.
        images: Pictures, as `scf crop` makes them; of another size they are resized.

    Yields:
        ``path``, ``p_yes``, ``judgment`` and ``interpretation`` of each, in order; the judgment is
        "Yes" exactly where `p_yes` is at least 0.5, and baselines interpret nothing. ``path`` and
        ``error`` of one that cannot be read.

    Raises:
        ModelError: If the folder is not one that `train` wrote.
    """
    _, judge = load_judge(model)
    for path in images:
        try:
            pixels = decode(path.read_bytes())
        except (OSError, ValueError) as error:
            yield {"path": str(path), "error": " ".join(str(error).split())}
            continue
        batch = judge.collate([Item(pixels=fit(pixels, judge))])
        with torch.no_grad():
            p_yes = float(torch.sigmoid(judge(**batch).margin.double())[0])
        is_bona_fide = p_yes >= 0.5
        told = ""
        if isinstance(judge, IFas):
            told = judge.interpret(batch, torch.tensor([is_bona_fide]))[0]
        yield {
            "path": str(path),
            "p_yes": p_yes,
            "judgment": JUDGMENTS[Label.BONA_FIDE if is_bona_fide else Label.ATTACK],
            "interpretation": told,
        }


def fit(pixels: Tensor, judge: Any) -> Tensor:  # noqa: ANN401 - a Judge and a module
    """Return a crop at the side that I-FAS's tower takes; baselines resize by themselves."""
    side = judge.pixels.side if isinstance(judge, IFas) else pixels.shape[-1]
    if pixels.shape[1:] == (side, side):
        return pixels
    resized = torch.nn.functional.interpolate(
        pixels[None].float(), (side, side), mode="bicubic", antialias=True
    )
    return resized[0].round().clamp(0, 255).to(torch.uint8)


def _parts(shards: Path, rules: Protocol) -> dict[str, Faces]:
    """Return the faces of each target, and under "" those of the sources' own part."""
    found = {name: load_faces(shards, {name: splits}) for name, splits in rules.targets.items()}
    return found | {"": load_faces(shards, rules.dev)}


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
    device = next(judge.parameters()).device
    return {name: tensor.to(device) for name, tensor in judge.collate(items).items()}


def _open_features(features: Path | None, settings: TrainConfig) -> FeatureStore | None:
    """Return the cached features if the method can use them."""
    if features is None or not isinstance(settings.method, IFasConfig):
        return None
    return FeatureStore(features)


def _count(samples: metrics.Samples, faces: int) -> dict[str, int]:
    bona_fide = int(samples.is_bona_fide.sum())
    species = [kind for kind in samples.species.tolist() if kind is not None]
    return {
        "samples": len(samples.scores),
        "faces": faces,
        "bona_fide": bona_fide,
        "attack": len(samples.scores) - bona_fide,
        **{kind: species.count(kind) for kind in sorted(set(species))},
    }


def _score_table(judged: Any) -> pa.Table:  # noqa: ANN401 - Judgments
    tables = []
    labels = [str(label) for label in Label]
    for one in judged:
        columns = {name: one.faces.table[name] for name in SCORE_SCHEMA.names[:6]}
        columns["label"] = pa.array([labels[code] for code in one.faces.column("label")])
        columns |= {"p_yes": pa.array(one.p_yes), "margin": pa.array(one.margin)}
        tables.append(pa.table(columns, schema=SCORE_SCHEMA))
    return pa.concat_tables(tables)
