import importlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ifas_model.config import EvaluateConfig, FeaturesConfig, TrainConfig
from scf_pipeline import captioners, runner
from scf_pipeline.captioners import Model
from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.errors import ArtifactError, ConfigError, StageError
from scf_pipeline.runner import find_flow, load_flow, run_flow, run_steps
from scf_pipeline.stages import train
from scf_pipeline.steps import OnSite, Step, plan
from scf_pipeline.store import Artifact
from scf_pipeline.verify import verify

HEAD = """
from functools import partial
from typing import ClassVar

import pyarrow as pa
from pydantic.dataclasses import dataclass

from scf_pipeline import progress
from ifas_model.strict import STRICT
from scf_pipeline.engine import Resources
from scf_pipeline.settings import settings
from scf_pipeline.store import ArtifactWriter

SCHEMA = pa.schema([("number", pa.int64())])
frozen = dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
ran = []  # names of the kernels that ran, in order
"""

STAGES = {
    "make": """
@frozen
class MakeConfig:
    stage: ClassVar[str] = "make"
    version: ClassVar[int] = 1
    start: int = 0

def run(config, *, out, engine):
    writer = ArtifactWriter(out, SCHEMA, settings=settings(config))
    if (sealed := writer.sealed()) is not None:
        return sealed
    ran.append(f"make {config.start}")
    for part in range(2):
        start = config.start + 10 * part
        writer.write(part, pa.table({"number": list(range(start, start + 3))}))
    return writer.seal()
""",
    "add": """
@frozen
class AddConfig:
    stage: ClassVar[str] = "add"
    version: ClassVar[int] = 1
    amount: int = 1

before = {}  # what to do before a step of an amount starts

def add(rows, amount):
    return pa.table({"number": [n + amount for n in rows["number"].to_pylist()]})

def run(config, *, numbers, out, engine):
    before.get(config.amount, lambda: None)()
    writer = ArtifactWriter(out, SCHEMA, settings=settings(config, numbers=numbers))
    todo = writer.missing(numbers.parts())
    ran.extend(f"add {config.amount} to part {part.number}" for part in todo)
    kernel = partial(add, amount=config.amount)
    done = engine.map_parts(lambda: kernel, todo, writer.write, Resources())
    progress.consume(done, total=len(todo), label=config.stage)
    return writer.seal()
""",
    "total": """
@frozen
class TotalConfig:
    stage: ClassVar[str] = "total"
    version: ClassVar[int] = 1

def run(config, *, several, out, engine, model=None, resources=Resources()):
    identity = settings(config, several=several, model=model)
    writer = ArtifactWriter(out, SCHEMA, settings=identity)
    if (sealed := writer.sealed()) is not None:
        return sealed
    ran.append("total")
    total = sum(sum(one.read()["number"].to_pylist()) for one in several)
    writer.write(0, pa.table({"number": [total]}))
    return writer.seal(notes={"model": model and model.location, "gpus": resources.gpus})
""",
    "look": """
@frozen
class LookConfig:
    stage: ClassVar[str] = "look"
    version: ClassVar[int] = 1

def run(config, *, out, engine, roots=None):
    writer = ArtifactWriter(out, None, settings=settings(config))
    return writer.seal(notes={name: str(root) for name, root in (roots or {}).items()})
""",
}

TRAINING = """
from ifas_model.config import EvaluateConfig, FeaturesConfig, TrainConfig
from flows.toy import made
from scf_pipeline.steps import step

features = step(FeaturesConfig(), tower=made, shards=(made,))
judge = step(TrainConfig(), shards=made, tower=made, features=features)
FLOW = step(TrainConfig(seed=5), shards=made, tower=made)
ALL = (judge, step(EvaluateConfig(), judge=judge, shards=made, features=features))
"""

