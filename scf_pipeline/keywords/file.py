"""A keyword dictionary as its YAML file says it, read strictly.

The format is told in ``keyword_dicts/README.md``; what an entry stands for, in `rules`.
"""

from __future__ import annotations

from dataclasses import field
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, Strict, StrictInt, StringConstraints
from pydantic.dataclasses import dataclass

from ifas_model.strict import STRICT, build, locate, read_yaml
from ifas_model.vocabulary import PaiSpecies
from scf_pipeline.errors import ConfigError

Location = tuple[str | int, ...]
"""Keys and numbers that lead to a value of the file, from the top."""


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError(f"A word must be text, but YAML reads {value!r} here; put it in quotes.")  # noqa: TRY004 - pydantic's
    return value


def _known_species(value: object) -> object:
    known = [str(species) for species in PaiSpecies]
    if value not in known:
        near = get_close_matches(str(value), known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ValueError(f"A species must be one of {', '.join(known)}, but is {value!r}.{hint}")
    return value


Entry = Annotated[str, StringConstraints(min_length=1, max_length=200), BeforeValidator(_text)]
Entries = Annotated[list[Entry], Strict()]
Species = Annotated[PaiSpecies, BeforeValidator(_known_species)]


class Match(StrEnum):
    """How a keyword is looked for in a caption."""

    WORDS = "words"
    """Whole words in any of their forms."""

    SUBSTRING = "substring"
    """Algorithm 1 to the letter: ``k in T``, anywhere in the lower-cased caption."""


class ConflictPolicy(StrEnum):
    """What becomes of a caption that also names another species."""

    KEEP = "keep"
    DROP = "drop"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Negation:
    """Words that take back what follows them."""

    words: Entries
    """E.g. ``no``, ``without``, ``isn't``."""

    window: Annotated[StrictInt, Field(ge=1, le=10)] = 3
    """How many words after it a negation reaches, within its sentence."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Alias:
    """A finer kind of attack whose captions may also name another species."""

    fine_type: Entry
    """Prefix of the rows' `fine_type`, e.g. ``paper_mask``."""

    species: Species
    """Species of those rows."""

    accepts: Annotated[list[Species], Strict(), Field(min_length=1)]
    """Species whose keywords count as their own, beside those of `species`."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class KeywordFile:
    """The content of a dictionary file."""

    keywords: Annotated[
        dict[Species, Annotated[list[Entry], Strict(), Field(min_length=1)]],
        Field(min_length=1),
    ]
    """Entries by PAI species; a species without a table has no keywords."""

    match: Match = Match.WORDS
    """Whole words, or the paper's substring."""

    conflict_policy: ConflictPolicy = ConflictPolicy.KEEP
    """Whether a caption that names two species stays."""

    boilerplate: Entries = field(default_factory=list)
    """Beginnings of captions within which nothing counts."""

    negation: Negation | None = None
    """Words that take back a hit."""

    forms: dict[Entry, Entries] = field(default_factory=dict)
    """Other forms of a word than its regular plural, wherever the word occurs."""

    exclusions: Entries = field(default_factory=list)
    """Phrases that are no hits, though they hold a keyword."""

    aliases: Annotated[list[Alias], Strict()] = field(default_factory=list)
    """Finer kinds that accept more than their own species."""


def read_file(path: Path) -> KeywordFile:
    """Read a dictionary file; what its entries say is not looked at yet.

    Raises:
        ConfigError: If it is no YAML, or a key or type is wrong; the message names file, line, key.
    """
    return build(KeywordFile, read_yaml(path), where=path)


def refusal(path: Path, location: Location, what: str, fix: str) -> ConfigError:
    """Return the error that refuses a value of a dictionary file."""
    return ConfigError(what, where=locate(path, location), fix=fix)
