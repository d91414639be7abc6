"""The report as an artifact, and `scf report`."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner
from upath import UPath

from scf_pipeline.cli import app
from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.errors import ArtifactError
from scf_pipeline.stages.report import PAGE, ReportConfig, run
from scf_pipeline.store import Artifact

CONFIG = ReportConfig(dictionary=Path(__file__).parents[3] / "keyword_dicts/spoof_aware.yaml")


class NoEngine:
    def call(self, *_: object, **__: object) -> None:
        raise AssertionError("a sealed report must not be written again")


def write(folder, evaluations, curation) -> Artifact:
    place = UPath(folder)
    return run(CONFIG, evaluations=evaluations, curation=curation, out=place, engine=LocalEngine())


def test_the_page_is_sealed_with_what_it_rests_on(tmp_path, judged_once, curated) -> None:
    made = write(tmp_path / "a", judged_once, curated)
    assert list(made.files) == [PAGE]
    assert made.manifest["inputs"]["evaluations"] == [one.name for one in judged_once]
    assert "<!DOCTYPE html>" in (made.path / PAGE).read_text(encoding="utf-8")


def test_the_same_inputs_give_the_same_bytes(tmp_path, judged_once, curated) -> None:
    one, other = (write(tmp_path / name, judged_once, curated) for name in "ab")
    assert one.identity == other.identity


def test_a_sealed_report_is_not_written_again(tmp_path, judged_once, curated) -> None:
    made = write(tmp_path / "a", judged_once, curated)
    place = UPath(tmp_path / "a")
    again = run(CONFIG, evaluations=judged_once, curation=curated, out=place, engine=NoEngine())
    assert again.identity == made.identity


def test_other_inputs_are_refused_the_folder(tmp_path, judged_once, curated) -> None:
    write(tmp_path / "a", judged_once, curated)
    with pytest.raises(ArtifactError, match="belong to these settings"):
        write(tmp_path / "a", judged_once[:1], curated)


def test_nothing_at_all_still_makes_a_page(tmp_path) -> None:
    assert "No model was trained" in (write(tmp_path / "a", (), ()).path / PAGE).read_text()


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValidationError):
        ReportConfig(dictionary=CONFIG.dictionary, title="x")


def test_the_command_prints_the_page_and_writes_it_once(run_folder) -> None:
    first = CliRunner().invoke(app, ["report", str(run_folder)])
    assert first.exit_code == 0, first.output
    page = Path(first.stdout.splitlines()[-1])
    assert page.name == PAGE
    assert page.parent.parent == run_folder
    written = page.stat().st_mtime_ns
    second = CliRunner().invoke(app, ["report", str(run_folder)])
    assert second.stdout.splitlines()[-1] == str(page)
    assert page.stat().st_mtime_ns == written


def test_the_command_prints_the_report_that_a_flow_sealed(run_folder) -> None:
    folders = [Artifact.open(path) for path in sorted(run_folder.iterdir())]
    evaluations = [one for one in folders if one.stage == "evaluate"]
    made = write(run_folder / "report-flow", evaluations, ())
    told = CliRunner().invoke(app, ["report", str(run_folder)])
    assert told.stdout.strip() == str(made.path / PAGE)


def test_a_folder_without_artifacts_is_an_expected_failure(tmp_path) -> None:
    told = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert told.exit_code == 1
    assert "A run's folder must hold sealed artifacts" in told.output
