"""The search of a column: captions are reduced to what the search can tell apart.

A reducer rewrites each caption so that the search finds in it what it finds in the original.
Millions of captions become some thousands of reduced ones, and only these are searched. Captions
with signs beyond ASCII are rare; they are left as they are.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from scf_pipeline.keywords.rules import Phrase
from scf_pipeline.keywords.search import FILLER, SubstringSearch, WordSearch, read_words

BLOCK_ROWS = 1 << 15
"""Captions that are reduced at a time; it bounds the memory that their words take."""

MAX_PATTERN_SIGNS = 100_000
"""Longest regular expression that is searched for; Arrow takes about five times as much."""

SIGNS = ("", ",", ".")
"""A text that reads as each kind of sign before a word, beside a space."""

Column: TypeAlias = pa.Array | pa.ChunkedArray


class Found(NamedTuple):
    """What a search finds in the captions of a column."""

    codes: NDArray[np.int64]
    """Number of the entry of `hits` for each row."""

    hits: list[list[int]]
    """Distinct results."""


def search_column(captions: Column, search: WordSearch | SubstringSearch) -> Found:
    """Search every caption of a column; nothing is found in a null."""
    reduce = Reducer(search) if isinstance(search, WordSearch) else SubstringReducer(search)
    codes: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    hits: list[list[int]] = [[]]
    seen: dict[str, int] = {}
    for block in _blocks(captions):
        lower = pc.ascii_lower(block)
        plain = pc.and_(pc.string_is_ascii(block), reduce.may_hit(lower))
        odd = pc.invert(pc.string_is_ascii(block))
        reduced = pa.chunked_array([reduce(lower.filter(plain)), block.filter(odd)], pa.string())
        encoded = reduced.combine_chunks().dictionary_encode()
        texts = encoded.dictionary.to_pylist()
        for text in texts:
            if text not in seen:
                seen[text] = len(hits)
                hits.append(search(text))
        rows = np.concatenate([_where(plain), _where(odd)])
        codes.append(np.zeros(len(block), np.int64))
        codes[-1][rows] = np.array([seen[text] for text in texts], np.int64)[encoded.indices]
    return Found(np.concatenate(codes), hits)


def _blocks(captions: Column) -> Iterator[pa.StringArray]:
    for chunk in captions.chunks if isinstance(captions, pa.ChunkedArray) else [captions]:
        for start in range(0, len(chunk), BLOCK_ROWS):
            yield chunk.slice(start, BLOCK_ROWS).cast(pa.string())


def _where(mask: pa.BooleanArray) -> NDArray[np.intp]:
    return np.flatnonzero(mask.fill_null(False).to_numpy(zero_copy_only=False))


def _alternations(words: Iterable[str]) -> list[str]:
    """Return ``a|b|c`` of the words, in as many pieces as their length asks for."""
    pieces: list[list[str]] = [[]]
    size = 0
    for word in words:
        if size > MAX_PATTERN_SIGNS:
            pieces.append([])
            size = 0
        pieces[-1].append(word)
        size += len(word) + 1
    return ["|".join(piece) for piece in pieces]


def _match_any(texts: pa.StringArray, patterns: list[str]) -> pa.BooleanArray:
    found = (pc.match_substring_regex(texts, pattern) for pattern in patterns)
    return functools.reduce(pc.or_, found)


class SubstringReducer:
    """Reduces a caption to the keywords that it holds."""

    def __init__(self, search: SubstringSearch) -> None:
        self.keywords = search.keywords
        self.patterns = _alternations(map(re.escape, self.keywords))

    def may_hit(self, captions: pa.StringArray) -> pa.BooleanArray:
        """Tell which lower-cased captions may hold a keyword."""
        return _match_any(captions, self.patterns)

    def __call__(self, captions: pa.StringArray) -> pa.StringArray:
        """Reduce lower-cased ASCII captions."""
        found = [
            pc.if_else(pc.match_substring(captions, keyword), keyword, "")
            for keyword in self.keywords
        ]
        return pc.binary_join_element_wise(*found, "\n")


class Reducer:
    """Reduces a caption to the words around an anchor, and those that no rule knows to a filler.

    Every phrase has one of its words as its anchor. What the search finds rests on the phrases in
    a caption, on the words before them that may negate them, and on its beginning; so only words
    at a certain distance from an anchor, and the first few, can make a difference.
    """

    def __init__(self, search: WordSearch) -> None:
        self.base = search.rules.base
        self.negators = search.negators
        self.head = search.head
        phrases = search.rules.phrases
        at = {phrase: _anchor(phrase, phrases) for phrase in phrases}
        self.anchors = {phrase[place] for phrase, place in at.items()}
        self.reach_back = max(at.values()) + search.window
        self.reach_on = max(len(phrase) - 1 - place for phrase, place in at.items())
        known = {*self.base, *self.negators}
        self.known = pa.array(sorted(word for word in known if word.isascii()), pa.string())
        spelled = sorted(form for form, word in self.base.items() if word in self.anchors)
        alternations = _alternations(form for form in spelled if form.isascii())
        self.patterns = [rf"\b(?:{forms})\b" for forms in alternations]

    def may_hit(self, captions: pa.StringArray) -> pa.BooleanArray:
        """Tell which lower-cased captions may hold an anchor."""
        return _match_any(captions, self.patterns)

    def __call__(self, captions: pa.StringArray) -> pa.StringArray:
        """Reduce lower-cased ASCII captions."""
        rows = pc.ascii_split_whitespace(captions)
        offsets = rows.offsets.to_numpy() - rows.offsets[0].as_py()
        pieces = rows.flatten().dictionary_encode()
        texts, is_anchor, is_empty = self._reduce_pieces(pieces.dictionary)
        numbers = pieces.indices.to_numpy()
        keep = self._near_anchors(offsets, is_anchor[numbers], is_empty[numbers])
        kept = np.concatenate([[0], np.cumsum(keep, dtype=np.int32)])[offsets]
        lists = pa.ListArray.from_arrays(
            pa.array(kept, pa.int32()), texts.take(pa.array(numbers[keep]))
        )
        return pc.binary_join(lists, " ")

    def _reduce_pieces(
        self, pieces: pa.StringArray
    ) -> tuple[pa.StringArray, NDArray[np.bool_], NDArray[np.bool_]]:
        """Reduce what stands between spaces; tell which hold an anchor, and which hold no word."""
        texts = np.full(len(pieces), FILLER, dtype=object)
        is_anchor = np.zeros(len(pieces), dtype=bool)
        is_empty = np.zeros(len(pieces), dtype=bool)
        is_word = pc.match_substring_regex(pieces, "^[a-z0-9]+$")
        is_unknown = pc.and_not(is_word, pc.is_in(pieces, value_set=self.known))
        for number in _where(pc.invert(is_unknown)):
            words, before = read_words(pieces[number].as_py())
            texts[number] = self._write(words, before)
            is_anchor[number] = any(self.base.get(word) in self.anchors for word in words)
            is_empty[number] = not words
        return pa.array(texts, pa.string()), is_anchor, is_empty

    def _write(self, words: list[str], before: list[int]) -> str:
        """Return a text that reads as the same signs and, of words, only those that rules know."""
        known = [self.base.get(word, word if word in self.negators else FILLER) for word in words]
        spaces = ["", *[" "] * (len(known) - 1)] if known else []
        body = "".join(
            f"{SIGNS[sign]}{space}{word}"
            for sign, space, word in zip(before, spaces, known, strict=False)
        )
        return f"{body}{SIGNS[before[-1]]}"

    def _near_anchors(
        self,
        offsets: NDArray[np.int64],
        is_anchor: NDArray[np.bool_],
        is_empty: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        """Tell which pieces to keep.

        Args:
            offsets: Number of each row's first piece, and last, of all pieces.
            is_anchor: Whether a piece holds an anchor.
            is_empty: Whether a piece holds no word. Distances are counted in pieces, so a row with
                such a piece is kept whole.
        """
        first, last = offsets[:-1], offsets[1:]
        row = np.repeat(np.arange(len(first)), last - first)
        at = np.flatnonzero(is_anchor)
        whole = np.unique(row[is_empty])
        starts = [first, np.maximum(at - self.reach_back, first[row[at]]), first[whole]]
        ends = [
            np.minimum(first + self.head, last),
            np.minimum(at + self.reach_on + 1, last[row[at]]),
            last[whole],
        ]
        size = len(row) + 1
        opened = np.bincount(np.concatenate(starts), minlength=size)
        closed = np.bincount(np.concatenate(ends), minlength=size)
        return np.cumsum((opened - closed)[:-1], dtype=np.int32) > 0


def _anchor(phrase: Phrase, phrases: dict[Phrase, int | None]) -> int:
    """Return the place of the word by which a phrase is looked for: a rare one, at a guess."""
    return max(
        range(len(phrase)), key=lambda place: ((phrase[place],) in phrases, len(phrase[place]))
    )
