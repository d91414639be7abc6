import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result as Done
from PIL import Image
from typer.testing import CliRunner

from ifas_model import cli, results
from ifas_model.config import EvaluateConfig, FeaturesConfig, TrainConfig
from ifas_model.prompt import QUESTION
from ifas_model.protocols import ELEVEN, protocol
from ifas_model.results import ErrorRates, Result
from ifas_model.shards import SHARD_SCHEMA
from ifas_model.vocabulary import Split

HEAVY = {"torch", "ray", "pyarrow", "transformers", "datasets", "numpy", "pydantic", "scf_pipeline"}
CURVE = {"curve": [], "seconds": 3.2, "samples": 12, "steps": 7, "parameters": 9}


def ifas(*arguments: object) -> Done:
    """Run a command as a user does; whatever is no expected failure comes through."""
    runner = CliRunner()
    return runner.invoke(cli.app, [str(one) for one in arguments], catch_exceptions=False)


def printed_by(*arguments: object) -> list[str]:
    """Run a command that must succeed and return the lines of its stdout."""
    done = ifas(*arguments)
    assert done.exit_code == 0, done.stderr
    return done.stdout.splitlines()


def refused(*arguments: object) -> tuple[str, str, str]:
    """Run a command that must fail as expected and return what, where and fix."""
    done = ifas(*arguments)
    assert (done.exit_code, done.stdout) == (1, ""), done.output
    return three_lines(done.stderr)


def three_lines(text: str) -> tuple[str, str, str]:
    what, where, fix = text.splitlines()
    assert what.startswith("error: ")
    assert where.startswith("  where: ")
    assert fix.startswith("  fix:   ")
    return what[len("error: ") :], where[len("  where: ") :], fix[len("  fix:   ") :]


class Trainer:
    """Stands in for `ifas_model.train`: keeps what it was given and writes what it would."""

    def __init__(self) -> None:
        self.given: list[dict[str, Any]] = []
        self.dies = False

    def train(self, config: TrainConfig, **given: Any) -> dict[str, Any]:
        checkpoint = given["scratch"] / "checkpoint-1"
        self.given.append({"config": config, "resumed": checkpoint.is_file(), **given})
        checkpoint.write_text("")
        (given["out"] / "model.safetensors").write_text("half")
        if self.dies:
            raise MemoryError
        (given["out"] / "model.safetensors").write_text("whole")
        (given["out"] / "config.json").write_text("{}")
        return CURVE


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    found = Trainer()
    monkeypatch.setitem(sys.modules, "ifas_model.train", found)
    return found


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return write_shards(tmp_path / "shards")


def write_shards(folder: Path, face_id: str = "siw/a#0") -> Path:
    (folder / "data").mkdir(parents=True)
    blank = dict.fromkeys(SHARD_SCHEMA.names) | {"face_id": face_id}
    table = pa.Table.from_pylist([blank], schema=SHARD_SCHEMA)
    pq.write_table(table, folder / "data" / "train-00000-of-00001.parquet")
    return folder


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"name": name}))
        return tmp_path / name

    return make


@pytest.fixture
def command(shards: Path, checkpoint: Callable[[str], Path], tmp_path: Path) -> list[object]:
    """Return a command that trains."""
    towers = ["--tower", checkpoint("clip"), "--language", checkpoint("opt")]
    return ["train", shards, "--out", tmp_path / "out", *towers]


def settings(tmp_path: Path, text: str) -> list[object]:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    return ["--config", file]


# Help and usage


@pytest.mark.parametrize("name", ["train", "evaluate", "predict"])
def test_the_help_of_every_command_shows_an_example(name: str) -> None:
    assert name in ifas("--help").stdout
    done = ifas(name, "--help")
    assert done.exit_code == 0
    assert f"Example: ifas {name} " in " ".join(done.stdout.split())


def test_the_usage_of_predict_names_each_argument_once() -> None:
    (usage,) = [line for line in ifas("predict", "--help").stdout.splitlines() if "Usage" in line]
    assert usage.count("...") == 1
    assert usage.lower().count("image") == 1


