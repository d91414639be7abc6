"""What a caption may say.

Shapes in this file:
    W vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What may be written. The options of `generate` of the same names mean the same."""

    end_tokens: Sequence[int]
    """Ids that end a caption."""

    pad_token: int
    """Id that fills what comes after the end."""

    suppressed: int
    """Id that is never written."""

    min_new_tokens: int = 0
    """Least number of tokens before an end."""

    max_new_tokens: int
    """Largest number of tokens, the end included."""

    repetition_penalty: float = 1.0
    """Factor against tokens that occurred already, in the prompt too."""

    num_beams: int = 1
    """Width of the beam search; 1 takes the best token of each step."""

    length_penalty: float = 1.0
    """Exponent of the length by which the score of a beam is divided."""

    def discourage(self, text: Tensor, scores: Tensor) -> Tensor:
        """Return scores of the next token that heed what was said, (..., any), (..., W)."""
        if self.repetition_penalty == 1:
            return scores
        said = scores.gather(-1, text)
        said = torch.where(said < 0, said * self.repetition_penalty, said / self.repetition_penalty)
        return scores.scatter(-1, text, said)

    def banned(self, step: int) -> list[int]:
        """Return what may not be the next token."""
        return [self.suppressed, *(self.end_tokens if step < self.min_new_tokens else ())]

    def forbid(self, scores: Tensor, step: int) -> None:
        """Take, in place, from the scores what may not be the next token, (..., W)."""
        scores[..., self.banned(step)] = -torch.inf
