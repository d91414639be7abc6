"""The search of one caption: it is read as words, and phrases are looked for, the longest first."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from scf_pipeline.keywords.file import KeywordFile, Match
from scf_pipeline.keywords.rules import Phrase, Rules

FILLER = "_"
"""Stands for a word that no rule knows; no word of a rule holds an underscore."""

JOINED, BROKEN, ENDED = 0, 1, 2
"""What lies before a word: spaces and hyphens; some other sign; the end of a sentence."""

# Letters, digits and combining marks; an apostrophe within belongs to the word.
_WORD = re.compile(r"[\w\u0300-\u036f]+(?:'[\w\u0300-\u036f]+)*")
_SENTENCE_END = re.compile(r"[.!?;]")
_OTHER_SIGN = re.compile(r"[^\s\-'\u2010-\u2015\u2212]")
_UNICODE_SIGNS = {0x2018: "'", 0x2019: "'", 0xAD: None, 0x200B: None, 0x2060: None, 0xFEFF: None}


class Reading(NamedTuple):
    """A caption as words."""

    words: list[str]
    """Words in order, case-folded, a possessive without its ending."""

    before: list[int]
    """What lies before each word; the last entry is what lies after all of them."""


class Span(NamedTuple):
    """Words of a caption that are a phrase: ``words[start:end]``."""

    start: int
    """Number of the first word."""

    end: int
    """Number of the word after the last."""

    keyword: int | None
    """Number of the keyword; ``None`` for an exclusion."""


def read_words(caption: str) -> Reading:
    """Split a caption into words; any text will do, NUL and lone surrogates included."""
    text = caption.lower() if caption.isascii() else _fold(caption)
    words, before, end = [], [], 0
    for match in _WORD.finditer(text):
        before.append(_sign(text[end : match.start()]))
        words.append(match[0].removesuffix("'s"))
        end = match.end()
    before.append(_sign(text[end:]))
    return Reading(words, before)


def _fold(caption: str) -> str:
    return unicodedata.normalize("NFKC", caption).translate(_UNICODE_SIGNS).casefold()


def _sign(text: str) -> int:
    if text in ("", " "):
        return JOINED
    if _SENTENCE_END.search(text):
        return ENDED
    return BROKEN if _OTHER_SIGN.search(text) else JOINED


class SubstringSearch:
    """Finds keywords anywhere in a caption, as Algorithm 1 is written."""

    def __init__(self, rules: Rules) -> None:
        self.keywords = [keyword.text for keyword in rules.keywords]

    def __call__(self, caption: str) -> list[int]:
        """Return the numbers of the keywords in a caption."""
        text = caption.casefold()
        return [index for index, keyword in enumerate(self.keywords) if keyword in text]


class WordSearch:
    """Finds keywords as whole words, in any of their forms."""

    def __init__(self, file: KeywordFile, rules: Rules) -> None:
        self.rules = rules
        self.negators = frozenset(file.negation.words if file.negation else ())
        self.window = file.negation.window if file.negation else 0
        self.head = max(map(len, rules.boilerplate), default=0)
        self.starting: dict[str, list[tuple[Phrase, int | None]]] = {}
        for phrase, keyword in rules.phrases.items():
            self.starting.setdefault(phrase[0], []).append((phrase, keyword))

    def __call__(self, caption: str) -> list[int]:
        """Return the numbers of the keywords in a caption.

        A longer phrase takes its words from shorter ones, exclusions and negated phrases included;
        of two that are equally long, the first takes them.
        """
        reading = read_words(caption)
        spans = sorted(self._spans(reading), key=lambda span: (span.start - span.end, span.start))
        body = self._body(reading) if spans else 0
        taken: set[int] = set()
        found: set[int] = set()
        for start, end, keyword in spans:
            if taken.isdisjoint(range(start, end)):
                taken.update(range(start, end))
                if keyword is not None and end > body and not self._negated(reading, start):
                    found.add(keyword)
        return sorted(found)

    def _spans(self, reading: Reading) -> Iterator[Span]:
        words = [self.rules.base.get(word, FILLER) for word in reading.words]
        for start, word in enumerate(words):
            for phrase, keyword in self.starting.get(word, ()):
                end = start + len(phrase)
                if (*words[start:end],) == phrase and not any(reading.before[start + 1 : end]):
                    yield Span(start, end, keyword)

    def _body(self, reading: Reading) -> int:
        """Return where the caption's own words begin, after boilerplate."""
        words = [self.rules.base.get(word, FILLER) for word in reading.words[: self.head]]
        fitting = (
            len(phrase)
            for phrase in self.rules.boilerplate
            if (*words[: len(phrase)],) == phrase and not any(reading.before[1 : len(phrase)])
        )
        return max(fitting, default=0)

    def _negated(self, reading: Reading, start: int) -> bool:
        for number in range(start - 1, max(start - 1 - self.window, -1), -1):
            if reading.before[number + 1] == ENDED:
                return False
            if reading.words[number] in self.negators:
                return True
        return False


def build(file: KeywordFile, rules: Rules) -> WordSearch | SubstringSearch:
    """Return the search that a dictionary asks for."""
    # PAPER: "k in T" of Algorithm 1 may mean a word or a substring. Words are our default, for
    # "sunscreen" is no screen; the dictionary's `match` chooses.
    return SubstringSearch(rules) if file.match is Match.SUBSTRING else WordSearch(file, rules)