FLOW = """
from toy_stages.add import AddConfig
from toy_stages.look import LookConfig
from toy_stages.make import MakeConfig
from toy_stages.total import TotalConfig
from scf_pipeline.steps import External, OnSite, Step, step
from collections.abc import Mapping
from enum import Enum

class Size(Enum):
    SMALL = 1

made = step(MakeConfig())
one = step(AddConfig(amount=1), name="one", numbers=made)
two = step(AddConfig(amount=2), name="two", numbers=made)
FLOW = step(TotalConfig(), several=(one, two))
TUPLE = (one, two)
MAPPING = {"first": one, "second": two}
FAILING = (step(AddConfig(amount=13), name="unlucky", numbers=made), two)
AFTER = step(TotalConfig(), name="after", several=FAILING)
MODEL = step(TotalConfig(), several=(one,), model=made)
EXTERNAL = step(TotalConfig(), several=(one,), model=External("hub/model@0123"))
LOOK = step(LookConfig())
TOWER = step(TotalConfig(), several=(one,), model=External("hub/clip@0123", "clip"))
SITE = OnSite(datasets=("siw",), models={}, make=lambda given: (one,))
EMPTY = ()
MIXED = (one, 3)
ALIASES = (one, step(AddConfig(amount=1), name="uno", numbers=made))
NAMESAKES = (one, step(AddConfig(amount=3), name="one", numbers=made), two)
NUMBER = 3
TEXT = "one"
"""


class Toys:
    """Four toy stages in a package of their own, and a flow of them."""

    def __init__(self, folder: Path) -> None:
        package = folder / "toy_stages"
        package.mkdir()
        (package / "__init__.py").touch()
        for name, text in STAGES.items():
            (package / f"{name}.py").write_text(f"{HEAD}\nran = []\n{text}")
        self.flow = folder / "flows/toy.py"
        self.flow.parent.mkdir()
        self.flow.write_text(FLOW)
        self.out = folder / "runs"
        self.engines: list[int] = []

    def choose(self, workers: int) -> LocalEngine:
        """Take the place of the engine's `choose`: any number of workers is this process."""
        self.engines.append(workers)
        return LocalEngine()

    def stage(self, name: str) -> ModuleType:
        return importlib.import_module(f"toy_stages.{name}")

    def run(self, name: str = "FLOW", *, workers: int = 1, **more: object) -> dict[str, Artifact]:
        made = run_flow(f"{self.flow}:{name}", out=self.out, workers=workers, **more)
        return {name: Artifact.open(path) for name, path in made.items()}

    def total(self, name: str = "FLOW", **more: object) -> int:
        """Run the flow and return the sum over its last target's rows."""
        (*_, last) = self.run(name, **more).values()
        return sum(last.read()["number"].to_pylist())

    @property
    def ran(self) -> list[str]:
        return [line for name in STAGES for line in self.stage(name).ran]

    def folders(self) -> dict[str, Path]:
        return {path.name.rsplit("-", 1)[0]: path for path in self.out.iterdir() if path.is_dir()}


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Toys]:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    toys = Toys(tmp_path)
    monkeypatch.setattr(runner, "choose", toys.choose)
    yield toys
    for name in [name for name in sys.modules if name.split(".")[0] == "toy_stages"]:
        del sys.modules[name]
    sys.modules.pop("flows.toy", None)


