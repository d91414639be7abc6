"""The best weights of a phase, where a training chooses by more than time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_model

from ifas_model import metrics
from ifas_model.data import Faces
from ifas_model.features import FeatureStore
from ifas_model.judging import Item
from ifas_model.scoring import score

FACES_AT_ONCE = 256
"""Faces that are scored at a time."""


class Exam:
    """Faces by which weights are marked; no look changes what a model learns after it.

    Args:
        parts: One set of faces, or several.
        store: Features that stand in for pixels.
        texts: What the judge concludes from before it is marked, as at the end of its training.
    """

    def __init__(
        self, parts: Sequence[Faces], store: FeatureStore | None, texts: Sequence[Item]
    ) -> None:
        self.parts, self.store, self.texts = parts, store, texts

    def mark(self, judge: Any) -> float:  # noqa: ANN401 - a Judge and a module
        """Return the AUC by sample, the mean over the sets of faces."""
        was_training = judge.training
        judge.train(mode=False)
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices=devices):
            judge.conclude(self.texts)
            found = [score(judge, part, self.store, FACES_AT_ONCE).samples() for part in self.parts]
        judge.train(mode=was_training)
        return float(np.mean([metrics.auc(one.scores, one.is_bona_fide) for one in found]))


class Best:
    """The best weights so far, the first of equal ones, in a file that is replaced as a whole.

    A resumed run looks again at the steps since its checkpoint and finds the same marks, so it
    ends with the weights of an undisturbed one, whatever of them the killed one had kept.

    Args:
        exam: Marks weights.
        folder: Of the file.
    """

    def __init__(self, exam: Exam, folder: Path) -> None:
        self.exam, self.file = exam, folder / "model.safetensors"

    def look(self, judge: Any, step: int) -> None:  # noqa: ANN401 - a Judge and a module
        """Mark the weights of a step, and keep them if they are the best."""
        mark = self.exam.mark(judge)
        if self.file.is_file():
            held = _notes(self.file)
            if (mark, -step) <= (float(held["mark"]), -int(held["step"])):
                return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        partial = self.file.with_suffix(".partial")
        save_model(judge, str(partial), metadata={"step": str(step), "mark": repr(mark)})
        partial.replace(self.file)


def step_of(file: Path) -> int:
    """Return the step after which a file's weights were saved."""
    return int(_notes(file)["step"])


def _notes(file: Path) -> dict[str, str]:
    with safe_open(str(file), "pt") as opened:
        notes: dict[str, str] = opened.metadata()
    return notes
