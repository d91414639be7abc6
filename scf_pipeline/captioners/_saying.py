"""What captioners that run on torch share, from the next token to the finished sentence.

Shapes in this file:
    R rows, W vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from accelerate.utils.memory import should_reduce_batch_size
from torch import Tensor
from transformers import TopPLogitsWarper

INSIST_PENALTY = 1.2
"""Repetition penalty of the second try, after a degenerate caption."""

OUT_OF_MEMORY = (
    "std::bad_alloc",
    "could not create a primitive",  # oneDNN's, of a CPU
    "could not execute a primitive",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
"""What torch says where memory fails outside of its own allocator, which accelerate knows."""


class SeededSampling:
    """Turns greedy search into sampling in which each row draws from its own generator.

    The arg max of log-probabilities plus Gumbel noise is a draw from the distribution. So a row's
    caption depends on its seed, and neither on its batch nor on the worker.

    Args:
        seeds: One for each row, 64 bits.
        temperature: Divisor of the logits.
        top_p: Probability mass of the tokens that may be drawn.
    """

    def __init__(self, seeds: Sequence[int], *, temperature: float, top_p: float) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.temperature = temperature
        self.nucleus = TopPLogitsWarper(top_p)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the scores of the allowed tokens plus noise, (R, W)."""
        scores = self.nucleus(input_ids, scores.float() / self.temperature)
        noise = torch.stack(
            [torch.empty(scores.shape[1]).exponential_(generator=g) for g in self.generators]
        )
        return scores - noise.log().to(scores.device)

    def keep(self, rows: Tensor) -> None:
        """Forget all rows but these."""
        self.generators = [self.generators[row] for row in rows.tolist()]


@contextmanager
def lack_of_memory_is_said() -> Iterator[None]:
    """Raise `MemoryError` where torch, of a GPU or of a CPU, has too little memory for a batch."""
    try:
        yield
    except RuntimeError as error:
        told = str(error)
        if not (should_reduce_batch_size(error) or any(sign in told for sign in OUT_OF_MEMORY)):
            raise
        raise MemoryError(told.splitlines()[0]) from error


def tidy(text: str, *, prompt: str) -> str:
    """Return a caption with single spaces, without an echo of the prompt or a final full stop."""
    words = " ".join(text.split())
    echo = " ".join(prompt.split())
    if echo and words.lower().startswith(echo.lower()):
        words = words[len(echo) :]
    return words.strip().removesuffix(".").rstrip()