def test_a_command_without_its_arguments_is_wrong_usage() -> None:
    assert ifas("train").exit_code == 2
    assert ifas("predict", "model").exit_code == 2


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, json\nfrom ifas_model.cli import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit as done:\n"
        "    print(json.dumps([done.code, sorted(sys.modules)]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    status, loaded = json.loads(done.stdout.splitlines()[-1])
    assert status == 0
    assert not HEAVY & set(loaded)


# train


def test_training_prints_where_the_model_lies(
    command: list[object], trainer: Trainer, tmp_path: Path
) -> None:
    done = ifas(*command)
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'out'}\n")
    assert done.stderr == "train: 12 samples, 7 steps, 3 s\n"
    names = {one.name for one in (tmp_path / "out").iterdir()}
    assert names == {"run.json", "training.json", "config.json", "model.safetensors"}
    assert (tmp_path / "out/model.safetensors").read_text() == "whole"
    assert json.loads((tmp_path / "out/training.json").read_text()) == CURVE


def test_training_is_given_what_was_said(
    command: list[object], trainer: Trainer, shards: Path, tmp_path: Path
) -> None:
    printed_by(*command, *settings(tmp_path, "seed: 3\nmethod:\n  method: ifas\n"))
    (given,) = trainer.given
    assert given["config"] == TrainConfig(seed=3)
    assert (given["shards"], given["tower"]) == (shards, tmp_path / "clip")
    assert given["language"] == tmp_path / "opt"
    assert given["features"] is None


def test_a_baseline_needs_no_language_model(
    command: list[object], trainer: Trainer, tmp_path: Path
) -> None:
    printed_by(*command[:-2], *settings(tmp_path, "method: {method: vit}\n"))
    assert trainer.given[0]["language"] is None


def test_a_killed_run_goes_on_from_its_checkpoints(
    command: list[object], trainer: Trainer, tmp_path: Path
) -> None:
    trainer.dies = True
    with pytest.raises(MemoryError):
        ifas(*command)
    assert not (tmp_path / "out/model.safetensors").exists()
    trainer.dies = False
    printed_by(*command)
    assert [given["resumed"] for given in trainer.given] == [False, True]
    assert (tmp_path / "out/model.safetensors").read_text() == "whole"


def test_a_finished_run_is_told_again_and_left(command: list[object], trainer: Trainer) -> None:
    assert printed_by(*command) == printed_by(*command)
    assert len(trainer.given) == 1


def test_a_folder_of_another_config_is_refused_with_a_diff(
    command: list[object], trainer: Trainer, tmp_path: Path
) -> None:
    printed_by(*command)
    what, where, _ = refused(*command, *settings(tmp_path, "seed: 1\n"))
    assert what.endswith("of the same run, but config.seed must be 1 but is 0.")
    assert where == str(tmp_path / "out")
    assert len(trainer.given) == 1


def test_a_folder_of_other_shards_is_refused_and_of_moved_ones_not(
    command: list[object], trainer: Trainer, shards: Path, tmp_path: Path
) -> None:
    printed_by(*command)
    command[1] = shards.rename(tmp_path / "moved")
    printed_by(*command)
    command[1] = write_shards(tmp_path / "others", face_id="siw/b#0")
    assert "but inputs.shards must be " in refused(*command)[0]


def test_a_refused_run_does_not_claim_its_folder(
    command: list[object], trainer: Trainer, shards: Path, tmp_path: Path
) -> None:
    refused("train", tmp_path, *command[2:])
    refused(*command, *settings(tmp_path, "protocol: protocol9\n"))
    refused(*command[:-2])
    assert not (tmp_path / "out").exists()
    printed_by(*command)