def refusal(flow: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_flow(flow)
    return caught.value


def named(steps: list[Step]) -> list[str]:
    return [one.name for one in steps]


# Loading


@pytest.mark.parametrize(
    ("name", "title", "targets"),
    [
        ("", "toy", ["total"]),
        (":FLOW", "toy", ["total"]),
        (":one", "toy-one", ["one"]),
        (":TUPLE", "toy-tuple", ["one", "two"]),
        (":MAPPING", "toy-mapping", ["one", "two"]),
    ],
)
def test_a_flow_is_a_step_or_a_collection_of_steps(toys, name, title, targets) -> None:
    found, steps = load_flow(f"{toys.flow}{name}")
    assert (found, named(steps)) == (title, targets)


def test_a_flow_starts_nothing(toys: Toys) -> None:
    load_flow(str(toys.flow))
    assert toys.ran == []
    assert not toys.out.exists()


def test_a_flow_may_import_its_neighbours(toys: Toys) -> None:
    other = toys.flow.with_name("other.py")
    other.write_text("from flows.toy import one\nFLOW = one\n")
    try:
        assert named(load_flow(str(other))[1]) == ["one"]
    finally:
        sys.modules.pop("flows.other", None)
        sys.modules.pop("flows", None)


def test_a_flow_that_was_edited_is_loaded_anew(toys: Toys) -> None:
    load_flow(str(toys.flow))
    toys.flow.write_text(f"{FLOW}\nLATER = two\n")
    assert named(load_flow(f"{toys.flow}:LATER")[1]) == ["two"]


def test_a_path_may_hold_a_colon(toys: Toys, tmp_path: Path) -> None:
    folder = tmp_path / "a:b/flows"
    folder.mkdir(parents=True)
    (folder / "toy.py").write_text(FLOW)
    assert named(load_flow(str(folder / "toy.py"))[1]) == ["total"]
    assert named(load_flow(f"{folder / 'toy.py'}:TUPLE")[1]) == ["one", "two"]


@pytest.mark.parametrize("name", ["flows/absent.py", "flows", ""])
def test_what_is_no_file_is_refused(toys: Toys, tmp_path: Path, name: str) -> None:
    error = refusal(str(tmp_path / name))
    assert error.what == "A flow must be a Python file, but there is none."
    assert error.where == str(tmp_path / name)
    assert refusal(f"{tmp_path / name}:FLOW").where == str(tmp_path / name)


def test_a_file_of_another_kind_is_refused(toys: Toys) -> None:
    text = toys.flow.with_suffix(".yaml")
    text.write_text("a: 1\n")
    assert refusal(str(text)).what == "A flow must be a Python file, but is of another kind."


@pytest.mark.parametrize("name", ["ABSENT", "EMPTY", "MIXED", "NUMBER", "TEXT", "Mapping", "Size"])
def test_a_value_that_holds_no_steps_is_refused_with_those_that_do(toys: Toys, name: str) -> None:
    error = refusal(f"{toys.flow}:{name}")
    assert error.what == (
        f"A flow must hold steps under the name asked for, but {name!r} holds none."
    )
    assert error.fix == (
        "Name one of: made, one, two, FLOW, TUPLE, MAPPING, FAILING, AFTER, MODEL, EXTERNAL, LOOK, "
        "TOWER, SITE, ALIASES, NAMESAKES."
    )


def test_a_file_without_steps_says_so(toys: Toys) -> None:
    toys.flow.write_text("NUMBER = 3\n")
    assert refusal(str(toys.flow)).fix == "Name one of: none in this file."


def test_a_flow_of_real_datasets_waits_to_be_told_where_they_are(toys: Toys) -> None:
    name, found = find_flow(f"{toys.flow}:SITE")
    assert name == "toy-site"
    assert isinstance(found, OnSite)
    error = refusal(f"{toys.flow}:SITE")
    assert "must be told where they are" in error.what
    assert "--site" in error.fix


def test_an_error_in_a_flow_is_the_authors_and_keeps_its_traceback(toys: Toys) -> None:
    toys.flow.write_text("import no_such_module\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        load_flow(str(toys.flow))


# Running


def test_every_step_runs_once_after_what_it_needs(toys: Toys) -> None:
    assert toys.total() == (36 + 6) + (36 + 12)
    folders = toys.folders()
    assert sorted(folders) == ["make", "one", "total", "two"]
    numbers = Artifact.open(folders["one"]).read()["number"].to_pylist()
    assert numbers == [1, 2, 3, 11, 12, 13]
    assert toys.ran == [
        "make 0",
        "add 1 to part 0",
        "add 1 to part 1",
        "add 2 to part 0",
        "add 2 to part 1",
        "total",
    ]
    assert [line for folder in folders.values() for line in verify(folder)] == []


def test_the_targets_are_returned_in_the_flows_order(toys: Toys) -> None:
    made = toys.run("MAPPING")
    assert list(made) == ["one", "two"]
    assert [str(one.path) for one in made.values()] == [
        str(toys.folders()[name]) for name in ("one", "two")
    ]


def test_two_names_of_one_step_are_one_folder(toys: Toys) -> None:
    made = toys.run("ALIASES")
    assert list(made) == ["one", "uno"]
    assert made["one"].path == made["uno"].path


def test_targets_of_the_same_name_are_all_returned(toys: Toys) -> None:
    made = toys.run("NAMESAKES")
    assert len(made) == 3
    assert [name.split("-")[0] for name in made] == ["one", "one", "two"]
    assert list(made)[2] == "two"


def test_what_is_sealed_is_not_done_again(toys: Toys, capsys: pytest.CaptureFixture[str]) -> None:
    first = toys.run(workers=2)["total"].identity
    ran = toys.ran
    capsys.readouterr()
    assert toys.run(workers=2)["total"].identity == first
    assert toys.ran == ran
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert all(line.endswith("sealed") for line in lines)


def test_a_look_at_what_is_sealed_needs_no_workers(toys: Toys) -> None:
    toys.run(workers=2)
    toys.run(workers=2)
    assert toys.engines == [2, 0]


def test_a_flow_that_grew_runs_only_what_is_new(toys: Toys) -> None:
    toys.run("one")
    ran = toys.ran
    toys.run("FLOW")
    assert [line for line in toys.ran if line not in ran] == [
        "add 2 to part 0",
        "add 2 to part 1",
        "total",
    ]


def test_an_interrupted_step_is_resumed_at_its_missing_parts(toys: Toys) -> None:
    expected = toys.run("one")["one"].identity
    folder = toys.folders()["one"]
    (folder / "manifest.json").unlink()
    (folder / "data/part-00001.parquet").unlink()
    toys.stage("add").ran.clear()
    assert toys.run("one")["one"].identity == expected
    assert toys.stage("add").ran == ["add 1 to part 1"]


def test_a_damaged_artifact_is_refused_before_anything_is_made_of_it(toys: Toys) -> None:
    toys.run("made")
    file = toys.folders()["make"] / "data/part-00001.parquet"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="must have") as caught:
        toys.run("one")
    assert caught.value.where == str(file)
    assert "one" not in toys.folders()


def test_the_plan_is_written_down_before_the_run(toys: Toys) -> None:
    toys.stage("add").before[13] = pytest.fail
    with pytest.raises(pytest.fail.Exception):
        toys.run("FAILING")
    plan = json.loads((toys.out / "toy-failing.plan.json").read_text())
    assert [one["name"] for one in plan] == ["make", "unlucky", "two"]
    assert plan[1]["config"] == {"amount": 13}
    assert plan[1]["inputs"] == {"numbers": plan[0]["folder"]}
    assert toys.folders()["make"].name == plan[0]["folder"]


def test_each_step_is_told_in_one_line(toys: Toys, capsys: pytest.CaptureFixture[str]) -> None:
    toys.run("one")
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        toys.folders()["make"].name,
        toys.folders()["one"].name,
    ]
    assert all("6 kept, 0 rejected (none), " in line for line in lines)


