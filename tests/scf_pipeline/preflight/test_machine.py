"""The machine: GPUs, memory, disk and time, each told even where it is unknown."""

from collections import namedtuple
from dataclasses import replace

import pytest

from ifas_model.config import TrainConfig, VitConfig
from scf_pipeline.preflight import machine, samples
from scf_pipeline.preflight.costs import Load
from scf_pipeline.preflight.findings import Level
from scf_pipeline.preflight.machine import Gpus, check_disk, check_gpus, check_time, is_sealed
from scf_pipeline.preflight.models import Held
from scf_pipeline.stages.caption import CaptionConfig
from scf_pipeline.steps import External, plan, step

CARD = Gpus(2, "a card", 80 * 10**9)
CAPTIONER, TOWER, LANGUAGE = External("blip2"), External("clip", "clip"), External("opt", "opt")


WIDE = {"text_config": {"num_hidden_layers": 32, "hidden_size": 2560}}
SMALL = {"num_hidden_layers": 2, "hidden_size": 8, "vocab_size": 50}


class Sized(Held):
    """A model of so many weights."""

    parameters = 10**9
    settings = SMALL


@pytest.fixture
def models(tmp_path):
    named = {"captioner": CAPTIONER, "tower_large": TOWER, "language": LANGUAGE}
    return {name: Sized(external=one, folder=tmp_path / name) for name, one in named.items()}


@pytest.fixture
def planned():
    captions = step(CaptionConfig(), model=CAPTIONER)
    full = step(TrainConfig(), shards=captions, tower=TOWER, language=LANGUAGE)
    vit = step(TrainConfig(method=VitConfig()), shards=captions, tower=TOWER)
    return plan(full, vit)


@pytest.fixture
def done():
    return [
        Load(stage="caption", bytes_written=1e9, unit="caption", units=7200),
        Load(stage="train", bytes_written=2e9, unit="ifas on tower_large", units=3600),
        Load(stage="train", bytes_written=None, unit="vit on tower_large", units=3600),
    ]


def levels(findings):
    return {one.subject: one.level for one in findings}


def test_a_machine_without_a_gpu_is_told_so(planned, models) -> None:
    (finding,) = check_gpus(None, 1, planned, models)
    assert finding.level is Level.MISSING
    assert finding.text == "a worker must have 1, but torch sees none"


def test_more_gpus_for_a_worker_than_there_are_is_missing(planned, models) -> None:
    (finding,) = check_gpus(CARD, 3, planned, models)
    assert finding.level is Level.MISSING
    assert "must have 3, but torch sees 2" in finding.text


def test_a_site_that_asks_for_no_gpu_is_warned(planned, models) -> None:
    (finding,) = check_gpus(None, 0, planned, models)
    assert finding.level is Level.WARNING


def test_batches_that_fit_are_ready(planned, models) -> None:
    found = check_gpus(CARD, 1, planned, models)
    assert [one.level for one in found] == [Level.READY] * 3


def test_a_share_of_a_gpu_is_a_share_of_its_memory(planned, models) -> None:
    found = levels(check_gpus(CARD, 0.02, planned, models))
    assert found == {
        "GPU": Level.READY,
        "GPU memory of captioning": Level.MISSING,
        "GPU memory of training": Level.MISSING,
    }


def test_a_batch_of_captions_that_does_not_fit_is_halved(planned, models) -> None:
    class Wide(Sized):
        settings = WIDE

    wide = Wide(external=CAPTIONER, folder=None)
    found = levels(
        check_gpus(Gpus(1, "a card", 5 * 10**9), 1, planned, models | {"captioner": wide})
    )
    assert found["GPU memory of captioning"] is Level.WARNING


