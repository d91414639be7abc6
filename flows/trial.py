"""One model, trained and judged once for each seed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from flows.scf import Products
from flows.settings import Setting
from ifas_model.config import IFasConfig, TrainConfig
from scf_pipeline.steps import Step, step


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all trials of one world share."""

    setting: Setting
    """Sizes, recipes and seeds."""

    made: Products
    """What SCF made of this world."""

    others: tuple[Products, ...] = ()
    """What other spoof-aware captioners made; their faces are the same."""

    world: str = ""
    """What the tables call the world."""

    @property
    def features(self) -> Step | None:
        """Features of the larger tower, of every face that any trial reads."""
        if self.setting.features is None:
            return None
        others = tuple(other.shards for other in self.others)
        shards = (self.made.shards, self.made.shards_t_f, *others)
        return step(self.setting.features, tower=self.setting.towers["large"], shards=shards)


def trial(
    bench: Bench,
    variant: str,
    config: TrainConfig,
    *,
    shards: Step | None = None,
    tower: str = "large",
    responses: int = 0,
) -> tuple[Step, ...]:
    """Return the evaluations of a model, one for each seed.

    Args:
        bench: What it is tried on.
        variant: What the tables call it.
        config: How it is trained; the seed is set here.
        shards: What teaches it; SCF's without it. Every model is judged on the same faces.
        tower: Which of the setting's towers it begins with.
        responses: Faces of each target whose answers are written down, for the first seed.
    """
    setting, taught = bench.setting, shards or bench.made.shards
    is_ifas = isinstance(config.method, IFasConfig)
    features = bench.features if is_ifas else None
    found = []
    for number, seed in enumerate(setting.seeds):
        judge = step(
            replace(config, seed=seed),
            name=f"train-{variant}",
            shards=taught,
            tower=setting.towers[tower],
            captioner=setting.captioner if is_ifas and setting.language is None else None,
            language=setting.language if is_ifas else None,
            features=features,
        )
        judged = replace(
            setting.evaluate,
            variant=variant,
            world=bench.world,
            responses=responses if number == 0 else 0,
        )
        found.append(
            step(
                judged,
                name=f"evaluate-{variant}",
                judge=judge,
                shards=bench.made.shards,
                features=features,
            )
        )
    return tuple(found)
