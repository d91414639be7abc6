"""What the page is written from: sealed artifacts, found again by the names in their manifests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass as checked

from ifas_model import json_data
from ifas_model.results import Result
from scf_pipeline import captioners
from scf_pipeline.errors import ArtifactError
from scf_pipeline.files import read_sealed
from scf_pipeline.keywords import KeywordDictionary
from scf_pipeline.store import Artifact

TUNED = re.compile(r"finetune(?:-(.+))?-[0-9a-f]{8}")
"""Folder that a flow's step of fine-tuning writes: its name, if it has one of its own."""

RESULTS, TRAINING, RESPONSES = "results.json", "training.json", "responses.json"
"""Files of an evaluation."""


_Number = Annotated[float, Field(strict=True)]
_Count = Annotated[int, Field(strict=True)]


@checked(kw_only=True)
class _Point:
    step: _Count
    epoch: _Number
    phase: str = "main"
    judgment: _Number | None = None
    interpretation: _Number | None = None


@checked(kw_only=True)
class _Training:
    curve: list[_Point] = field(default_factory=list)
    seconds: _Number = 0.0
    samples: _Count = 0
    steps: _Count = 0
    parameters: _Count = 0
    trained_parameters: _Count = 0


@checked(kw_only=True)
class _Response:
    face_id: str
    dataset: str
    label: str
    judgment: str
    p_yes: _Number
    pai_species: str | None = None
    interpretation: str | None = None
    reference: str | None = None


_TRAINING, _RESPONSES = TypeAdapter(_Training), TypeAdapter(list[_Response])
"""What the page reads of an evaluation's files, beside its results."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One trained model and how it did."""

    artifact: Artifact
    """Where it was read."""

    results: Sequence[Result]
    """One for each judged dataset."""

    training: Mapping[str, Any]
    """Loss curve, seconds, samples, steps and parameters; empty if it was not kept."""

    responses: Sequence[Mapping[str, Any]]
    """Answers to faces, for people to read."""

    @classmethod
    def read(cls, artifact: Artifact) -> Evaluation:
        """Read the files of a sealed evaluation.

        Raises:
            ArtifactError: If it holds no results, or a file is not as evaluation wrote it.
        """
        results = read_json(artifact, RESULTS)
        if results is None:
            raise ArtifactError(
                f"An evaluation must hold {RESULTS}, but does not.",
                where=str(artifact.path),
                fix="Name artifacts of the stage evaluate.",
            )
        training = read_json(artifact, TRAINING) or {}
        responses = read_json(artifact, RESPONSES) or []
        try:
            found = tuple(Result.from_dict(one) for one in results)
            _TRAINING.validate_python(training)
            _RESPONSES.validate_python(responses)
        except (ValueError, TypeError) as error:
            raise ArtifactError(
                f"Results must be as evaluation wrote them, but are not: {error}",
                where=str(artifact.path / RESULTS),
                fix="Delete the artifact and rerun the stage that writes it.",
            ) from error
        return cls(artifact=artifact, results=found, training=training, responses=responses)


@dataclass(frozen=True, kw_only=True)
class Captioner:
    """A captioner that described the faces of a strand."""

    title: str
    """``C_G``, or ``C_S`` and, where there are several, which."""

    model: str
    """``<backend>@<revision>``."""


@dataclass(frozen=True, kw_only=True)
class Strand:
    """All that was curated from the same faces: one world, from presentations to shards."""

    title: str
    """Name of the world, ``real data`` where no world was drawn."""

    number: int = 0
    """Which of several of the same title, from 1; 0 where there is one."""

    artifacts: Sequence[Artifact]
    """World, samples, faces, captions, filtered captions, captioners, audits, shards."""

    @property
    def heading(self) -> str:
        """What the page calls it."""
        name = f"{self.title} world" if self.of("world") else self.title
        return f"{name} ({self.number})" if self.number else name

    def of(self, stage: str) -> list[Artifact]:
        """Return the artifacts of a stage."""
        return [artifact for artifact in self.artifacts if artifact.stage == stage]

    def captioners(self) -> list[Captioner]:
        """Return C_G and then every C_S that described faces."""
        told = {_input(one, "model"): one for one in self.of("caption")}
        general = self._general() or next(iter(told), "")
        others = [model for model in told if model != general]
        found = [Captioner(title="C_G", model=general)] if general else []
        titles = self._titles(others)
        return found + [Captioner(title=titles[model], model=model) for model in others]

    def captions(self, captioner: Captioner) -> list[Artifact]:
        """Return the caption artifacts of a captioner."""
        return [one for one in self.of("caption") if _input(one, "model") == captioner.model]

    def _general(self) -> str | None:
        """Return the captioner whose captions were filtered, or fine-tuned."""
        names = {_input(one, "captions") for one in self.of("filter")}
        models = [_input(one, "model") for one in self.of("caption") if one.name in names]
        tuned = [_input(one, "model") for one in self.of("finetune")]
        return next(iter([*models, *tuned]), None)

    def _titles(self, models: Sequence[str]) -> dict[str, str]:
        """Return what each C_S is called: after the step of the flow that tuned it."""
        if len(models) == 1:
            return {models[0]: "C_S"}
        steps = {
            captioners.find(str(one.path)).name: TUNED.fullmatch(one.path.name)
            for one in self.of("finetune")
        }
        titles: dict[str, str] = {}
        for number, model in enumerate(models, start=1):
            step = steps.get(model)
            told = f"C_S ({step[1]})" if step and step[1] else "C_S" if step else f"C_S {number}"
            titles[model] = told if told not in titles.values() else f"C_S {number}"
        return titles


