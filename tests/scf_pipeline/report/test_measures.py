"""Other thresholds and other measures, for every variant."""

import re

import pytest

from scf_pipeline.report.figures import cell
from scf_pipeline.report.measures import policies
from scf_pipeline.report.runs import FULL, PROTOCOL_2, Place, Runs


@pytest.fixture(scope="module")
def runs(judged) -> Runs:
    return Runs(result for one in judged for result in one.results)


def test_each_policy_has_its_column(runs) -> None:
    told = policies(runs)
    for policy in ("eer_on_test", "eer_on_dev", "fixed"):
        shown = runs.summary(Place("hard", PROTOCOL_2), FULL, lambda r, p=policy: r.rates[p].hter)
        assert f'<th scope="col">{policy}</th>' in told
        assert cell(shown) in told


def test_every_variant_is_there(runs) -> None:
    told = policies(runs)
    for name in runs.variants(Place("easy", PROTOCOL_2)):
        assert name in told


def test_the_other_measures_are_told(runs) -> None:
    heads = re.findall(r'<th scope="col">(.*?)</th>', policies(runs))
    assert {"ACER ↓", "TPR at FPR 0.1 % ↑", "ECE ↓", "AUC by face ↑"} <= set(heads)


def test_a_policy_that_a_result_lacks_has_no_column(results_of) -> None:
    one = results_of()
    rates = {name: rate for name, rate in one.rates.items() if name != "eer_on_dev"}
    told = policies(Runs([results_of(rates=rates)]))
    assert '<th scope="col">eer_on_dev</th>' not in told
    assert '<th scope="col">fixed</th>' in told


def test_nothing_run_is_said() -> None:
    assert "Protocol 2 was not run" in policies(Runs([]))
