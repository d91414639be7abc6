"""What a flow works with: datasets, captioner, sizes. An ablation is a `replace` of one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ifas_model.config import EvaluateConfig, FeaturesConfig, TrainConfig
from scf_pipeline.miniature.captioner import CaptionerConfig
from scf_pipeline.miniature.generic import GenericConfig
from scf_pipeline.miniature.tower import TowerConfig
from scf_pipeline.miniature.world import WorldConfig
from scf_pipeline.stages.caption import CaptionConfig
from scf_pipeline.stages.crop import CropConfig
from scf_pipeline.stages.finetune import FinetuneConfig
from scf_pipeline.steps import External, Step, step

DICTIONARY = Path(__file__).parent.parent / "keyword_dicts" / "spoof_aware.yaml"

DATASETS = (
    "casia_mfsd",
    "casia_surf_3dmask",
    "celeba_spoof",
    "hifi_mask",
    "hkbu_mars_v1_plus",
    "msu_mfsd",
    "oulu_npu",
    "replay_attack",
    "rose_youtu",
    "siw",
    "siw_m_v2",
    "wmca",
)
"""The twelve datasets of the paper."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One world and the sizes that fit it."""

    world: Step | None
    """The drawn world; ``None`` where real datasets lie at the roots of ``datasets.yaml``."""

    captioner: Step | External
    """C_G."""

    language: External | None = None
    """I-FAS's language model, OPT; ``None`` takes the small captioner's own."""

    towers: Mapping[str, Step | External] = field(default_factory=dict)
    """``base`` and ``large``: the trainer's vision towers with their text halves, ViT-B and ViT-L
    or what stands in for them."""

    features: FeaturesConfig | None = field(default_factory=FeaturesConfig)
    """The larger tower's features, computed once; ``None`` lets it look in every step. ViT-L/14
    needs 2.3 MB a face."""

    crop: CropConfig
    """Frames and crops."""

    caption: CaptionConfig
    """Batches of captioning."""

    finetune: FinetuneConfig
    """How C_S is made from C_G."""

    dictionary: Path = DICTIONARY
    """K."""

    full: TrainConfig = field(default_factory=TrainConfig)
    """How the full I-FAS is trained, in Protocol 2."""

    baselines: Mapping[str, TrainConfig] = field(default_factory=dict)
    """How ``vit``, ``vitaf`` and ``flip`` are trained."""

    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    """How all of them are judged."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the trainings; the paper's figures are means of three."""


def miniature(  # noqa: PLR0913 - what differs between the sizes of the miniature
    *,
    world: WorldConfig,
    corpus: GenericConfig,
    captioner: CaptionerConfig,
    towers: Mapping[str, TowerConfig],
    finetune: FinetuneConfig,
    full: TrainConfig,
    baselines: Mapping[str, TrainConfig],
    seeds: tuple[int, ...],
) -> Setting:
    """Return a setting of the embedded default: everything drawn and trained from scratch."""
    pictures = step(corpus)
    return Setting(
        world=step(world),
        captioner=step(captioner, corpus=pictures),
        towers={
            name: step(tower, name=f"tower-{name}", corpus=pictures)
            for name, tower in towers.items()
        },
        # drawn faces are no faces to a detector of photographs
        crop=CropConfig(image_size=corpus.image_size, detector="none"),
        caption=CaptionConfig(),
        finetune=finetune,
        full=full,
        baselines=baselines,
        seeds=seeds,
    )
