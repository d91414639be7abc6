"""One phase, killed and resumed, in parts and whole, and what it logs."""

import math
import os
import pickle
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pkgutil import resolve_name

import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ifas_model.config import (
    ConnectorConfig,
    FlipConfig,
    IFasConfig,
    PhaseConfig,
    TrainConfig,
    VitafConfig,
    VitConfig,
)
from ifas_model.errors import ModelError
from ifas_model.model import IFas
from ifas_model.phase import PhaseTrainer, steps_of
from ifas_model.selection import Exam
from ifas_model.train import train

CONNECTOR = ConnectorConfig(dim=16, num_queries=4, num_blocks=1, num_heads=2, dropout=0.2)
ALIGN = PhaseConfig(name="align", steps=4, batch_size=8, accumulation=2, learning_rate=1e-2)
MAIN = PhaseConfig(steps=5, batch_size=8, accumulation=2, learning_rate=1e-2)
CONFIG = TrainConfig(
    method=IFasConfig(connector=CONNECTOR, language_training="lora"),
    protocol="protocol1",
    target="oulu_npu",
    phases=(ALIGN, MAIN),
    checkpoint_every=2,
    log_every=3,
)
PASSES = 18
"""Forward passes of `CONFIG`."""


class KilledError(Exception):
    """Stands in for what ends a process."""


@pytest.fixture(scope="module")
def undisturbed(shard_folder, tower_folder, language_folder, tmp_path_factory):
    """What comes of `CONFIG` if nothing happens."""
    out = tmp_path_factory.mktemp("undisturbed")
    inputs = {"shards": shard_folder, "tower": tower_folder, "language": language_folder}
    done = train(CONFIG, **inputs, out=out / "out", scratch=out / "scratch")
    return done, load_file(out / "out" / "model.safetensors")


@pytest.fixture
def kill(monkeypatch):
    """Return a function that lets a function fail, once, when it is called the so many-th time."""

    def arm(name, number):
        plain, calls = resolve_name(name), iter(range(number))

        def dying(*arguments, **options):
            if next(calls, None) is None:
                monkeypatch.setattr(name, plain)
                raise KilledError
            return plain(*arguments, **options)

        monkeypatch.setattr(name, dying)

    return arm


def assert_same(one, other):
    """Both runs told the same and ended in the same weights, bit for bit."""
    (told, weights), (others_told, others_weights) = one, other
    assert weights.keys() == others_weights.keys()
    assert [n for n in weights if not torch.equal(weights[n], others_weights[n])] == []
    timeless = [{k: v for k, v in done.items() if k != "seconds"} for done in (told, others_told)]
    assert timeless[0] == timeless[1]


# killed and resumed


@pytest.mark.parametrize("seed", range(4))
def test_a_run_killed_at_any_step_ends_as_an_undisturbed_one(train_tiny, undisturbed, kill, seed):
    rng = random.Random(seed)  # noqa: S311 - chooses cases
    for passes in (rng.randrange(1, PASSES), rng.randrange(1, 6)):
        kill("ifas_model.phase.PhaseTrainer.compute_loss", passes)
        with pytest.raises(KilledError):
            train_tiny(CONFIG, "killed")
    assert_same(undisturbed, train_tiny(CONFIG, "killed"))


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("ifas_model.phase.PhaseTrainer._save_rng_state", 0),
        ("ifas_model.phase.PhaseTrainer._save_rng_state", 2),
        ("pathlib.Path.rename", 0),
        ("ifas_model.phase.save_model", 0),
        ("ifas_model.phase.save_model", 1),
        ("ifas_model.model.IFas.conclude", 0),
    ],
)
def test_a_run_killed_while_it_writes_ends_as_an_undisturbed_one(
    train_tiny, undisturbed, kill, name, number
):
    kill(name, number)
    with pytest.raises(KilledError):
        train_tiny(CONFIG, "killed")
    assert_same(undisturbed, train_tiny(CONFIG, "killed"))


