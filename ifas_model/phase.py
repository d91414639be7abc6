"""One phase of training, on the Hugging Face Trainer: killed at any moment, it ends the same.

All order is a function of the seed: `Draw` lists every face of a phase before it begins, and the
Trainer restores weights, optimizer, schedule and generators, so a resumed run ends in the weights
of an undisturbed one.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.utils.data import Sampler
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from ifas_model import json_data
from ifas_model.checkpoint import reading
from ifas_model.config import PhaseConfig, TrainConfig
from ifas_model.judging import Judged
from ifas_model.lesson import Draw, Lesson, group_names
from ifas_model.selection import Best, Exam

WEIGHTS, LOG = Path("weights", "model.safetensors"), "log.json"
"""File, in a phase's scratch, of the weights that it ended with; beside it, its log."""

ANEW = "Delete it; the training begins anew from there."
"""What to do about a checkpoint of a killed run that is damaged."""

SCALARS = ("loss", "judgment", "interpretation", "learning_rate")
"""What is logged of a step."""


def steps_of(phase: PhaseConfig, samples: int) -> int:
    """Return the updates of a phase over so many samples."""
    return phase.steps or max(1, math.ceil(phase.epochs * samples / phase.batch_size))


class PhaseTrainer(Trainer):
    """The Hugging Face Trainer with our order and our rates, both parts of the loss in its log.

    Args:
        judge: Learns in place.
        lesson: What it learns from.
        config: Settings of the run.
        number: Which of its phases.
        scratch: Folder of this phase's checkpoints.
        exam: What its weights are chosen by; ``None`` ends with the last.
    """

    def __init__(
        self,
        judge: Any,  # noqa: ANN401 - a Judge and a module
        lesson: Lesson,
        config: TrainConfig,
        number: int,
        scratch: Path,
        exam: Exam | None = None,
    ) -> None:
        phase = config.phases[number]
        steps = steps_of(phase, len(lesson.faces))
        super().__init__(
            judge,
            _arguments(config, number, steps, scratch),
            train_dataset=lesson,
            data_collator=judge.collate,
            callbacks=[Rhythm(self.look)],
        )
        self.judge: nn.Module = judge
        self.phase, self.scratch, self.has_texts = phase, scratch, lesson.has_texts
        self.draw = Draw(
            group_names(lesson.faces),
            steps * phase.batch_size,
            [config.seed, 1, number],
            is_balanced=config.sampler == "balanced",
            flip=config.flip,
        )
        self.best = None if exam is None else Best(exam, scratch / "checkpoint.best")
        epoch = max(1, math.ceil(len(lesson.faces) / phase.batch_size))
        self.look_every = config.select_every or epoch
        self.remove_callback(PrinterCallback)  # stdout is for paths and JSON
        self.model_accepts_loss_kwargs = False  # our losses are means over a batch
        self.parts: list[tuple[Tensor | None, Tensor | None]] = []
        self.board: Board | None = None
        self.started = time.monotonic()

    def run(self, logs: Path | None) -> list[dict[str, Any]]:
        """Train, or take up what an earlier run ended with, and return the log.

        Args:
            logs: Folder for TensorBoard.

        Raises:
            ModelError: If what an earlier run left is damaged.
        """
        ended = self.scratch / WEIGHTS
        if ended.is_file():
            with reading(ended.parent, ANEW):
                load_model(self.judge, ended)
                history: list[dict[str, Any]] = json_data.read(ended.with_name(LOG))
            return history
        step, checkpoint = 0, None
        if found := sorted(self.scratch.glob("checkpoint-*"), key=_step_of):
            step, checkpoint = _step_of(found[-1]), str(found[-1])
            with reading(found[-1], ANEW):
                state = TrainerState(**json_data.read(found[-1] / "trainer_state.json"))
                self.started -= state.log_history[-1]["seconds"]
        self.board = None if logs is None else Board(logs, step)
        try:
            self.train(resume_from_checkpoint=checkpoint)
        finally:
            if self.board is not None:
                self.board.writer.close()
        partial = self.scratch / "weights.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        self._save_last_or_best(partial / ended.name)
        (partial / LOG).write_text(json.dumps(self.state.log_history), "utf-8")
        partial.rename(ended.parent)
        for folder in self.scratch.glob("checkpoint*"):
            shutil.rmtree(folder)
        return self.state.log_history

    def look(self, step: int) -> None:
        """Look at the weights of a step, if they are chosen and this is a step to look at."""
        is_due = step % self.look_every == 0 or step == self.state.max_steps
        if self.best is not None and is_due:
            with self.accelerator.autocast():
                self.best.look(self.judge, step)

    def _save_last_or_best(self, file: Path) -> None:
        if self.best is None:
            save_model(self.judge, str(file), metadata={"step": str(self.state.global_step)})
        else:
            shutil.copyfile(self.best.file, file)
            load_model(self.judge, file)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,  # noqa: ANN401, ARG002 - the Trainer's own
    ) -> Any:  # noqa: ANN401 - the Trainer's own
        """Return the loss, and keep its parts for the log."""
        judged: Judged = model(**inputs)
        told = judged.interpretation if self.has_texts else None
        parts = (judged.judgment, told)
        self.parts.append(tuple(part if part is None else part.detach() for part in parts))  # type: ignore[arg-type]
        return (judged.loss, judged) if return_outputs else judged.loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the mean of both parts of the loss since the last time."""
        if "loss" in logs:
            columns = zip(*self.parts, strict=True)
            for name, values in zip(("judgment", "interpretation"), columns, strict=True):
                known = [value for value in values if value is not None]
                if known:
                    logs[name] = float(torch.stack(known).mean())
            self.parts = []
            logs["seconds"] = time.monotonic() - self.started
            if self.board is not None:
                self.board.write(logs, self.state.global_step)
        super().log(logs, start_time)

    def create_optimizer(
        self,
        model: nn.Module | None = None,  # noqa: ARG002 - the Trainer's own
    ) -> torch.optim.Optimizer:
        """Return AdamW: matrices decay, the language model may have a rate of its own."""
        if self.optimizer is None:
            groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
            for name, parameter in self.judge.named_parameters():
                if parameter.requires_grad:
                    is_matrix = parameter.ndim > 1 and not name.endswith("queries")
                    is_language = name.startswith("language.")
                    groups.setdefault((is_matrix, is_language), []).append(parameter)
            rates = {False: self.phase.learning_rate}
            rates[True] = self.phase.language_rate or self.phase.learning_rate
            self.optimizer = torch.optim.AdamW(
                [
                    {
                        "params": parameters,
                        "lr": rates[is_language],
                        "weight_decay": self.phase.weight_decay * is_matrix,
                    }
                    for (is_matrix, is_language), parameters in groups.items()
                ],
                lr=self.phase.learning_rate,
            )
        return self.optimizer

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:  # noqa: ANN401, ARG002 - the Trainer's own
        return self.draw

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        with reading(Path(resume_from_checkpoint), ANEW):
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            with reading(Path(checkpoint), ANEW):
                super()._load_optimizer_and_scheduler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            with reading(Path(checkpoint), ANEW):
                super()._load_rng_state(checkpoint)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:  # noqa: ANN401 - the Trainer's own
        """Save aside, then move: a run that is killed here leaves no half checkpoint."""
        super()._save_checkpoint(model, trial)
        older = list(self.scratch.glob("checkpoint-*"))
        made = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        made.rename(self.scratch / made.name)
        for folder in older:
            shutil.rmtree(folder)


class Rhythm(TrainerCallback):
    """Log wherever a checkpoint is saved, so that the curve of a resumed run is the same.

    Args:
        look: Told of every step, before its checkpoint.
    """

    def __init__(self, look: Callable[[int], None]) -> None:
        self.look = look

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002 - the Trainer's own
        state: TrainerState,
        control: TrainerControl,
        **_: Any,  # noqa: ANN401 - the Trainer's own
    ) -> None:
        """Log at the last step too, and save none there: the phase's weights are."""
        self.look(state.global_step)
        is_last = state.global_step >= state.max_steps
        control.should_save = control.should_save and not is_last
        control.should_log = control.should_log or control.should_save or is_last


