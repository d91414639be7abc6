"""What happens without each part: Tables 3 and 4, Figure 5, and variants beyond the paper.

An ablation is one change of the full model; whatever else it has, seeds included, stays the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from flows.trial import Bench, trial
from ifas_model.config import IFasConfig, PhaseConfig, TrainConfig
from scf_pipeline.steps import Step

ALPHAS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""The sweep of Figure 5, left; 0 would learn no judgment, 1 no interpretation."""


def without_scf(full: TrainConfig) -> TrainConfig:
    """Answer with the judgment alone (Table 3, row 1; Table 4, row 3)."""
    return replace(full, answer="judgment")


def without_gac(full: TrainConfig) -> TrainConfig:
    """Put as many learnable queries where the class tokens were (Table 3, row 2)."""
    method = ifas(full)
    connector = replace(method.connector, global_queries="learned")
    return replace(full, method=replace(method, connector=connector))


def without_lopsided_loss(full: TrainConfig) -> TrainConfig:
    """Let every token of the answer weigh the same (Table 3, row 3; Figure 5, right)."""
    method = ifas(full)
    return replace(full, method=replace(method, loss=replace(method.loss, kind="standard")))


def with_alpha(full: TrainConfig, alpha: float) -> TrainConfig:
    """Weigh the judgment in another way (Figure 5, left)."""
    method = ifas(full)
    return replace(full, method=replace(method, loss=replace(method.loss, alpha=alpha)))


def with_alignment(full: TrainConfig) -> TrainConfig:
    """Let connector and language model learn to describe faces before they learn to judge."""
    main = full.phases[-1]
    align = PhaseConfig(
        name="align",
        epochs=main.epochs / 2,
        batch_size=main.batch_size,
        learning_rate=main.learning_rate,
    )
    return replace(full, phases=(align, main))


ABLATIONS: Mapping[str, Callable[[TrainConfig], TrainConfig]] = {
    "without-scf": without_scf,
    "without-gac": without_gac,
    "without-lopsided-loss": without_lopsided_loss,
    "with-alignment": with_alignment,
}
"""Changes of the full model, by the names that the tables give them."""


def ablations(bench: Bench, *names: str) -> tuple[Step, ...]:
    """Return the evaluations of some `ABLATIONS`."""
    full = bench.setting.full
    runs = [trial(bench, name, ABLATIONS[name](full)) for name in names]
    return tuple(evaluation for run in runs for evaluation in run)


def alpha_sweep(bench: Bench, *alphas: float) -> tuple[Step, ...]:
    """Return the evaluations of other weights of the judgment; the full model's is left out."""
    full = bench.setting.full
    own = ifas(full).loss.alpha
    runs = [
        trial(bench, f"alpha-{alpha:g}", with_alpha(full, alpha))
        for alpha in alphas
        if alpha != own
    ]
    return tuple(evaluation for run in runs for evaluation in run)


def other_captions(bench: Bench, shards: Mapping[str, Step]) -> tuple[Step, ...]:
    """Return the evaluations of the full model taught by other captions (Table 4, row 4)."""
    full = bench.setting.full
    runs = [trial(bench, name, full, shards=taught) for name, taught in shards.items()]
    return tuple(evaluation for run in runs for evaluation in run)


def ifas(config: TrainConfig) -> IFasConfig:
    """Return the settings of I-FAS in a run.

    Raises:
        TypeError: If the run is of a baseline.
    """
    if not isinstance(config.method, IFasConfig):
        raise TypeError(f"`config` must be of I-FAS, but is of {config.method.method!r}.")
    return config.method
