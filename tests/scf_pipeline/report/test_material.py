"""Artifacts find each other by the names in their manifests."""

import json
from collections import namedtuple
from dataclasses import replace

import pytest

from scf_pipeline import captioners
from scf_pipeline.errors import ArtifactError
from scf_pipeline.report.material import Evaluation, Material, read_evaluations, read_json
from scf_pipeline.settings import Settings
from scf_pipeline.store import ArtifactWriter


def test_an_evaluation_is_read_whole(judged_once) -> None:
    one = Evaluation.read(judged_once[0])
    assert [result.role for result in one.results] == ["target"] * 11 + ["source"]
    assert one.training["steps"] == 600
    assert len(one.responses) == 4


def test_an_evaluation_that_is_named_twice_is_read_once(judged_once) -> None:
    assert len(read_evaluations([*judged_once, judged_once[0]])) == len(judged_once)


def test_an_artifact_without_results_is_refused(curated) -> None:
    with pytest.raises(ArtifactError, match=r"must hold results\.json, but does not"):
        Evaluation.read(curated[0])


def seal(folder, files):
    writer = ArtifactWriter(folder / "a", None, settings=Settings("evaluate", 1, {}, {}))
    made = writer.scratch / "m"
    made.mkdir()
    for name, content in files.items():
        (made / name).write_bytes(content)
    writer.adopt(made)
    return writer.seal()


@pytest.mark.parametrize(
    ("text", "words"), [(b'[{"method": 1}]', "Results must be"), (b"{", "A JSON file must be")]
)
def test_damaged_results_are_refused(tmp_path, text, words) -> None:
    with pytest.raises(ArtifactError, match=words):
        Evaluation.read(seal(tmp_path, {"results.json": text}))


FACE = {"face_id": "siw/1#0", "dataset": "siw", "label": "attack", "judgment": "No", "p_yes": 0.1}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("responses.json", {"a": 1}),
        ("responses.json", ["words"]),
        ("responses.json", [FACE | {"p_yes": "0.1"}]),
        ("responses.json", [FACE | {"judgment": ["No"]}]),
        ("responses.json", [FACE | {"interpretation": {"a": 1}}]),
        ("responses.json", [{"face_id": "siw/1#0"}]),
        ("training.json", ["words"]),
        ("training.json", {"curve": {"a": 1}}),
        ("training.json", {"curve": [{"step": "1", "epoch": 1}]}),
        ("training.json", {"curve": [{"step": 1, "epoch": 1, "judgment": "low"}]}),
        ("training.json", {"seconds": "long"}),
        ("training.json", {"samples": None}),
        ("results.json", {"a": 1}),
        ("results.json", 3),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path, results_of, name, data) -> None:
    files = {"results.json": [results_of().to_dict()], name: data}
    made = seal(tmp_path, {key: json.dumps(value).encode() for key, value in files.items()})
    with pytest.raises(ArtifactError, match="Results must be as evaluation wrote them"):
        Evaluation.read(made)


@pytest.mark.parametrize(
    "text", [b"[" * 100_000, b'["\\ud800"]', b"[" + b"9" * 5000 + b"]"],
    ids=["too deep", "half a sign", "a long number"],
)  # fmt: skip
def test_files_that_are_no_plain_json_are_refused(tmp_path, results_of, text) -> None:
    results = json.dumps([results_of().to_dict()]).encode()
    made = seal(tmp_path, {"results.json": results, "responses.json": text})
    with pytest.raises(ArtifactError, match="A JSON file must be as a stage wrote it"):
        Evaluation.read(made)


def test_a_file_that_was_changed_is_refused(tmp_path, seal_evaluation, results_of) -> None:
    made = seal_evaluation(tmp_path / "a", [results_of()])
    file = made.path / "training.json"
    file.write_bytes(file.read_bytes().replace(b"30.5", b"10.5"))
    with pytest.raises(ArtifactError):
        Evaluation.read(made)


def test_a_file_that_is_not_there_is_nothing(curated) -> None:
    assert read_json(curated[0], "training.json") is None


def test_a_strand_holds_all_that_rests_on_the_same_faces(material, curated) -> None:
    (strand,) = material(curation=curated).strands()
    assert strand.heading == "hard world"
    assert {one.name for one in strand.artifacts} == {one.name for one in curated}


def test_the_captioner_whose_captions_were_filtered_is_c_g(material, curated) -> None:
    (strand,) = material(curation=tuple(reversed(curated))).strands()
    told = [(one.title, one.model) for one in strand.captioners()]
    assert told == [("C_G", "blip2@general"), ("C_S", "blip2@aware")]
    assert len(strand.captions(strand.captioners()[0])) == 2


def test_several_spoof_aware_captioners_are_told_apart(material, curated) -> None:
    aware = next(one for one in curated if one.manifest["inputs"].get("model") == "blip2@aware")
    other = type(aware)(aware.path, aware.manifest | {"inputs": dict(aware.manifest["inputs"])})
    other.manifest["inputs"]["model"] = "blip2@third"
    (strand,) = material(curation=(*curated, other)).strands()
    assert [one.title for one in strand.captioners()] == ["C_G", "C_S 1", "C_S 2"]


def test_captioners_that_a_flow_tuned_are_called_after_its_steps(
    material, curated, monkeypatch
) -> None:
    aware = next(one for one in curated if one.manifest["inputs"].get("model") == "blip2@aware")
    mixed = type(aware)(aware.path, aware.manifest | {"inputs": dict(aware.manifest["inputs"])})
    mixed.manifest["inputs"]["model"] = "blip2@mixed"
    names = {"finetune-1a2b3c4d": "blip2@aware", "finetune-mixed-5e6f7a8b": "blip2@mixed"}
    tuned = [
        type(aware)(aware.path.parent / folder, aware.manifest | {"stage": "finetune"})
        for folder in names
    ]
    model = namedtuple("model", "name")
    known = {str(one.path): model(names[one.path.name]) for one in tuned}
    monkeypatch.setattr(captioners, "find", known.__getitem__)
    strand = replace(material(curation=curated).strands()[0], artifacts=(*curated, mixed, *tuned))
    assert [one.title for one in strand.captioners()] == ["C_G", "C_S", "C_S (mixed)"]


def test_two_worlds_of_one_name_are_numbered(material, curated, tmp_path, curate_world) -> None:
    other = curate_world(tmp_path, seed=1)
    both = material(curation=(*curated, *other)).strands()
    assert [one.heading for one in both] == ["hard world (1)", "hard world (2)"]
    assert {one.name for one in both[1].artifacts} == {one.name for one in other}


def test_without_a_world_the_strand_is_of_real_data(material, curated) -> None:
    (strand,) = material(curation=curated[1:]).strands()
    assert strand.heading == "real data"


def test_no_curation_makes_no_strand(material) -> None:
    empty = material()
    assert isinstance(empty, Material)
    assert (empty.strands(), list(empty.results)) == ([], [])
