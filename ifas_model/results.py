"""Result: one evaluation of one trained model on one dataset, to and from JSON; no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ifas_model import json_data

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, ser_json_inf_nan="constants")
"""Setting of the dataclasses below: an unknown field or a number that is not finite is an error;
in plain settings such a number stays what it is, so that `save` refuses it."""

# PAPER: neither policy is stated. Its tables, four misprints aside, obey the bounds of a threshold
# at the target's own EER, as public baselines take it: so this is the headline, beside honest ones.
THRESHOLD_POLICIES = ("eer_on_test", "eer_on_dev", "fixed")
"""Where a threshold comes from: the judged faces, the sources' dev part, or the settings."""

CHECKPOINT_POLICIES = ("last", "best_on_dev", "best_on_test")
"""Which weights are judged: the last, or those that did best on the sources or on the target."""

ROLES = ("target", "source")
"""Whether the dataset was unseen, or is the source's own dev or test part."""

COUNTED = ("samples", "faces", "bona_fide", "attack")
"""Counts that every result has, beside one of attack samples for each PAI species."""

MAX_ROC_POINTS = 101
"""Most points of a curve that a result keeps."""

SCORE_SCHEMA = pa.schema(
    [
        pa.field(name, pa.string(), nullable=name == "pai_species")
        for name in ("face_id", "sample_id", "dataset", "split", "label", "pai_species")
    ]
    + [pa.field(name, pa.float64(), nullable=False) for name in ("p_yes", "margin")]
)
"""One row for each judged face."""

SCORES, RESULTS, RESPONSES = "scores.parquet", "results.json", "responses.json"
"""Files of an evaluation: scores by face, the results, and answers for people to read."""

TRAINING = "training.json"
"""File, beside them, of the training that led there: losses by step, time, sizes."""

TOLERANCE = 1e-9
"""How far a rate may lie from what follows from the others."""


def _one_of(*words: str) -> AfterValidator:
    """Return a check that a string is one of some words."""

    def check(word: str) -> str:
        if word not in words:
            raise ValueError(f"must be one of {', '.join(words)}, but is {word!r}.")
        return word

    return AfterValidator(check)


Rate = Annotated[float, Field(ge=0, le=1)]
"""A fraction; percent only in the report."""

