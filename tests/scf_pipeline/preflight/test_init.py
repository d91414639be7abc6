"""All at once: what is missing is told together, and nothing starts."""

from dataclasses import replace

import pytest

from ifas_model.config import TrainConfig
from scf_pipeline.errors import ConfigError
from scf_pipeline.preflight import examine, machine
from scf_pipeline.preflight.findings import Level
from scf_pipeline.stages.crop import CropConfig
from scf_pipeline.stages.ingest import IngestConfig
from scf_pipeline.steps import step


@pytest.fixture(autouse=True)
def a_machine(monkeypatch, tmp_path):
    """One with a GPU, out of reach of the hub."""
    monkeypatch.setattr(machine, "look_for_gpus", lambda: machine.Gpus(1, "a card", 80 * 10**9))
    monkeypatch.setattr(machine, "check_time", lambda *_: [])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def making(flow):
    """The flow, and what it was given when it was made."""
    given = []

    def make(one):
        given.append(one)
        faces = step(CropConfig(), samples=step(IngestConfig(datasets=one.datasets)))
        return (step(TrainConfig(), shards=faces, tower=one.models["tower_large"]),)

    return replace(flow, make=make), given


@pytest.fixture
def site(tmp_path, replay, write_model):
    """A function that writes a site's file that lacks nothing, but for what is changed in it."""
    clip = write_model("clip", "clip", vision_config={"image_size": 224})
    blip2 = write_model("blip2", "blip-2")
    (tmp_path / "datasets.yaml").write_text(f"replay_attack: {replay}\n")

    def write(models=f"{{captioner: {blip2}, tower_large: {clip}}}", terms=None):
        accepted = "[replay_attack, captioner, tower_large]" if terms is None else terms
        file = tmp_path / "paper.yaml"
        file.write_text(f"models: {models}\naccepted_terms: {accepted}\n")
        return file

    return write


def test_on_a_bare_machine_everything_that_is_missing_is_told_at_once(making, tmp_path) -> None:
    flow, given = making
    found = examine(flow, tmp_path / "paper.yaml", out=tmp_path / "runs")
    assert [one.subject for one in found.missing] == [
        str(tmp_path / "paper.yaml"),
        str(tmp_path / "datasets.yaml"),
        "msu_mfsd",
        "replay_attack",
        "captioner",
        "tower_large",
        "terms of msu_mfsd",
        "terms of replay_attack",
        "terms of captioner",
        "terms of tower_large",
    ]
    with pytest.raises(ConfigError, match="10 things are") as error:
        found.require()
    assert error.value.where == str(tmp_path / "paper.yaml")
    assert (found.targets, given) == ((), [])
    assert list(tmp_path.iterdir()) == []


def test_a_site_that_lacks_nothing_is_ready(making, site, tmp_path) -> None:
    flow, given = making
    found = examine(flow, site(), out=tmp_path / "runs")
    assert found.missing == ()
    found.require()
    ((one),) = given
    assert one.datasets == ("replay_attack",)
    assert set(one.models) == {"captioner", "tower_large"}
    assert one.models["tower_large"].identity.startswith("clip@")
    assert len(found.targets) == 1
    assert not (tmp_path / "runs").exists()


def test_terms_that_nobody_accepted_are_missing_with_their_words(making, site, tmp_path) -> None:
    found = examine(making[0], site(terms="[replay_attack]"), out=tmp_path / "runs")
    assert [one.subject for one in found.missing] == ["terms of captioner", "terms of tower_large"]
    assert "owner/clip: MIT" in found.missing[1].text


def test_what_a_dataset_that_is_left_out_asks_for_need_not_be_accepted(
    making, site, tmp_path
) -> None:
    found = examine(making[0], site(), out=tmp_path / "runs")
    assert "terms of msu_mfsd" not in [one.subject for one in found.findings]


def test_the_protocols_are_told_even_while_models_are_missing(making, site, tmp_path) -> None:
    flow, given = making
    found = examine(flow, site(models="{}"), out=tmp_path / "runs")
    assert [one.subject for one in found.missing] == ["captioner", "tower_large"]
    assert given[0].models["tower_large"].name == "owner/clip"
    (told,) = [one for one in found.findings if one.subject == "protocols"]
    assert told.text == "1 trainings: CelebA-Spoof to eleven (1 of 11 targets)"


def test_datasets_that_allow_no_protocol_are_warned_of(making, site, tmp_path) -> None:
    flow = replace(making[0], make=lambda given: (step(IngestConfig(datasets=given.datasets)),))
    found = examine(flow, site(), out=tmp_path / "runs")
    (told,) = [one for one in found.findings if one.subject == "protocols"]
    assert told.level is Level.WARNING
    assert found.missing == ()


def test_lines_end_with_what_is_missing(making, tmp_path) -> None:
    found = examine(making[0], tmp_path / "paper.yaml", out=tmp_path / "runs")
    words = [line.split()[0] for line in found.lines()]
    assert words == sorted(words, key="missing".__eq__)
    assert words.count("missing") == len(found.missing)


def test_time_is_sampled_once_and_not_again_when_a_run_goes_on(
    making, site, tmp_path, monkeypatch
) -> None:
    sampled = []

    def check_time(loads, planned, models, side):
        sampled.append((set(models), side))
        return []

    monkeypatch.setattr(machine, "check_time", check_time)
    found = examine(making[0], site(), out=tmp_path / "runs")
    assert sampled == [({"captioner", "tower_large"}, 224)]
    monkeypatch.setattr(machine, "is_sealed", lambda *_: True)
    examine(making[0], site(), out=tmp_path / "runs")
    assert len(sampled) == 1
    assert found.missing == ()
