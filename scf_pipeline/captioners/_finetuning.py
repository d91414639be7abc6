"""Fine-tuning of BLIP-2 on captioned pictures.

Shapes in this file:
    N rows, B rows of a micro-batch, P image patches and class token, V vision width.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import Blip2ForConditionalGeneration, Blip2Processor

from scf_pipeline.captioners import Model
from scf_pipeline.captioners._blip2 import end_tokens, load_parts, save_parts
from scf_pipeline.captioners._pictures import decode_png
from scf_pipeline.captioners._seeing import pixel_values, see
from scf_pipeline.captioners._teaching import Writer, summed_loss
from scf_pipeline.captioners._training import History, Schedule, fit

TrainedParts = Literal["qformer", "qformer_and_language", "lora", "full"]

CACHE_BYTES = 8 * 2**30
"""Features of a frozen vision tower are computed once if they take at most this much disk."""

QFORMER = ("qformer.", "query_tokens", "language_projection.")
LANGUAGE = ("language_model.",)
LORA_RANK, LORA_ALPHA = 16, 32
LORA_TARGETS = r"language_model.*\.(q_proj|k_proj)"
"""The widely used recipe for BLIP-2's OPT: queries and keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to fine-tune."""

    trained_parts: TrainedParts
    """What learns; the rest stays as it was."""

    micro_batch_size: int
    """Rows in memory at a time; gradients of a batch are accumulated."""

    schedule: Schedule
    """How long and how fast."""


Draw = Callable[[int], tuple[NDArray[np.int64], NDArray[np.bool_]]]
"""Step -> the rows of its batch, and which of them are mirrored."""


def finetune(
    model: Model, taught: pa.Table, held_out: pa.Table, draw: Draw, recipe: Recipe, scratch: Path
) -> History:
    """Fine-tune a checkpoint and write the result to ``<scratch>/weights``.

    Args:
        model: The checkpoint to begin with.
        taught: Rows with `face_id`, `image` (PNG) and `caption` to learn from.
        held_out: The same, to judge by; may be empty.
        draw: Which rows each step learns from.
        recipe: How.
        scratch: Local folder for checkpoints and cached features, the same after an interruption.
    """
    on_gpu = torch.cuda.is_available()
    weights, processor, instructions = load_parts(
        model, dtype=torch.bfloat16 if on_gpu else torch.float32
    )
    if on_gpu:
        weights.to("cuda")  # type: ignore[arg-type]
    trained = choose_trained(weights, recipe.trained_parts, seed=recipe.schedule.seed)
    course = Course(weights, processor, Writer(processor, instructions, end_tokens(weights)[0]))
    lessons = _Lessons.open(course, taught, recipe, scratch / "taught.features")
    exam = _Lessons.open(course, held_out, recipe, scratch / "held_out.features")

    def losses_at(step: int) -> Iterator[Tensor]:
        set_modes(weights)
        return lessons.losses(*draw(step))

    history = fit(
        trained,
        losses_at,
        recipe.schedule,
        checkpoint=scratch / "checkpoint.pt",
        judge=exam.mean_loss if held_out.num_rows else None,
    )
    merged: Any = trained.merge_and_unload() if recipe.trained_parts == "lora" else weights
    merged.eval().cpu()
    save_parts(scratch / "weights", merged, processor, instructions)
    return history


def choose_trained(model: Blip2ForConditionalGeneration, parts: TrainedParts, *, seed: int) -> Any:  # noqa: ANN401 - BLIP-2, or peft's wrapper of it
    """Freeze all but the parts to train, which are kept in float32.

    Returns:
        What to train: the model, or its adapters around it.
    """
    trained: Any = model
    if parts == "lora":
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(seed)
        config = LoraConfig(r=LORA_RANK, lora_alpha=LORA_ALPHA, target_modules=LORA_TARGETS)
        with warnings.catch_warnings():
            # peft asks transformers for an attribute under its former name.
            warnings.simplefilter("ignore", FutureWarning)
            trained = get_peft_model(model, config)
    else:
        prefixes = {"qformer": QFORMER, "qformer_and_language": QFORMER + LANGUAGE, "full": ("",)}
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith(prefixes[parts]))
    for parameter in trained.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return trained


def set_modes(model: Blip2ForConditionalGeneration) -> None:
    """Put what learns into training mode and what is frozen into evaluation mode."""
    for part in (model.vision_model, model.qformer, model.language_model):
        part.train(any(parameter.requires_grad for parameter in part.parameters()))


