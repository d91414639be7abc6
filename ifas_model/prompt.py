"""The question, and the answer in its two segments (I-FAS, eq. 3)."""

from __future__ import annotations

import re
from typing import NamedTuple

from ifas_model.vocabulary import Label

QUESTION = "Is this photo of a real person?"
"""T_Q, the one question of every sample. Source: I-FAS, eq. (3)."""

SEPARATOR = ". "
"""PAPER: what stands between judgment and interpretation is not stated."""

JUDGMENTS = {Label.BONA_FIDE: "Yes", Label.ATTACK: "No"}


class Answer(NamedTuple):
    """T_A in its two segments."""

    judgment: str
    """``Yes`` or ``No``."""

    interpretation: str
    """``This is <caption>``."""

    @property
    def text(self) -> str:
        """The whole answer."""
        return f"{self.judgment}{SEPARATOR}{self.interpretation}"


def answer(label: Label, caption: str) -> Answer:
    """Return the answer to `QUESTION` for one picture.

    Args:
        label: Whether the picture is bona fide.
        caption: T_R or T_S; its first letter is lowered unless the first word is all capitals, and
            final full stops are dropped.

    Raises:
        ValueError: If the caption is empty but for full stops.

    Source: I-FAS, eq. (3).
    """
    text = re.sub(r"[\s.]+\Z", "", caption.strip())
    if not text:
        raise ValueError(f"`caption` must hold words, but is {caption!r}.")
    first = text.split(maxsplit=1)[0]
    if not (len(first) > 1 and first.isupper()):
        text = text[0].lower() + text[1:]
    return Answer(JUDGMENTS[label], f"This is {text}")
