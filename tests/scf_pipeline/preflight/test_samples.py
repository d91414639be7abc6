"""Timed samples run what the stages run, on noise."""

import os
from dataclasses import replace

import pytest

from ifas_model.config import OwnDatasets, PhaseConfig, TrainConfig
from ifas_model.data import load_faces
from ifas_model.protocols import protocol_of
from ifas_model.vocabulary import Split
from scf_pipeline import captioners
from scf_pipeline.captioners import Caption, Model
from scf_pipeline.preflight.samples import (
    UPDATES,
    apart,
    seconds_per_caption,
    seconds_per_update,
    write_noise,
)


def test_a_call_apart_runs_in_another_process() -> None:
    assert apart(os.getpid) != os.getpid()


def test_an_error_apart_is_an_error_here() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        apart(int, "x")


class Clock:
    """A captioner that takes a second for each picture."""

    def __init__(self) -> None:
        self.now, self.batches = 0.0, []

    def prepare(self, picture):
        assert picture.shape == (32, 32, 3)
        return picture

    def caption(self, pictures, seeds):
        assert len(pictures) == len(seeds)
        self.batches.append(len(pictures))
        self.now += len(pictures)
        return [Caption(text="a face", num_tokens=2, mean_log_probability=0.0)] * len(pictures)


def test_a_caption_is_timed_once_the_captioner_is_warm(monkeypatch) -> None:
    clock = Clock()
    found = Model(backend="blip2", location="x", revision="0")
    monkeypatch.setattr(captioners, "find", lambda _: found)

    class Entry:
        load = staticmethod(lambda _: clock)

    monkeypatch.setattr("ifas_model.plugins.load", lambda *_: Entry)
    monkeypatch.setattr("time.perf_counter", lambda: clock.now)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert seconds_per_caption("x", 32) == 1.0
    assert clock.batches == [1, 2]


def test_an_update_is_timed_by_a_training_of_a_few(monkeypatch, tmp_path) -> None:
    given = []

    def train(config, **inputs):
        assert (inputs["shards"] / "data").is_dir()
        given.append((config, inputs["tower"], inputs["language"]))
        return {"seconds": 6.0}

    monkeypatch.setattr("ifas_model.train.train", train)
    config = TrainConfig(phases=(PhaseConfig(batch_size=2), PhaseConfig(batch_size=2)))
    assert seconds_per_update(config, 16, "clip", None) == 6.0 / UPDATES
    ((short, tower, language),) = given
    assert short == replace(config, phases=(replace(config.phases[0], steps=UPDATES),))
    assert (str(tower), language) == ("clip", None)


@pytest.mark.parametrize("protocol", ["protocol2", "custom"])
def test_noise_is_taken_for_the_sources_of_the_protocol(protocol, tmp_path) -> None:
    own = OwnDatasets(
        train={"siw": (Split.TRAIN,)}, dev={"siw": (Split.DEV,)}, test={"siw": (Split.TEST,)}
    )
    config = TrainConfig(
        protocol=protocol,
        own=own if protocol == "custom" else None,
        phases=(PhaseConfig(batch_size=4),),
    )
    write_noise(tmp_path, config, 16)
    faces = load_faces(tmp_path, protocol_of(config).sources)
    assert len(faces) == 8
    assert faces.is_bona_fide.sum() == 4
    assert faces.pixels(0).shape == (3, 16, 16)
