"""The generic corpus as an artifact: whole, resumable, and the same on every run."""

import cv2
import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError
from upath import UPath

from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.miniature import generic
from scf_pipeline.miniature.generic import GENERIC_SCHEMA, GenericConfig, draw_rows, run

CONFIG = GenericConfig(num_train=13, num_test=4, image_size=32, seed=3)


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(generic, "PART_ROWS", 6)


def test_every_picture_is_drawn_once(tmp_path, small_parts):
    corpus = run(CONFIG, out=UPath(tmp_path / "corpus"), engine=LocalEngine())
    table = corpus.read()
    assert table.schema == GENERIC_SCHEMA
    assert [part.read().num_rows for part in corpus.parts()] == [6, 6, 5]
    assert table["picture_id"].to_pylist() == [f"generic/{i:06d}" for i in range(17)]
    assert table["split"].to_pylist() == ["train"] * 13 + ["test"] * 4


def test_an_interrupted_run_is_finished_with_the_same_rows(tmp_path, small_parts):
    whole = run(CONFIG, out=UPath(tmp_path / "whole"), engine=LocalEngine())
    out = UPath(tmp_path / "broken")

    class Failing(LocalEngine):
        def map_parts(self, make_kernel, parts, write, resources):
            yield from super().map_parts(make_kernel, parts[:1], write, resources)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(CONFIG, out=out, engine=Failing())
    resumed = run(CONFIG, out=out, engine=LocalEngine())
    assert resumed.read().equals(whole.read())
    assert resumed.identity == whole.identity


def test_a_picture_depends_on_seed_and_number_alone():
    rows = pa.table({"index": pa.array([5, 2], pa.int64())})
    alone = pa.table({"index": pa.array([2], pa.int64())})
    both, one = draw_rows(rows, config=CONFIG), draw_rows(alone, config=CONFIG)
    assert both.slice(1).equals(one)
    other = draw_rows(alone, config=GenericConfig(num_train=13, num_test=4, image_size=32, seed=4))
    assert other["image"] != one["image"]


def test_images_are_lossless_and_rgb():
    row = draw_rows(pa.table({"index": pa.array([2], pa.int64())}), config=CONFIG)
    raw = np.frombuffer(row["image"][0].as_py(), np.uint8)
    picture = cv2.imdecode(raw, cv2.IMREAD_COLOR)[..., ::-1]
    expected = generic.draw_generic(np.random.default_rng([3, 2]), 32)[0]
    assert (picture == expected).all()


@pytest.mark.parametrize("bad", [{"num_train": 0}, {"image_size": 8}, {"colour": "red"}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ValidationError):
        GenericConfig(**bad)