def test_an_unknown_setting_is_told_with_file_line_and_the_nearest(
    command: list[object], trainer: Trainer, tmp_path: Path
) -> None:
    text = "seed: 1\nmethod:\n  method: ifas\n  loss:\n    alfa: 0.5\n"
    what, where, fix = refused(*command, *settings(tmp_path, text))
    assert what.startswith("A setting must be one of `LossConfig`'s, but is ")
    assert where == f"{tmp_path / 'settings.yaml'}:5: method.loss.alfa"
    assert fix == "Did you mean alpha?"


def test_a_method_without_its_name_is_answered_with_all_names(
    command: list[object], trainer: Trainer, tmp_path: Path
) -> None:
    text = "seed: 1\nmethod:\n  loss: {alpha: 0.5}\n"
    what, where, fix = refused(*command, *settings(tmp_path, text))
    known = "'ifas', 'vit', 'vitaf', 'flip'"
    assert what == f"`method.method` must be one of {known}, but is absent."
    assert where == f"{tmp_path / 'settings.yaml'}:2: method"
    assert fix == "Name the `method` among the settings of `method`."


def test_an_unknown_protocol_is_told_with_its_line(
    command: list[object], trainer: Trainer, tmp_path: Path
) -> None:
    what, where, fix = refused(*command, *settings(tmp_path, "seed: 1\nprotocol: protocol9\n"))
    assert "'protocol9'" in what
    assert where == f"{tmp_path / 'settings.yaml'}:2: protocol"
    assert fix == "Correct `protocol`."


def test_an_unknown_target_is_told_with_its_line(
    command: list[object], trainer: Trainer, tmp_path: Path
) -> None:
    text = "protocol: protocol1\ntarget: nowhere\n"
    what, where, _ = refused(*command, *settings(tmp_path, text))
    assert "'nowhere'" in what
    assert where == f"{tmp_path / 'settings.yaml'}:2: target"


CUSTOM = "protocol: custom\nown:\n  train: {siw: [train]}\n  dev: {siw: [dev]}\n"


def test_ones_own_datasets_need_no_code(
    command: list[object], trainer: Trainer, tmp_path: Path
) -> None:
    printed_by(*command, *settings(tmp_path, f"{CUSTOM}  test: {{siw: [test]}}\n"))
    assert trainer.given[0]["config"].own.test == {"siw": (Split.TEST,)}


@pytest.mark.parametrize(
    ("text", "what", "line"),
    [
        (CUSTOM, "`own.test` must be given, but is absent.", 2),
        (f"{CUSTOM}  test: {{siw: [end]}}\n", "`own.test.siw.0` must be 'train', 'dev' or ", 5),
        (f"{CUSTOM}  test: {{siw: [dev]}}\n", "`own` must name a split of a dataset in one ", 2),
        ("protocol: custom\n", "`own` must be given where `protocol` is 'custom', but is ", None),
    ],
)
def test_ones_own_datasets_are_refused_with_their_line(
    text: str, what: str, line: int | None, command: list[object], trainer: Trainer, tmp_path: Path
) -> None:
    told, where, _ = refused(*command, *settings(tmp_path, text))
    assert told.startswith(what)
    assert where.startswith(f"{tmp_path / 'settings.yaml'}{f':{line}: own' if line else ''}")


def test_a_tower_or_language_model_that_is_none_is_refused(
    command: list[object], trainer: Trainer, tmp_path: Path
) -> None:
    what, where, _ = refused(*command[:-2])
    assert what == "`--language` must name a folder with a config.json, but is absent."
    assert where == "--language"
    command[command.index("--tower") + 1] = tmp_path
    what, where, fix = refused(*command)
    assert what == f"`--tower` must name a folder with a config.json, but {tmp_path} holds none."
    assert fix == "Name a folder that holds a CLIP checkpoint."


