"""One resumable training loop: the same weights after any interruption.

All randomness of a step is a function of seed and step, so a checkpoint needs no generator states
and no position in the data: weights, optimizer and step number say everything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ifas_model.checkpoint import BROKEN
from scf_pipeline.captioners._muon import Muon
from scf_pipeline.errors import StageError

IN_BLOCK = re.compile(r"(?:^|\.)layers?\.\d+\.")
"""Names of parameters inside a transformer block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how fast to train."""

    steps: int
    """Updates of the weights."""

    learning_rate: float
    """Peak of the learning rate."""

    warmup_steps: int
    """Steps of linear warm-up, before the cosine to zero."""

    weight_decay: float
    """Decay of matrices; vectors (biases, norms) have none."""

    betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of AdamW's moments."""

    muon_rate: float | None = None
    """Peak rate of Muon, which then trains the matrices inside transformer blocks; the rest stays
    with AdamW. ``None`` leaves all to AdamW."""

    max_gradient_norm: float = 1.0
    """Gradients are scaled down to this norm."""

    seed: int = 0
    """Of dropout; data order is the caller's."""

    checkpoint_every: int = 200
    """Steps between checkpoints."""

    judge_every: int = 200
    """Steps between points of the loss curve."""

    def share(self, step: int) -> float:
        """Return the share of the peak rates at a step, counted from 0."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * done))


@dataclass(slots=True)
class History:
    """What happened so far; plain data, kept in the checkpoint."""

    losses: list[float]
    """Training loss of each step."""

    judged: list[tuple[int, float]]
    """Number of steps done, and the held-out loss then."""

    def curve(self, every: int) -> list[dict[str, float | None]]:
        """Return step, mean training loss since the point before, and held-out loss."""
        held_out = dict(self.judged)
        points = range(0, len(self.losses), every)
        ends = [min(start + every, len(self.losses)) for start in points]
        return [
            {
                "step": end,
                "train": sum(self.losses[start:end]) / (end - start),
                "held_out": held_out.get(end),
            }
            for start, end in zip(points, ends, strict=True)
        ]


def fit(
    module: nn.Module,
    losses_at: Callable[[int], Iterable[Tensor]],
    schedule: Schedule,
    *,
    checkpoint: Path,
    judge: Callable[[], float] | None = None,
) -> History:
    """Train what requires gradients, from the last checkpoint if there is one.

    Args:
        module: Holds the parameters and buffers to train and to restore.
        losses_at: The losses of a step; they are added up, and each is freed before the next is
            computed (gradient accumulation). Must depend on the step alone.
        schedule: How long and how fast.
        checkpoint: File that is written now and then, whole, and read first.
        judge: Held-out loss; must not touch the weights.
    """
    optimizers = _optimizers(module, schedule)
    start, history = _resume(checkpoint, module, optimizers)
    with torch.random.fork_rng():
        for step in range(start, schedule.steps):
            torch.manual_seed(schedule.seed * 1_000_003 + step)
            history.losses.append(_update(losses_at(step), optimizers, schedule, step))
            done = step + 1
            is_last = done == schedule.steps
            if judge is not None and (is_last or done % schedule.judge_every == 0):
                history.judged.append((done, judge()))
            if is_last or done % schedule.checkpoint_every == 0:
                _save(checkpoint, module, optimizers, done, history)
    return history


def _optimizers(module: nn.Module, schedule: Schedule) -> list[torch.optim.Optimizer]:
    """Return AdamW, and Muon for what is its own if the schedule wants it."""
    inner: list[nn.Parameter] = []
    matrices: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.ndim < 2:
            vectors.append(parameter)
        elif schedule.muon_rate is not None and parameter.ndim == 2 and IN_BLOCK.search(name):
            inner.append(parameter)
        else:
            matrices.append(parameter)
    groups = [
        {"params": matrices, "weight_decay": schedule.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=schedule.learning_rate,
            betas=schedule.betas,
        )
    ]
    if schedule.muon_rate is not None and inner:
        precision = torch.bfloat16 if multiplies_bfloat16() else torch.float32
        optimizers.append(
            Muon(
                inner,
                lr=schedule.muon_rate,
                weight_decay=schedule.weight_decay,
                dtype=precision,
            )
        )
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def _update(
    losses: Iterable[Tensor],
    optimizers: Sequence[torch.optim.Optimizer],
    schedule: Schedule,
    step: int,
) -> float:
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    for group in groups:
        group["lr"] = group["peak"] * schedule.share(step)
    total = 0.0
    for loss in losses:
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    trained = [parameter for group in groups for parameter in group["params"]]
    nn.utils.clip_grad_norm_(trained, schedule.max_gradient_norm)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return total


def _state(module: nn.Module) -> dict[str, Tensor]:
    """Return what training changes: parameters that require gradients, and buffers."""
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    return trained | dict(module.named_buffers())


def _save(
    path: Path,
    module: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    step: int,
    history: History,
) -> None:
    partial = path.with_suffix(".partial")
    state = {
        "step": step,
        "weights": {name: tensor.detach() for name, tensor in _state(module).items()},
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "losses": history.losses,
        "judged": history.judged,
    }
    torch.save(state, partial)
    partial.replace(path)


def _resume(
    path: Path, module: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> tuple[int, History]:
    if not path.is_file():
        return 0, History(losses=[], judged=[])
    try:
        # Tensors and plain data alone: a pickle may do anything else, and is refused.
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        with torch.no_grad():
            for name, tensor in _state(module).items():
                tensor.copy_(saved["weights"][name])
        for optimizer, state in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        return saved["step"], History(losses=saved["losses"], judged=saved["judged"])
    except BROKEN as error:
        raise StageError(
            f"A checkpoint of training must be as it was saved, but is not: {error}.",
            where=str(path),
            fix="Delete it; the training begins anew.",
        ) from error


def narrow() -> torch.autocast:
    """Return a context that multiplies matrices in bfloat16, on processors that do so natively.

    There it halves the time of a training step; elsewhere bfloat16 is emulated, and float32 stays.
    """
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=multiplies_bfloat16())


@cache
def multiplies_bfloat16() -> bool:
    """Tell whether this machine's processor has instructions for bfloat16."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return any(name in flags for name in ("avx512_bf16", "amx_bf16"))
