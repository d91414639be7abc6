"""The other rows of Table 2, and FLIP on captions."""

import csv
from pathlib import Path

import pytest

from flows.baselines import BASELINES, baselines
from flows.protocol2 import protocol2
from ifas_model import baselines as registry
from ifas_model import plugins
from ifas_model.protocols import protocol

TABLE = Path(__file__).parents[2] / "scf_pipeline/report/paper_tables/table2.csv"
METHODS = {
    "vit-base": ("vit", "base"),
    "vit-large": ("vit", "large"),
    "vitaf": ("vitaf", "base"),
    "flip-template": ("flip", "base"),
    "flip-captions": ("flip", "base"),
}
"""Method and tower."""


@pytest.fixture(scope="module")
def found(bench):
    """Evaluations by name."""
    return {name: baselines(bench, name) for name in BASELINES}


def test_all_entries_of_the_registry_are_tried(bench, found) -> None:
    methods = {steps[0].inputs["judge"].config.method.method for steps in found.values()}
    assert methods == set(plugins.names(registry)) == set(bench.setting.baselines)


def test_there_are_as_many_as_the_papers_table_has_and_flip_on_captions() -> None:
    with TABLE.open(encoding="utf-8") as file:
        columns = next(csv.reader(file))
    assert len(BASELINES) == len(set(columns) - {"dataset", "I-FAS"}) + 1


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_is_its_method_on_its_tower(name: str, bench, found) -> None:
    method, tower = METHODS[name]
    for step in found[name]:
        judge = step.inputs["judge"]
        assert judge.config.method.method == method
        assert judge.inputs["tower"] is bench.setting.towers[tower]
        assert step.config.variant == name


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_has_the_seeds_the_shards_and_the_protocol_of_the_full_model(
    name: str, bench, found
) -> None:
    for one, full in zip(found[name], protocol2(bench), strict=True):
        ours, theirs = one.inputs["judge"], full.inputs["judge"]
        assert ours.config.seed == theirs.config.seed
        assert ours.config.max_samples == theirs.config.max_samples
        assert ours.inputs["shards"] is theirs.inputs["shards"]
        assert one.inputs["shards"] is full.inputs["shards"]
        assert protocol(ours.config.protocol) == protocol(theirs.config.protocol)


def test_the_two_vits_differ_in_the_tower_alone(found, identity) -> None:
    for one, other in zip(found["vit-base"], found["vit-large"], strict=True):
        ours, theirs = one.inputs["judge"], other.inputs["judge"]
        assert ours.config == theirs.config
        assert identity(ours.inputs["tower"]) != identity(theirs.inputs["tower"])


def test_flip_on_captions_differs_in_the_texts_alone(found, changes, identity) -> None:
    for one, other in zip(found["flip-template"], found["flip-captions"], strict=True):
        ours, theirs = one.inputs["judge"], other.inputs["judge"]
        assert changes(ours.config, theirs.config) == {"method.text": ("template", "captions")}
        assert identity(ours.inputs) == identity(theirs.inputs)


def test_only_the_baselines_that_are_asked_for_are_tried(bench) -> None:
    names = ("vitaf", "vit-base")
    found = [step.config.variant for step in baselines(bench, *names)]
    assert found == [name for name in names for _ in bench.setting.seeds]
