"""Datasets: any subset will do, and partial copies are told from whole ones."""

from collections import Counter
from dataclasses import replace

import pytest

from ifas_model.vocabulary import Label, Split
from scf_pipeline.adapters import replay_attack
from scf_pipeline.preflight.data import check_datasets
from scf_pipeline.preflight.findings import Level

WANTED = ("msu_mfsd", "replay_attack")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "datasets.yaml"


def levels(findings):
    return {one.subject: one.level for one in findings}


def test_without_a_file_every_dataset_is_missing_with_how_to_obtain_it(file) -> None:
    held, findings = check_datasets(file, WANTED)
    assert held == {}
    assert levels(findings) == dict.fromkeys((str(file), *WANTED), Level.MISSING)
    assert findings[-1].fix == replay_attack.ADAPTER.obtain


def test_a_partial_copy_is_a_warning_with_both_counts(file, replay) -> None:
    file.write_text(f"replay_attack: {replay}\n")
    held, findings = check_datasets(file, WANTED)
    assert levels(findings) == {"msu_mfsd": Level.NOTE, "replay_attack": Level.WARNING}
    assert findings[-1].text.startswith(
        "1 bona fide and 2 attack samples are here, but 200 and 1,000 were published"
    )
    assert held["replay_attack"].samples == Counter(
        {
            (Split.TRAIN, Label.BONA_FIDE): 1,
            (Split.TEST, Label.ATTACK): 1,
            (Split.DEV, Label.ATTACK): 1,
        }
    )
    assert held["replay_attack"].faces == {Label.BONA_FIDE: 2, Label.ATTACK: 4}


def test_the_published_counts_are_ready(file, replay, monkeypatch) -> None:
    file.write_text(f"replay_attack: {replay}\n")
    whole = replace(replay_attack.ADAPTER, bona_fide=1, attack=2)
    monkeypatch.setattr(replay_attack, "ADAPTER", whole)
    _, findings = check_datasets(file, WANTED)
    assert levels(findings)["replay_attack"] is Level.READY


def test_a_root_that_is_not_there_is_missing(file, tmp_path) -> None:
    file.write_text("replay_attack: gone\nmsu_mfsd: lost\n")
    _, findings = check_datasets(file, WANTED)
    assert levels(findings) == dict.fromkeys(WANTED, Level.MISSING)
    assert str(tmp_path / "lost") in findings[0].text


def test_a_root_of_another_layout_is_missing_and_says_what_was_expected(file, tmp_path) -> None:
    (tmp_path / "other").mkdir()
    file.write_text("replay_attack: other\n")
    _, findings = check_datasets(file, WANTED)
    assert levels(findings)["replay_attack"] is Level.MISSING
    assert findings[-1].fix


def test_a_file_that_names_an_unknown_dataset_is_missing(file) -> None:
    file.write_text("replay_atack: x\n")
    _, findings = check_datasets(file, WANTED)
    assert levels(findings)[str(file)] is Level.MISSING
    assert "Did you mean replay_attack" in findings[0].fix


def test_a_dataset_that_the_flow_has_no_use_for_is_noted(file, replay) -> None:
    file.write_text(f"replay_attack: {replay}\nimage_folder: {replay}\n")
    held, findings = check_datasets(file, WANTED)
    assert levels(findings)["image_folder"] is Level.NOTE
    assert set(held) == {"replay_attack"}
