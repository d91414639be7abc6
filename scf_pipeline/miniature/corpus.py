"""The generic corpus as arrays, and the words that its captions hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from scf_pipeline.store import Artifact

LINKS = frozenset(
    {"a", "an", "the", "of", "in", "on", "with", "and", "to", "at", "near", "against", "under"}
    | {"front", "photo", "picture"}
)
"""Words that say nothing of what is seen."""

LEAST_SHARE = 0.005
"""Rarer phrases are not taught as words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """One split of the corpus, in memory."""

    pictures: NDArray[np.uint8]
    """RGB, (N, side, side, 3)."""

    captions: Sequence[Sequence[str]]
    """Captions of each picture."""

    attributes: Sequence[Mapping[str, str]]
    """What is true of each picture."""


def read_corpus(corpus: Artifact, split: str) -> Corpus:
    """Return the pictures of one split, decoded, in the order of the parts.

    Raises:
        ValueError: If the split has no pictures.
    """
    from scf_pipeline.captioners._pictures import decode_png

    columns = ["split", "image", "captions", "attributes"]
    tables = [part.read(columns) for part in corpus.parts()]
    rows = pa.concat_tables(tables).filter(pc.field("split") == split)
    if not rows.num_rows:
        raise ValueError(f"`split` must have pictures in the corpus, but {split!r} has none.")
    name = f"a picture of {corpus.path}"
    return Corpus(
        pictures=np.stack([decode_png(image.as_py(), name=name) for image in rows["image"]]),
        captions=rows["captions"].to_pylist(),
        attributes=[dict(pairs) for pairs in rows["attributes"].to_pylist()],
    )


def phrases(caption: str) -> set[str]:
    """Return the words and pairs of words of a caption that neither begin nor end in a link."""
    words = caption.split()
    spans = [words[at : at + size] for size in (1, 2) for at in range(len(words) - size + 1)]
    return {" ".join(span) for span in spans if not LINKS & {span[0], span[-1]}}


def common_phrases(captions: Iterable[Sequence[str]]) -> list[str]:
    """Return the phrases that at least `LEAST_SHARE` of the pictures are captioned with, sorted."""
    sets = [_phrases_of_all(several) for several in captions]
    counts = Counter(phrase for found in sets for phrase in found)
    return sorted(phrase for phrase, n in counts.items() if n >= LEAST_SHARE * len(sets))


def bag_of_phrases(
    captions: Sequence[Sequence[str]], vocabulary: Sequence[str]
) -> NDArray[np.bool_]:
    """Return which phrases the captions of each picture hold, (N, W)."""
    column = {phrase: index for index, phrase in enumerate(vocabulary)}
    bags = np.zeros((len(captions), len(vocabulary)), dtype=bool)
    for row, several in enumerate(captions):
        bags[row, [column[p] for p in _phrases_of_all(several) if p in column]] = True
    return bags


def _phrases_of_all(captions: Sequence[str]) -> set[str]:
    return set().union(*map(phrases, captions))
