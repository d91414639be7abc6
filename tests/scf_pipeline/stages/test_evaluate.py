"""Evaluation as an artifact; what the figures are, the trainer's own tests tell."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ifas_model import evaluate as judging
from ifas_model import results
from scf_pipeline.errors import ArtifactError
from scf_pipeline.report.material import read_evaluations
from scf_pipeline.stages import evaluate
from scf_pipeline.store import Artifact
from scf_pipeline.verify import verify

FILES = ["data/part-00000.parquet", "responses.json", "results.json", "training.json"]


@pytest.fixture
def given(trained, vqa_shards, featured, engine):
    """Everything that an evaluation is given, but settings and folder."""
    return {"judge": trained, "shards": vqa_shards, "features": featured, "engine": engine}


@pytest.fixture(scope="module")
def done(tmp_path_factory, briefly, trained, vqa_shards, featured) -> Artifact:
    from scf_pipeline.engine.local import LocalEngine

    return evaluate.run(
        briefly,
        judge=trained,
        shards=vqa_shards,
        features=featured,
        out=tmp_path_factory.mktemp("done"),
        engine=LocalEngine(),
    )


def test_scores_results_answers_and_training_are_sealed(done, trained, vqa_shards) -> None:
    assert list(done.files) == FILES
    found = results.load(done.path / "results.json")
    assert [(one.target, one.role) for one in found] == [
        ("siw", "target"),
        ("wmca", "target"),
        ("celeba_spoof", "source"),
    ]
    for one in found:
        taught = trained.manifest["inputs"]["shards"]
        assert one.inputs == {
            "model": trained.name, "shards": vqa_shards.name, "taught": taught,
        }  # fmt: skip
        assert (one.variant, one.world) == ("full", "hard")
    assert json.loads((done.path / "training.json").read_bytes()) == trained.notes
    answers = json.loads((done.path / "responses.json").read_bytes())
    assert [answer["dataset"] for answer in answers] == ["siw", "siw", "wmca", "wmca"]
    assert not (done.path / "scratch").exists()
    assert verify(done.path) == []


def test_scores_are_the_rows_of_the_artifact(done) -> None:
    table = done.read()
    assert table.schema.names == results.SCORE_SCHEMA.names
    assert table.num_rows == done.counts.live == 20
    assert set(table["dataset"].to_pylist()) == {"siw", "wmca", "celeba_spoof"}
    assert set(table["label"].to_pylist()) == {"bona_fide", "attack"}


def test_the_report_reads_it(done) -> None:
    (read,) = read_evaluations([done])
    assert len(read.results) == 3
    assert len(read.responses) == 4
    assert read.training["steps"] == 3


def test_without_features_pictures_are_looked_at(done, briefly, given, tmp_path) -> None:
    made = evaluate.run(briefly, out=tmp_path, **(given | {"features": None}))
    pairs = zip(made.read()["margin"].to_pylist(), done.read()["margin"].to_pylist(), strict=True)
    for one, other in pairs:
        assert one == pytest.approx(other, abs=1e-4)


def test_what_is_sealed_is_not_judged_again(briefly, given, engine, tmp_path) -> None:
    config = replace(briefly, responses=0)
    first = evaluate.run(config, out=tmp_path, **given)
    again = evaluate.run(config, out=tmp_path, **given)
    assert again.identity == first.identity
    assert engine.calls == ["examine"]


def test_an_evaluation_killed_before_it_is_sealed_goes_on_to_the_same_bytes(
    done, briefly, given, tmp_path, killed_before_sealing
) -> None:
    killed_before_sealing(lambda: evaluate.run(briefly, out=tmp_path, **given))
    assert not (tmp_path / "manifest.json").exists()
    assert evaluate.run(briefly, out=tmp_path, **given).identity == done.identity


def test_an_evaluation_killed_among_its_files_goes_on_to_the_same_bytes(
    done, briefly, given, tmp_path, monkeypatch
) -> None:
    write = Path.write_text

    def killed(self: Path, *args: object, **options: object) -> int:
        if self.name == "responses.json":
            raise KeyboardInterrupt
        return write(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            evaluate.run(briefly, out=tmp_path, **given)
    assert not (tmp_path / "results.json").exists()
    assert evaluate.run(briefly, out=tmp_path, **given).identity == done.identity


@pytest.mark.parametrize("name", ["judge", "shards", "features"])
def test_inputs_in_an_object_store_are_refused(
    name, briefly, given, elsewhere, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(judging, "evaluate", None)
    with pytest.raises(ArtifactError, match="must lie on a local disk, but does not") as caught:
        evaluate.run(briefly, out=tmp_path, **(given | {name: elsewhere(given[name])}))
    assert caught.value.where == "memory://bucket/artifact"


def test_another_name_of_the_variant_is_another_evaluation(done, briefly, given) -> None:
    with pytest.raises(ArtifactError, match=r"config\.variant must be 'other' but is 'full'"):
        evaluate.run(replace(briefly, variant="other"), out=done.path, **given)