@dataclass(frozen=True, kw_only=True)
class Material:
    """Everything that goes into one page."""

    evaluations: Sequence[Evaluation]
    """Trained models and their results."""

    curation: Sequence[Artifact]
    """What led to the shards."""

    dictionary: KeywordDictionary
    """K of Algorithm 1, to mark and count words."""

    results: Sequence[Result] = field(init=False)
    """The results of all evaluations."""

    def __post_init__(self) -> None:
        found = [result for one in self.evaluations for result in one.results]
        object.__setattr__(self, "results", tuple(found))

    def of(self, stage: str) -> list[Artifact]:
        """Return the curated artifacts of a stage."""
        return [artifact for artifact in self.curation if artifact.stage == stage]

    def strands(self) -> list[Strand]:
        """Return what was curated, parted by the faces that it rests on."""
        faces = [one.name for one in self.of("crop")]
        faces += [_input(one, "faces") for one in self.of("caption")]
        return _distinct([self._strand(name) for name in dict.fromkeys(faces) if name])

    def _strand(self, faces: str) -> Strand:
        own = [one for one in self.curation if faces in (one.name, _input(one, "faces"))]
        known = {one.name for one in own}
        own += [one for one in self._named("captions", known) if one not in own]
        crops = [one for one in own if one.stage == "crop"]
        samples = [one for one in self.curation if one.name in _inputs(crops, "samples")]
        worlds = [one for one in self.curation if one.name in _inputs(samples, "world")]
        title = str(worlds[0].manifest["config"].get("difficulty", "")) if worlds else "real data"
        return Strand(title=title, artifacts=(*worlds, *samples, *own))

    def _named(self, key: str, names: set[str]) -> list[Artifact]:
        return [one for one in self.curation if names & _inputs([one], key)]


def read_json(artifact: Artifact, name: str) -> Any:  # noqa: ANN401 - whatever the JSON holds
    """Return the content of one of an artifact's JSON files; ``None`` if it has no such file.

    Raises:
        ArtifactError: If the file is not the one that was sealed, or no JSON.
    """
    if name not in artifact.files:
        return None
    raw = read_sealed(artifact.path / name, artifact.files[name]["sha256"])
    try:
        return json_data.parse(raw)
    except ValueError as error:
        raise ArtifactError(
            f"A JSON file must be as a stage wrote it, but is not: {error}.",
            where=str(artifact.path / name),
            fix="Delete the artifact and rerun the stage that writes it.",
        ) from error


def read_evaluations(artifacts: Iterable[Artifact]) -> list[Evaluation]:
    """Read evaluations; an artifact that is named twice is read once."""
    return [Evaluation.read(one) for one in {one.name: one for one in artifacts}.values()]


def _input(artifact: Artifact, key: str) -> str:
    value = artifact.manifest["inputs"].get(key, "")
    return value if isinstance(value, str) else ""


def _inputs(artifacts: Iterable[Artifact], key: str) -> set[str]:
    """Return the names that go into artifacts under a key, be it one name or several."""
    values = [artifact.manifest["inputs"].get(key) or [] for artifact in artifacts]
    names = [name for value in values for name in ([value] if isinstance(value, str) else value)]
    return {name for name in names if isinstance(name, str)}


def _distinct(strands: list[Strand]) -> list[Strand]:
    """Number the strands of the same title."""
    titles = [strand.title for strand in strands]
    return [
        replace(strand, number=titles[:index].count(strand.title) + 1)
        if titles.count(strand.title) > 1
        else strand
        for index, strand in enumerate(strands)
    ]
