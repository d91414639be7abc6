"""What lies in a run's folder: the artifacts that its plan names, and a report if there is one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from upath import UPath

from scf_pipeline import reach
from scf_pipeline.errors import ArtifactError
from scf_pipeline.files import MANIFEST, SETTINGS
from scf_pipeline.store import Artifact

REPORT, EVALUATE = "report", "evaluate"


def sealed_in(folder: UPath) -> list[Artifact]:
    """Return the sealed artifacts of a run, by name of their folders.

    Where flows left plans, only what they name: the folder may hold results of older settings.

    Raises:
        ArtifactError: If there are none, the folder is itself an artifact, or a plan is damaged.
    """
    if reach.is_file(folder / SETTINGS) or not reach.is_folder(folder):
        raise ArtifactError(
            "A run's folder must be a folder that holds artifacts, but is not.",
            where=str(folder),
            fix="Name the folder that `scf run` wrote to, e.g. runs/default.",
        )
    planned = _planned(folder)
    found = [
        Artifact.open(path)
        for path in reach.inside(folder)
        if reach.is_file(path / MANIFEST) and (not planned or path.name in planned)
    ]
    made = [one for one in _reports(folder) if one.path not in [other.path for other in found]]
    if not found:
        raise ArtifactError(
            "A run's folder must hold sealed artifacts, but holds none.",
            where=str(folder),
            fix="Run `scf run` first.",
        )
    return [*found, *made]


def current(artifacts: Iterable[Artifact]) -> Artifact | None:
    """Return a sealed report of all the evaluations, if there is one.

    Without evaluations, a report of all the other artifacts.
    """
    every = list(artifacts)
    evaluations, curation = parted(every)
    wanted = ("evaluations", evaluations) if evaluations else ("curation", curation)
    names = {one.name for one in wanted[1]}
    for made in every:
        if made.stage == REPORT and names <= set(made.manifest["inputs"].get(wanted[0], [])):
            return made
    return None


def parted(artifacts: Iterable[Artifact]) -> tuple[list[Artifact], list[Artifact]]:
    """Return the evaluations, and all that led to them; reports are left out."""
    every = [one for one in artifacts if one.stage != REPORT]
    evaluations = [one for one in every if one.stage == EVALUATE]
    return evaluations, [one for one in every if one.stage != EVALUATE]


def _reports(folder: UPath) -> Sequence[Artifact]:
    named = [path for path in reach.inside(folder) if path.name.startswith(REPORT)]
    places = [path for path in named if reach.is_file(path / MANIFEST)]
    return [one for one in map(Artifact.open, places) if one.stage == REPORT]


def _planned(folder: UPath) -> set[str]:
    names: set[str] = set()
    for file in reach.inside(folder):
        if not file.name.endswith(".plan.json"):
            continue
        try:
            names |= {str(step["folder"]) for step in reach.read_json(file)}
        except (ValueError, TypeError, KeyError) as error:
            raise ArtifactError(
                f"A plan must be as `scf run` wrote it, but is damaged: {error!r}.",
                where=str(file),
                fix="Delete it, or run the flow again.",
            ) from error
    return names