@dataclass(frozen=True, slots=True)
class Course:
    """A model, and how its lessons are written."""

    model: Blip2ForConditionalGeneration
    processor: Blip2Processor
    writer: Writer

    @property
    def sees_the_same(self) -> bool:
        """Whether the vision tower is frozen."""
        return not any(p.requires_grad for p in self.model.vision_model.parameters())

    def look(self, pictures: Sequence[NDArray[np.uint8]], mirrored: NDArray[np.bool_]) -> Tensor:
        """Return the features of some pictures, RGB, (H, W, 3) each: (B, P, V)."""
        pixels = pixel_values(self.processor, pictures)
        flip = torch.from_numpy(mirrored)[:, None, None, None]
        pixels = torch.where(flip, pixels.flip(-1), pixels).to(self.model.device)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.sees_the_same):
            return see(self.model, pixels.to(self.model.vision_model.dtype))


class _Lessons:
    """Rows to learn from or to be judged by, with their features cached where they never change."""

    def __init__(self, course: Course, rows: pa.Table, micro_batch_size: int) -> None:
        self.course, self.rows, self.micro_batch_size = course, rows, micro_batch_size
        self.captions: list[str] = rows["caption"].to_pylist()
        self.cached: Tensor | None = None

    @classmethod
    def open(cls, course: Course, rows: pa.Table, recipe: Recipe, cache: Path) -> _Lessons:
        lessons = cls(course, rows, recipe.micro_batch_size)
        if rows.num_rows and course.sees_the_same:
            lessons._cache(cache)
        return lessons

    def losses(self, rows: NDArray[np.int64], mirrored: NDArray[np.bool_]) -> Iterator[Tensor]:
        """Yield the losses of micro-batches; their sum is the mean over the batch's targets."""
        device = self.course.model.device
        chunks = range(0, len(rows), self.micro_batch_size)
        lessons = [
            self.course.writer.write([self.captions[row] for row in chunk], device)
            for chunk in (rows[at : at + self.micro_batch_size] for at in chunks)
        ]
        targets = sum(lesson.num_targets for lesson in lessons)
        for at, lesson in zip(chunks, lessons, strict=True):
            part = slice(at, at + self.micro_batch_size)
            with torch.autocast("cuda", dtype=torch.bfloat16, enabled=device.type == "cuda"):
                features = self._features(rows[part], mirrored[part])
                loss = summed_loss(self.course.model, features, lesson) / targets
            yield loss

    def mean_loss(self) -> float:
        """Return the mean loss of all rows, unmirrored, without learning from them."""
        self.course.model.train(mode=False)
        rows = np.arange(self.rows.num_rows)
        with torch.no_grad():
            return float(sum(self.losses(rows, np.zeros(len(rows), dtype=bool))))

    def _features(self, rows: NDArray[np.int64], mirrored: NDArray[np.bool_]) -> Tensor:
        if self.cached is not None:
            found = self.cached[torch.from_numpy(mirrored.astype(np.int64)), torch.from_numpy(rows)]
            return found.to(self.course.model.device)
        pictures = [
            decode_png(self.rows["image"][row].as_py(), name=self.rows["face_id"][row].as_py())
            for row in rows.tolist()
        ]
        return self.course.look(pictures, mirrored)

    def _cache(self, path: Path) -> None:
        """Compute the features of all rows, plain and mirrored, into a file of (2, N, P, V)."""
        sample = self._features(np.zeros(1, dtype=np.int64), np.zeros(1, dtype=bool))[0]
        shape = (2, self.rows.num_rows, *sample.shape)
        size = int(np.prod(shape))
        if size * sample.element_size() > CACHE_BYTES:
            return
        if not path.is_file():
            partial = path.with_suffix(".partial")
            partial.unlink(missing_ok=True)
            fresh = torch.from_file(str(partial), shared=True, size=size, dtype=sample.dtype)
            self._fill(fresh.view(shape))
            del fresh
            partial.replace(path)
        stored = torch.from_file(str(path), shared=False, size=size, dtype=sample.dtype)
        self.cached = stored.view(shape)

    @torch.no_grad()
    def _fill(self, target: Tensor) -> None:
        for at in range(0, self.rows.num_rows, self.micro_batch_size):
            rows = np.arange(at, min(at + self.micro_batch_size, self.rows.num_rows))
            for mirrored in (False, True):
                seen = self._features(rows, np.full(len(rows), mirrored))
                target[int(mirrored), at : at + len(rows)] = seen.cpu()
