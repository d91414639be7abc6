"""The file that tells what a site has: where datasets and models lie, and whose terms are accepted.

An example stands in ``flows/paper.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from pydantic import Field
from pydantic.dataclasses import dataclass

from ifas_model.strict import STRICT, build, read_yaml
from scf_pipeline.errors import ConfigError
from scf_pipeline.preflight.findings import Finding, missing, of_error
from scf_pipeline.steps import OnSite


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Site:
    """What a site has."""

    datasets: Path = Path("datasets.yaml")
    """File of ``name: root`` lines."""

    models: dict[str, str] = Field(default_factory=dict)
    """Folder, or hub id with the 40 hex digits of a commit, of each model."""

    accepted_terms: tuple[str, ...] = ()
    """Datasets and models whose terms of use were read and accepted."""

    gpus_per_worker: float = Field(default=1, ge=0, allow_inf_nan=False)
    """GPUs for each worker that runs a model; a fraction where workers share one, 0 for none."""


def read_site(file: Path, flow: OnSite) -> tuple[Site, list[Finding]]:
    """Return what a file tells, as far as it can be read, and what is wrong with it.

    Relative paths start at the file.
    """
    findings: list[Finding] = []
    site = Site()
    if not file.is_file():
        fix = f"Write it; the models it must name are {', '.join(flow.models)}."
        findings.append(missing(str(file), "the file that tells what is here must exist", fix=fix))
    else:
        try:
            site = build(Site, read_yaml(file), where=file)
        except ConfigError as error:
            findings.append(of_error(str(file), error))
    findings += _unknown(file, "models", site.models, flow.models)
    known = (*flow.datasets, *flow.models)
    findings += _unknown(file, "accepted_terms", site.accepted_terms, known)
    models = {name: _from(file.parent, text) for name, text in site.models.items()}
    datasets = file.parent / site.datasets.expanduser()
    return replace(site, datasets=datasets, models=models), findings


def _unknown(file: Path, key: str, names: Iterable[str], known: Iterable[str]) -> list[Finding]:
    """Return a finding for each name under a key that the flow does not know."""
    known = list(known)
    return [
        missing(
            str(file),
            f"`{key}` must name what the flow wants, but names {name!r}",
            fix=f"Did you mean {', '.join(get_close_matches(name, known, n=1) or known)}?",
        )
        for name in names
        if name not in known
    ]


def _from(start: Path, text: str) -> str:
    """Return the folder that a model's text names, seen from a folder, or else the text."""
    folder = start / Path(text).expanduser()
    return str(folder.resolve()) if folder.is_dir() else text
