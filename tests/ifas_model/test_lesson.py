"""Which faces teach, in which order, and what is said of them."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ifas_model.config import TrainConfig
from ifas_model.data import Faces, load_faces
from ifas_model.lesson import Draw, Lesson, choose, group_names

CONFIG = TrainConfig()


def make_faces(*groups):
    """Return three frames of each of so many samples of each (dataset, label, samples)."""
    rows = [
        {"face_id": f"{name}#{frame}", "sample_id": name, "frame": frame, "split": "train"}
        | {"dataset": dataset, "label": label, "interpretation": f"This is {name}"}
        for dataset, label, samples in groups
        for name in (f"{dataset}/{label}/{number}" for number in range(samples))
        for frame in (20, 4, 11)
    ]
    table = pa.Table.from_pylist(rows)
    return Faces(Path("absent"), table, np.arange(table.num_rows))


UNEQUAL = make_faces(("a", 0, 60), ("a", 1, 20), ("b", 0, 15), ("b", 1, 5))


def chosen(samples, seed=0):
    return choose(UNEQUAL, replace(CONFIG, max_samples=samples, seed=seed))


# choose


def test_the_first_frame_of_each_sample_teaches():
    faces = choose(UNEQUAL, CONFIG)
    assert set(faces.column("frame")) == {4}
    assert sorted(faces.column("sample_id")) == sorted(set(UNEQUAL.column("sample_id")))


@pytest.mark.parametrize("samples", [10, 20, 33, 80])
def test_fewer_samples_keep_the_shares_of_dataset_and_label(samples):
    counts = Counter(group_names(chosen(samples)))
    assert sum(counts.values()) == samples
    for group, share in {"a/0": 0.6, "a/1": 0.2, "b/0": 0.15, "b/1": 0.05}.items():
        assert abs(counts[group] - share * samples) <= 2


def test_more_samples_than_there_are_are_all():
    assert len(chosen(100)) == len(chosen(1000)) == 100


def test_fewer_samples_are_among_the_more():
    found = [set(chosen(samples).column("face_id")) for samples in (5, 10, 40, 99)]
    assert all(fewer < more for fewer, more in pairwise(found))


def test_a_seed_chooses_the_same_and_another_others():
    assert chosen(20).column("face_id") == chosen(20).column("face_id")
    assert chosen(20).column("face_id") != chosen(20, seed=1).column("face_id")


# draw


def draw(groups, size, seed=0, *, is_balanced=True, flip=True):
    return Draw(groups, size, [seed], is_balanced=is_balanced, flip=flip)


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    size=st.integers(1, 60),
    seed=st.integers(0, 99),
)
def test_groups_are_even_and_no_face_repeats_before_the_rest_of_its_group(sizes, size, seed):
    groups = [str(number) for number, count in enumerate(sizes) for _ in range(count)]
    faces = draw(groups, size, seed).views // 2
    assert len(faces) == size
    by_group = Counter(groups[face] for face in faces)
    counts = [by_group[str(number)] for number in range(len(sizes))]
    assert max(counts) - min(counts) <= 1
    by_face = Counter(faces.tolist())
    for group in by_group:
        times = [by_face[face] for face, name in enumerate(groups) if name == group]
        assert max(times) - min(times) <= 1


@given(faces=st.integers(1, 30), size=st.integers(1, 90), seed=st.integers(0, 99))
def test_uniformly_every_face_is_seen_before_any_comes_again(faces, size, seed):
    groups = ["rare"] + ["common"] * (faces - 1)
    found = (draw(groups, size, seed, is_balanced=False).views // 2).tolist()
    for start in range(0, size, faces):
        part = found[start : start + faces]
        assert len(set(part)) == len(part)


def test_every_turn_has_an_order_of_its_own():
    found = (draw(["x"] * 50, 150).views // 2).reshape(3, 50).tolist()
    assert found[0] != found[1] != found[2]
    assert found[0] != sorted(found[0])


def test_half_of_the_views_are_mirrored_unless_none_is():
    assert np.mean(draw(["x"] * 10, 4000).views % 2) == pytest.approx(0.5, abs=0.03)
    assert not (draw(["x"] * 10, 4000, flip=False).views % 2).any()


def test_a_draw_is_decided_by_its_seed_and_can_be_gone_through_again():
    one = draw(["x", "y"] * 20, 90)
    assert list(one) == list(one) == list(draw(["x", "y"] * 20, 90))
    assert list(one) != list(draw(["x", "y"] * 20, 90, seed=1))
    assert len(one) == 90


# lesson


@pytest.fixture
def faces(shard_folder):
    return load_faces(shard_folder)


def test_every_face_has_two_views_and_an_answer(faces):
    lesson = Lesson(faces, CONFIG, None)
    assert len(lesson) == 2 * len(faces)
    plain, mirrored = lesson[10], lesson[11]
    assert plain.keys() == {"pixels", "label", "interpretation"}
    assert torch.equal(plain["pixels"], faces.pixels(5))
    assert torch.equal(mirrored["pixels"], faces.pixels(5).flip(-1))
    assert not torch.equal(mirrored["pixels"], plain["pixels"])
    assert plain["label"] == mirrored["label"] == faces.column("label")[5]
    assert plain["interpretation"] == faces.column("interpretation")[5]


def test_the_judgment_alone_has_no_text(faces):
    lesson = Lesson(faces, replace(CONFIG, answer="judgment"), None)
    assert {lesson.text(place)["interpretation"] for place in range(len(faces))} == {""}


@pytest.mark.parametrize("answer", ["judgment", "judgment+interpretation"])
def test_in_align_a_face_has_a_caption_and_neither_label_nor_answer(faces, answer):
    lesson = Lesson(faces, replace(CONFIG, answer=answer), None, "align")
    assert lesson[0].keys() == {"pixels", "caption"}
    told = [lesson.text(place)["caption"] for place in range(len(faces))]
    assert [f"This is {text}" for text in told] == faces.column("interpretation")
