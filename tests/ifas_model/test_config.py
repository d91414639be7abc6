"""Settings: the paper's numbers by default, and nothing that contradicts itself."""

from dataclasses import FrozenInstanceError, fields, replace

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from ifas_model import config as module
from ifas_model.config import (
    ConnectorConfig,
    EvaluateConfig,
    FeaturesConfig,
    FlipConfig,
    IFasConfig,
    LossConfig,
    OwnDatasets,
    PhaseConfig,
    TrainConfig,
    VitafConfig,
    VitConfig,
)
from ifas_model.strict import build, read_yaml
from ifas_model.vocabulary import Split

METHODS = [IFasConfig, VitConfig, VitafConfig, FlipConfig]
OTHERS = [ConnectorConfig, LossConfig, PhaseConfig, TrainConfig, EvaluateConfig, FeaturesConfig]
OWN = OwnDatasets(
    train={"mine": (Split.TRAIN,)}, dev={"mine": (Split.DEV,)}, test={"mine": (Split.TEST,)}
)


# The paper


def test_training_is_the_papers_by_default() -> None:
    (phase,) = TrainConfig().phases
    assert (phase.name, phase.epochs, phase.steps) == ("main", 10, None)
    assert (phase.batch_size, phase.accumulation) == (32, 1)
    assert (phase.learning_rate, phase.language_rate, phase.weight_decay) == (1e-5, None, 1e-2)
    assert TrainConfig().answer == "judgment+interpretation"
    assert TrainConfig().protocol == "protocol2"
    assert TrainConfig().max_samples is None
    assert TrainConfig().select == "last"


def test_the_model_is_the_papers_by_default() -> None:
    method = TrainConfig().method
    assert isinstance(method, IFasConfig)
    connector = method.connector
    assert (connector.vision_dim, connector.language_dim) == (1024, 2560)
    assert (connector.encoder_layers, connector.num_queries) == (24, 32)
    assert (connector.global_queries, connector.cross_attend) == ("class_tokens", "all")
    assert (method.loss.kind, method.loss.alpha) == ("lopsided", 0.7)
    assert method.language_training == "frozen"


def test_baselines_are_as_published_by_default() -> None:
    assert (VitConfig().head_dim, VitConfig().dropout) == (512, 0.5)
    assert not VitConfig().is_tower_frozen
    assert (VitafConfig().adapter_dim, VitafConfig().cosine_weight) == (64, 0.03)
    assert (VitafConfig().initial_scale, VitafConfig().initial_shift) == (0.3, 0.5)
    assert (FlipConfig().variant, FlipConfig().text) == ("mcl", "template")
    assert (FlipConfig().temperature, FlipConfig().hidden_dim) == (0.1, 4096)


def test_judging_tells_intervals_and_the_threshold_that_prediction_uses() -> None:
    assert EvaluateConfig().fixed_threshold == 0.5
    assert EvaluateConfig().bootstrap > 0


# Frozen and strict


@pytest.mark.parametrize("kind", METHODS + OTHERS)
def test_settings_are_frozen(kind: type) -> None:
    settings = kind()
    with pytest.raises(FrozenInstanceError):
        setattr(settings, fields(settings)[0].name, None)


@pytest.mark.parametrize("kind", METHODS + OTHERS)
def test_a_setting_that_nobody_knows_is_refused(kind: type) -> None:
    with pytest.raises(ValidationError, match="unexpected_keyword_argument"):
        kind(nonsense=1)


def test_no_config_is_left_out_of_the_tests_above() -> None:
    found = {value for name, value in vars(module).items() if name.endswith("Config")}
    assert found - {module.MethodConfig} == {*METHODS, *OTHERS}


@pytest.mark.parametrize("kind", METHODS)
def test_a_method_is_known_by_its_name(kind: type) -> None:
    name = kind().method
    made = build(TrainConfig, {"method": {"method": name}}, where="here")
    assert made.method == kind()


# Rules


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConnectorConfig(dim=10, num_heads=4), "must divide `dim` .10., but is 4"),
        (lambda: PhaseConfig(batch_size=10, accumulation=3), "must divide `batch_size` .10."),
        (lambda: PhaseConfig(epochs=0), "greater than 0"),
        (lambda: PhaseConfig(warmup_fraction=1.5), "less than or equal to 1"),
        (lambda: LossConfig(alpha=1.1), "less than or equal to 1"),
        (lambda: TrainConfig(max_samples=1), "greater than or equal to 2"),
        (lambda: TrainConfig(select="best"), "Input should be 'last', 'best_on_dev' or"),
        (lambda: TrainConfig(select_every=0), "greater than or equal to 1"),
        (lambda: TrainConfig(seed=-1), "greater than or equal to 0"),
        (lambda: EvaluateConfig(fixed_threshold=2), "less than or equal to 1"),
    ],
)
def test_a_value_out_of_range_is_refused(make, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test": {}}, "`own.test` must name splits of datasets, but names none"),
        ({"dev": {"mine": ()}}, "`own.dev` must name splits of datasets, but names none of mine"),
        ({"dev": {"mine": ("train",)}}, "names train of mine in train and dev"),
        ({"test": {"mine": ("test", "dev")}}, "names dev of mine in dev and test"),
        ({"test": {"mine": ("train",)}}, "names train of mine in train and test"),
        ({"train": {"mine": ("first",)}}, "Input should be 'train', 'dev' or 'test'"),
    ],
)
def test_the_parts_of_ones_own_datasets_are_not_empty_and_share_nothing(change, message) -> None:
    parts = {"train": OWN.train, "dev": OWN.dev, "test": OWN.test}
    assert OwnDatasets(**parts) == OWN
    with pytest.raises(ValidationError, match=message):
        OwnDatasets(**(parts | change))


def test_another_dataset_may_have_the_same_split() -> None:
    assert replace(OWN, test={"theirs": (Split.TRAIN,)}).test == {"theirs": (Split.TRAIN,)}


def test_ones_own_datasets_come_with_the_protocol_custom_alone() -> None:
    assert TrainConfig(protocol="custom", own=OWN).own == OWN
    message = r"`own` must be given where `protocol` is 'custom', but is absent\."
    with pytest.raises(ValidationError, match=message):
        TrainConfig(protocol="custom")
    message = r"`own` must be absent where `protocol` is 'protocol2', but is given\."
    with pytest.raises(ValidationError, match=message):
        TrainConfig(own=OWN)


# To YAML and back


@pytest.mark.parametrize(
    "config",
    [
        TrainConfig(),
        TrainConfig(protocol="custom", own=OWN, seed=5),
        TrainConfig(
            method=FlipConfig(text="captions"),
            protocol="protocol1",
            target="wmca",
            phases=(PhaseConfig(name="head", steps=3), PhaseConfig(language_rate=1e-4)),
        ),
        EvaluateConfig(world="hard", responses=4),
        FeaturesConfig(splits=(Split.DEV,), flip=False),
    ],
)
def test_settings_go_through_yaml_unchanged(config, tmp_path) -> None:
    plain = TypeAdapter(type(config)).dump_python(config, mode="json")
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(plain))
    assert build(type(config), read_yaml(file), where=file) == config
