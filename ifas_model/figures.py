"""Scores of faces -> results: errors, thresholds and curves of a trained model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa
from pydantic import TypeAdapter

from ifas_model import metrics, results
from ifas_model.config import EvaluateConfig, TrainConfig
from ifas_model.protocols import Protocol
from ifas_model.results import SCORE_SCHEMA, ErrorRates, Result
from ifas_model.scoring import Judgments
from ifas_model.vocabulary import Label

_TRAIN: TypeAdapter[TrainConfig] = TypeAdapter(TrainConfig)


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
        judged: Scores by target and, last, those of the sources' own part under ``""``.
        inputs: What the results name.
    """
    own = judged[""].samples()
    on_dev = metrics.eer(own.scores, own.is_bona_fide)[1]
    is_inverted = metrics.auc(own.scores, own.is_bona_fide) < 0.5
    found = []
    for name, one in judged.items():
        samples = one.samples()
        scores, labels = samples.scores, samples.is_bona_fide
        eer, on_test = metrics.eer(scores, labels)
        thresholds = zip(
            results.THRESHOLD_POLICIES, (on_test, on_dev, config.fixed_threshold), strict=True
        )
        rates: dict[str, ErrorRates] = {
            policy: metrics.error_rates(scores, labels, samples.species, threshold)
            for policy, threshold in thresholds
        }
        by_face = one.p_yes, one.faces.is_bona_fide
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
                checkpoint_policy=settings.select,
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
                counts=_count(samples, len(one.faces)),
                roc=metrics.roc(scores, labels),
                is_inverted=is_inverted,
                settings=_TRAIN.dump_python(settings, mode="json"),
                inputs=dict(inputs),
            )
        )
    return found


def score_table(judged: Iterable[Judgments]) -> pa.Table:
    """Return the scores of all faces as rows of `SCORE_SCHEMA`."""
    tables = []
    labels = [str(label) for label in Label]
    for one in judged:
        columns = {name: one.faces.table[name] for name in SCORE_SCHEMA.names[:6]}
        columns["label"] = pa.array([labels[code] for code in one.faces.column("label")])
        columns |= {"p_yes": pa.array(one.p_yes), "margin": pa.array(one.margin)}
        tables.append(pa.table(columns, schema=SCORE_SCHEMA))
    return pa.concat_tables(tables)


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
