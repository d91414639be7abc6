"""The folder of one run: what it is a result of comes first, its outcome last.

A run folder is::

    <folder>/run.json         written first: command, version, config, content of the inputs
    <folder>/.scratch/        checkpoints and half-written files, until the run is done
    <folder>/<outcome>        written last; a folder that holds it is done
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ifas_model import json_data
from ifas_model.errors import ConfigError

RUN = "run.json"

T = TypeVar("T")


class RunFolder:
    """A folder that belongs to one command with one config and one set of inputs.

    Args:
        path: The folder; made if it is absent.
        outcome: Name of the file that is written last.
        settings: What the run is a result of, as plain data.

    Raises:
        ConfigError: If the folder belongs to other settings, with a diff, or holds files of
            another kind.
    """

    def __init__(self, path: Path, *, outcome: str, settings: Mapping[str, Any]) -> None:
        self.path, self.outcome, self.settings = path, path / outcome, settings
        self.scratch = path / ".scratch"
        if not (path / RUN).is_file():
            _refuse_others(path)
            self._claim()
        elif (found := _read(path / RUN, read_json)) != settings:
            if not self.is_begun:
                self._claim()
                return
            raise ConfigError(
                f"An output folder must be new or of the same run, but {_diff(settings, found)}.",
                where=str(path),
                fix="Choose another folder, or delete this one.",
            )
        if self.is_done:  # and was killed before the scratch was gone
            shutil.rmtree(self.scratch, ignore_errors=True)

    @property
    def is_begun(self) -> bool:
        """Whether a run has left anything here that is worth going on from."""
        return self.is_done or any(one.is_file() for one in self.scratch.rglob("*"))

    @property
    def is_done(self) -> bool:
        """Whether an earlier run has finished here."""
        return self.outcome.is_file()

    def work(self, name: str) -> Path:
        """Return a folder of the scratch, made if it is absent."""
        folder = self.scratch / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def read(self, parse: Callable[[Path], T]) -> T:
        """Return what a parser makes of a finished run's outcome.

        Raises:
            ConfigError: If the outcome is not as the command wrote it.
        """
        return _read(self.outcome, parse)

    def finish(self, made: Path) -> None:
        """Take in what was made in the scratch, the outcome last, and remove the scratch."""
        for file in sorted(made.iterdir(), key=lambda one: one.name == self.outcome.name):
            place = self.path / file.name
            if place.is_dir():  # of a run that was killed right here
                shutil.rmtree(place)
            file.replace(place)
        shutil.rmtree(self.scratch)

    def _claim(self) -> None:
        """Write down whose folder it is, so that a reader sees all of it or nothing."""
        text = json.dumps(self.settings, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        try:
            partial = self.work("claim") / RUN
            partial.write_text(text, encoding="utf-8", newline="\n")
            partial.replace(self.path / RUN)
        except OSError as error:
            raise ConfigError(
                f"An output folder must be writable, but writing failed: {error.strerror}.",
                where=str(self.path),
                fix="Choose another folder.",
            ) from error


def _read(file: Path, parse: Callable[[Path], T]) -> T:
    try:
        return parse(file)
    except (ValueError, KeyError, TypeError) as error:
        problem = " ".join(str(error).split())
        raise ConfigError(
            f"{file.name} must be as the command wrote it, but is damaged: {problem}.",
            where=str(file),
            fix="Delete the folder and run the command again.",
        ) from error


def read_json(file: Path) -> Any:  # noqa: ANN401 - plain data
    """Return the plain data of a JSON file."""
    return json_data.read(file)


def _refuse_others(path: Path) -> None:
    """Refuse a path that is a file, or a folder that holds what no run wrote."""
    names = sorted(one.name for one in path.iterdir()) if path.is_dir() else []
    strangers = [name for name in names if not name.startswith(".")]
    if strangers or path.is_file():
        found = f"holds {strangers[0]}" if strangers else "is a file"
        raise ConfigError(
            f"An output folder must be new, empty or of an earlier run, but {found}.",
            where=str(path),
            fix="Choose another folder.",
        )


def _diff(wanted: object, found: object) -> str:
    """Tell in words how the settings found differ from those wanted."""
    ours, theirs = _flat(wanted), _flat(found)
    return "; ".join(
        f"{key} must be {ours.get(key, 'absent')} but is {theirs.get(key, 'absent')}"
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key) != theirs.get(key)
    )


def _flat(data: object, prefix: str = "") -> dict[str, str]:
    """Return the values of nested data as Python writes them, by dotted key."""
    if isinstance(data, list):
        data = {str(number): item for number, item in enumerate(data)}
    if not isinstance(data, Mapping) or not data:
        return {prefix: repr(data)}
    flat: dict[str, str] = {}
    for key, value in data.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return flat
