"""What lies in a run's folder."""

import json
import shutil

import pytest
from upath import UPath

from scf_pipeline.errors import ArtifactError
from scf_pipeline.report.shelf import current, parted, sealed_in
from scf_pipeline.settings import Settings
from scf_pipeline.store import ArtifactWriter


def report_on(folder, *, evaluations, name="report-1"):
    inputs = {"evaluations": [one.name for one in evaluations]}
    return ArtifactWriter(folder / name, None, settings=Settings("report", 1, {}, inputs)).seal()


def test_all_sealed_artifacts_are_found(run_folder, judged_once, curated) -> None:
    found = sealed_in(UPath(run_folder))
    assert {one.name for one in found} == {one.name for one in (*judged_once, *curated)}
    evaluations, others = parted(found)
    assert len(evaluations) == len(judged_once)
    assert len(others) == len(curated)


def test_a_plan_says_what_belongs_to_the_run(run_folder) -> None:
    (run_folder / "x.plan.json").write_text(json.dumps([{"folder": "crop"}, {"folder": "absent"}]))
    assert [one.stage for one in sealed_in(UPath(run_folder))] == ["crop"]


def test_a_damaged_plan_is_refused(run_folder) -> None:
    (run_folder / "x.plan.json").write_text("[1]")
    with pytest.raises(ArtifactError, match="A plan must be"):
        sealed_in(UPath(run_folder))


def test_a_report_is_current_if_it_has_every_evaluation(run_folder) -> None:
    evaluations, _ = parted(sealed_in(UPath(run_folder)))
    report_on(run_folder, evaluations=evaluations[:2], name="report-0")
    assert current(sealed_in(UPath(run_folder))) is None
    whole = report_on(run_folder, evaluations=evaluations)
    found = current(sealed_in(UPath(run_folder)))
    assert found is not None
    assert found.path == whole.path


def test_without_evaluations_a_report_of_the_rest_is_current(run_folder, curated) -> None:
    for one in parted(sealed_in(UPath(run_folder)))[0]:
        shutil.rmtree(one.path)
    assert current(sealed_in(UPath(run_folder))) is None
    inputs = {"curation": [one.name for one in curated]}
    settings = Settings("report", 1, {}, inputs)
    made = ArtifactWriter(run_folder / "report-2", None, settings=settings).seal()
    assert current(sealed_in(UPath(run_folder))).path == made.path


@pytest.mark.parametrize("place", ["run/crop", "absent", "run/crop/data"])
def test_another_folder_is_refused(run_folder, place) -> None:
    with pytest.raises(ArtifactError):
        sealed_in(UPath(run_folder.parent / place))
