"""Results of invented scores, against means and thresholds taken by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ifas_model import metrics
from ifas_model.config import EvaluateConfig, PhaseConfig, TrainConfig, VitConfig
from ifas_model.data import Faces
from ifas_model.figures import judge_all, score_table
from ifas_model.protocols import Protocol, protocol
from ifas_model.results import SCORE_SCHEMA, Result, load, save
from ifas_model.scoring import Judgments
from ifas_model.vocabulary import Split

SETTINGS = TrainConfig(
    method=VitConfig(head_dim=8), phases=(PhaseConfig(steps=3),), seed=4, answer="judgment"
)
RULES = Protocol(
    name="protocol2",
    title="one to two",
    sources={"celeba_spoof": (Split.TRAIN,)},
    dev={"celeba_spoof": (Split.TEST,)},
    targets={"siw": (Split.TEST,), "wmca": (Split.TEST,)},
)
CONFIG = EvaluateConfig(variant="some", world="hard", fixed_threshold=0.25, bootstrap=10, seed=1)
INPUTS = {"model": "train@1", "shards": "shard@2"}
SPECIES = ("print", "replay", "mask")


def invent(dataset: str, seed: int, *, skill: float = 1.0, samples: int = 30) -> Judgments:
    """Return scores of videos of one to three faces; every other video is bona fide."""
    rng = np.random.default_rng([seed, len(dataset)])
    rows, margins = [], []
    for number in range(samples):
        is_bona_fide = number % 2
        for frame in range(1 + number % 3):
            rows.append(
                {
                    "face_id": f"{dataset}/{number}#{frame}",
                    "sample_id": f"{dataset}/{number}",
                    "dataset": dataset,
                    "split": "test",
                    "label": is_bona_fide,
                    "pai_species": None if is_bona_fide else SPECIES[number // 2 % 3],
                }
            )
            margins.append(rng.normal(skill * (2 * is_bona_fide - 1), 1.5))
    order = rng.permutation(len(rows))  # the faces of a video lie apart
    table = pa.Table.from_pylist([rows[place] for place in order])
    faces = Faces(Path("nowhere"), table, np.arange(len(rows)))
    return Judgments(faces=faces, margin=np.array(margins)[order])


def judge(judged: dict[str, Judgments], config: EvaluateConfig = CONFIG) -> list[Result]:
    return judge_all(config, SETTINGS, RULES, judged, INPUTS)


@pytest.fixture(scope="module")
def judged() -> dict[str, Judgments]:
    return {"siw": invent("siw", 0), "wmca": invent("wmca", 1), "": invent("celeba_spoof", 2)}


@pytest.fixture(scope="module")
def found(judged: dict[str, Judgments]) -> list[Result]:
    return judge(judged)


def by_hand(judged: Judgments) -> tuple[list[float], list[bool], list[str | None]]:
    """Return mean score, label and species of each video."""
    videos: dict[str, list[tuple[float, bool, str | None]]] = {}
    for row, margin in zip(judged.faces.table.to_pylist(), judged.margin, strict=True):
        told = 1 / (1 + np.exp(-margin)), bool(row["label"]), row["pai_species"]
        videos.setdefault(row["sample_id"], []).append(told)
    means = [float(np.mean([told[0] for told in faces])) for faces in videos.values()]
    return means, [one[0][1] for one in videos.values()], [one[0][2] for one in videos.values()]


def test_each_target_has_a_result_and_the_sources_own_part_comes_last(found) -> None:
    assert [(one.target, one.role) for one in found] == [
        ("siw", "target"),
        ("wmca", "target"),
        ("celeba_spoof", "source"),
    ]


def test_targets_that_were_not_judged_have_no_result(judged) -> None:
    some = {name: judged[name] for name in ("wmca", "")}
    assert [one.target for one in judge(some)] == ["wmca", "celeba_spoof"]


def test_the_own_part_of_several_sources_bears_all_their_names(judged) -> None:
    rules = protocol("protocol1", "msu_mfsd")
    own = judge_all(CONFIG, SETTINGS, rules, {"msu_mfsd": judged["siw"], "": judged[""]}, {})[-1]
    assert own.target == "oulu_npu+replay_attack"
    assert set(own.sources) == {"oulu_npu", "casia_mfsd", "replay_attack"}


def test_results_tell_of_what_they_are(found, judged) -> None:
    for one in found:
        assert (one.method, one.variant, one.world) == ("vit", "some", "hard")
        assert (one.protocol, one.seed, one.checkpoint_policy) == ("protocol2", 4, "last")
        assert one.sources == ("celeba_spoof",)
        assert one.settings["method"]["head_dim"] == 8
        assert one.settings["phases"][0]["steps"] == 3
        assert one.inputs == INPUTS
    assert found[0].counts == {
        "samples": 30,
        "faces": 60,
        "bona_fide": 15,
        "attack": 15,
        "mask": 5,
        "print": 5,
        "replay": 5,
    }


def test_a_videos_score_is_the_mean_of_its_faces(found, judged) -> None:
    for one, scores in zip(found, judged.values(), strict=True):
        means, labels, _ = by_hand(scores)
        assert one.auc == metrics.auc(means, labels)
        assert one.eer == metrics.eer(means, labels)[0]
        assert one.ece == pytest.approx(metrics.ece(means, labels), abs=1e-12)
        assert one.tpr_at_fpr_1 == metrics.tpr_at_fpr(means, labels, 0.01)
        assert one.tpr_at_fpr_01 == metrics.tpr_at_fpr(means, labels, 0.001)
        assert one.roc == metrics.roc(means, labels)
        assert one.intervals == metrics.bootstrap(means, labels, resamplings=10, seed=1)


def test_figures_by_face_do_not_average(found, judged) -> None:
    for one, scores in zip(found, judged.values(), strict=True):
        by_face = scores.p_yes, scores.faces.is_bona_fide
        assert one.frame_auc == metrics.auc(*by_face)
        assert one.frame_hter == metrics.eer(*by_face)[0]
        assert one.frame_auc != one.auc


def test_the_three_thresholds_are_those_of_their_policies(found, judged) -> None:
    own_means, own_labels, _ = by_hand(judged[""])
    on_dev = metrics.eer(own_means, own_labels)[1]
    for one, scores in zip(found, judged.values(), strict=True):
        means, labels, species = by_hand(scores)
        thresholds = {
            "eer_on_test": metrics.eer(means, labels)[1],
            "eer_on_dev": on_dev,
            "fixed": 0.25,
        }
        assert {name: rates.threshold for name, rates in one.rates.items()} == pytest.approx(
            thresholds, abs=1e-12
        )
        for rates in one.rates.values():
            accepted = [mean >= rates.threshold - 1e-12 for mean in means]
            attacks = [a for a, label in zip(accepted, labels, strict=True) if not label]
            genuine = [a for a, label in zip(accepted, labels, strict=True) if label]
            assert rates.far == pytest.approx(np.mean(attacks))
            assert rates.bpcer == pytest.approx(1 - np.mean(genuine))
            for kind, apcer in rates.apcer.items():
                of_kind = [a for a, s in zip(accepted, species, strict=True) if s == kind]
                assert apcer == pytest.approx(np.mean(of_kind))
            assert set(rates.apcer) == set(SPECIES)


def test_on_the_sources_own_part_both_thresholds_at_the_eer_agree(found) -> None:
    assert found[-1].rates["eer_on_dev"] == found[-1].rates["eer_on_test"]
    assert found[0].rates["eer_on_dev"] != found[0].rates["eer_on_test"]


def flipped(judged: Judgments) -> Judgments:
    """Return the same scores of faces of the other label."""
    rows = [
        row | {"label": 1 - row["label"], "pai_species": "print" if row["label"] else None}
        for row in judged.faces.table.to_pylist()
    ]
    faces = Faces(Path("nowhere"), pa.Table.from_pylist(rows), judged.faces.rows)
    return replace(judged, faces=faces)


def test_the_dev_threshold_does_not_look_at_target_labels(found, judged) -> None:
    other = judge(judged | {"siw": flipped(judged["siw"]), "wmca": flipped(judged["wmca"])})
    for before, after in zip(found, other, strict=True):
        threshold = before.rates["eer_on_dev"].threshold
        assert after.rates["eer_on_dev"].threshold == threshold
    assert [one.auc for one in other[:2]] == pytest.approx([1 - one.auc for one in found[:2]])


def test_the_dev_threshold_follows_the_sources_own_part(found, judged) -> None:
    other = judge(judged | {"": replace(judged[""], margin=judged[""].margin + 1)})
    for before, after in zip(found, other, strict=True):
        low, high = (one.rates["eer_on_dev"].threshold for one in (before, after))
        assert high > low
    assert other[0].rates["eer_on_test"] == found[0].rates["eer_on_test"]


def test_inverted_polarity_is_flagged_in_every_result(found, judged) -> None:
    assert [one.is_inverted for one in found] == [False] * 3
    inverted = judge(judged | {"": flipped(judged[""])})
    assert [one.is_inverted for one in inverted] == [True] * 3


def test_a_bad_target_alone_is_no_inverted_polarity(judged) -> None:
    other = judge(judged | {"siw": flipped(judged["siw"])})
    assert other[0].auc < 0.5
    assert [one.is_inverted for one in other] == [False] * 3


def test_results_are_read_back_strictly_as_they_were(found, tmp_path) -> None:
    save(found, tmp_path / "results.json")
    assert load(tmp_path / "results.json") == found


@pytest.mark.parametrize("policy", ["best_on_dev", "best_on_test"])
def test_results_name_how_weights_were_chosen(policy, judged) -> None:
    found = judge_all(CONFIG, replace(SETTINGS, select=policy), RULES, judged, INPUTS)
    assert {one.checkpoint_policy for one in found} == {policy}


def test_without_resamplings_there_are_no_intervals(judged) -> None:
    assert judge(judged, replace(CONFIG, bootstrap=0))[0].intervals == {}


def test_scores_are_told_by_face_in_the_order_of_the_faces(judged) -> None:
    table = score_table(judged.values())
    assert table.schema.equals(SCORE_SCHEMA)
    expected = [row for one in judged.values() for row in one.faces.table.to_pylist()]
    told = table.to_pylist()
    for name in ("face_id", "sample_id", "dataset", "split", "pai_species"):
        assert [row[name] for row in told] == [row[name] for row in expected]
    words = ["bona_fide" if row["label"] else "attack" for row in expected]
    assert [row["label"] for row in told] == words
    assert [row["margin"] for row in told] == [m for one in judged.values() for m in one.margin]
    for row in told:
        assert row["p_yes"] == pytest.approx(1 / (1 + np.exp(-row["margin"])), rel=1e-12)
