import json
from pathlib import Path
from typing import Any

import pytest

from ifas_model.errors import ConfigError
from ifas_model.run_folder import RunFolder, read_json

SETTINGS = {"stage": "train", "config": {"seed": 0, "phases": [{"epochs": 10}]}}


def take(path: Path, **changes: Any) -> RunFolder:
    return RunFolder(path, outcome="training.json", settings=SETTINGS | changes)


def make(folder: RunFolder, *names: str) -> Path:
    """Write files as a run does, into its scratch."""
    place = folder.work("made")
    for name in names:
        (place / name).write_text(f'"{name}"')
    return place


def refusal(path: Path, **changes: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        take(path, **changes)
    return caught.value


def test_a_new_folder_says_first_what_it_is_a_result_of(tmp_path: Path) -> None:
    folder = take(tmp_path / "deep" / "out")
    assert read_json(folder.path / "run.json") == SETTINGS
    assert not folder.is_done


def test_a_finished_folder_holds_what_was_made_and_no_scratch(tmp_path: Path) -> None:
    folder = take(tmp_path / "out")
    folder.finish(make(folder, "training.json", "model.safetensors", "a.json"))
    assert folder.is_done
    names = {one.name for one in folder.path.iterdir()}
    assert names == {"run.json", "training.json", "model.safetensors", "a.json"}
    assert folder.read(read_json) == "training.json"


def test_the_outcome_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = take(tmp_path / "out")
    made = make(folder, "training.json", "vocabulary.json", "a.json")
    moved = []
    replace = Path.replace

    def watch(self: Path, target: Path) -> Path:
        moved.append(target.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watch)
    folder.finish(made)
    assert moved[-1] == "training.json"
    assert len(moved) == 3


def test_a_run_killed_while_it_moved_its_files_is_not_done_and_can_finish(tmp_path: Path) -> None:
    folder = take(tmp_path / "out")
    made = make(folder, "training.json")
    (made / "tokenizer").mkdir()
    (folder.path / "tokenizer").mkdir()
    (folder.path / "tokenizer" / "old.json").write_text("")
    again = take(tmp_path / "out")
    assert not again.is_done
    again.finish(made)
    assert again.is_done
    assert not (again.path / "tokenizer" / "old.json").exists()


def test_scratch_left_by_a_run_killed_at_its_very_end_is_removed(tmp_path: Path) -> None:
    folder = take(tmp_path / "out")
    make(folder, "a")
    (folder.path / "training.json").write_text("{}")
    assert take(tmp_path / "out").is_done
    assert not folder.scratch.exists()


def test_a_killed_run_finds_its_checkpoints_again(tmp_path: Path) -> None:
    make(take(tmp_path / "out"), "checkpoint")
    assert (take(tmp_path / "out").work("made") / "checkpoint").is_file()


@pytest.mark.parametrize("is_done", [True, False], ids=["done", "begun"])
def test_other_settings_are_refused_with_a_diff(tmp_path: Path, is_done: bool) -> None:
    folder = take(tmp_path / "out")
    made = make(folder, "training.json")
    if is_done:
        folder.finish(made)
    before = (folder.path / "run.json").read_text()
    error = refusal(tmp_path / "out", config={"seed": 1, "phases": [{"epochs": 2}, {}]})
    assert error.what == (
        "An output folder must be new or of the same run, but "
        "config.phases.0.epochs must be 2 but is 10; config.phases.1 must be {} but is absent; "
        "config.seed must be 1 but is 0."
    )
    assert error.where == str(tmp_path / "out")
    assert (folder.path / "run.json").read_text() == before


def test_a_folder_in_which_nothing_was_begun_is_free_for_other_settings(tmp_path: Path) -> None:
    take(tmp_path / "out").work("checkpoints")
    take(tmp_path / "out", stage="evaluate")
    assert read_json(tmp_path / "out" / "run.json")["stage"] == "evaluate"


def test_a_folder_of_other_files_is_refused_and_left(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    error = refusal(tmp_path)
    assert error.what.endswith("must be new, empty or of an earlier run, but holds thesis.tex.")
    assert [one.name for one in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_folder_and_neither_is_what_lies_below_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "but is a file." in refusal(tmp_path / "file").what
    assert "but writing failed: Not a directory." in refusal(tmp_path / "file" / "out").what


def test_hidden_files_of_the_system_are_no_reason_to_refuse(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").write_text("x")
    assert not take(tmp_path).is_done


@pytest.mark.parametrize(
    "text", ["", "{", "\x00", "[" * 100_000, "[" * 900 + "]" * 900, "9" * 5_000, '"\\ud800"']
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    folder = take(tmp_path / "out")
    folder.finish(make(folder, "training.json"))
    folder.outcome.write_text(text)
    with pytest.raises(ConfigError, match=r"training\.json must be as the command wrote it") as one:
        folder.read(read_json)
    assert one.value.where == str(folder.outcome)
    (folder.path / "run.json").write_text(text)
    assert refusal(tmp_path / "out").where == str(folder.path / "run.json")


def test_a_parser_that_misses_a_key_tells_of_damage(tmp_path: Path) -> None:
    folder = take(tmp_path / "out")
    folder.finish(make(folder, "training.json"))
    folder.outcome.write_text(json.dumps({}))
    with pytest.raises(ConfigError, match="is damaged: 'samples'"):
        folder.read(lambda file: read_json(file)["samples"])
