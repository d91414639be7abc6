"""Judging of shards by tiny models that were never taught, so that scores are all over."""

import io
import json
import logging
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from pydantic import TypeAdapter

from ifas_model import results
from ifas_model.config import (
    SETTINGS,
    TOWER,
    ConnectorConfig,
    EvaluateConfig,
    FeaturesConfig,
    IFasConfig,
    OwnDatasets,
    TrainConfig,
    VitConfig,
)
from ifas_model.data import Faces, load_faces
from ifas_model.errors import ModelError, ShardError
from ifas_model.evaluate import evaluate, keep_features
from ifas_model.features import FeatureStore, compute, hash_tower
from ifas_model.predict import load_judge, predict
from ifas_model.prompt import QUESTION
from ifas_model.protocols import ELEVEN
from ifas_model.shards import SHARD_SCHEMA
from ifas_model.train import build
from ifas_model.vocabulary import Split

CONNECTOR = ConnectorConfig(dim=16, num_queries=4, num_blocks=1, num_heads=2, initial_std=1.0)
IFAS = TrainConfig(method=IFasConfig(connector=CONNECTOR, max_interpretation_tokens=6), seed=1)
VIT = TrainConfig(method=VitConfig(head_dim=8), seed=1)
CONFIG = EvaluateConfig(bootstrap=20, responses=5, batch_size=7)
PARTS = {
    "celeba_spoof": [("train", 2), ("test", 8)],
    "wmca": [("test", 6)],
    "msu_mfsd": [("train", 4), ("test", 2), ("dev", 2)],
    "siw": [("test", 5), ("train", 2)],
}
"""Splits of each dataset, and how many videos of each label they hold."""


