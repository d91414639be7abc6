"""Protocol 2: the full model, from one dataset to eleven."""

from dataclasses import replace

from flows.protocol2 import protocol2
from flows.settings import DATASETS
from ifas_model.protocols import protocol


def test_the_full_model_is_trained_as_the_setting_says(bench) -> None:
    for evaluation, seed in zip(protocol2(bench), bench.setting.seeds, strict=True):
        judge = evaluation.inputs["judge"]
        assert judge.config == replace(bench.setting.full, seed=seed)
        assert judge.inputs["shards"] is evaluation.inputs["shards"] is bench.made.shards
        assert evaluation.config.variant == "full"


def test_one_dataset_teaches_and_the_other_eleven_are_judged(bench) -> None:
    config = protocol2(bench)[0].inputs["judge"].config
    assert config.protocol == "protocol2"
    one = protocol(config.protocol, config.target)
    assert (len(one.sources), len(one.targets)) == (1, 11)
    assert sorted([*one.sources, *one.targets]) == sorted(DATASETS)


def test_responses_are_written_when_asked_for(bench) -> None:
    assert [one.config.responses for one in protocol2(bench, responses=2)] == [2, 0, 0]
    assert {one.config.responses for one in protocol2(bench)} == {0}