ThresholdPolicy = Annotated[str, _one_of(*THRESHOLD_POLICIES)]
CheckpointPolicy = Annotated[str, _one_of(*CHECKPOINT_POLICIES)]
Role = Annotated[str, _one_of(*ROLES)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ErrorRates:
    """Errors by sample at one threshold; accepted means score >= threshold."""

    threshold: float
    """Least `p_yes` that is accepted."""

    far: Rate
    """Accepted attacks over all attacks."""

    bpcer: Rate
    """Rejected bona fide over all bona fide."""

    hter: Rate
    """(FAR + BPCER) / 2."""

    apcer: dict[str, Rate]
    """Accepted attacks of each PAI species over its attacks."""

    acer: Rate
    """(APCER of the worst species + BPCER) / 2."""

    def __post_init__(self) -> None:
        if not self.apcer:
            raise ValueError("`apcer` must name at least one PAI species, but is empty.")
        self._check("hter", self.hter, (self.far + self.bpcer) / 2)
        self._check("acer", self.acer, (max(self.apcer.values()) + self.bpcer) / 2)

    @staticmethod
    def _check(name: str, rate: float, expected: float) -> None:
        if abs(rate - expected) > TOLERANCE:
            raise ValueError(
                f"`{name}` must be {expected}, as follows from the others, but is {rate}."
            )


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Result:
    """One evaluation of one trained model on one dataset.

    Figures are by sample (a video's score is the mean of its faces') unless their name says
    otherwise.
    """

    method: str
    """``ifas``, or the name of a baseline."""

    variant: str
    """What the tables call the model, e.g. ``full`` or ``without-scf``."""

    world: str
    """What the tables call the data, e.g. ``hard``; empty for real datasets."""

    protocol: str
    """Name of the protocol; see `ifas_model.protocols`."""

    target: str
    """The judged dataset."""

    role: Role
    """One of `ROLES`."""

    sources: tuple[str, ...]
    """Datasets that taught the model."""

    seed: int = Field(ge=0)
    """Seed of the training."""

    checkpoint_policy: CheckpointPolicy
    """One of `CHECKPOINT_POLICIES`."""

    auc: Rate
    """Area under the ROC curve."""

    eer: Rate
    """Equal error rate."""

    tpr_at_fpr_1: Rate
    """1 - BPCER at the last point with FAR <= 1 %."""

    tpr_at_fpr_01: Rate
    """1 - BPCER at the last point with FAR <= 0.1 %."""

    ece: Rate
    """Expected calibration error of `p_yes`."""

    rates: dict[ThresholdPolicy, ErrorRates]
    """Errors by the policy of their threshold; the names are `THRESHOLD_POLICIES`."""

    intervals: dict[str, tuple[Rate, Rate]]
    """95 % bootstrap intervals of ``auc`` and ``hter`` (at ``eer_on_test``); empty if not asked."""

    frame_auc: Rate
    """AUC by face, for papers that count so."""

    frame_hter: Rate
    """HTER by face, at the EER of the faces themselves."""

    counts: dict[str, Annotated[int, Field(ge=0)]]
    """`COUNTED`, and attack samples of each PAI species."""

    roc: tuple[tuple[Rate, Rate], ...] = Field(max_length=MAX_ROC_POINTS)
    """Points (FAR, 1 - BPCER) of the ROC curve."""

    is_inverted: bool
    """Whether the polarity is wrong: AUC < 0.5 on the source's own part."""

    settings: dict[str, Any]
    """The whole `TrainConfig` as plain data."""

    inputs: dict[str, str]
    """Names of model and shards: what the figures rest on."""

    def __post_init__(self) -> None:
        missing = [name for name in COUNTED if name not in self.counts]
        if missing:
            raise ValueError(f"`counts` must have {missing[0]!r}, but has {sorted(self.counts)}.")
        samples, labels = self.counts["samples"], (self.counts["bona_fide"], self.counts["attack"])
        if samples != sum(labels):
            raise ValueError(
                f"`counts` must balance, but {samples} samples are "
                f"{labels[0]} bona fide and {labels[1]} attack."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data, such as JSON can hold."""
        data: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Result:
        """Build a result from plain data, strictly.

        Raises:
            ValueError: If a field is unknown, missing, or of a wrong type or value; the message
                names the dotted field.
        """
        try:
            # by way of JSON, in which strictness still takes a list for a tuple
            return _ADAPTER.validate_json(json.dumps(dict(data)), strict=True)
        except ValidationError as error:
            raise ValueError(_explain(error)) from error


_ADAPTER = TypeAdapter(Result)
_LIST_ADAPTER = TypeAdapter(list[Result])


def _explain(error: ValidationError) -> str:
    """Return the first error in our words; an unknown field comes first."""
    found = error.errors()
    first = next((one for one in found if one["type"] == "unexpected_keyword_argument"), found[0])
    kind, field = first["type"], ".".join(str(step) for step in first["loc"])
    subject = f"`{field}` " if field else ""
    if kind == "unexpected_keyword_argument":
        return f"{subject}must be a known field, but is not."
    if kind == "missing":
        return f"{subject}must be given, but is absent."
    if kind == "value_error":
        reason = str(first["ctx"]["error"])
        return f"`{field}`: {reason}" if field else reason
    if kind == "json_invalid":
        return f"must hold JSON: {first['ctx']['error']}."
    rule = first["msg"].replace("Input should", "must").replace("array", "list")
    return f"{subject}{rule}, but is {first['input']!r:.80}."


def save(results: Sequence[Result], path: Path) -> None:
    """Write results to one JSON file, one a line; the same results give the same bytes."""
    lines = (
        json.dumps(one.to_dict(), sort_keys=True, ensure_ascii=False, allow_nan=False)
        for one in results
    )
    text = ",\n".join(lines)
    path.write_text(f"[\n{text}\n]\n", encoding="utf-8", newline="\n")


def load(path: Path) -> list[Result]:
    """Read the results of a JSON file.

    Raises:
        ValueError: If the file is no JSON list of results; the message names the file and, after
            the number of the result, the field.
    """
    try:
        return _LIST_ADAPTER.validate_json(json_data.read_bytes(path), strict=True)
    except ValidationError as error:
        raise ValueError(f"{path}: {_explain(error)}") from error


def auc_bounds(hter: float) -> tuple[float, float]:
    """Return the least and greatest AUC that any scores with this HTER can have.

    For a printed HTER above 0.5 the greatest is ``2 (1 - HTER)``: some pairs in print cannot be.
    """
    return max(0.0, 1 - 2 * hter), min(1.0, 2 - 2 * hter)


def auc_bounds_at_eer(eer: float) -> tuple[float, float]:
    """Return the least and greatest AUC of scores whose FAR and BPCER are both `eer` somewhere."""
    return (1 - eer) ** 2, 1 - eer**2
