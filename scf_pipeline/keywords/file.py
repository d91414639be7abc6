"""A keyword dictionary as its YAML file says it, read strictly.

The format is told in ``keyword_dicts/README.md``; what an entry stands for, in `rules`.
"""

from __future__ import annotations

from dataclasses import field, fields
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, Strict, StrictInt, StringConstraints, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ifas_model.vocabulary import PaiSpecies
from scf_pipeline.config import STRICT, read_yaml
from scf_pipeline.errors import ConfigError

Location = tuple[str | int, ...]
"""Keys and numbers that lead to a value of the file, from the top."""

Entry = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Entries = Annotated[list[Entry], Strict()]


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

    species: PaiSpecies
    """Species of those rows."""

    accepts: Annotated[list[PaiSpecies], Strict(), Field(min_length=1)]
    """Species whose keywords count as their own, beside those of `species`."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class KeywordFile:
    """The content of a dictionary file."""

    keywords: Annotated[
        dict[PaiSpecies, Annotated[list[Entry], Strict(), Field(min_length=1)]],
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
    data = read_yaml(path)
    try:
        return TypeAdapter(KeywordFile).validate_python(data)
    except ValidationError as error:
        raise _explain(path, error) from error


def _explain(path: Path, error: ValidationError) -> ConfigError:
    first = max(error.errors(), key=_is_unknown_key)  # a misspelt key also leaves one missing
    location, found = first["loc"], first["input"]
    if location[-1] == "[key]":
        location = (*location[:-2], str(found))
    if _is_unknown_key(first):
        key = location[-1]
        known = _known(location)
        near = get_close_matches(str(key), known, n=1)
        what = f"A key must be one of {', '.join(known)}, but is {key!r}."
        fix = f"Did you mean {near[0]}?" if near else "Take it out."
    elif not isinstance(found, str) and first["type"] in ("string_type", "invalid_key"):
        what = f"A word must be text, but YAML reads {found!r} here."
        fix = "Put the word in quotes."
    else:
        shown = str(found)[:60]
        what = f"`{location[-1]}` must fit the format, but: {first['msg']} (found {shown!r})."
        fix = "See keyword_dicts/README.md for the format."
    return refusal(path, location, what, fix)


def _is_unknown_key(error: Any) -> bool:  # noqa: ANN401 - pydantic's ErrorDetails
    is_species = error["loc"][:1] == ("keywords",) and error["loc"][-1] == "[key]"
    return bool(is_species or error["type"] == "unexpected_keyword_argument")


def _known(location: Location) -> list[str]:
    """Return the keys that may stand where an unknown one was found."""
    if location[0] == "keywords":
        return [str(species) for species in PaiSpecies]
    kinds: dict[str | int, Any] = {"negation": Negation, "aliases": Alias}
    kind = kinds.get(location[0], KeywordFile) if len(location) > 1 else KeywordFile
    return sorted(f.name for f in fields(kind))


def refusal(path: Path, location: Location, what: str, fix: str) -> ConfigError:
    """Return the error that refuses a value of a dictionary file."""
    dotted = ".".join(str(step) for step in location)
    return ConfigError(what, where=f"{path}:{line_of(path, location)}: {dotted}", fix=fix)


def line_of(path: Path, location: Location) -> int:
    """Return the line, counted from 1, of the innermost step of a location that the file has."""
    node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    line: int = node.start_mark.line if node else 0
    for step in location:
        if isinstance(node, yaml.MappingNode):
            found = [pair for pair in node.value if pair[0].value == str(step)]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            found = [(item, item) for item in node.value[step : step + 1]]
        else:
            break
        if not found:
            break
        line, node = found[0][0].start_mark.line, found[0][1]
    return line + 1
