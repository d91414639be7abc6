"""Tables 1 to 4: ours and the paper's apart, policies named, what is absent said."""

import re
from dataclasses import replace

import pytest

from scf_pipeline.report.comparison import averages, beyond, table1, table2, tables
from scf_pipeline.report.figures import cell
from scf_pipeline.report.intervals import summarize
from scf_pipeline.report.runs import FULL, PROTOCOL_2, Place, Runs, auc


@pytest.fixture(scope="module")
def runs(judged) -> Runs:
    return Runs(result for one in judged for result in one.results)


@pytest.fixture(scope="module")
def told(runs) -> str:
    return tables(runs)


def test_every_caption_names_both_policies(told) -> None:
    captions = re.findall(r"<caption>(.*?)</caption>", told)
    assert len(captions) >= 14
    for caption in captions:
        assert "heckpoint: last" in caption
        assert "Threshold: eer_on_test" in caption or "by threshold policy" in caption


def test_the_papers_numbers_stand_in_columns_of_their_own(told) -> None:
    assert '<td class="paper">11.30</td>' in told
    assert '<td class="paper">93.71</td>' in told
    assert "the paper (real data)" in told
    ours = re.findall(r"<td>(.*?)</td>", told)
    assert "11.30" not in ours


def test_ours_is_mean_deviation_and_interval_over_seeds(runs, told) -> None:
    place = Place("hard", PROTOCOL_2)
    for target in (None, ["siw"]):
        values = list(runs.by_seed(place, FULL, auc, target).values())
        assert len(values) == 3
        assert f"<td>{cell(summarize(values))}</td>" in told


def test_the_four_misprints_are_flagged_and_explained(runs) -> None:
    table = table2(runs)
    assert table.count('title="misprint in the paper"') == 4 * 2 * 2  # measures, worlds
    assert "misprints" in table


def test_masks_are_averaged_apart(runs) -> None:
    row = re.findall(r"average, 3D masks only</th>(.*?)</tr>", table2(runs))[1]
    place = Place("hard", PROTOCOL_2)
    masks = ["casia_surf_3dmask", "hkbu_mars_v1_plus", "hifi_mask"]
    assert cell(runs.summary(place, FULL, auc, masks)) in row
    assert f"{(98.40 + 88.77 + 77.17) / 3:.2f}" in row


def test_worlds_stand_side_by_side(runs) -> None:
    table = averages(runs, "table3", ("without-scf", FULL), "Table 3. Parts")
    assert "ours, hard world" in table
    assert "ours, easy world" in table
    assert table.count("<tbody>") == 2  # the table and the paired differences


def test_paired_differences_have_their_seeds(runs) -> None:
    table = averages(runs, "table3", ("without-scf", FULL), "Table 3. Parts")
    assert "paired by seed" in table
    assert re.search(r"seed 0: \d+\.\d against \d+\.\d; seed 1:", table)


def test_an_unknown_variant_appears_by_name(runs) -> None:
    assert "bona-fide-mixed" in beyond(runs)
    assert "alpha-0" not in beyond(runs)


def test_a_variant_name_is_escaped(results_of) -> None:
    runs = Runs([results_of(), replace(results_of(), variant="<i>")])
    assert "&lt;i&gt;" in beyond(runs)
    assert "<i>" not in tables(runs)


def test_what_was_not_run_is_said(results_of) -> None:
    nothing = tables(Runs([]))
    for words in ("Protocol 1 was not run", "Protocol 2 was not run", "None of its variants"):
        assert words in nothing
    assert "<table>" not in nothing
    assert "No variant beyond the paper was run" in nothing


def test_one_seed_of_one_world_says_so(results_of) -> None:
    told = tables(Runs([results_of(), results_of("vitaf")]))
    assert "One seed, so no interval" in told
    assert "There are no results of the easy world" in told
    assert " *</small>" in told  # the bootstrap's


def test_protocol_1_with_another_source_has_tables_of_its_own(results_of) -> None:
    names = ("protocol1", "protocol1_with_celeba")
    table = table1(Runs(results_of(protocol=name, target="msu_mfsd") for name in names))
    for name in names:
        assert table.count(f"Table 1 ({name}), ") == 2


def test_table_1_has_a_row_for_each_target(runs) -> None:
    table = table1(runs)
    assert "to CASIA-MFSD" in table
    assert '<td class="paper">1.33</td>' in table