class Board:
    """Scalars for TensorBoard.

    Args:
        folder: Of the event files.
        step: Step that a run goes on from; what a killed one wrote of later steps is hidden.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer: Any = SummaryWriter(str(folder), purge_step=step + 1)

    def write(self, logs: Mapping[str, float], step: int) -> None:
        """Write the scalars of a step."""
        for name in SCALARS:
            if name in logs:
                self.writer.add_scalar(name, logs[name], step)
        self.writer.flush()


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _arguments(config: TrainConfig, number: int, steps: int, scratch: Path) -> TrainingArguments:
    phase = config.phases[number]
    has_gpu = torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=str(scratch / "checkpoint.partial"),
        per_device_train_batch_size=phase.batch_size // phase.accumulation,
        gradient_accumulation_steps=phase.accumulation,
        max_steps=steps,
        learning_rate=phase.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(phase.warmup_fraction * steps),
        max_grad_norm=phase.max_gradient_norm,
        logging_steps=config.log_every,
        logging_nan_inf_filter=False,
        save_steps=config.checkpoint_every,
        seed=int(np.random.SeedSequence([config.seed, 3, number]).generate_state(1)[0]),
        use_cpu=not has_gpu,
        bf16=has_gpu,
        report_to="none",
        remove_unused_columns=False,
        dataloader_pin_memory=has_gpu,
        disable_tqdm=True,
        log_level="error",
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # noqa: SLF001 - else a second GPU doubles the batch
    return arguments
