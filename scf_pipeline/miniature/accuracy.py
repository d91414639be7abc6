"""Are captions true? What they name is compared with what was drawn."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from scf_pipeline.miniature.captions import PLACES
from scf_pipeline.miniature.faces import CLOTH_COLOURS, HAIR_COLOURS


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """How often captions are right about one attribute."""

    named: int
    """Captions that name the attribute of a picture that has it."""

    right: float
    """Share of those that name it rightly."""

    blind: float
    """Share that would be right if every one of them named the most frequent value."""


def caption_accuracy(
    captions: Sequence[str], attributes: Sequence[Mapping[str, str]]
) -> dict[str, Accuracy]:
    """Return how right captions are, by attribute.

    Args:
        captions: One for each picture.
        attributes: What is true of each picture, as the generic corpus tells it.

    Returns:
        An entry for each attribute that at least one caption names where it applies.
    """
    found = {}
    for name, read in READERS.items():
        pairs = [
            (said, true[name])
            for caption, true in zip(captions, attributes, strict=True)
            if name in true and (said := read(caption)) is not None
        ]
        if pairs:
            most = Counter(true for _, true in pairs).most_common(1)[0][1]
            right = sum(said == true for said, true in pairs)
            found[name] = Accuracy(
                named=len(pairs), right=right / len(pairs), blind=most / len(pairs)
            )
    return found


def _before(noun: str, values: Sequence[str]) -> Callable[[str], str | None]:
    pattern = re.compile(rf"\b({'|'.join(values)}) {noun}\b")

    def read(caption: str) -> str | None:
        match = pattern.search(caption)
        return match[1] if match else None

    return read


def _hair_length(caption: str) -> str | None:
    match = re.search(r"\b(?:(short|long) \w+ hair|(bald))\b", caption)
    return (match[1] or match[2]) if match else None


def _sex(caption: str) -> str | None:
    match = re.search(r"\b(man|woman)\b", caption)
    return match[1] if match else None


def _background(caption: str) -> str | None:
    found = [
        (len(phrase), place)
        for place, phrases in PLACES.items()
        for phrase in phrases
        if re.search(rf"\b{phrase}\b", caption)
    ]
    return max(found)[1] if found else None


READERS: Mapping[str, Callable[[str], str | None]] = {
    "hair_colour": _before("hair", list(HAIR_COLOURS)),
    "hair_length": _hair_length,
    "shirt_colour": _before("shirt", list(CLOTH_COLOURS)),
    "hat_colour": _before("hat", list(CLOTH_COLOURS)),
    "background": _background,
    "sex": _sex,
}
"""What a caption says of each attribute; ``None`` where it says nothing."""
