"""The search of a column: captions are reduced to what the search can tell apart.

A reducer turns each caption into a key, so that captions with one key hold the same keywords.
Millions of captions have some thousands of keys, and only one text for each is searched. Captions
with signs beyond ASCII are rare; each is its own key.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from scf_pipeline.keywords.rules import Phrase, Rules
from scf_pipeline.keywords.search import FILLER, SubstringSearch, WordSearch, read_words

BLOCK_ROWS = 1 << 15
"""Captions that are reduced at a time; it bounds the memory that their words take."""

MAX_PATTERN_SIGNS = 100_000
"""Longest regular expression that is searched for; Arrow takes about five times as much."""
MAX_SPELLED = 2_000
"""Most phrases that are looked for word for word. RE2 refuses patterns that are much longer."""

KEYS_KEPT = 1 << 16
"""Keys whose keywords are remembered from one column to the next; with more, all are forgotten."""

ASCII = 128
"""How many signs ASCII has."""

SIGNS = ("", ",", ".")
"""A text that reads as each kind of sign before a word, beside a space."""

Column: TypeAlias = pa.Array | pa.ChunkedArray
Search: TypeAlias = Callable[[str], Iterable[int]]
Numbers: TypeAlias = NDArray[np.int32]


class Found(NamedTuple):
    """What a search finds in the captions of a column."""

    codes: NDArray[np.int64]
    """Number of the entry of `hits` for each row."""

    hits: list[tuple[int, ...]]
    """Distinct results, of this column and perhaps of earlier ones."""


class ColumnSearch:
    """Searches columns of captions, and remembers from one to the next what it found.

    Args:
        search: Finds the numbers of the keywords in one text.
        reduce: A reducer of that search.
    """

    def __init__(self, search: Search, reduce: Reducer | SubstringReducer) -> None:
        self.search, self.reduce = search, reduce
        self._forget()

    def __call__(self, captions: Column) -> Found:
        """Search every caption of a column; nothing is found in a null."""
        if len(self._seen) > KEYS_KEPT:
            self._forget()
        codes = [np.zeros(0, np.int64)]
        for block in _blocks(captions):
            codes.append(np.zeros(len(block), np.int64))
            for rows, keys in _keys(block, self.reduce, self._texts):
                encoded = keys.dictionary_encode()
                found = np.array(self._look_up(encoded.dictionary.to_pylist()), np.int64)
                codes[-1][rows] = found[encoded.indices.to_numpy()]
        return Found(np.concatenate(codes), list(self._results))

    def _look_up(self, keys: list[str | bytes]) -> list[int]:
        for key in keys:
            if key not in self._seen:
                text = key if isinstance(key, str) else self._texts.write(key)
                found = tuple(self.search(text))
                self._seen[key] = self._results.setdefault(found, len(self._results))
        return [self._seen[key] for key in keys]

    def _forget(self) -> None:
        self._texts = Texts()
        self._seen: dict[str | bytes, int] = {}
        self._results: dict[tuple[int, ...], int] = {(): 0}


def _blocks(captions: Column) -> Iterator[pa.StringArray]:
    for chunk in captions.chunks if isinstance(captions, pa.ChunkedArray) else [captions]:
        for start in range(0, len(chunk), BLOCK_ROWS):
            yield chunk.slice(start, BLOCK_ROWS).cast(pa.string())


def _keys(
    block: pa.StringArray, reduce: Reducer | SubstringReducer, texts: Texts
) -> Iterator[tuple[NDArray[np.intp], pa.Array]]:
    """Yield numbers of rows that may hold keywords, and the key of each."""
    lower = pc.ascii_lower(block)
    plain = reduce.may_hit(lower)
    if not _is_ascii(block):
        is_ascii = pc.string_is_ascii(block)
        plain = pc.and_(is_ascii, plain)
        if len(rows := _where(pc.invert(is_ascii))):
            yield rows, block.take(pa.array(rows))
    if len(rows := _where(plain)):
        yield rows, reduce(lower.filter(plain), texts)


def _is_ascii(block: pa.StringArray) -> bool:
    """Tell whether all texts are ASCII: a look at all bytes at once, cheaper than at each text."""
    _, bounds, data = block.buffers()
    ends = np.frombuffer(bounds, np.int32)[block.offset :][: len(block) + 1]
    text = np.frombuffer(data or b"", np.uint8)[ends[0] : ends[-1]]
    return int(text.max(initial=0)) < ASCII


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


class Texts:
    """The reduced texts of one search, numbered; a key is a row of such numbers."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.numbers: dict[str, int] = {}
        self.number(FILLER)  # 0

    def number(self, text: str) -> int:
        """Return the number of a text, a new one if it is new."""
        if text not in self.numbers:
            self.numbers[text] = len(self.texts)
            self.texts.append(text)
        return self.numbers[text]

    def write(self, key: bytes) -> str:
        """Return the caption that a key stands for."""
        return " ".join([self.texts[number] for number in np.frombuffer(key, np.int32).tolist()])


