"""Protocol 1: each of M, C, I and O left out in turn."""

import csv
from dataclasses import replace
from pathlib import Path

from flows.protocol1 import TARGETS, protocol1
from ifas_model.protocols import LETTERS, protocol

TABLE = Path(__file__).parents[2] / "scf_pipeline/report/paper_tables/table1.csv"


def test_the_targets_are_the_four_of_the_papers_table_in_its_order() -> None:
    with TABLE.open(encoding="utf-8") as file:
        columns = next(csv.reader(file))
    assert [name for name in columns if name in set(LETTERS.values())] == list(TARGETS)
    assert len(TARGETS) == 4


def test_no_target_teaches_the_model_that_is_judged_on_it(bench) -> None:
    for evaluation in protocol1(bench, *TARGETS):
        config = evaluation.inputs["judge"].config
        one = protocol(config.protocol, config.target)
        assert set(one.targets) == {config.target}
        assert config.target not in one.sources
        assert len(one.sources) == 3


def test_every_target_is_left_out_once_for_each_seed(bench) -> None:
    configs = [one.inputs["judge"].config for one in protocol1(bench, *TARGETS)]
    found = [(config.target, config.seed) for config in configs]
    assert found == [(target, seed) for target in TARGETS for seed in bench.setting.seeds]


def test_it_is_the_full_model_but_for_protocol_and_target(bench) -> None:
    full = bench.setting.full
    for evaluation in protocol1(bench, *TARGETS):
        judge = evaluation.inputs["judge"]
        assert judge.config.protocol == "protocol1"
        assert replace(judge.config, protocol=full.protocol, target=None, seed=full.seed) == full
        assert judge.inputs["shards"] is bench.made.shards
        assert evaluation.config.variant == "full"


def test_only_the_targets_that_are_asked_for_are_tried(bench) -> None:
    found = {one.inputs["judge"].config.target for one in protocol1(bench, "oulu_npu")}
    assert found == {"oulu_npu"}
    assert protocol1(bench) == ()
