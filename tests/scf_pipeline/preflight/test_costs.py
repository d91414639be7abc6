"""Costs: every figure follows from counts, sizes and the plan."""

from collections import Counter
from pathlib import Path

import pytest

from ifas_model.config import ConnectorConfig, PhaseConfig, TrainConfig, VitConfig
from ifas_model.connector import GloballyAwareConnector
from ifas_model.phase import steps_of as trainers_steps
from ifas_model.vocabulary import Label, Split
from scf_pipeline.preflight.costs import (
    World,
    caption_bytes,
    connector_weights,
    loads,
    steps_of,
    totals,
    trained_bytes,
    training_bytes,
)
from scf_pipeline.preflight.data import Holdings
from scf_pipeline.preflight.models import Held
from scf_pipeline.stages.caption import CaptionConfig
from scf_pipeline.stages.crop import CropConfig
from scf_pipeline.stages.finetune import FinetuneConfig
from scf_pipeline.stages.ingest import IngestConfig
from scf_pipeline.steps import External, plan, step

CELEBA = Holdings(
    samples=Counter(
        {
            (Split.TRAIN, Label.BONA_FIDE): 10,
            (Split.TRAIN, Label.ATTACK): 30,
            (Split.TEST, Label.ATTACK): 5,
        }
    ),
    faces=Counter({Label.BONA_FIDE: 10, Label.ATTACK: 35}),
)
SIW = Holdings(samples=Counter({(Split.TEST, Label.ATTACK): 4}), faces=Counter({Label.ATTACK: 8}))


OPT = {"num_hidden_layers": 32, "hidden_size": 2560, "vocab_size": 50_272}
SMALL = {"num_hidden_layers": 2, "hidden_size": 8, "vocab_size": 50}


class Sized(Held):
    """A model of so many weights, of which nothing lies on disk."""

    parameters = 1000
    settings = SMALL


def sized(name: str, kind: str | None = None) -> Held:
    return Sized(external=External(name, kind), folder=None)


MODELS = {
    "captioner": sized("blip2"),
    "tower_large": sized("clip", "clip"),
    "language": sized("opt", "opt"),
}


@pytest.fixture
def world() -> World:
    return World({"celeba_spoof": CELEBA, "siw": SIW}, MODELS)


@pytest.fixture
def steps():
    """A crop, two captionings, a tuned captioner, a training of I-FAS and one of a baseline."""
    captioner, tower, language = (one.external for one in MODELS.values())
    samples = step(IngestConfig(datasets=("celeba_spoof", "siw")))
    faces = step(CropConfig(image_size=100), samples=samples)
    t_f = step(CaptionConfig(label=Label.ATTACK), faces=faces, model=captioner)
    c_s = step(FinetuneConfig(), faces=faces, captions=t_f, model=captioner)
    t_s = step(CaptionConfig(label=Label.ATTACK), faces=faces, model=c_s)
    full = step(TrainConfig(), shards=t_s, tower=tower, language=language)
    vit = step(TrainConfig(method=VitConfig()), shards=t_s, tower=tower)
    return plan(full, vit)


def test_faces_and_sources_are_counted_as_the_stages_take_them(world) -> None:
    assert world.faces() == 53
    assert world.faces(Label.ATTACK) == 43
    assert world.sources(TrainConfig()) == 40  # CelebA-Spoof's train part
    assert world.sources(TrainConfig(max_samples=7)) == 7


def test_every_step_is_told_with_what_it_does(world, steps) -> None:
    found = dict(zip((one.step.name for one in steps), loads(steps, world), strict=True))
    assert found["crop"].bytes_written > 53 * 100 * 100
    assert (found["caption"].unit, found["caption"].units) == ("caption", 43)
    assert found["finetune"].bytes_written == 2 * 1000
    full, vit = (one for one in loads(steps, world) if one.stage == "train")
    assert (full.unit, full.units) == ("ifas on tower_large", 13)  # 10 passes of 40 by 32
    assert vit.unit == "vit on tower_large"
    assert vit.bytes_written == 4 * 1000


def test_a_trained_model_holds_what_stayed_frozen_as_well(world, steps) -> None:
    (full, _) = (one.step for one in steps if one.step.config.stage == "train")
    small = connector_weights(full.config.method.connector)
    assert trained_bytes(full.config, full, world) == 2 * (1000 + 1000) + 4 * small


def test_what_is_not_here_yet_is_unknown_and_never_guessed(world, steps) -> None:
    nothing = World(world.held, {})
    told = totals(list(loads(steps, nothing)))
    assert told["train"] == (2, None)
    assert told["finetune"] == (1, None)
    assert told["crop"][1] is not None


def test_totals_add_up_by_stage(world, steps) -> None:
    found = list(loads(steps, world))
    told = totals(found)
    assert sum(number for number, _ in told.values()) == len(steps)
    assert sum(size for _, size in told.values()) == pytest.approx(
        sum(one.bytes_written for one in found)
    )


@pytest.mark.parametrize(
    "config", [ConnectorConfig(), ConnectorConfig(dim=64, num_blocks=2, num_heads=4, mlp_ratio=2)]
)
def test_the_weights_of_a_connector_are_counted_to_two_hundredths(config) -> None:
    import torch

    with torch.device("meta"):
        built = GloballyAwareConnector(config)
    real = sum(weight.numel() for weight in built.parameters())
    assert connector_weights(config) == pytest.approx(real, rel=0.02)


@pytest.mark.parametrize("phase", [PhaseConfig(), PhaseConfig(epochs=0.1), PhaseConfig(steps=7)])
@pytest.mark.parametrize("samples", [1, 33, 1000])
def test_updates_are_counted_as_the_trainer_counts_them(phase, samples) -> None:
    assert steps_of(phase, samples) == trainers_steps(phase, samples)


def test_memory_grows_with_the_batch_and_holds_the_weights() -> None:
    captioner, tower, language = MODELS.values()
    assert 2000 < caption_bytes(captioner, 1) < caption_bytes(captioner, 64)

    def training(batch: int, accumulation: int = 1) -> float:
        phase = PhaseConfig(batch_size=batch, accumulation=accumulation)
        return training_bytes(TrainConfig(phases=(phase,)), tower, language)

    assert training(32) > training(16) == training(32, accumulation=2)
    assert training(1) > 16 * connector_weights(ConnectorConfig())


def test_the_papers_training_fits_a_card_of_80_gb_and_not_one_of_12() -> None:
    """At the sizes that are known of ViT-L/14 and OPT-2.7B."""

    class Paper(Held):
        settings = OPT
        parameters = 2_650_000_000

    class Clip(Held):
        parameters = 430_000_000

    external = External("x")
    need = training_bytes(
        TrainConfig(), Clip(external=external, folder=None), Paper(external=external, folder=None)
    )
    assert 12e9 < need < 80e9


def test_memory_of_what_is_not_here_is_unknown() -> None:
    absent = Held(external=External("x"), folder=None)
    assert caption_bytes(absent, 1) is None
    assert training_bytes(TrainConfig(), absent, absent) is None
    assert training_bytes(TrainConfig(method=VitConfig()), *list(MODELS.values())[1:]) is None


def test_a_folder_is_what_the_figures_are_read_from(write_model) -> None:
    folder: Path = write_model("opt", "opt", hidden_size=8)
    held = Held(external=External(str(folder), "opt"), folder=folder)
    assert held.parameters == 27
    assert held.settings["hidden_size"] == 8
