"""A keyword dictionary, expanded: entries into keywords, phrases and the forms of their words.

Words used in this file:

    entry     a line of the file, e.g. ``holding [up] a (photo|picture)``
    keyword   what an entry stands for, in its canonical spelling, e.g. ``holding a picture``
    phrase    base words in a row that count as a keyword, e.g. ``holding up a picture``
    base word what other forms of a word are read as, e.g. ``picture`` for ``pictures``
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import product
from math import prod
from pathlib import Path
from typing import NamedTuple

from ifas_model.strict import locate
from ifas_model.vocabulary import PaiSpecies
from scf_pipeline.errors import ConfigError
from scf_pipeline.keywords.file import KeywordFile, Location, Match, read_file, refusal

MAX_PHRASES = 20_000
"""Most phrases that a dictionary may expand to, boilerplate and what is written twice included; the
default one has some hundreds."""

UNINFLECTED = frozenset(
    ("a", "an", "and", "at", "by", "for", "from", "in", "of", "on", "or", "the", "to", "up", "with")
)
"""Words that get no plural, beside those in -ed and -ing."""

Phrase = tuple[str, ...]
"""Words in a row."""

_PART = re.compile(
    r"\((?P<one>[^()\[\]]+)\)|\[(?P<option>[^()\[\]]+)\]|(?P<word>[^()\[\]|\s]+)|\s+"
)


@dataclass(frozen=True, slots=True)
class Keyword:
    """One keyword of K."""

    text: str
    """Canonical spelling: base words, options left out."""

    species: PaiSpecies
    """K[k] of Algorithm 1."""


@dataclass(frozen=True, slots=True)
class Rules:
    """A dictionary, expanded for matching."""

    keywords: list[Keyword] = field(default_factory=list)
    """Every keyword, in the order of the file."""

    phrases: dict[Phrase, int | None] = field(default_factory=dict)
    """Index into `keywords` of each phrase; ``None`` for an exclusion."""

    boilerplate: set[Phrase] = field(default_factory=set)
    """Beginnings within which nothing counts."""

    base: dict[str, str] = field(default_factory=dict)
    """Base word of every form of a word that occurs in a phrase or in boilerplate."""


def read(path: Path) -> tuple[KeywordFile, Rules]:
    """Read a dictionary file and expand it.

    Raises:
        ConfigError: If the file is not as ``keyword_dicts/README.md`` describes; the message names
            file, line and key.
    """
    file = read_file(path)
    return file, _Expander(path, file).expand()


class _Variant(NamedTuple):
    """One keyword of an entry, and the phrases that count as it."""

    canonical: Phrase
    phrases: list[Phrase]


Choices = list[Phrase | None]
"""What may stand at one place of an entry; ``None``, the first of an option's, is nothing."""