@pytest.mark.parametrize(
    "method",
    [
        VitConfig(head_dim=8),
        VitafConfig(head_dim=8, adapter_dim=4),
        FlipConfig(hidden_dim=16, view_dim=8),
    ],
    ids=lambda method: method.method,
)
def test_a_baseline_that_is_killed_ends_as_an_undisturbed_one(train_tiny, kill, method):
    phase = PhaseConfig(steps=4, batch_size=6, learning_rate=1e-3)
    config = replace(CONFIG, method=method, phases=(phase,))
    undisturbed = train_tiny(config, "undisturbed")
    kill("ifas_model.phase.PhaseTrainer.compute_loss", 3)
    with pytest.raises(KilledError):
        train_tiny(config, "killed")
    assert_same(undisturbed, train_tiny(config, "killed"))


# what a killed run left, in the hands of others

VIT = replace(
    CONFIG,
    method=VitConfig(head_dim=8),
    phases=(PhaseConfig(steps=4, batch_size=6, learning_rate=1e-3),),
)


@pytest.fixture
def left(train_tiny, kill, tmp_path):
    """The checkpoint of a run of `VIT` that was killed."""
    kill("ifas_model.phase.PhaseTrainer.compute_loss", 3)
    with pytest.raises(KilledError):
        train_tiny(VIT, "killed")
    (checkpoint,) = (tmp_path / "killed" / "scratch" / "phase-0").glob("checkpoint-*")
    return checkpoint


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "optimizer"])
def test_a_pickle_among_the_checkpoints_is_refused_and_never_runs(left, train_tiny, trap, name):
    if name == "optimizer":  # as torch wrote files before it wrote archives
        (left / "optimizer.pt").write_bytes(pickle.dumps(trap, protocol=2))
    else:
        torch.save(trap, left / name)
    with pytest.raises(ModelError, match="must be complete and sound, but is not") as caught:
        train_tiny(VIT, "killed")
    assert caught.value.where == str(left)
    assert "begins anew" in caught.value.fix
    assert not trap.is_sprung


def test_pickled_weights_among_the_checkpoints_are_refused_and_never_run(left, train_tiny, trap):
    (left / "model.safetensors").unlink()
    torch.save(trap, left / "pytorch_model.bin")
    with pytest.raises(ModelError, match="must be complete and sound, but is not"):
        train_tiny(VIT, "killed")
    assert not trap.is_sprung


def test_the_trainers_own_settings_are_a_pickle_that_nobody_reads(left, train_tiny, trap):
    torch.save(trap, left / "training_args.bin")
    assert_same(train_tiny(VIT, "undisturbed"), train_tiny(VIT, "killed"))
    assert not trap.is_sprung


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"log_history": [3]}', "[" * 100_000])
def test_a_damaged_state_of_training_is_refused(left, train_tiny, text):
    (left / "trainer_state.json").write_text(text)
    with pytest.raises(ModelError, match="must be complete and sound, but is not"):
        train_tiny(VIT, "killed")


# weights that are chosen


def chaotic(judge):
    """Return a mark that every change of a weight changes, and that no later step tends to beat."""
    return float(sum(p.detach().double().abs().sum() for p in judge.parameters()) * 1e4 % 1)


@pytest.fixture
def marks(monkeypatch):
    """Marks and weights of all looks; the exam is sat, and its mark then replaced."""
    found = []
    plain = Exam.mark

    def mark(self, judge):
        assert 0 <= plain(self, judge) <= 1
        found.append((chaotic(judge), {k: v.clone() for k, v in judge.state_dict().items()}))
        return found[-1][0]

    monkeypatch.setattr(Exam, "mark", mark)
    return found


CHOSEN = replace(CONFIG, select="best_on_dev", select_every=2, log_every=1)
CAPTIONS = replace(
    CHOSEN,
    method=FlipConfig(text="captions", hidden_dim=16, view_dim=8),
    phases=(PhaseConfig(steps=5, batch_size=6, learning_rate=1e-3),),
)
"""Must conclude before it is marked."""