class SubstringReducer:
    """Reduces a caption to the keywords that it holds."""

    def __init__(self, search: SubstringSearch) -> None:
        self.keywords = search.keywords
        self.patterns = _alternations(map(re.escape, self.keywords))

    def may_hit(self, captions: pa.StringArray) -> pa.BooleanArray:
        """Tell which lower-cased captions may hold a keyword."""
        return _match_any(captions, self.patterns)

    def __call__(self, captions: pa.StringArray, _: Texts) -> pa.StringArray:
        """Reduce lower-cased ASCII captions."""
        found = [
            pc.if_else(pc.match_substring(captions, keyword), keyword, "")
            for keyword in self.keywords
        ]
        return pc.binary_join_element_wise(*found, "\n")


class Reducer:
    """Reduces a caption to the words around its anchors, and those that no rule knows to a filler.

    Every phrase has one of its words as its anchor. What the search finds rests on the phrases in
    a caption, on the words before them that may negate them, and on its beginning; so only words
    at a certain distance from an anchor, those between anchors and the first few can make a
    difference.
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
        self.patterns = _patterns(search.rules)

    def may_hit(self, captions: pa.StringArray) -> pa.BooleanArray:
        """Tell which lower-cased captions may hold a keyword."""
        return _match_any(captions, self.patterns)

    def __call__(self, captions: pa.StringArray, texts: Texts) -> pa.BinaryArray:
        """Reduce lower-cased ASCII captions, at least one, to keys of `texts`."""
        first, pieces = _split(captions)
        encoded = pieces.dictionary_encode()
        codes, is_anchor, is_empty = self._reduce_pieces(encoded.dictionary, texts)
        numbers = encoded.indices.to_numpy()
        at = np.flatnonzero(is_anchor.take(numbers))
        empty = np.flatnonzero(is_empty.take(numbers)) if is_empty.any() else at[:0]
        ends, kept = self._near_anchors(first, at, empty)
        keys = codes.take(numbers.take(kept))
        return pa.BinaryArray.from_buffers(
            pa.binary(),
            len(captions),
            [None, pa.py_buffer(ends * np.int32(keys.itemsize)), pa.py_buffer(keys)],
        )

    def _reduce_pieces(
        self, pieces: pa.StringArray, texts: Texts
    ) -> tuple[Numbers, NDArray[np.bool_], NDArray[np.bool_]]:
        """Number what pieces are reduced to; tell which hold an anchor, and which hold no word."""
        codes = np.zeros(len(pieces), np.int32)  # the filler's
        is_anchor = np.zeros(len(pieces), bool)
        is_empty = np.zeros(len(pieces), bool)
        bare = pc.ascii_rtrim(pieces, " ")
        is_known = pc.is_in(bare, value_set=self.known)
        is_filler = pc.and_not(pc.ascii_is_alnum(bare), is_known)
        for number in _where(pc.invert(is_filler)):
            words, before = read_words(bare[number].as_py())
            codes[number] = texts.number(self._write(words, before))
            is_anchor[number] = any(self.base.get(word) in self.anchors for word in words)
            is_empty[number] = not words
        return codes, is_anchor, is_empty

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
        self, first: Numbers, at: NDArray[np.intp], empty: NDArray[np.intp]
    ) -> tuple[Numbers, Numbers]:
        """Choose the pieces to keep: the first of each row, and those around its anchors.

        Args:
            first: Number of each row's first piece, and the number of all pieces.
            at: Pieces that hold an anchor, in order.
            empty: Pieces that hold no word. Distances are counted in pieces, so a row with such a
                piece is kept whole.

        Returns:
            Where each row begins among the kept pieces, and their number; the kept pieces.
        """
        start, stop = first[:-1], first[1:]
        head = np.minimum(start + self.head, stop)
        low, high = stop.copy(), stop.copy()
        before = np.searchsorted(at, first)  # anchors
        has = before[:-1] < before[1:]
        low[has] = at[before[:-1][has]] - self.reach_back
        high[has] = at[before[1:][has] - 1] + self.reach_on + 1
        whole = np.searchsorted(first, empty, side="right") - 1
        low[whole], high[whole] = start[whole], stop[whole]
        low, high = np.maximum(low, head), np.minimum(high, stop)
        lengths = np.stack([head - start, np.maximum(high - low, 0)], axis=1).ravel()
        ends = np.cumsum(lengths, dtype=np.int32)
        shifts = np.stack([start, low], axis=1).ravel() - (ends - lengths)
        kept = np.arange(ends[-1], dtype=np.int32) + np.repeat(shifts, lengths)
        return np.concatenate([np.zeros(1, np.int32), ends[1::2]]), kept


def _split(captions: pa.StringArray) -> tuple[Numbers, pa.StringArray]:
    """Split captions after spaces, without a copy.

    Returns:
        Number of each caption's first piece, and the number of all pieces; the pieces, with the
        spaces that follow them.
    """
    _, bounds, data = captions.buffers()
    ends = np.frombuffer(bounds, np.int32)[captions.offset :][: len(captions) + 1]
    text = np.frombuffer(data, np.uint8)[: ends[-1]]
    space = text == ord(" ")
    begins = np.zeros(len(text) + 1, bool)
    begins[1:-1] = space[:-1] > space[1:]
    begins[: ends[0]] = False
    begins[ends] = True
    starts = np.flatnonzero(begins).astype(np.int32)
    pieces = pa.StringArray.from_buffers(len(starts) - 1, pa.py_buffer(starts), data)
    return np.searchsorted(starts, ends).astype(np.int32), pieces


def _patterns(rules: Rules) -> list[str]:
    """Return patterns of which one occurs in every lower-cased ASCII caption with a keyword.

    A phrase is looked for as it stands where none of its words is a keyword of its own; one of its
    words would not do, for captions begin with "a photo of".
    """
    phrases = [phrase for phrase, keyword in rules.phrases.items() if keyword is not None]
    words = {phrase[0] for phrase in phrases if len(phrase) == 1}
    longer = [phrase for phrase in phrases if words.isdisjoint(phrase)]
    if len(longer) > MAX_SPELLED:
        longer = [(phrase[_anchor(phrase, rules.phrases)],) for phrase in longer]
    forms: dict[str, list[str]] = {}
    for form, word in sorted(rules.base.items()):
        if form.isascii():
            forms.setdefault(word, []).append(form)
    spelled = sorted(
        {
            r"(?:'s)?\W+".join(f"(?:{'|'.join(forms[word])})" for word in phrase)
            for phrase in [*((word,) for word in words), *longer]
            if all(word in forms for word in phrase)
        }
    )
    return [rf"\b(?:{pieces})\b" for pieces in _alternations(spelled)]


def _anchor(phrase: Phrase, phrases: dict[Phrase, int | None]) -> int:
    """Return the place of the word by which a phrase is looked for: a rare one, at a guess."""
    return max(
        range(len(phrase)), key=lambda place: ((phrase[place],) in phrases, len(phrase[place]))
    )
