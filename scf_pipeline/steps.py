"""A flow as a value: steps that name a config and their inputs, and start nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from scf_pipeline.config import digest, to_data


@dataclass(frozen=True, slots=True)
class External:
    """A model that no step of the flow makes: a checkpoint folder, or ``hub-id@revision``."""

    name: str
    """As ``--model`` takes it, backend before a colon."""

    kind: str | None = None
    """What the trainer's stages take it for, e.g. ``clip``; ``None`` is a captioner."""

    content: str | None = None
    """What a folder holds, as ``<kind>@<hash>``, if that is known."""

    @property
    def identity(self) -> str:
        """What plans know it by: its content, wherever that lies, or else its name."""
        return self.name if self.content is None else self.content


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One run of one stage."""

    name: str
    """What it is called in plans and folder names."""

    config: Any
    """The stage's config."""

    inputs: Mapping[str, Input]
    """What goes in, by the names of the stage's ``run``."""


Input: TypeAlias = "Step | External | tuple[Step, ...]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A step with its place: what the runner executes."""

    step: Step
    """The step."""

    fingerprint: str
    """Hash of the step's settings and, through its inputs, of all settings before it."""

    inputs: Mapping[str, Any]
    """Folder, folders, or identity of the external model of each input."""

    @property
    def folder(self) -> str:
        """Name of the folder that it writes."""
        return f"{self.step.name}-{self.fingerprint[:8]}"

    def to_dict(self) -> dict[str, Any]:
        """Return the planned step as plain data."""
        config = self.step.config
        return {
            "name": self.step.name,
            "stage": config.stage,
            "version": config.version,
            "config": to_data(config),
            "inputs": dict(self.inputs),
            "fingerprint": self.fingerprint,
            "folder": self.folder,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A published model that a flow takes from the site it runs on."""

    published: str
    """Hub id under which it was published; its revision is the site's to name."""

    kind: str | None = None
    """As `External`'s."""

    side: int | None = None
    """Side of the pictures that it must see, in pixels; ``None`` takes its own."""

    terms: str
    """Terms of use, in a few words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a site has of what a flow wants."""

    datasets: tuple[str, ...]
    """Those whose roots it names, in the flow's order."""

    models: Mapping[str, External]
    """Every model, by the name that the flow gives it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnSite:
    """A flow of real datasets and published models: a function of what a site has of them."""

    datasets: tuple[str, ...]
    """Datasets that it can use; it makes do with any of them."""

    models: Mapping[str, Wanted]
    """Models that it cannot do without, by name."""

    make: Callable[[Given], tuple[Step, ...]]
    """Return the flow's targets; starts nothing."""


def step(config: Any, *, name: str | None = None, **inputs: Input | None) -> Step:  # noqa: ANN401
    """Return a step.

    Args:
        config: A stage's config.
        name: Name of the step; the stage's without it.
        inputs: Steps, tuples of steps, or external models, by the names of the stage's ``run``;
            ``None`` is left out.

    Raises:
        TypeError: If an input is anything else.
    """
    given = {key: value for key, value in inputs.items() if value is not None}
    for key, value in given.items():
        items = value if isinstance(value, tuple) else ()
        if not isinstance(value, Step | External | tuple) or any(
            not isinstance(item, Step) for item in items
        ):
            raise TypeError(
                f"`{key}` must be a step, a tuple of steps or an External, but is {value!r}."
            )
    return Step(name or config.stage, config, given)


def plan(*targets: Step) -> list[Planned]:
    """Return the steps that the targets need, each once, inputs before what they go into.

    Two steps of equal settings and inputs are one, whatever they are called.
    """
    planned: dict[str, Planned] = {}
    seen: dict[Step, Planned] = {}
    for target in targets:
        _plan(target, planned, seen)
    return list(planned.values())


def _plan(wanted: Step, planned: dict[str, Planned], seen: dict[Step, Planned]) -> Planned:
    if wanted in seen:
        return seen[wanted]
    folders: dict[str, Any] = {}
    identity: dict[str, Any] = {}
    for name, value in wanted.inputs.items():
        if isinstance(value, External):
            folders[name] = identity[name] = value.identity
        elif isinstance(value, Step):
            made = _plan(value, planned, seen)
            folders[name], identity[name] = made.folder, made.fingerprint
        else:
            several = [_plan(item, planned, seen) for item in value]
            folders[name] = [item.folder for item in several]
            identity[name] = [item.fingerprint for item in several]
    config = wanted.config
    fingerprint = digest([config.stage, config.version, to_data(config), identity])
    made = Planned(step=wanted, fingerprint=fingerprint, inputs=folders)
    seen[wanted] = planned.setdefault(fingerprint, made)
    return seen[wanted]


def heights(steps: Sequence[Planned]) -> dict[str, int]:
    """Return for each folder the longest chain of steps that waits for it, as `plan` orders them.

    What many wait for is to run first: the chain of the whole flow is as long as its longest.
    """
    found = {planned.folder: 0 for planned in steps}
    for planned in reversed(steps):
        for needed in requirements(planned):
            found[needed] = max(found[needed], found[planned.folder] + 1)
    return found


def requirements(planned: Planned) -> Iterator[str]:
    """Yield the folders that must be sealed before a step can run."""
    for name, value in planned.step.inputs.items():
        if isinstance(value, External):
            continue
        folders = planned.inputs[name]
        yield from [folders] if isinstance(folders, str) else folders
