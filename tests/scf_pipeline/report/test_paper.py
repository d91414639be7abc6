"""The paper's tables as data: what arithmetic says of them."""

import pytest

from ifas_model import plugins
from ifas_model.vocabulary import PaiSpecies
from scf_pipeline import adapters
from scf_pipeline.report import paper

MISPRINTS = {(name, "rose_youtu") for name in ("ViTAF", "ViT-B", "ViT-L", "FLIP")}


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)


def test_the_averages_of_table_1_follow_from_its_rows() -> None:
    table, averages = paper.table1(), paper.table1_averages()
    assert len(table) == len(averages) == 13
    for method, row in table.items():
        assert mean(one.hter for one in row.values()) == pytest.approx(averages[method], abs=0.0051)


def test_the_column_of_i_fas_in_table_2_has_its_average() -> None:
    row = dict(paper.table2()["I-FAS"])
    average = row.pop("average")
    assert len(row) == 11
    assert mean(one.hter for one in row.values()) == pytest.approx(average.hter, abs=0.0051)
    assert mean(one.auc for one in row.values()) == pytest.approx(average.auc, abs=0.0051)


def test_the_flagged_pairs_are_the_only_impossible_ones() -> None:
    table = paper.table2()
    flagged = {(m, d) for m, row in table.items() for d, one in row.items() if one.is_misprint}
    impossible = {
        (m, d)
        for m, row in table.items()
        for d, one in row.items()
        if one.hter >= 50 and one.auc > 2 * (100 - one.hter)
    }
    assert flagged == impossible == MISPRINTS


def test_tables_agree_where_they_repeat_each_other() -> None:
    full = paper.table2()["I-FAS"]["average"]
    assert paper.averages("table3")["full"] == paper.averages("table4")["full"] == full
    assert paper.averages("table3")["without-scf"] == paper.averages("table4")["without-scf"]
    assert paper.averages("table4")["flip-template"] == paper.table2()["FLIP"]["average"]
    assert paper.table1()["FLIP"]["msu_mfsd"] == paper.pair("4.95/98.11")


def test_datasets_go_by_the_names_of_their_adapters() -> None:
    assert set(paper.datasets()) <= set(plugins.names(adapters))
    assert set(paper.table2()["I-FAS"]) - {"average"} == set(paper.datasets()) - {"celeba_spoof"}
    masks = {name for name, one in paper.datasets().items() if one.is_masks_only}
    assert masks == {"hkbu_mars_v1_plus", "casia_surf_3dmask", "hifi_mask"}


def test_an_unknown_dataset_keeps_its_name() -> None:
    assert (paper.title("siw"), paper.short("siw_m_v2")) == ("SIW", "SIW-M")
    assert paper.title("mine") == paper.short("mine") == "mine"


def test_the_keywords_are_of_known_species() -> None:
    assert {PaiSpecies(species) for species in paper.keywords().values()} == {
        PaiSpecies.PRINT, PaiSpecies.REPLAY, PaiSpecies.MANNEQUIN,
    }  # fmt: skip
