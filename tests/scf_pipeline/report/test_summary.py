"""What ran, said from the manifests."""

from dataclasses import replace

from scf_pipeline.report.runs import Runs
from scf_pipeline.report.summary import summary, warning


def test_it_tells_worlds_seeds_time_commit_and_packages(material, judged, curated) -> None:
    both = material(judged, curated)
    told = summary(both, Runs(both.results))
    assert "Drawn worlds: hard (scale smoke, seed 0)." in told
    assert "102 trained models of 15 variants, with 3 seeds (0, 1, 2)" in told
    assert "training took 51.9 min in all" in told
    assert "c0ffee" in told
    assert "torch 2.0" in told


def test_without_manifests_of_worlds_their_names_are_told(material, judged) -> None:
    told = summary(material(judged), Runs([]))
    assert "Worlds: easy, hard." in told


def test_an_unknown_machine_is_called_that_and_a_known_one_by_its_name(material, judged) -> None:
    unknown, known = ({"machine": told} for told in (None, "2 cores of <X>"))
    manifest = judged[0].artifact.manifest | unknown
    older = replace(judged[0], artifact=type(judged[0].artifact)(judged[0].artifact.path, manifest))
    assert "Machine: not noted" in summary(material([older]), Runs([]))
    manifest = judged[0].artifact.manifest | known
    known = replace(judged[0], artifact=type(judged[0].artifact)(judged[0].artifact.path, manifest))
    assert "Machine: 2 cores of &lt;X&gt;." in summary(material([known]), Runs([]))


def test_curation_alone_is_called_that(material, curated) -> None:
    assert "No model was trained" in summary(material((), curated), Runs([]))


def test_drawn_worlds_are_warned_of(material, curated, judged) -> None:
    words = "Miniature numbers are not the paper"
    assert words in warning(material((), curated))
    assert words in warning(material(judged))


def test_real_data_are_no_miniature(material, judged) -> None:
    real = replace(judged[0], results=[replace(one, world="") for one in judged[0].results])
    assert "Miniature" not in warning(material([real]))


def test_protocols_that_no_table_knows_are_told_of(material, results_of) -> None:
    told = summary(material(), Runs([results_of(protocol="mine")]))
    assert "other protocols: mine." in told


def test_other_checkpoint_policies_are_told_of(material, results_of) -> None:
    best = results_of(checkpoint_policy="best_on_test")
    runs = Runs([results_of(), best])
    assert "left out are 1 of best_on_test" in summary(material(), runs)
