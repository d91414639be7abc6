"""The paper itself: real datasets, BLIP-2, CLIP and OPT, on GPUs: `make reproduce-paper`.

The graph is the miniature's. What a site has of it is told in a file, ``paper.yaml`` unless
``--site`` names another; relative paths in it start at the file::

    datasets: datasets.yaml             # `name: root` lines; `scf datasets` tells of the twelve
    models:                             # a folder, or the hub id with the 40 hex digits of a commit
      captioner: Salesforce/blip2-opt-2.7b-coco@<commit>
      tower_large: openai/clip-vit-large-patch14@<commit>
      tower_base: openai/clip-vit-base-patch16@<commit>
      language: models/opt-2.7b
    accepted_terms: [celeba_spoof, msu_mfsd, captioner, tower_large, tower_base, language]
    gpus_per_worker: 1                  # a fraction where workers share one; 0 is the processor

Nothing starts before the preflight finds all of it: see `scf_pipeline.preflight`. Any of the
twelve datasets will do: what their protocols lack is left out. REHEARSAL is the whole graph with a
few updates of each training, and one seed: it shows that all parts fit before weeks are spent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from flows.ablations import ALPHAS
from flows.protocol1 import TARGETS
from flows.reproduce import Scope, reproduce
from flows.settings import DATASETS, Setting
from ifas_model.config import FlipConfig, PhaseConfig, TrainConfig, VitafConfig, VitConfig
from ifas_model.protocols import protocol
from scf_pipeline.stages.caption import CaptionConfig
from scf_pipeline.stages.crop import CropConfig
from scf_pipeline.stages.finetune import FinetuneConfig
from scf_pipeline.steps import Given, OnSite, Step, Wanted

SIDE = 224
"""Side of a crop, in pixels; the paper's."""

MODELS: Mapping[str, Wanted] = {
    # PAPER: says "BLIP-2". The COCO captions name what is seen plainly, which the filter reads.
    "captioner": Wanted(
        published="Salesforce/blip2-opt-2.7b-coco",
        terms="those of its model card, and of OPT, which it holds",
    ),
    "tower_large": Wanted(
        published="openai/clip-vit-large-patch14",
        kind="clip",
        side=SIDE,
        terms="those of its model card",
    ),
    "tower_base": Wanted(
        published="openai/clip-vit-base-patch16",
        kind="clip",
        side=SIDE,
        terms="those of its model card",
    ),
    "language": Wanted(
        published="facebook/opt-2.7b", kind="opt", terms="OPT's own licence; research only"
    ),
}
"""What the flow begins with, by the names that ``paper.yaml`` gives them."""


def paper_baselines() -> Mapping[str, TrainConfig]:
    """Return the trainings of the baselines: updates, batches, rates and decay of released code.

    FLIP's and ViTAF's show three bona fide and three attack pictures of each source in an update;
    Protocol 2 has one source. PAPER: says no more of ViT-B and ViT-L than that they were CLIP's;
    they are trained as FLIP is.
    """
    tuned = PhaseConfig(steps=4001, batch_size=6, learning_rate=1e-6, weight_decay=1e-6)
    adapted = replace(tuned, learning_rate=1e-4)
    head = replace(adapted, name="head", steps=101)
    return {
        "vit": TrainConfig(method=VitConfig(), phases=(tuned,)),
        "vitaf": TrainConfig(method=VitafConfig(), phases=(head, adapted)),
        "flip": TrainConfig(method=FlipConfig(), phases=(tuned,)),
    }


def paper(given: Given) -> Setting:
    """Return the setting of the paper: every recipe is the paper's, or marked as ours."""
    return Setting(
        world=None,
        captioner=given.models["captioner"],
        language=given.models["language"],
        towers={name: given.models[f"tower_{name}"] for name in ("large", "base")},
        features=None,  # terabytes, and the tower's look costs little beside OPT's step
        crop=CropConfig(image_size=SIDE),
        caption=CaptionConfig(),
        finetune=FinetuneConfig(),
        full=TrainConfig(),
        baselines=paper_baselines(),
    )


def scope(datasets: tuple[str, ...]) -> Scope:
    """Return all of the paper that some datasets allow.

    Protocol 2 needs its source and one of its targets; Protocol 1 all four of its datasets, since
    each target leaves the other three to learn from.
    """
    rules = protocol("protocol2")
    has_source = set(rules.sources) <= set(datasets)
    has_four = set(TARGETS) <= set(datasets)
    return Scope(
        world="",
        datasets=datasets,
        judges_protocol2=has_source and not set(rules.targets).isdisjoint(datasets),
        captioners=("source-only-captions",) if has_source else (),
        alphas=ALPHAS,
        targets=TARGETS if has_four else (),
    )


def few(training: TrainConfig) -> TrainConfig:
    """Return a training of a few updates, of a few faces each."""
    phases = tuple(replace(phase, epochs=0.1, steps=2, batch_size=4) for phase in training.phases)
    return replace(training, phases=phases, max_samples=64)


def rehearsal(setting: Setting) -> Setting:
    """Return a setting whose models are as large, and hardly learn."""
    return replace(
        setting,
        finetune=replace(setting.finetune, steps=2, batch_size=16),
        full=few(setting.full),
        baselines={name: few(training) for name, training in setting.baselines.items()},
        seeds=setting.seeds[:1],
    )


def make_paper(given: Given) -> tuple[Step, ...]:
    """Return what a reproduction of the paper makes, the report last."""
    return reproduce((paper(given), scope(given.datasets)))


def make_rehearsal(given: Given) -> tuple[Step, ...]:
    """Return what its rehearsal makes, the report last."""
    return reproduce((rehearsal(paper(given)), scope(given.datasets)))


PAPER = OnSite(datasets=DATASETS, models=MODELS, make=make_paper)
REHEARSAL = OnSite(datasets=DATASETS, models=MODELS, make=make_rehearsal)
