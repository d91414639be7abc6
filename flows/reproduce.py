"""The whole system on the miniature world: `make reproduce`.

Two cores, no data, no network. SMOKE shows that the parts fit, DEFAULT gives a first result, FULL
is for claims.
"""

from __future__ import annotations

from flows.scf import scf
from flows.settings import DATASETS, Setting, miniature
from scf_pipeline.miniature.captioner import CaptionerConfig
from scf_pipeline.miniature.generic import GenericConfig
from scf_pipeline.miniature.tower import TowerConfig
from scf_pipeline.miniature.world import WorldConfig
from scf_pipeline.stages.finetune import FinetuneConfig
from scf_pipeline.steps import Step


def reproduce(setting: Setting) -> tuple[Step, ...]:
    """Return what a reproduction makes; the shards come last."""
    made = scf(setting, *DATASETS)
    return (*setting.towers, made.audit, made.shards_t_f, made.shards)


def both_towers(steps: int) -> tuple[TowerConfig, TowerConfig]:
    """Return the towers in their two sizes, the stand-ins for ViT-L and ViT-B."""
    return TowerConfig(size="base", steps=steps), TowerConfig(size="small", steps=steps)


def small_finetune(steps: int) -> FinetuneConfig:
    """Return the fine-tuning of the small captioner, whose 2 million parameters all learn.

    With the vision tower frozen it names its attack as often only where it also names more
    attacks on bona fide faces.
    """
    return FinetuneConfig(
        trained_parts="full",
        learning_rate=3e-4,
        steps=steps,
        batch_size=32,
        micro_batch_size=32,
        hold_out_fraction=0.2,
    )


MINIATURE_SMOKE = miniature(
    world=WorldConfig(scale="smoke"),
    corpus=GenericConfig(num_train=4_000, num_test=200),
    captioner=CaptionerConfig(word_steps=150, caption_steps=150),
    towers=both_towers(steps=50),
    finetune=small_finetune(steps=60),
)
"""Wiring: minutes, and captions that hardly make sense."""

MINIATURE = miniature(
    world=WorldConfig(scale="default"),
    corpus=GenericConfig(),
    captioner=CaptionerConfig(word_steps=1_100, caption_steps=900),
    towers=both_towers(steps=600),
    finetune=small_finetune(steps=300),
)
"""A first result."""

MINIATURE_FULL = miniature(
    world=WorldConfig(scale="full"),
    corpus=GenericConfig(num_train=40_000),
    captioner=CaptionerConfig(word_steps=2_500, caption_steps=2_000),
    towers=both_towers(steps=2_000),
    finetune=small_finetune(steps=600),
)
"""For claims."""

SMOKE = reproduce(MINIATURE_SMOKE)
DEFAULT = reproduce(MINIATURE)
FULL = reproduce(MINIATURE_FULL)
