"""The settings of flows: which datasets, which models, which sizes."""

from dataclasses import FrozenInstanceError, replace

import pytest

from flows.settings import DATASETS, DICTIONARY, Setting, miniature
from ifas_model import plugins
from ifas_model.config import EvaluateConfig, TrainConfig, VitConfig
from scf_pipeline import adapters
from scf_pipeline.keywords import KeywordDictionary
from scf_pipeline.miniature import layouts
from scf_pipeline.miniature.captioner import CaptionerConfig
from scf_pipeline.miniature.generic import GenericConfig
from scf_pipeline.miniature.tower import TowerConfig
from scf_pipeline.miniature.world import WorldConfig
from scf_pipeline.stages.caption import CaptionConfig
from scf_pipeline.stages.crop import CropConfig
from scf_pipeline.stages.finetune import FinetuneConfig
from scf_pipeline.steps import External, plan

WORLD = WorldConfig(scale="smoke")
CORPUS = GenericConfig(num_train=7, num_test=3, image_size=48)
CAPTIONER = CaptionerConfig(word_steps=2)
TOWERS = {"large": TowerConfig(size="base", steps=5), "base": TowerConfig(size="small", steps=6)}
FINETUNE = FinetuneConfig(steps=11)
FULL = TrainConfig(max_samples=9)
BASELINES = {"vit": TrainConfig(method=VitConfig(), max_samples=8)}
SEEDS = (4, 2)


@pytest.fixture
def setting() -> Setting:
    return miniature(
        world=WORLD,
        corpus=CORPUS,
        captioner=CAPTIONER,
        towers=TOWERS,
        finetune=FINETUNE,
        full=FULL,
        baselines=BASELINES,
        seeds=SEEDS,
    )


def test_the_papers_twelve_datasets_can_be_read_and_drawn() -> None:
    assert len(DATASETS) == 12
    assert list(DATASETS) == plugins.names(layouts)
    assert set(plugins.names(adapters)) - set(DATASETS) == {"image_folder"}


def test_the_dictionary_is_one() -> None:
    assert KeywordDictionary.load(DICTIONARY).keywords


def test_the_miniature_crops_without_a_detector_and_at_the_size_of_its_corpus(
    setting: Setting,
) -> None:
    assert setting.crop.detector == "none"
    assert setting.crop.image_size == CORPUS.image_size == 48


def test_the_miniature_holds_what_it_was_given(setting: Setting) -> None:
    assert setting.world is not None
    assert setting.world.config == WORLD
    assert setting.captioner.config == CAPTIONER
    assert setting.finetune == FINETUNE
    assert setting.dictionary == DICTIONARY
    assert setting.full == FULL
    assert setting.baselines == BASELINES
    assert setting.seeds == SEEDS
    assert setting.evaluate == EvaluateConfig()


def test_the_miniature_hands_over_both_towers_by_size(setting: Setting) -> None:
    assert {name: tower.config for name, tower in setting.towers.items()} == TOWERS
    assert [tower.name for tower in setting.towers.values()] == ["tower-large", "tower-base"]


def test_captioner_and_towers_learn_from_one_corpus(setting: Setting) -> None:
    """Two corpora would be drawn, and paid for, twice."""
    learners = (setting.captioner, *setting.towers.values())
    assert {learner.inputs["corpus"] for learner in learners} == {
        setting.captioner.inputs["corpus"]
    }
    assert setting.captioner.inputs["corpus"].config == CORPUS
    assert [made.step.config.stage for made in plan(*learners)].count(CORPUS.stage) == 1


def test_real_datasets_take_the_papers_training_over_three_seeds_unless_told() -> None:
    real = Setting(
        world=None,
        captioner=External("blip2:some/checkpoint@abc"),
        crop=CropConfig(),
        caption=CaptionConfig(),
        finetune=FinetuneConfig(),
    )
    assert real.full == TrainConfig()
    assert real.seeds == (0, 1, 2)


def test_a_setting_is_varied_by_replacing_one_value(setting: Setting) -> None:
    real = replace(setting, world=None)
    assert real.world is None
    assert replace(real, world=setting.world) == setting
    with pytest.raises(FrozenInstanceError):
        setting.world = None