@pytest.mark.parametrize("config", [CHOSEN, CAPTIONS], ids=["ifas", "flip"])
def test_a_phase_ends_with_the_best_weights_and_looks_disturb_nothing(train_tiny, marks, config):
    done, weights = train_tiny(config, "chosen")
    looks = [2, 4, 5]  # of the last phase alone, its end among them
    best = max(range(3), key=lambda look: marks[look][0])
    assert len(marks) == len(looks)
    assert done["selected_step"] == looks[best]
    assert [n for n in weights if not torch.equal(weights[n], marks[best][1][n])] == []
    last, unlooked = train_tiny(replace(config, select="last"), "last")
    assert last["selected_step"] == 5
    assert last["curve"] == done["curve"]
    assert [n for n in unlooked if not torch.equal(unlooked[n], marks[2][1][n])] == []


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("ifas_model.phase.PhaseTrainer.compute_loss", 11),
        ("ifas_model.phase.PhaseTrainer.compute_loss", 17),
        ("ifas_model.selection.save_model", 0),
        ("ifas_model.phase.shutil.copyfile", 0),
        ("ifas_model.model.IFas.save_pretrained", 0),
    ],
)
def test_a_run_killed_around_a_look_chooses_as_an_undisturbed_one(
    train_tiny, marks, kill, name, number
):
    config = replace(CHOSEN, select_every=1)
    undisturbed = train_tiny(config, "undisturbed")
    kill(name, number)
    with pytest.raises(KilledError):
        train_tiny(config, "killed")
    assert_same(undisturbed, train_tiny(config, "killed"))


def test_a_phase_looks_once_an_epoch_unless_it_is_told(train_tiny, marks):
    train_tiny(replace(CHOSEN, phases=(replace(MAIN, steps=5),), select_every=None))
    assert len(marks) == 2  # at step 4, when 32 of 30 faces were seen, and at the end


SCRIPT = """
import os, signal, sys
from pathlib import Path
import torch
from pydantic import TypeAdapter
from ifas_model import phase
from ifas_model.config import TrainConfig
from ifas_model.train import train

torch.set_num_threads(1)
config = TypeAdapter(TrainConfig).validate_json(sys.argv[1])
shards, tower, language, folder = map(Path, sys.argv[2:6])
passes = iter(range(int(sys.argv[6])))
plain = phase.PhaseTrainer.compute_loss

def compute_loss(self, *arguments, **options):
    if next(passes, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(self, *arguments, **options)

phase.PhaseTrainer.compute_loss = compute_loss
train(config, shards=shards, tower=tower, language=language, out=folder / "out",
      scratch=folder / "scratch")
assert "tensorboard" not in sys.modules
"""


def test_a_killed_process_is_gone_on_from_and_leaves_nothing_elsewhere(
    undisturbed, shard_folder, tower_folder, language_folder, tmp_path
):
    plain = TypeAdapter(TrainConfig).dump_json(CONFIG).decode()
    folders = [shard_folder, tower_folder, language_folder, tmp_path / "killed"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "XDG_"))}
    environment |= {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "temporary")}
    for name in ("home", "temporary"):
        (tmp_path / name).mkdir()

    def run(passes):
        command = [sys.executable, "-c", SCRIPT, plain, *map(str, folders), str(passes)]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    step = random.Random(11).randrange(1, PASSES)  # noqa: S311 - chooses a case
    assert run(step).returncode == -signal.SIGKILL
    done = run(2 * PASSES)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    weights = load_file(tmp_path / "killed" / "out" / "model.safetensors")
    assert [n for n in weights if not torch.equal(weights[n], undisturbed[1][n])] == []
    assert [*(tmp_path / "home").rglob("*"), *(tmp_path / "temporary").rglob("*")] == []
    left = [path.name for path in (tmp_path / "killed/scratch").rglob("*") if path.is_file()]
    assert sorted(left) == ["log.json", "log.json", "model.safetensors", "model.safetensors"]


# batches in parts


def test_batches_that_are_added_up_are_one_batch(train_tiny):
    method = replace(CONFIG.method, connector=replace(CONNECTOR, dropout=0.0))
    whole = replace(MAIN, batch_size=32, accumulation=1)
    config = replace(CONFIG, method=method, phases=(whole,), log_every=1)
    one, _ = train_tiny(config, "whole")
    parts, _ = train_tiny(replace(config, phases=(replace(whole, accumulation=4),)), "parts")
    for name in ("loss", "judgment", "interpretation"):
        losses = [point[name] for point in one["curve"]]
        assert losses == pytest.approx([point[name] for point in parts["curve"]], rel=5e-5)
    assert losses[-1] < 0.99 * losses[0]


