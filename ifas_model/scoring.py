"""Faces -> scores of a model, and which faces a protocol wants scored."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ifas_model import metrics
from ifas_model.data import Faces
from ifas_model.errors import ShardError
from ifas_model.features import FeatureStore
from ifas_model.judging import Item
from ifas_model.protocols import Parts, Protocol

logger = logging.getLogger(__name__)


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
        return np.asarray(np.exp(-np.logaddexp(0, -self.margin)), np.float64)

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


@torch.no_grad()
def score(judge: Any, faces: Faces, store: FeatureStore | None, batch_size: int) -> Judgments:  # noqa: ANN401
    """Score faces in batches; a face's score does not depend on its batch.

    Source: I-FAS, section "Inference".
    """
    margins = [
        judge(**batch_of(judge, faces, range(first, min(first + batch_size, len(faces))), store))
        .margin.double()
        .cpu()
        .numpy()
        for first in range(0, len(faces), batch_size)
    ]
    return Judgments(faces=faces, margin=np.concatenate(margins))


def batch_of(
    judge: Any,  # noqa: ANN401 - a Judge and a module
    faces: Faces,
    places: Sequence[int],
    store: FeatureStore | None,
) -> dict[str, Tensor]:
    """Return the faces at some places as a judge takes them, from features if it can."""
    items: list[Item] = []
    for place in places:
        if store is None or not judge.needs_features:
            items.append(Item(pixels=faces.pixels(place)))
        else:
            face_id = faces.table["face_id"][place].as_py()
            patches, class_tokens = store.at(face_id, is_mirrored=False)
            items.append(Item(patches=patches, class_tokens=class_tokens))
    return make_batch(judge, items)


def make_batch(judge: Any, items: Sequence[Item]) -> dict[str, Tensor]:  # noqa: ANN401 - a Judge and a module
    """Return a batch as a judge takes it, where the judge is."""
    device = next(judge.parameters()).device
    return {name: tensor.to(device) for name, tensor in judge.collate(items).items()}


def dev_part(held: Faces, rules: Protocol) -> Faces:
    """Return the faces of the sources' own part.

    Args:
        held: All faces of a shard folder.
        rules: The protocol.

    Raises:
        ShardError: If they are not there, or all of one class.
    """
    own = {name: _select(held, {name: splits}) for name, splits in rules.dev.items()}
    absent = {name: rules.dev[name] for name, faces in own.items() if not len(faces)}
    dev = _select(held, rules.dev)
    if lacking := "faces" if absent else _lacking(dev):
        raise ShardError(
            "Shards must hold the sources' own part, which sets the threshold `eer_on_dev`, but "
            f"hold no {lacking} of {_name(absent or rules.dev)}.",
            where=str(held.folder),
            fix="Shard this part of the sources as well.",
        )
    return dev


def target_parts(held: Faces, rules: Protocol) -> dict[str, Faces]:
    """Return the faces of each target that is there; one of a single class is skipped.

    Args:
        held: All faces of a shard folder.
        rules: The protocol.

    Raises:
        ShardError: If no target can be judged.
    """
    targets = {name: _select(held, {name: splits}) for name, splits in rules.targets.items()}
    skipped = {name: kind for name, faces in targets.items() if (kind := _lacking(faces))}
    if len(skipped) == len(targets):
        raise ShardError(
            f"Shards must hold bona fide faces and attacks of a target of {rules.name}, but hold "
            f"both of none of {_name(rules.targets)}.",
            where=str(held.folder),
            fix="Name shards of these datasets and splits, or a model of another protocol.",
        )
    for name, kind in skipped.items():
        logger.warning("%s is not judged: %s holds no %s of it.", name, held.folder, kind)
    return {name: faces for name, faces in targets.items() if name not in skipped}


def _select(held: Faces, parts: Parts) -> Faces:
    keys = zip(held.column("dataset"), held.column("split"), strict=True)
    places = [n for n, (dataset, split) in enumerate(keys) if split in parts.get(dataset, ())]
    return held.select(np.array(places, dtype=np.int64))


def _lacking(faces: Faces) -> str:
    """Return what must be there to count errors and is not; nothing if all is."""
    if not len(faces):
        return "faces"
    if faces.is_bona_fide.all():
        return "attacks"
    return "" if faces.is_bona_fide.any() else "bona fide faces"


def _name(parts: Parts) -> str:
    return "; ".join(f"{dataset} ({', '.join(splits)})" for dataset, splits in parts.items())