def encode(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def videos(dataset, split, number, labels=(0, 1)):
    """Yield two faces of each video."""
    for label in labels:
        for video in range(number):
            sample = f"{dataset}/{split}/{label}{video}"
            rng = np.random.default_rng(list(sample.encode()))
            for frame in range(2):
                noise = rng.integers(0, 80 + 100 * label, (32, 32, 3)) * rng.random(3)
                yield dict.fromkeys(SHARD_SCHEMA.names) | {
                    "face_id": f"{sample}#{frame}",
                    "sample_id": sample,
                    "dataset": dataset,
                    "frame": frame,
                    "split": split,
                    "image": {"bytes": encode(noise.astype(np.uint8)), "path": None},
                    "label": label,
                    "pai_species": None if label else ("print", "replay")[video % 2],
                    "native_label": "x",
                    "question": QUESTION,
                    "answer": f"{'Yes' if label else 'No'}. This is video {video}",
                    "judgment": "Yes" if label else "No",
                    "interpretation": f"This is video {video}",
                    "captioner": "blip2@0",
                    "keywords": [],
                }


def write_shards(folder, parts, labels=None):
    """Write shards of some parts; `labels` restricts those of a dataset."""
    (folder / "data").mkdir(parents=True)
    found = {}
    for dataset, splits in parts.items():
        for split, number in splits:
            rows = videos(dataset, split, number, (labels or {}).get(dataset, (0, 1)))
            found.setdefault(split, []).extend(rows)
    for split, rows in found.items():
        mixed = np.random.default_rng(1).permutation(len(rows))
        table = pa.Table.from_pylist([rows[place] for place in mixed], schema=SHARD_SCHEMA)
        pq.write_table(table, folder / f"data/{split}-00000-of-00001.parquet", row_group_size=6)
    return folder


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """The source of Protocol 2, and three of its eleven targets."""
    return write_shards(tmp_path_factory.mktemp("some") / "shards", PARTS)


@pytest.fixture(scope="module")
def save(tmp_path_factory, tower_folder, language_folder):
    """Return a function that saves a fresh model as `train` does."""

    def write(config):
        folder = tmp_path_factory.mktemp(config.method.method)
        build(config, tower=tower_folder, language=language_folder).save_pretrained(folder)
        plain = TypeAdapter(TrainConfig).dump_python(config, mode="json")
        (folder / SETTINGS).write_text(json.dumps(plain))
        (folder / TOWER).write_text(hash_tower(tower_folder) + "\n")
        return folder

    return write


@pytest.fixture(scope="module")
def ifas(save):
    return save(IFAS)


@pytest.fixture(scope="module")
def vit(save):
    return save(VIT)


@pytest.fixture(scope="module")
def done(ifas, shards, tmp_path_factory):
    """Folder of an evaluation of I-FAS."""
    out = tmp_path_factory.mktemp("done")
    evaluate(CONFIG, model=ifas, shards=shards, out=out)
    return out


def scores(folder):
    return {row["face_id"]: row for row in pq.read_table(folder / results.SCORES).to_pylist()}


def margins(folder):
    return {name: row["margin"] for name, row in scores(folder).items()}


def one_by_one(model, shards):
    """Return the margin of every fifth face, each judged alone."""
    _, judge = load_judge(model)
    faces = load_faces(shards)
    with torch.no_grad():
        return {
            faces.table["face_id"][place].as_py(): float(
                judge(**judge.collate([{"pixels": faces.pixels(place)}])).margin[0]
            )
            for place in range(0, len(faces), 5)
        }


# What is judged


def test_each_target_that_is_there_has_a_result_and_the_source_too(done):
    found = results.load(done / results.RESULTS)
    assert [(one.target, one.role) for one in found] == [
        ("msu_mfsd", "target"),
        ("siw", "target"),
        ("wmca", "target"),
        ("celeba_spoof", "source"),
    ]
    assert [one.counts["samples"] for one in found] == [12, 10, 12, 16]
    assert [one.counts["faces"] for one in found] == [24, 20, 24, 32]


def test_the_splits_are_those_of_the_protocol(done):
    found = {(row["dataset"], row["split"]) for row in scores(done).values()}
    assert found == {
        ("celeba_spoof", "test"),
        ("wmca", "test"),
        ("msu_mfsd", "train"),
        ("msu_mfsd", "test"),
        ("siw", "test"),
    }
    assert len(scores(done)) == 24 + 20 + 24 + 32


def test_a_target_left_out_is_judged_with_the_dev_parts_of_the_others(save, shard_folder, tmp_path):
    model = save(replace(VIT, protocol="protocol1", target="oulu_npu"))
    found = evaluate(CONFIG, model=model, shards=shard_folder, out=tmp_path)
    assert [(one.target, one.role) for one in found] == [
        ("oulu_npu", "target"),
        ("replay_attack", "source"),
    ]


def test_ones_own_dataset_is_judged_on_its_other_splits(save, shards, tmp_path):
    own = OwnDatasets(
        train={"msu_mfsd": (Split.TRAIN,)},
        dev={"msu_mfsd": (Split.DEV,)},
        test={"msu_mfsd": (Split.TEST,), "siw": (Split.TRAIN, Split.TEST)},
    )
    model = save(replace(VIT, protocol="custom", own=own))
    found = evaluate(CONFIG, model=model, shards=shards, out=tmp_path)
    assert [(one.target, one.role, one.counts["samples"]) for one in found] == [
        ("msu_mfsd", "target", 4),
        ("siw", "target", 14),
        ("msu_mfsd", "source", 4),
    ]
    assert {(one.protocol, one.sources) for one in found} == {("custom", ("msu_mfsd",))}
    assert results.load(tmp_path / results.RESULTS) == found


def test_targets_that_are_absent_are_skipped_with_a_warning(vit, shards, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="ifas_model"):
        evaluate(CONFIG, model=vit, shards=shards, out=tmp_path)
    absent = [name for name in ELEVEN if name not in PARTS]
    assert caplog.messages == [
        f"{name} is not judged: {shards} holds no faces of it." for name in absent
    ]
    assert len(absent) == 8


@pytest.mark.parametrize(("label", "lacking"), [(0, "bona fide faces"), (1, "attacks")])
def test_a_target_of_one_class_is_skipped_with_a_warning(vit, tmp_path, caplog, label, lacking):
    shards = write_shards(tmp_path / "shards", PARTS, {"siw": (label,)})
    with caplog.at_level(logging.WARNING, logger="ifas_model"):
        found = evaluate(CONFIG, model=vit, shards=shards, out=tmp_path)
    assert [one.target for one in found] == ["msu_mfsd", "wmca", "celeba_spoof"]
    assert f"siw is not judged: {shards} holds no {lacking} of it." in caplog.messages


def refusal(model, shards, tmp_path):
    with pytest.raises(ShardError) as caught:
        evaluate(CONFIG, model=model, shards=shards, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert caught.value.where == str(shards)
    return caught.value


def test_shards_without_any_target_are_refused_with_the_names_of_all(vit, tmp_path):
    parts = {"celeba_spoof": PARTS["celeba_spoof"], "siw": [("train", 2)]}
    error = refusal(vit, write_shards(tmp_path / "shards", parts), tmp_path)
    assert error.what.startswith(
        "Shards must hold bona fide faces and attacks of a target of protocol2, but hold both of "
        "none of casia_mfsd (train, test); casia_surf_3dmask (train, dev, test); "
    )
    assert "siw (test)" in error.what
    assert all(name in error.what for name in ELEVEN)


def test_shards_without_the_sources_own_part_are_refused(vit, tmp_path):
    parts = PARTS | {"celeba_spoof": [("train", 2)]}
    error = refusal(vit, write_shards(tmp_path / "shards", parts), tmp_path)
    assert error.what == (
        "Shards must hold the sources' own part, which sets the threshold `eer_on_dev`, but hold "
        "no faces of celeba_spoof (test)."
    )
    assert error.fix == "Shard this part of the sources as well."


def test_only_the_absent_sources_are_named(save, shard_folder, tmp_path):
    model = save(replace(VIT, protocol="protocol1", target="msu_mfsd"))
    assert refusal(model, shard_folder, tmp_path).what.endswith("no faces of oulu_npu (dev).")


def test_a_source_part_of_one_class_is_refused(vit, tmp_path):
    shards = write_shards(tmp_path / "shards", PARTS, {"celeba_spoof": (0,)})
    error = refusal(vit, shards, tmp_path)
    assert error.what.endswith("but hold no bona fide faces of celeba_spoof (test).")


# Scores


@pytest.mark.parametrize("name", ["ifas", "vit"])
def test_a_face_scores_in_a_batch_as_it_does_alone(name, request, shards, tmp_path):
    model = request.getfixturevalue(name)
    evaluate(replace(CONFIG, responses=0), model=model, shards=shards, out=tmp_path)
    found, alone = margins(tmp_path), one_by_one(model, shards)
    assert np.std(list(found.values())) > 1e-3
    judged = {face: margin for face, margin in alone.items() if face in found}
    assert len(judged) > 15
    assert {face: found[face] for face in judged} == pytest.approx(judged, abs=1e-5)


def test_features_stand_in_for_the_pictures(
    ifas, shards, tower_folder, done, tmp_path, monkeypatch
):
    store = compute(FeaturesConfig(), tower=tower_folder, shards=[shards], out=tmp_path / "f")
    monkeypatch.setattr(Faces, "pixels", None)  # no picture is looked at
    evaluate(CONFIG, model=ifas, shards=shards, out=tmp_path / "out", features=store.folder)
    assert margins(tmp_path / "out") == pytest.approx(margins(done), abs=1e-5)
    texts = [
        [row["interpretation"] for row in json.loads((folder / results.RESPONSES).read_bytes())]
        for folder in (tmp_path / "out", done)
    ]
    assert texts[0] == texts[1]


def test_a_baseline_looks_at_the_pictures_all_the_same(vit, shards, tmp_path):
    evaluate(CONFIG, model=vit, shards=shards, out=tmp_path, features=tmp_path / "absent")
    assert margins(tmp_path)


def test_features_of_another_layer_or_another_split_are_refused(
    ifas, shards, tower_folder, tmp_path
):
    other = FeaturesConfig(local_layer=-1, splits=(Split.DEV,))
    store = compute(other, tower=tower_folder, shards=[shards], out=tmp_path / "a")
    given = {"model": ifas, "shards": shards, "out": tmp_path / "out", "features": store.folder}
    with pytest.raises(ModelError, match="`local_layer` of the features must be -2, but is -1"):
        evaluate(CONFIG, **given)
    config = replace(other, local_layer=-2)
    compute(config, tower=tower_folder, shards=[shards], out=tmp_path / "a")
    with pytest.raises(ModelError, match="Features must hold 'msu_mfsd/t"):
        evaluate(CONFIG, **given)


def test_features_of_another_tower_are_refused(ifas, shards, tower_folder, tmp_path):
    store = compute(FeaturesConfig(), tower=tower_folder, shards=[shards], out=tmp_path / "f")
    other = shutil.copytree(ifas, tmp_path / "other")
    for told in ("0" * 64, None):  # of another tower, and of none that is known
        (other / TOWER).unlink() if told is None else (other / TOWER).write_text(told)
        with pytest.raises(ModelError, match=r"`tower` of the features must be '.+', but is '"):
            evaluate(
                CONFIG, model=other, shards=shards, out=tmp_path / "out", features=store.folder
            )


def test_features_that_are_kept_are_those_of_what_is_judged(
    ifas, vit, shards, tower_folder, tmp_path
):
    given = {"tower": tower_folder, "shards": shards, "cache": tmp_path}
    folder = keep_features(ifas, **given)
    index = FeatureStore(folder).index
    assert (index["flip"], index["splits"]) == (False, ["dev", "test", "train"])  # of eleven
    assert keep_features(ifas, **given) == folder
    assert keep_features(vit, **given) is None
    assert [one.name for one in tmp_path.iterdir()] == [folder.name]


def test_results_rest_on_the_scores_that_are_told(done):
    rows = scores(done).values()
    for one in results.load(done / results.RESULTS):
        some = [row for row in rows if row["dataset"] == one.target]
        pairs = [
            (1.0 if yes["p_yes"] > no["p_yes"] else 0.5 * (yes["p_yes"] == no["p_yes"]))
            for yes in some
            for no in some
            if (yes["label"], no["label"]) == ("bona_fide", "attack")
        ]
        assert one.frame_auc == pytest.approx(np.mean(pairs))
        assert one.inputs.keys() == {"model", "shards"}


def test_two_evaluations_write_the_same_bytes(ifas, shards, done, tmp_path):
    evaluate(CONFIG, model=ifas, shards=shards, out=tmp_path)
    names = sorted(path.name for path in done.iterdir())
    assert names == sorted([results.SCORES, results.RESULTS, results.RESPONSES])
    for name in names:
        assert (tmp_path / name).read_bytes() == (done / name).read_bytes(), name


def test_results_name_what_they_rest_on(vit, shards, tmp_path):
    inputs = {"model": "train@1", "shards": "shard@2"}
    found = evaluate(CONFIG, model=vit, shards=shards, out=tmp_path, inputs=inputs)
    assert all(one.inputs == inputs for one in found)
    assert results.load(tmp_path / results.RESULTS) == found


# Answers


@pytest.fixture(scope="module")
def answers(ifas, shards, done, tmp_path_factory):
    """Answers at a threshold that accepts half of the faces, and that threshold."""
    threshold = float(np.median([row["p_yes"] for row in scores(done).values()]))
    config = replace(CONFIG, responses=9, fixed_threshold=threshold, batch_size=4)
    out = tmp_path_factory.mktemp("answers")
    evaluate(config, model=ifas, shards=shards, out=out)
    return json.loads((out / results.RESPONSES).read_bytes()), threshold


def test_a_judgment_is_the_one_that_the_score_implies(answers, done):
    rows, threshold = answers
    assert {row["judgment"] for row in rows} == {"Yes", "No"}
    for row in rows:
        assert row["judgment"] == ("Yes" if row["p_yes"] >= threshold else "No")
        assert row["p_yes"] == pytest.approx(scores(done)[row["face_id"]]["p_yes"], abs=1e-6)


def test_an_interpretation_goes_on_from_the_judgment_that_is_shown(answers, ifas, shards):
    _, judge = load_judge(ifas)
    faces = load_faces(shards)
    places = {name: place for place, name in enumerate(faces.column("face_id"))}
    for row in answers[0]:
        batch = judge.collate([{"pixels": faces.pixels(places[row["face_id"]])}])
        said = judge.interpret(batch, torch.tensor([row["judgment"] == "Yes"]))
        assert [row["interpretation"]] == said
    assert len({row["interpretation"] for row in answers[0]}) > 1


def test_half_of_the_answers_of_each_target_are_about_attacks(answers, done):
    rows, _ = answers
    assert len({row["face_id"] for row in rows}) == len(rows)
    for name in ("msu_mfsd", "siw", "wmca"):
        labels = [row["label"] for row in rows if row["dataset"] == name]
        assert (labels.count("attack"), labels.count("bona_fide")) == (5, 4)
    assert {row["dataset"] for row in rows} == {"msu_mfsd", "siw", "wmca"}
    for row in rows:
        held = scores(done)[row["face_id"]]
        assert all(row[name] == held[name] for name in ("dataset", "label", "pai_species"))
        assert row["reference"] == f"This is video {held['sample_id'][-1]}"


def test_more_answers_than_faces_are_as_many_as_there_are(ifas, shards, tmp_path):
    evaluate(replace(CONFIG, responses=999), model=ifas, shards=shards, out=tmp_path)
    assert len(json.loads((tmp_path / results.RESPONSES).read_bytes())) == 24 + 20 + 24


def test_baselines_answer_nothing(vit, shards, tmp_path):
    evaluate(CONFIG, model=vit, shards=shards, out=tmp_path)
    assert (tmp_path / results.RESPONSES).read_text() == "[]\n"


def test_prediction_and_evaluation_agree_on_a_face(ifas, shards, done, tmp_path):
    faces = load_faces(shards, {"siw": [Split.TEST]})
    names = faces.column("face_id")
    for place in range(len(faces)):
        Image.fromarray(faces.pixels(place).permute(1, 2, 0).numpy()).save(
            tmp_path / f"{place}.png"
        )
    paths = [tmp_path / f"{place}.png" for place in range(len(faces))]
    told = [line["p_yes"] for line in predict(ifas, paths)]
    assert told == pytest.approx([scores(done)[name]["p_yes"] for name in names], abs=1e-6)