class _Expander:
    """Turns a file's entries into rules, and refuses what is ambiguous."""

    def __init__(self, path: Path, file: KeywordFile) -> None:
        self.path, self.file = path, file
        self.rules = Rules()
        self.places: dict[Phrase, Location] = {}
        self.num_phrases = 0
        split = {word: [tuple(form.split()) for form in file.forms[word]] for word in file.forms}
        self.spellings = {word: [s for s in split[word] if len(s) > 1] for word in split}

    def expand(self) -> Rules:
        if self.file.match is Match.SUBSTRING:
            self._refuse_word_rules()
        for species, entries in self.file.keywords.items():
            for number, entry in enumerate(entries):
                self._add_entry(entry, species, ("keywords", str(species), number))
        for number, entry in enumerate(self.file.exclusions):
            self._add_entry(entry, None, ("exclusions", number))
        for number, entry in enumerate(self.file.boilerplate):
            for variant in self._variants(entry, ("boilerplate", number)):
                self.rules.boilerplate.update(variant.phrases)
        self._add_forms()
        self._check_negation()
        self._check_aliases()
        return self.rules

    def _refuse_word_rules(self) -> None:
        for key in ("boilerplate", "negation", "forms", "exclusions"):
            if getattr(self.file, key):
                what = f"`{key}` must be absent where `match` is substring, but is given."
                raise self._refuse((key,), what, "Take it out, or match words.")

    def _add_entry(self, entry: str, species: PaiSpecies | None, location: Location) -> None:
        for variant in self._variants(entry, location):
            index = None
            if species is not None:
                index = len(self.rules.keywords)
                self.rules.keywords.append(Keyword(" ".join(variant.canonical), species))
            for phrase in variant.phrases:
                self._claim(phrase, location)
                self.rules.phrases[phrase] = index

    def _claim(self, phrase: Phrase, location: Location) -> None:
        if phrase in self.places:
            first = locate(self.path, self.places[phrase])
            what = f"A phrase must occur once, but {' '.join(phrase)!r} also stands at {first}."
            raise self._refuse(location, what, "Take one of the two out.")
        self.places[phrase] = location

    def _variants(self, entry: str, location: Location) -> Iterator[_Variant]:
        """Yield what an entry stands for: a keyword for each choice among its ``(a|b)``."""
        parts = self._parse(entry, location)
        self.num_phrases += prod(sum(map(self._num_spelled, part)) for part in parts)
        if self.num_phrases > MAX_PHRASES:
            what = f"A dictionary must expand to at most {MAX_PHRASES} phrases, but has more."
            raise self._refuse(location, what, "Use fewer alternatives and options.")
        needed = [part for part in parts if part[0] is not None]
        for choice in product(*needed):
            chosen = iter(choice)
            places = [part if part[0] is None else [next(chosen)] for part in parts]
            phrases = {p for picked in product(*places) for p in self._spelled(picked)}
            canonical = _join(choice)
            if len(canonical) == 2 and self.file.match is Match.WORDS:
                phrases.add(("".join(canonical),))
            yield _Variant(canonical, sorted(phrases))

    def _parse(self, entry: str, location: Location) -> list[Choices]:
        """Return the choices at each place of an entry."""
        parts: list[Choices] = []
        matches = list(_PART.finditer(entry))
        for match in matches:
            if text := match["one"] or match["option"] or match["word"]:
                choices: Choices = [tuple(choice.split()) for choice in text.split("|")]
                parts.append([None, *choices] if match["option"] else choices)
        whole = sum(len(match[0]) for match in matches) == len(entry)
        if not whole or all(part[0] is None for part in parts) or any(() in p for p in parts):
            what = f"An entry must be words, (a|b) and [option], but is {entry!r}."
            raise self._refuse(location, what, "Correct the brackets.")
        self._check_words(_join(choice for part in parts for choice in part), location)
        return parts

    def _check_words(self, words: Iterable[str], location: Location) -> None:
        for word in words:
            if not word.isalnum() or word != unicodedata.normalize("NFKC", word).casefold():
                what = f"A word must be lower-case letters and digits, but is {word!r}."
                fix = "Write it in lower case; a space stands for a hyphen too."
                raise self._refuse(location, what, fix)

    def _num_spelled(self, choice: Phrase | None) -> int:
        return prod(1 + len(self.spellings.get(word, ())) for word in choice or ())

    def _spelled(self, picked: Sequence[Phrase | None]) -> Iterator[Phrase]:
        """Yield a phrase with each of its words in each spelling of more than one word."""
        words = _join(picked)
        options = [[(word,), *self.spellings.get(word, ())] for word in words]
        yield from (_join(spelled) for spelled in product(*options))

    def _add_forms(self) -> None:
        """Fill `Rules.base`: words as they stand, then listed forms, then regular plurals."""
        base = self.rules.base
        for phrase in (*self.rules.phrases, *sorted(self.rules.boilerplate)):
            base.update((word, word) for word in phrase)
        words = dict(base)
        for word, forms in self.file.forms.items():
            if word not in words:
                near = get_close_matches(word, words, n=1)
                what = f"A word with forms must occur in an entry, but {word!r} does not."
                fix = f"Did you mean {near[0]}?" if near else "Take it out."
                raise self._refuse(("forms", word), what, fix)
            for number, form in enumerate(forms):
                self._add_form(word, form, ("forms", word, number))
        for form, word in list(base.items()):
            if word not in UNINFLECTED and not form.endswith(("ed", "ing")):
                base.setdefault(plural(form), word)

    def _add_form(self, word: str, form: str, location: Location) -> None:
        words = form.split()
        self._check_words(words or [form], location)
        if len(words) == 1 and self.rules.base.setdefault(form, word) != word:
            what = f"A form must be of one word, but {form!r} is of {self.rules.base[form]!r} too."
            raise self._refuse(location, what, "Take one of the two out.")

    def _check_negation(self) -> None:
        for number, word in enumerate(self.file.negation.words if self.file.negation else ()):
            location = ("negation", "words", number)
            self._check_words(word.split("'"), location)
            if word in self.rules.base:
                what = f"A negation must be no word of an entry, but {word!r} is."
                raise self._refuse(location, what, "Take one of the two out.")

    def _check_aliases(self) -> None:
        for number, alias in enumerate(self.file.aliases):
            for species in (alias.species, *alias.accepts):
                if species not in self.file.keywords:
                    what = f"An alias must name species with keywords, but {species} has none."
                    fix = "Give it a table, or take the alias out."
                    raise self._refuse(("aliases", number), what, fix)

    def _refuse(self, location: Location, what: str, fix: str) -> ConfigError:
        return refusal(self.path, location, what, fix)


def _join(phrases: Iterable[Phrase | None]) -> Phrase:
    return tuple(word for phrase in phrases for word in phrase or ())


def plural(word: str) -> str:
    """Return the regular English plural of a noun."""
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return f"{word}es"
    if re.search(r"[^aeiou]y$", word):
        return f"{word[:-1]}ies"
    return f"{word}s"