def test_a_batch_that_parts_do_not_divide_is_refused():
    with pytest.raises(
        ValueError, match=r"`accumulation` must divide `batch_size` \(10\), but is 4"
    ):
        PhaseConfig(batch_size=10, accumulation=4)


@pytest.mark.parametrize(
    ("phase", "updates"),
    [
        (PhaseConfig(epochs=1, batch_size=10), 3),
        (PhaseConfig(epochs=1, batch_size=9), 4),
        (PhaseConfig(epochs=0.01, batch_size=30), 1),
        (PhaseConfig(epochs=7, steps=2), 2),
    ],
)
def test_updates_follow_from_epochs_unless_they_are_set(phase, updates):
    assert steps_of(phase, 30) == updates


# what decays, and how fast who learns


def test_matrices_decay_and_the_language_model_has_its_own_rate(train_tiny, monkeypatch):
    found = {}
    plain = PhaseTrainer.training_step

    def training_step(self, *arguments):
        names = {id(parameter): name for name, parameter in self.judge.named_parameters()}
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                found[names[id(parameter)]] = (group["initial_lr"], group["weight_decay"])
        return plain(self, *arguments)

    monkeypatch.setattr(PhaseTrainer, "training_step", training_step)
    phase = replace(MAIN, steps=1, language_rate=1e-4, weight_decay=0.5)
    train_tiny(replace(CONFIG, phases=(phase,)))
    assert found["connector.project_patches.weight"] == (1e-2, 0.5)
    assert found["connector.project_patches.bias"] == (1e-2, 0.0)
    assert found["connector.queries"] == (1e-2, 0.0)
    adapters = {name: values for name, values in found.items() if name.startswith("language.")}
    assert adapters
    assert set(adapters.values()) == {(1e-4, 0.5)}
    assert all("lora_" in name for name in adapters)
    assert not any(name.startswith("vision.") for name in found)


# TensorBoard


def read_board(folder):
    events = EventAccumulator(str(folder)).Reload()
    return {
        name: {event.step: event.value for event in events.Scalars(name)}
        for name in events.Tags()["scalars"]
    }


def test_tensorboard_gets_what_the_curve_holds_of_every_phase(train_tiny, kill, tmp_path):
    logs = tmp_path / "logs"
    kill("ifas_model.phase.PhaseTrainer.compute_loss", 15)  # after steps that are taken again
    config = replace(CONFIG, log_every=1)
    with pytest.raises(KilledError):
        train_tiny(config, logs=logs)
    done, _ = train_tiny(config, logs=logs)
    assert {folder.name for folder in logs.iterdir()} == {"0-align", "1-main"}
    for phase, place in (("align", "0-align"), ("main", "1-main")):
        points = [point for point in done["curve"] if point["phase"] == phase]
        names = ["loss", "judgment", "interpretation", "learning_rate"]
        curves = {
            name: {p["step"]: pytest.approx(p[name], rel=1e-6) for p in points}
            for name in names
            if points[0][name] is not None
        }
        assert read_board(logs / place) == curves


def test_a_loss_that_is_no_number_is_shown_as_such(train_tiny, monkeypatch):
    plain = IFas.forward

    def forward(self, **batch):
        judged = plain(self, **batch)
        return judged._replace(loss=judged.loss * float("nan"))

    monkeypatch.setattr(IFas, "forward", forward)
    done, _ = train_tiny(replace(CONFIG, phases=(replace(MAIN, steps=1),)))
    assert all(math.isnan(point["loss"]) for point in done["curve"])


def test_the_seconds_of_a_resumed_run_hold_those_before(train_tiny, kill, monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr("ifas_model.phase.time.monotonic", lambda: float(next(clock)))
    config = replace(CONFIG, phases=(MAIN,), log_every=1)
    whole, _ = train_tiny(config, "whole")
    kill("ifas_model.phase.PhaseTrainer.compute_loss", 9)  # after the checkpoint of step 4
    with pytest.raises(KilledError):
        train_tiny(config, "killed")
    resumed, _ = train_tiny(config, "killed")
    assert whole["seconds"] == 5.0
    assert resumed["seconds"] == 5.0