def test_the_gpus_of_a_cluster_are_not_looked_for_here(planned, models, monkeypatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    (finding,) = check_gpus(None, 1, planned, models)
    assert finding.level is Level.NOTE
    assert "head:6379" in finding.text


def test_memory_is_unknown_without_the_models(planned) -> None:
    found = check_gpus(CARD, 1, planned, {})
    assert [one.level for one in found] == [Level.READY, Level.NOTE, Level.NOTE]
    assert found[1].text == "unknown until its models are here"


def test_torch_is_asked_for_gpus_in_another_process(monkeypatch) -> None:
    monkeypatch.setattr(samples, "apart", lambda function: function)
    assert machine.look_for_gpus() is machine._gpus


Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def free(monkeypatch):
    """A function that sets how many bytes of the disk are free."""

    def set_free(number):
        monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(0, 0, number))

    return set_free


def test_each_stage_is_told_with_its_bytes(free, tmp_path, done, planned) -> None:
    free(10**12)
    found = check_disk(tmp_path / "not/there/yet", done, planned)
    assert [one.text for one in found[:2]] == [
        "caption, 1 steps: 1.00 GB",
        "train, 2 steps: unknown until its models are here",
    ]
    assert found[-1].level is Level.READY
    assert found[-1].text.startswith("at least 3.0 GB are needed")
    assert str(tmp_path) in found[-1].text
    assert not (tmp_path / "not").exists()


def test_a_disk_that_is_too_small_is_missing(free, tmp_path, done, planned) -> None:
    free(2 * 10**9)
    assert check_disk(tmp_path, done, planned)[-1].level is Level.MISSING


def test_what_is_sealed_needs_no_more_room(free, tmp_path, done, planned) -> None:
    free(2 * 10**9)
    folder = tmp_path / planned[0].folder
    folder.mkdir()
    (folder / "manifest.json").touch()
    assert is_sealed(tmp_path, planned[0])
    assert check_disk(tmp_path, done, planned)[-1].level is Level.READY


def test_without_a_plan_disk_and_time_are_unknown(free, tmp_path) -> None:
    free(10**12)
    (disk,), (time,) = check_disk(tmp_path, [], []), check_time([], [], {}, 224)
    assert disk.level is time.level is Level.NOTE
    assert "unknown" in disk.text
    assert "unknown" in time.text


def test_hours_follow_from_a_sample(monkeypatch, done, planned, models) -> None:
    asked = []

    def apart(function, *arguments):
        asked.append((function, *arguments))
        return 0.5 if function is samples.seconds_per_caption else 2.0

    monkeypatch.setattr(samples, "apart", apart)
    found = check_time(done, planned, models, 224)
    assert [one.level for one in found] == [Level.NOTE] * 4
    assert found[0].text == "caption, 1 steps, 7,200 captions, 500 ms each: 1.0 hours"
    assert found[1].text == "ifas on tower_large, 1 steps, 3,600 updates, 2,000 ms each: 2.0 hours"
    assert found[-1].text.startswith("5.0 hours of one worker")
    clip, opt = str(models["tower_large"].folder), str(models["language"].folder)
    assert asked == [
        (samples.seconds_per_caption, "blip2", 224),
        (samples.seconds_per_update, planned[1].step.config, 224, clip, opt),
        (samples.seconds_per_update, planned[2].step.config, 224, clip, None),
    ]


def test_time_of_what_is_not_on_this_disk_is_unknown(done, planned, models) -> None:
    afar = {name: replace(one, folder=None) for name, one in models.items()}
    for given in ({}, afar):
        found = check_time(done, planned, given, 224)
        assert [one.level for one in found] == [Level.NOTE] * 3
        assert all(one.text.endswith("unknown until its models are here") for one in found)


def test_a_sample_that_fails_is_a_warning_and_the_others_are_told(
    monkeypatch, done, planned, models
) -> None:
    def apart(function, *arguments):
        if function is samples.seconds_per_caption:
            raise MemoryError
        return 1.0

    monkeypatch.setattr(samples, "apart", apart)
    found = check_time(done, planned, models, 224)
    assert [one.level for one in found] == [Level.WARNING, Level.NOTE, Level.NOTE, Level.NOTE]
    assert found[0].text.endswith("a sample failed: MemoryError")
