"""What a plan costs: memory of a GPU, bytes on disk, and hours, from a few figures of its models.

All are estimates, good to a factor of two; the formulas name what they count. Shapes and letters:
    P weights, B batch, T width of the language model.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ifas_model.config import ConnectorConfig, IFasConfig, PhaseConfig, TrainConfig
from ifas_model.protocols import protocol_of
from ifas_model.vocabulary import Label
from scf_pipeline.preflight.data import Holdings
from scf_pipeline.preflight.models import Held
from scf_pipeline.stages.caption import CaptionConfig
from scf_pipeline.stages.crop import CropConfig
from scf_pipeline.steps import External, Planned, Step

HALF, SINGLE, LEARNT = 2, 4, 16
"""Bytes of a weight in bfloat16, in float32, and of one that learns: itself, its gradient and
AdamW's two moments, all in float32."""

PNG_SHARE = 0.65
"""Size of a losslessly packed crop, over its pixels' three bytes."""

ROW_BYTES = 200
"""Of a row without its picture, compressed."""

ANSWER_TOKENS = 60
"""Tokens of question and answer together, about."""

LAYER_BYTES = 34
"""What a layer keeps of each token for the way back, over T. Source: Korthikanti et al., 2022."""

BEAMS, CAPTION_TOKENS = 5, 72
"""Beams of a caption, and tokens of one with the picture's and the prompt's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a step makes and does."""

    stage: str
    """Its stage."""

    bytes_written: float | None
    """What it leaves on disk; ``None`` where weights are not known yet."""

    unit: str | None = None
    """What its time is measured in: ``caption``, or the name of a trained method and its tower."""

    units: int = 0
    """How many of them."""


class World:
    """What a plan works on: the samples of a site, and its models.

    Args:
        held: What lies at the roots, by dataset.
        models: Models that are there, by name.
    """

    def __init__(self, held: Mapping[str, Holdings], models: Mapping[str, Held]) -> None:
        self.held, self.models = held, models
        self.weights = {one.external: one.parameters for one in models.values()}

    def faces(self, label: Label | None = None) -> int:
        """Return the number of faces, of one label or of both."""
        labels = list(Label) if label is None else [label]
        return sum(one.faces[each] for one in self.held.values() for each in labels)

    def sources(self, config: TrainConfig) -> int:
        """Return the number of samples that a training learns from."""
        samples = sum(
            number
            for name, splits in protocol_of(config).sources.items()
            for (split, _), number in self.held.get(name, Holdings()).samples.items()
            if split in splits
        )
        return samples if config.max_samples is None else min(samples, config.max_samples)

    def parameters(self, value: Any) -> int | None:  # noqa: ANN401 - any input of a step
        """Return the number of weights of a model that a step is given, made by another or not."""
        while isinstance(value, Step):  # a captioner that was tuned is as large as it was
            value = value.inputs.get("model")
        return self.weights.get(value) if isinstance(value, External) else None


def loads(steps: Sequence[Planned], world: World) -> Iterator[Load]:
    """Yield what each step of a plan makes and does."""
    side = next(
        (one.step.config.image_size for one in steps if isinstance(one.step.config, CropConfig)), 0
    )
    picture = side * side * 3 * PNG_SHARE
    for one in steps:
        yield _load(one.step, world, picture)


def _load(step: Step, world: World, picture: float) -> Load:
    config, stage = step.config, step.config.stage
    if isinstance(config, TrainConfig):
        unit = f"{config.method.method} on {_name_of(step.inputs['tower'], world)}"
        updates = sum(steps_of(phase, world.sources(config)) for phase in config.phases)
        written = trained_bytes(config, step, world)
        return Load(stage=stage, bytes_written=written, unit=unit, units=updates)
    if isinstance(config, CaptionConfig):
        faces = world.faces(config.label)
        return Load(stage=stage, bytes_written=faces * ROW_BYTES, unit="caption", units=faces)
    if stage == "finetune":
        weights = world.parameters(step)
        return Load(stage=stage, bytes_written=None if weights is None else weights * HALF)
    per_face = ROW_BYTES + (picture if stage in {"crop", "shard"} else 0)
    return Load(stage=stage, bytes_written=world.faces() * per_face)


def _name_of(tower: Any, world: World) -> str:  # noqa: ANN401 - any input of a step
    named = [name for name, one in world.models.items() if one.external == tower]
    return named[0] if named else getattr(tower, "name", "a tower")


def steps_of(phase: PhaseConfig, samples: int) -> int:
    """Return the updates of a phase, as the trainer counts them; torch is not asked for it."""
    return phase.steps or max(1, math.ceil(phase.epochs * samples / phase.batch_size))


def trained_bytes(config: TrainConfig, step: Step, world: World) -> float | None:
    """Return the size of a trained model: all its weights, those that stay frozen as well."""
    tower = world.parameters(step.inputs["tower"])
    if not isinstance(config.method, IFasConfig):
        return None if tower is None else float(tower * SINGLE)
    language = world.parameters(step.inputs.get("language") or step.inputs.get("captioner"))
    if tower is None or language is None:
        return None
    return (tower + language) * HALF + connector_weights(config.method.connector) * SINGLE


def connector_weights(config: ConnectorConfig) -> int:
    """Return the weights of a connector: two attentions of 4 D^2 and an MLP in each block."""
    block = (8 + 2 * config.mlp_ratio) * config.dim**2
    ends = config.dim * (2 * config.vision_dim + config.language_dim)
    return config.num_blocks * block + ends


def caption_bytes(captioner: Held, batch: int) -> float | None:
    """Return the memory of captioning: weights in bfloat16, and keys and values of all beams."""
    weights, text = captioner.parameters, captioner.settings.get("text_config", {})
    if weights is None:
        return None
    layers, width = text.get("num_hidden_layers", 32), text.get("hidden_size", 2560)
    cache = batch * BEAMS * CAPTION_TOKENS * layers * 2 * width * HALF
    return float(weights * HALF + cache)


def training_bytes(config: TrainConfig, tower: Held, language: Held) -> float | None:
    """Return the memory of I-FAS's training: frozen halves, a connector that learns, a batch."""
    seen, told = tower.parameters, language.parameters
    if not isinstance(config.method, IFasConfig) or seen is None or told is None:
        return None
    settings = language.settings
    layers, width = settings.get("num_hidden_layers", 32), settings.get("hidden_size", 2560)
    words, connector = settings.get("vocab_size", 50_272), config.method.connector
    phase = config.phases[-1]
    tokens = (phase.batch_size // phase.accumulation) * (
        connector.num_queries + connector.encoder_layers + ANSWER_TOKENS
    )
    kept = tokens * (layers * width * LAYER_BYTES + 3 * words * SINGLE)
    return float((seen + told) * HALF + connector_weights(connector) * LEARNT + kept)


def totals(found: Sequence[Load]) -> dict[str, tuple[int, float | None]]:
    """Return by stage how many steps there are and how many bytes they leave, if that is known."""
    steps = Counter(one.stage for one in found)
    told: dict[str, tuple[int, float | None]] = {}
    for stage, number in steps.items():
        sizes = [one.bytes_written for one in found if one.stage == stage]
        known = [size for size in sizes if size is not None]
        told[stage] = (number, sum(known) if len(known) == number else None)
    return told