@pytest.mark.parametrize("option", ["--tower", "--language"])
@pytest.mark.parametrize("revision", ["", "@main", "@" + "0" * 40])
def test_a_name_of_the_hub_is_no_folder_and_nothing_is_fetched(
    command: list[object], monkeypatch: pytest.MonkeyPatch, option: str, revision: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("nothing may be fetched")

    monkeypatch.setattr("socket.socket.connect", refuse)
    name = f"openai/clip-vit-large-patch14{revision}"
    place = command.index(option) + 1
    what, where, _ = refused(*command[:place], name, *command[place + 1 :])
    assert what == f"`{option}` must name a folder with a config.json, but {name} holds none."
    assert where == option


def test_names_do_not_act_on_the_terminal(command: list[object], tmp_path: Path) -> None:
    place = command.index("--tower") + 1
    name = tmp_path / "a\x1b[2J\nerror: b\u202e"
    what, _, _ = refused(*command[:place], name, *command[place + 1 :])
    assert r"a\x1b[2J" in what
    assert r"error: b\u202e holds none" in what


def test_a_folder_without_shards_is_refused(
    command: list[object], trainer: Trainer, tmp_path: Path
) -> None:
    command[1] = tmp_path
    what, where, fix = refused(*command)
    assert what.startswith("A shard folder must hold data/")
    assert where == str(tmp_path)
    assert fix == "Point at the folder that `scf shard` printed."


def test_features_are_those_that_the_run_learns_from(
    command: list[object],
    trainer: Trainer,
    shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def cached(config: FeaturesConfig, **given: Any) -> SimpleNamespace:
        asked.append((config, given))
        return SimpleNamespace(folder=tmp_path / "cache" / "one")

    monkeypatch.setattr("ifas_model.features.cached", cached)
    more = settings(tmp_path, "flip: false\nmethod: {method: ifas, local_layer: -1}\n")
    printed_by(*command, "--features", tmp_path / "cache", *more)
    assert trainer.given[0]["features"] == tmp_path / "cache" / "one"
    ((config, given),) = asked
    assert (config.flip, config.local_layer, config.keep_class_token) == (False, -1, False)
    assert Split.TRAIN in config.splits
    places = {"tower": tmp_path / "clip", "shards": [shards], "cache": tmp_path / "cache"}
    assert given == places


def test_features_are_also_those_that_weights_are_chosen_by(
    command: list[object],
    trainer: Trainer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def cached(config: FeaturesConfig, **given: Any) -> SimpleNamespace:
        asked.append(config.splits)
        return SimpleNamespace(folder=tmp_path)

    monkeypatch.setattr("ifas_model.features.cached", cached)
    cache = ["--features", tmp_path / "cache"]
    for number, select in enumerate(("last", "best_on_dev")):
        command[command.index("--out") + 1] = tmp_path / str(number)
        printed_by(*command, *cache, *settings(tmp_path, f"select: {select}\n"))
    assert asked == [(Split.TRAIN,), (Split.TEST, Split.TRAIN)]


def test_a_method_that_tunes_its_tower_computes_no_features(
    command: list[object], trainer: Trainer, tmp_path: Path
) -> None:
    more = settings(tmp_path, "method: {method: vit}\n")
    printed_by(*command, "--features", tmp_path / "cache", *more)
    assert trainer.given[0]["features"] is None
    assert not (tmp_path / "cache").exists()


# evaluate


def rates(far: float, bpcer: float) -> ErrorRates:
    hter = (far + bpcer) / 2
    return ErrorRates(
        threshold=0.5, far=far, bpcer=bpcer, hter=hter, apcer={"print": far}, acer=hter
    )


RESULT = Result(
    method="ifas",
    variant="full",
    world="hard",
    protocol="protocol2",
    target="siw",
    role="target",
    sources=("celeba_spoof",),
    seed=0,
    checkpoint_policy="last",
    auc=0.875,
    eer=0.2,
    tpr_at_fpr_1=0.1,
    tpr_at_fpr_01=0.0,
    ece=0.3,
    rates={"eer_on_test": rates(0.25, 0.125), "fixed": rates(1.0, 0.0)},
    intervals={},
    frame_auc=0.8,
    frame_hter=0.25,
    counts={"samples": 12, "faces": 12, "bona_fide": 8, "attack": 4, "print": 4},
    roc=((0.0, 0.0), (1.0, 1.0)),
    is_inverted=False,
    settings={},
    inputs={},
)
RESULTS = [RESULT, replace(RESULT, target="celeba_spoof", role="source", auc=1.0)]


class Evaluator:
    """Stands in for `ifas_model.evaluate` and `ifas_model.predict`."""

    def __init__(self) -> None:
        self.given: list[dict[str, Any]] = []

    def evaluate(self, config: EvaluateConfig, *, out: Path, **given: Any) -> list[Result]:
        self.given.append({"config": config, **given})
        results.save(RESULTS, out / "results.json")
        (out / "responses.json").write_text("[]")
        return RESULTS

    def predict(self, model: Path, images: Sequence[Path]) -> Iterator[dict[str, Any]]:
        assert model.is_dir()
        for path in images:
            if "broken" in path.name:
                yield {"path": str(path), "error": "cannot identify image file"}
            else:
                yield {
                    "path": str(path),
                    "p_yes": 0.75,
                    "judgment": "Yes",
                    "interpretation": "This is a man é",
                }


@pytest.fixture
def evaluator(monkeypatch: pytest.MonkeyPatch) -> Evaluator:
    found = Evaluator()
    monkeypatch.setitem(sys.modules, "ifas_model.evaluate", found)
    monkeypatch.setitem(sys.modules, "ifas_model.predict", found)
    return found


def test_evaluating_prints_where_the_results_lie(
    evaluator: Evaluator, checkpoint: Callable[[str], Path], shards: Path, tmp_path: Path
) -> None:
    model = checkpoint("model")
    (path,) = printed_by("evaluate", model, shards, "--out", tmp_path / "out")
    assert results.load(Path(path)) == RESULTS
    assert {one.name for one in (tmp_path / "out").iterdir()} == {
        *("run.json", "results.json", "responses.json")
    }
    given = {"config": EvaluateConfig(), "model": model, "shards": shards, "features": None}
    assert evaluator.given == [given]


def test_features_to_judge_by_need_their_tower(
    evaluator: Evaluator, checkpoint: Callable[[str], Path], shards: Path, tmp_path: Path
) -> None:
    command = ["evaluate", checkpoint("model"), shards, "--out", tmp_path / "out"]
    what, where, _ = refused(*command, "--features", tmp_path / "cache")
    assert what == "`--tower` must name a folder with a config.json, but is absent."
    assert where == "--tower"
    assert evaluator.given == []


def test_evaluating_prints_the_results_as_json(
    evaluator: Evaluator, checkpoint: Callable[[str], Path], shards: Path, tmp_path: Path
) -> None:
    model = checkpoint("model")
    (text,) = printed_by("evaluate", model, shards, "--out", tmp_path / "out", "--json")
    assert [Result.from_dict(one) for one in json.loads(text)] == RESULTS


def test_a_table_tells_of_each_dataset_and_policy(
    evaluator: Evaluator, checkpoint: Callable[[str], Path], shards: Path, tmp_path: Path
) -> None:
    done = ifas("evaluate", checkpoint("model"), shards, "--out", tmp_path / "out")
    assert [line.split() for line in done.stderr.splitlines()] == [
        ["dataset", "role", "AUC", "HTER", "eer_on_test", "HTER", "fixed"],
        ["siw", "target", "0.8750", "0.1875", "0.5000"],
        ["celeba_spoof", "source", "1.0000", "0.1875", "0.5000"],
    ]


def test_policies_stand_in_one_order_whatever_a_result_names_first() -> None:
    names = ["fixed", "eer_on_dev", "eer_on_test"]
    mixed = replace(RESULT, rates={name: rates(0.5, 0.25) for name in names})
    header = cli.to_text([mixed]).splitlines()[0].split()
    assert [word for word in header if word in names] == ["eer_on_test", "eer_on_dev", "fixed"]


def test_a_policy_that_a_dataset_lacks_is_a_dash() -> None:
    alone = replace(RESULT, rates={"fixed": rates(1.0, 0.0)})
    lines = cli.to_text([RESULT, alone]).splitlines()
    assert lines[2].split() == ["siw", "target", "0.8750", "-", "0.5000"]


def test_a_finished_evaluation_is_told_again_and_another_refused(
    evaluator: Evaluator, checkpoint: Callable[[str], Path], shards: Path, tmp_path: Path
) -> None:
    command = ["evaluate", checkpoint("model"), shards, "--out", tmp_path / "out"]
    assert printed_by(*command) == printed_by(*command)
    assert len(evaluator.given) == 1
    what, _, _ = refused(*command, *settings(tmp_path, "bootstrap: 0\n"))
    assert what.endswith("but config.bootstrap must be 0 but is 500.")


def test_damaged_results_are_refused(
    evaluator: Evaluator, checkpoint: Callable[[str], Path], shards: Path, tmp_path: Path
) -> None:
    command = ["evaluate", checkpoint("model"), shards, "--out", tmp_path / "out"]
    (path,) = printed_by(*command)
    Path(path).write_text(Path(path).read_text()[:100])
    what, where, fix = refused(*command)
    assert what.startswith("results.json must be as the command wrote it, but is damaged: ")
    assert where == path
    assert fix == "Delete the folder and run the command again."


# predict


def test_each_image_is_answered_in_its_order(
    evaluator: Evaluator, checkpoint: Callable[[str], Path]
) -> None:
    lines = printed_by("predict", checkpoint("model"), "b.png", "a.png", "b.png")
    assert [json.loads(line)["path"] for line in lines] == ["b.png", "a.png", "b.png"]
    assert json.loads(lines[0])["interpretation"] == "This is a man é"


def test_an_unreadable_image_keeps_its_line_and_fails_the_command_at_its_end(
    evaluator: Evaluator, checkpoint: Callable[[str], Path]
) -> None:
    done = ifas("predict", checkpoint("model"), "a.png", "broken.png", "b.png")
    assert done.exit_code == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["path"] for line in lines] == ["a.png", "broken.png", "b.png"]
    assert ["error" in line for line in lines] == [False, True, False]
    what, where, fix = three_lines(done.stderr)
    assert what == "Images must be readable, but 1 of 3 are not."
    assert where == "broken.png"
    assert fix == "Replace them; the other judgments stand."


def test_many_unreadable_images_are_told_in_short(
    evaluator: Evaluator, checkpoint: Callable[[str], Path]
) -> None:
    names = [f"broken{number}.png" for number in range(7)]
    done = ifas("predict", checkpoint("model"), *names)
    assert len(done.stdout.splitlines()) == 7
    assert three_lines(done.stderr)[1] == ", ".join([*names[:5], "..."])


@pytest.mark.parametrize("name", ["evaluate", "predict"])
def test_a_folder_that_is_no_model_is_refused(
    name: str, evaluator: Evaluator, shards: Path, tmp_path: Path
) -> None:
    more = ["--out", tmp_path / "out"] if name == "evaluate" else []
    what, where, fix = refused(name, tmp_path / "absent", shards, *more)
    assert what.endswith(f"a folder with a config.json, but {tmp_path / 'absent'} holds none.")
    assert where == "MODEL"
    assert "`ifas train` printed" in fix
    assert not (tmp_path / "out").exists()


# The three commands as they are, on very small models


CAPTIONS = ["This is a man holding a sheet of paper", "This is a man in a red shirt"]
TINY = """
method:
  method: ifas
  connector: {dim: 32, num_heads: 2, num_queries: 2, num_blocks: 1, mlp_ratio: 1}
  max_interpretation_tokens: 8
phases: [{steps: 3, batch_size: 4, learning_rate: 0.001}]
"""


def picture(number: int) -> bytes:
    """Draw a face's crop: attacks are bluish, bona fide ones reddish."""
    noise = np.random.default_rng(number).integers(0, 60, (32, 32, 3), np.uint8)
    noise[..., 0 if number % 2 else 2] += 150
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


def face(dataset: str, split: str, number: int) -> dict[str, Any]:
    told = CAPTIONS[number % 2]
    name = f"{dataset}/{split}{number}"
    blank: dict[str, Any] = dict.fromkeys(SHARD_SCHEMA.names)
    return blank | {
        "face_id": f"{name}#0",
        "sample_id": name,
        "dataset": dataset,
        "frame": 0,
        "split": split,
        "image": {"bytes": picture(number), "path": f"{number}.png"},
        "label": number % 2,
        "pai_species": None if number % 2 else "print",
        "native_label": "x",
        "question": QUESTION,
        "answer": f"{'Yes' if number % 2 else 'No'}. {told}",
        "judgment": "Yes" if number % 2 else "No",
        "interpretation": told,
        "captioner": "blip2@0",
        "keywords": [],
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of a source and eleven targets, a tower and a language model, all very small."""
    import torch
    from transformers import OPTConfig, OPTForCausalLM

    from scf_pipeline.miniature.models import ClipSizes, build_clip
    from scf_pipeline.miniature.tokenizer import learn_clip_tokenizer, learn_opt_tokenizer

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("world")
    (folder / "shards/data").mkdir(parents=True)
    targets = [(name, protocol("protocol2").targets[name][0]) for name in ELEVEN]
    rows = {
        "train": [face("celeba_spoof", "train", number) for number in range(12)],
        "test": [face("celeba_spoof", "test", number) for number in range(4)],
    }
    for name, split in targets:
        rows[split] += [face(name, split, number) for number in range(4)]
    for split, found in rows.items():
        table = pa.Table.from_pylist(found, schema=SHARD_SCHEMA)
        pq.write_table(table, folder / f"shards/data/{split}-00000-of-00001.parquet")
    sizes = ClipSizes(
        image_px=32,
        stem_widths=(8, 8, 8),
        vision_dim=32,
        vision_layers=2,
        vision_heads=2,
        text_dim=32,
        text_layers=1,
        shared_dim=16,
    )
    for made in build_clip(learn_clip_tokenizer(CAPTIONS, max_length=24), sizes, seed=0):
        made.save_pretrained(folder / "clip")
    tokenizer = learn_opt_tokenizer([*CAPTIONS, QUESTION, "Question: Answer: Yes No.\n"])
    torch.manual_seed(0)
    language = OPTForCausalLM(
        OPTConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            word_embed_proj_dim=32,
            ffn_dim=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=64,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    language.save_pretrained(folder / "opt")
    tokenizer.save_pretrained(folder / "opt")
    return folder


def test_shards_become_a_model(world: Path, tmp_path: Path) -> None:
    (model,) = printed_by(
        *("train", world / "shards", "--out", tmp_path / "model"),
        *("--tower", world / "clip", "--language", world / "opt"),
        *("--features", tmp_path / "cache"),
        *settings(tmp_path, TINY),
    )
    kept = {one.name for one in Path(model).iterdir()}
    assert {"config.json", "model.safetensors", "run.json", "training.json"} <= kept
    assert ".scratch" not in kept
    assert json.loads((Path(model) / "training.json").read_text())["steps"] == 3
    assert len(list((tmp_path / "cache").iterdir())) == 1

    judge = ["evaluate", model, world / "shards"]
    (plain,) = printed_by(*judge, "--out", tmp_path / "pictures")
    cache = ["--features", tmp_path / "cache", "--tower"]
    (fast,) = printed_by(*judge, "--out", tmp_path / "features", *cache, world / "clip")
    assert len(list((tmp_path / "cache").iterdir())) == 2
    ours, theirs = (results.load(Path(path)) for path in (fast, plain))
    assert [one.auc for one in ours] == pytest.approx([one.auc for one in theirs], abs=1e-6)
    what, where, _ = refused(*judge, "--out", tmp_path / "other", *cache, world / "opt")
    assert (
        what == f"`--tower` must be what {model} was trained with, but {world / 'opt'} is another."
    )
    assert where == "--tower"
    assert len(list((tmp_path / "cache").iterdir())) == 2
