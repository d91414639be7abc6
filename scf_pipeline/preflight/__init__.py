"""Preflight: what a flow wants of a site, looked at before anything starts.

It tells of everything at once: of the site's file, the datasets and how many samples they hold,
the models, terms that nobody accepted yet, GPUs and their memory, the disk, and hours from a short
timed sample. Nothing is written but temporary files, and no engine starts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ifas_model import plugins
from ifas_model.config import TrainConfig
from ifas_model.protocols import protocol_of
from scf_pipeline import adapters
from scf_pipeline.errors import ConfigError
from scf_pipeline.preflight import machine
from scf_pipeline.preflight.costs import World, loads
from scf_pipeline.preflight.data import Holdings, check_datasets
from scf_pipeline.preflight.findings import Finding, Level, missing, note, ready, warning
from scf_pipeline.preflight.models import Held, check_models
from scf_pipeline.preflight.site import Site, read_site
from scf_pipeline.stages.crop import CropConfig
from scf_pipeline.steps import External, Given, OnSite, Planned, Step, plan

__all__ = ["Preflight", "examine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """What was found, and what can be run if nothing is missing."""

    file: Path
    """The site's file."""

    site: Site
    """What it tells."""

    findings: tuple[Finding, ...]
    """All that was found, in order."""

    targets: tuple[Step, ...]
    """What the flow makes here."""

    def lines(self) -> list[str]:
        """Return the findings as lines for people; what is missing comes last."""
        rest = [one for one in self.findings if one.level is not Level.MISSING]
        return [one.line() for one in (*rest, *self.missing)]

    @property
    def missing(self) -> tuple[Finding, ...]:
        """What keeps the run from its start."""
        return tuple(one for one in self.findings if one.level is Level.MISSING)

    def require(self) -> None:
        """Refuse to start while anything is missing.

        Raises:
            ConfigError: If something is.
        """
        if self.missing:
            raise ConfigError(
                f"Nothing must be missing when this flow starts, but {len(self.missing)} "
                "things are. Nothing was started.",
                where=str(self.file),
                fix="Provide what the lines above call missing, and run it again.",
            )


def examine(flow: OnSite, file: Path, *, out: Path) -> Preflight:
    """Return all that can be said of a flow on this site before it starts.

    Args:
        flow: What it wants.
        file: The site's file, which need not exist.
        out: Folder for the artifacts, which need not exist either.
    """
    site, findings = read_site(file, flow)
    held, of_data = check_datasets(site.datasets, flow.datasets)
    models, of_models = check_models(site.models, flow.models)
    findings += [*of_data, *of_models, *_check_terms(site, flow, held)]
    targets = flow.make(_given(flow, held, models)) if held else ()
    planned = plan(*targets)
    if held:
        findings.append(_tell_protocols(planned, held))
    findings += machine.check_gpus(machine.look_for_gpus(), site.gpus_per_worker, planned, models)
    found = list(loads(planned, World(held, models)))
    findings += machine.check_disk(out, found, planned)
    is_missing = any(one.level is Level.MISSING for one in findings)
    is_begun = any(machine.is_sealed(out, one) for one in planned)
    if not is_begun:
        timed: Mapping[str, Held] = {} if is_missing else models
        findings += machine.check_time(found, planned, timed, _side(planned))
    return Preflight(file=file, site=site, findings=tuple(findings), targets=targets)


def _given(flow: OnSite, held: Iterable[str], models: Mapping[str, Held]) -> Given:
    """Return what the flow is given; published names stand for models that are not here."""
    return Given(
        datasets=tuple(held),
        models={
            name: models[name].external if name in models else External(one.published, one.kind)
            for name, one in flow.models.items()
        },
    )


def _check_terms(site: Site, flow: OnSite, held: Mapping[str, Holdings]) -> list[Finding]:
    """Return whose terms of use are still to be accepted."""
    terms = {
        name: plugins.load(adapters, "ADAPTER", name).license for name in held or flow.datasets
    }
    terms |= {name: f"{one.published}: {one.terms}" for name, one in flow.models.items()}
    accepted = [name for name in terms if name in site.accepted_terms]
    findings = [ready("terms", f"accepted of {', '.join(accepted)}")] if accepted else []
    return findings + [
        missing(
            f"terms of {name}",
            f"must be accepted ({text})",
            fix=f"Read them, and add {name} to `accepted_terms`.",
        )
        for name, text in terms.items()
        if name not in accepted
    ]


def _tell_protocols(planned: Sequence[Planned], held: Mapping[str, Holdings]) -> Finding:
    """Return what will be judged, and on how many of each protocol's targets."""
    configs = [one.step.config for one in planned]
    trainings = [one for one in configs if isinstance(one, TrainConfig)]
    rules = {one.title: one.targets for one in map(protocol_of, trainings)}
    titles = [
        f"{title} ({len(held.keys() & targets.keys())} of {len(targets)} targets)"
        for title, targets in rules.items()
    ]
    if not titles:
        return warning(
            "protocols",
            "these datasets allow none, so that captions are made and nothing is judged",
            fix="Protocol 2 needs celeba_spoof and a target, Protocol 1 all four of M, C, I and O.",
        )
    return note("protocols", f"{len(trainings)} trainings: {'; '.join(titles)}")


def _side(planned: Sequence[Planned]) -> int:
    sides = [
        one.step.config.image_size for one in planned if isinstance(one.step.config, CropConfig)
    ]
    return sides[0] if sides else 0
