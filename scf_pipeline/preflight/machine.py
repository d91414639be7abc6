"""The machine of a site: its GPUs, its disk, and how long a plan would take on it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ifas_model.config import IFasConfig, TrainConfig
from scf_pipeline.preflight import samples
from scf_pipeline.preflight.costs import Load, caption_bytes, totals, training_bytes
from scf_pipeline.preflight.findings import (
    Finding,
    missing,
    note,
    ready,
    reason_of,
    warning,
)
from scf_pipeline.preflight.models import Held
from scf_pipeline.stages.caption import CaptionConfig
from scf_pipeline.steps import Planned

GB = 1e9


class Gpus(NamedTuple):
    """The GPUs of this machine."""

    number: int
    """How many."""

    name: str
    """Of the first."""

    memory: int
    """Of the smallest, in bytes."""


def look_for_gpus() -> Gpus | None:
    """Return the GPUs that torch sees; ``None`` if it sees none.

    It is asked in a process of its own: a GPU that was looked at keeps memory for whoever did.
    """
    return samples.apart(_gpus)


def _gpus() -> Gpus | None:
    import torch

    if not torch.cuda.is_available():
        return None
    found = [torch.cuda.get_device_properties(n) for n in range(torch.cuda.device_count())]
    return Gpus(len(found), found[0].name, min(one.total_memory for one in found))


def check_gpus(
    gpus: Gpus | None, share: float, steps: Sequence[Planned], models: Mapping[str, Held]
) -> list[Finding]:
    """Return whether there are the GPUs that the site wants, and whether the batches fit.

    Args:
        gpus: What the machine has.
        share: GPUs for each worker.
        steps: The plan.
        models: Models that are there.
    """
    if share == 0:
        return [warning("GPU", "none is asked for (`gpus_per_worker: 0`): real models take years")]
    if address := os.environ.get("RAY_ADDRESS"):
        return [note("GPU", f"those of the Ray cluster at {address}, which is not looked at")]
    if gpus is None or gpus.number < share:
        found = "torch sees none" if gpus is None else f"torch sees {gpus.number}"
        fix = "Run it on a machine with a CUDA GPU and torch's CUDA build."
        return [missing("GPU", f"a worker must have {share:g}, but {found}", fix=fix)]
    memory = gpus.memory * min(share, 1.0)
    told = f"{gpus.number} x {gpus.name}, {memory / GB:,.0f} GB for each worker"
    return [ready("GPU", told), *_check_memory(memory, steps, models)]


def _check_memory(
    memory: float, steps: Sequence[Planned], models: Mapping[str, Held]
) -> list[Finding]:
    """Return whether captioning and training fit; memory of what is not there yet is unknown."""
    configs = [one.step.config for one in steps]
    batch = max((one.batch_size for one in configs if isinstance(one, CaptionConfig)), default=0)
    fulls = [
        one
        for one in configs
        if isinstance(one, TrainConfig) and isinstance(one.method, IFasConfig)
    ]
    captioner = models.get("captioner")
    captioning = None if captioner is None else caption_bytes(captioner, batch)
    single = None if captioner is None else caption_bytes(captioner, 1)
    is_there = {"tower_large", "language"} <= models.keys()
    training = (
        training_bytes(fulls[0], models["tower_large"], models["language"])
        if fulls and is_there
        else None
    )
    findings = []
    for name, need, fix in (
        ("captioning", captioning, "Let each worker have a whole GPU, or a larger one."),
        ("training", training, "Take a larger GPU, or raise `accumulation` of `full`."),
    ):
        subject = f"GPU memory of {name}"
        if need is None:
            findings.append(note(subject, "unknown until its models are here"))
        elif need <= memory:
            findings.append(ready(subject, f"about {need / GB:,.1f} GB"))
        elif name == "captioning" and single is not None and single <= memory:
            text = (
                f"about {need / GB:,.1f} GB for a whole batch, which will be halved until it fits"
            )
            findings.append(warning(subject, text))
        else:
            text = f"about {need / GB:,.1f} GB must fit, but a worker has {memory / GB:,.1f} GB"
            findings.append(missing(subject, text, fix=fix))
    return findings


def check_disk(out: Path, loads: Sequence[Load], planned: Sequence[Planned]) -> list[Finding]:
    """Return what the steps leave on disk, stage by stage, and whether that fits.

    Args:
        out: Folder for the artifacts, which need not exist.
        loads: What each step leaves.
        planned: The steps; those that are sealed need no more.
    """
    place = next(one for one in (out.resolve(), *out.resolve().parents) if one.is_dir())
    free = shutil.disk_usage(place).free
    if not planned:
        told = f"need unknown until there are datasets; {free / GB:,.1f} GB are free at {place}"
        return [note("disk", told)]
    findings = []
    for stage, (number, size) in totals(loads).items():
        told = "unknown until its models are here" if size is None else f"{size / GB:,.2f} GB"
        findings.append(note("disk", f"{stage}, {number} steps: {told}"))
    todo = [
        load.bytes_written or 0
        for load, one in zip(loads, planned, strict=True)
        if not is_sealed(out, one)
    ]
    need = sum(todo)
    least = "at least" if any(load.bytes_written is None for load in loads) else "about"
    told = f"{least} {need / GB:,.1f} GB are needed, and {free / GB:,.1f} GB are free at {place}"
    if need > free:
        fix = "Free the disk, or name another folder with --out."
        return [*findings, missing("disk", told, fix=fix)]
    return [*findings, ready("disk", told)]


def is_sealed(out: Path, planned: Planned) -> bool:
    """Tell whether a step was done already."""
    return (out / planned.folder / "manifest.json").is_file()


def check_time(
    loads: Sequence[Load], planned: Sequence[Planned], models: Mapping[str, Held], side: int
) -> list[Finding]:
    """Return how long captioning and each method's trainings take, from a short timed sample.

    Args:
        loads: What each step does.
        planned: The steps.
        models: Models that are there.
        side: Of the crops, in pixels.
    """
    if not planned:
        return [note("time", "unknown until there are datasets and models")]
    findings, hours = [], 0.0
    units = {one.unit: one for one in loads if one.unit is not None}
    for unit in units:
        several = [one for one in loads if one.unit == unit]
        step = next(p for p, one in zip(planned, loads, strict=True) if one.unit == unit).step
        number = sum(one.units for one in several)
        kind = "captions" if unit == "caption" else "updates"
        told = f"{unit}, {len(several)} steps, {number:,} {kind}"
        try:
            seconds = _time(step.config, step.inputs, models, side)
        except Exception as error:  # noqa: BLE001 - whatever breaks a sample would break the run
            findings.append(warning("time", f"{told}: a sample failed: {reason_of(error)}"))
            continue
        if seconds is None:
            findings.append(note("time", f"{told}: unknown until its models are here"))
            continue
        hours += seconds * number / 3600
        per = f"{seconds * 1000:,.0f} ms each"
        findings.append(note("time", f"{told}, {per}: {seconds * number / 3600:,.1f} hours"))
    whole = (
        f"{hours:,.1f} hours of one worker, GPU-hours if it has a GPU; "
        "fine-tuning and judging come on top"
    )
    return [*findings, note("time", whole)] if hours else findings


def _time(
    config: object, inputs: Mapping[str, object], models: Mapping[str, Held], side: int
) -> float | None:
    """Return the seconds of one caption or update; ``None`` where a model is not on this disk."""
    by_external = {one.external: one for one in models.values()}

    def folder(name: str) -> str | None:
        held = by_external.get(inputs.get(name))  # type: ignore[call-overload]
        return None if held is None or held.folder is None else str(held.folder)

    if isinstance(config, CaptionConfig):
        captioner = models.get("captioner")
        if captioner is None or captioner.folder is None:
            return None
        return samples.apart(samples.seconds_per_caption, captioner.external.name, side)
    if not isinstance(config, TrainConfig):
        raise TypeError(f"`config` must be of captions or a training, but is {config!r}.")
    tower, language = folder("tower"), folder("language")
    if tower is None or (language is None and isinstance(config.method, IFasConfig)):
        return None
    return samples.apart(samples.seconds_per_update, config, side, tower, language)