# Settings of the trainer, which knows no artifacts


@pytest.fixture
def training(toys: Toys) -> Iterator[Path]:
    """A flow whose later steps are the trainer's."""
    file = toys.flow.with_name("training.py")
    file.write_text(TRAINING)
    yield file
    for name in ("flows.training", "flows"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("stage", ["features", "train", "evaluate"])
def test_a_trainers_config_is_run_by_the_stage_of_its_name(stage: str) -> None:
    config = {"features": FeaturesConfig(), "train": TrainConfig(), "evaluate": EvaluateConfig()}
    assert runner._stage(config[stage]).__name__ == f"scf_pipeline.stages.{stage}"


def test_a_flow_goes_on_from_a_stage_to_the_trainer(
    toys: Toys, training: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught = []

    def teach(
        config: TrainConfig, sources: dict[str, Artifact], out: Path, scratch: Path
    ) -> dict[str, int]:
        taught.append((config, {name: one.path for name, one in sources.items()}))
        out.mkdir()
        (out / "model.safetensors").write_bytes(b"weights")
        return {"steps": 3}

    monkeypatch.setattr(train, "teach", teach)
    runs = [run_flow(str(training), out=toys.out, workers=1) for _ in range(2)]
    assert runs[0] == runs[1]
    made = Artifact.open(runs[0]["train"])
    source = toys.folders()["make"]
    assert taught == [(TrainConfig(seed=5), {"shards": source, "tower": source})]
    assert made.notes == {"steps": 3}
    assert list(made.files) == ["model.safetensors"]
    assert made.manifest["inputs"] == dict.fromkeys(("shards", "tower"), Artifact.open(source).name)
    assert made.manifest["config"]["seed"] == 5
    assert toys.ran == ["make 0"]


def test_the_trainers_steps_are_planned_as_any_others(toys: Toys, training: Path) -> None:
    _, targets = load_flow(f"{training}:ALL")
    planned = plan(*targets)
    stages = [one.to_dict()["stage"] for one in planned]
    assert stages == ["make", "features", "train", "evaluate"]
    again = plan(*load_flow(f"{training}:ALL")[1])
    assert [one.fingerprint for one in again] == [one.fingerprint for one in planned]


# Inputs


def test_a_model_is_found_by_its_name_or_in_the_folder_of_its_step(
    toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(name: str) -> Model:
        return Model(backend="blip2", location=name, revision="0123")

    monkeypatch.setattr(captioners, "find", find)
    assert toys.run("EXTERNAL")["total"].notes["model"] == "hub/model@0123"
    assert toys.run("MODEL")["total"].notes["model"] == str(toys.folders()["make"])


def test_a_model_of_a_kind_is_a_checkpoint_for_the_trainer(toys: Toys) -> None:
    made = toys.run("TOWER")["total"]
    assert made.notes["model"] == "hub/clip"
    assert made.manifest["inputs"]["model"] == "clip@0123"


def test_a_stage_with_a_model_is_given_the_gpus_of_a_worker(toys: Toys) -> None:
    name, targets = load_flow(f"{toys.flow}:FLOW")
    made = run_steps(name, targets, out=toys.out, workers=1, gpus=0.5)
    assert Artifact.open(made["total"]).notes["gpus"] == 0.5
    assert toys.run("TOWER")["total"].notes["gpus"] == 0


def test_roots_go_to_stages_that_ask_for_them(toys: Toys, tmp_path: Path) -> None:
    roots = tmp_path / "datasets.yaml"
    roots.write_text("oulu_npu: data\n")
    assert toys.run("LOOK", roots=roots)["look"].notes == {"oulu_npu": str(tmp_path / "data")}
    assert toys.run("one", roots=roots)["one"].counts.live == 6


def test_without_roots_the_stage_is_not_given_any(toys: Toys) -> None:
    assert toys.run("LOOK")["look"].notes == {}


# Side by side


def test_steps_that_do_not_wait_for_each_other_run_side_by_side(toys: Toys) -> None:
    meeting = threading.Barrier(2)
    toys.stage("add").before.update(dict.fromkeys((1, 2), lambda: meeting.wait(timeout=20)))
    assert toys.total(workers=2) == 90


def test_no_more_steps_run_at_a_time_than_asked_for(toys: Toys) -> None:
    now, most = [0], [0]
    lock = threading.Lock()

    def enter() -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1

    toys.stage("add").before.update(dict.fromkeys((1, 2), enter))
    toys.run(workers=0)
    assert most == [1]


def failing(error: BaseException, when: threading.Event) -> Callable[[], None]:
    def act() -> None:
        when.wait(timeout=20)
        raise error

    return act


def test_a_step_that_fails_surfaces_and_its_neighbour_finishes(toys: Toys) -> None:
    started, failed = threading.Event(), threading.Event()

    def be_slow() -> None:
        started.set()
        failed.wait(timeout=0.3)

    error = StageError("It must work, but does not.", where="here", fix="Pray.")
    toys.stage("add").before.update({13: failing(error, started), 2: be_slow})
    with pytest.raises(StageError, match="It must work") as caught:
        toys.run("AFTER", workers=2)
    unlucky = next(one for one in json.loads((toys.out / "toy-after.plan.json").read_text())
                   if one["name"] == "unlucky")  # fmt: skip
    assert caught.value.__notes__ == [f"in the step {unlucky['folder']}"]
    assert sorted(toys.folders()) == ["make", "two"]
    assert Artifact.open(toys.folders()["two"]).counts.live == 6


def test_after_a_failure_nothing_new_starts(toys: Toys) -> None:
    failed = threading.Event()
    failed.set()
    toys.stage("add").before[13] = failing(ValueError("a bug"), failed)
    with pytest.raises(ValueError, match="a bug"):
        toys.run("AFTER", workers=1)
    assert list(toys.folders()) == ["make"]
    assert toys.ran == ["make 0"]


def test_a_failed_flow_goes_on_where_it_stopped(toys: Toys) -> None:
    failed = threading.Event()
    failed.set()
    toys.stage("add").before[13] = failing(ValueError("a bug"), failed)
    with pytest.raises(ValueError, match="a bug"):
        toys.run("AFTER", workers=2)
    del toys.stage("add").before[13]
    assert toys.total("AFTER", workers=2) == (36 + 78) + (36 + 12)
    assert toys.stage("make").ran == ["make 0"]


def test_an_interrupt_is_not_swallowed(toys: Toys) -> None:
    at_once = threading.Event()
    at_once.set()
    toys.stage("add").before[1] = failing(KeyboardInterrupt(), at_once)
    with pytest.raises(KeyboardInterrupt):
        toys.run("one", workers=2)


def test_the_plan_of_a_flow_is_the_same_wherever_it_runs(toys: Toys, tmp_path: Path) -> None:
    toys.run("one")
    first = (toys.out / "toy-one.plan.json").read_bytes()
    toys.out = tmp_path / "elsewhere"
    toys.run("one")
    assert (toys.out / "toy-one.plan.json").read_bytes() == first
    assert runner.__name__ not in first.decode()
