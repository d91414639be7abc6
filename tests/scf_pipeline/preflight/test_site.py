"""The site's file: strict, relative to itself, and read as far as it can be."""

from pathlib import Path

import pytest

from scf_pipeline.preflight.findings import Level
from scf_pipeline.preflight.site import Site, read_site


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "paper.yaml"


def test_all_that_a_file_tells_is_read(file, flow) -> None:
    (file.parent / "models/clip").mkdir(parents=True)
    file.write_text(
        "datasets: data/datasets.yaml\n"
        "models: {captioner: owner/blip2@v1, tower_large: models/clip}\n"
        "accepted_terms: [msu_mfsd, captioner]\n"
        "gpus_per_worker: 0.5\n"
    )
    site, findings = read_site(file, flow)
    assert findings == []
    assert site == Site(
        datasets=file.parent / "data/datasets.yaml",
        models={"captioner": "owner/blip2@v1", "tower_large": str(file.parent / "models/clip")},
        accepted_terms=("msu_mfsd", "captioner"),
        gpus_per_worker=0.5,
    )


def test_an_absent_file_is_missing_and_all_else_is_still_looked_for(file, flow) -> None:
    site, (finding,) = read_site(file, flow)
    assert finding.level is Level.MISSING
    assert finding.subject == str(file)
    assert "captioner, tower_large" in finding.fix
    assert site == Site(datasets=file.parent / "datasets.yaml")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("model: {}\n", "must be one of `Site`'s, but is 'model'"),
        ("gpus_per_worker: -1\n", "`gpus_per_worker` must be greater than or equal to 0"),
        ("- a\n", "must hold `key: value` lines"),
        ("accepted_terms: yes\n", "`accepted_terms`"),
    ],
)
def test_a_file_that_cannot_be_read_is_missing_and_says_why(file, flow, text, told) -> None:
    file.write_text(text)
    _, (finding,) = read_site(file, flow)
    assert finding.level is Level.MISSING
    assert told in finding.text


def test_a_name_that_the_flow_does_not_know_is_missing_with_the_nearest(file, flow) -> None:
    file.write_text("models: {tower_larg: x}\naccepted_terms: [msu_mfds, wmca]\n")
    _, findings = read_site(file, flow)
    assert [one.level for one in findings] == [Level.MISSING] * 3
    assert [one.fix for one in findings[:2]] == [
        "Did you mean tower_large?",
        "Did you mean msu_mfsd?",
    ]
    assert "names 'wmca'" in findings[2].text
