"""Keywords in captions: `KeywordDictionary` is K of Algorithm 1."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from upath import UPath

from ifas_model.vocabulary import PaiSpecies
from scf_pipeline.config import hash_file
from scf_pipeline.keywords import search
from scf_pipeline.keywords.columns import Column, ColumnSearch, Reducer, SubstringReducer
from scf_pipeline.keywords.file import ConflictPolicy, KeywordFile
from scf_pipeline.keywords.rules import Keyword, Rules, read


def default_dictionary() -> Path:
    """Return the packaged ``spoof_aware.yaml``: beside the code, or where an install puts data."""
    beside = Path(__file__).parents[2] / "keyword_dicts"
    folder = beside if beside.is_dir() else Path(sys.prefix) / "share" / "scf" / "keyword_dicts"
    return folder / "spoof_aware.yaml"


@dataclass(frozen=True)
class KeywordDictionary:
    """K of Algorithm 1. `load` reads one; it is immutable and can be sent to workers.

    Lists of keywords are in the order of the file, each keyword at most once.
    """

    file: KeywordFile
    """What the file says."""

    rules: Rules
    """Its keywords, phrases and forms of words."""

    sha256: str
    """Hash of the file."""

    @classmethod
    def load(cls, path: Path | str) -> KeywordDictionary:
        """Read a dictionary from a YAML file, local or at any fsspec URL.

        Raises:
            ConfigError: If the file is not as ``keyword_dicts/README.md`` describes; the message
                names file, line and key.
        """
        place = cast("Path", UPath(path))  # a UPath reads like a Path, wherever it lies
        file, rules = read(place)
        return cls(file, rules, hash_file(place, field="dictionary"))

    @property
    def policy(self) -> ConflictPolicy:
        """What becomes of a caption that also names another species."""
        return self.file.conflict_policy

    @property
    def keywords(self) -> Sequence[Keyword]:
        """Every keyword."""
        return self.rules.keywords

    def accepted(self, species: str | None, fine_type: str | None = None) -> set[PaiSpecies]:
        """Return the species whose keywords count as a row's own: none for bona fide.

        Raises:
            ValueError: If `species` is no PAI species.
        """
        if species is None:
            return set()
        own = {PaiSpecies(species)}
        for alias in self.file.aliases:
            if alias.species == species and (fine_type or "").startswith(alias.fine_type):
                own.update(alias.accepts)
        return own

    def matches(self, caption: str, species: str | None, fine_type: str | None = None) -> list[str]:
        """Return the keywords of a caption that agree with its species, in canonical spelling.

        Args:
            caption: Any text.
            species: PAI species of the picture; ``None`` for bona fide, which has no keywords.
            fine_type: Finer kind, which may accept more than its own species.

        Raises:
            ValueError: If `species` is no PAI species.

        Source: I-FAS, Algorithm 1, line 5.
        """
        accepted = self.accepted(species, fine_type)
        found = [self.keywords[index] for index in self.find(caption)]
        return [keyword.text for keyword in found if keyword.species in accepted]

    def find(self, caption: str) -> list[int]:
        """Return the numbers of all `keywords` in a caption, of any species."""
        return self._search(caption)

    def match_columns(
        self, captions: Column, species: Column, fine_types: Column
    ) -> tuple[pa.ListArray, pa.ListArray]:
        """Return the keywords of each caption: those that agree with its species, and the others.

        The first column is what `matches` returns for each row; both together are all keywords of
        the caption. A null caption has none.

        Args:
            captions: Texts.
            species: PAI species of each row, null for bona fide.
            fine_types: Finer kind of each row, or null.

        Raises:
            ValueError: If a species is no PAI species.
        """
        found = self._search_column(captions)
        kinds, accepted = self._accepted_in(species, fine_types)
        pairs = pa.array(found.codes * len(accepted) + kinds).dictionary_encode()
        own, other = [], []
        for pair in pairs.dictionary.to_pylist():
            hits = [self.keywords[index] for index in found.hits[pair // len(accepted)]]
            mine = accepted[pair % len(accepted)]
            own.append([hit.text for hit in hits if hit.species in mine])
            other.append([hit.text for hit in hits if hit.species not in mine])
        kind = pa.list_(pa.string())
        return pa.array(own, kind).take(pairs.indices), pa.array(other, kind).take(pairs.indices)

    def __reduce__(self) -> tuple[object, ...]:
        """Travel without what is derived."""
        return type(self), (self.file, self.rules, self.sha256)

    @cached_property
    def _search(self) -> search.WordSearch | search.SubstringSearch:
        return search.build(self.file, self.rules)

    @property
    def _search_column(self) -> ColumnSearch:
        """The search of this thread: what it remembers is no two threads' to write."""
        if not hasattr(self._of_thread, "search"):
            self._of_thread.search = ColumnSearch(self._search, self._reduce)
        found: ColumnSearch = self._of_thread.search
        return found

    @cached_property
    def _of_thread(self) -> threading.local:
        return threading.local()

    @cached_property
    def _reduce(self) -> Reducer | SubstringReducer:
        if isinstance(self._search, search.WordSearch):
            return Reducer(self._search)
        return SubstringReducer(self._search)

    def _accepted_in(
        self, species: Column, fine_types: Column
    ) -> tuple[NDArray[np.int64], list[set[PaiSpecies]]]:
        """Return a code for each row, and the accepted species for each code."""
        (kinds, of_kind), (fines, of_fine) = _encode(species), _encode(fine_types)
        accepted = [self.accepted(kind, fine) for kind in kinds for fine in fines]
        return of_kind * len(fines) + of_fine, accepted


def _encode(column: Column) -> tuple[list[str | None], NDArray[np.int64]]:
    """Return the values that may occur, null among them, and the number of each row's."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not pa.types.is_dictionary(whole.type):
        whole = whole.cast(pa.string()).dictionary_encode()
    values = [*whole.dictionary.to_pylist(), None]
    codes = whole.indices.fill_null(len(values) - 1)
    return values, codes.to_numpy().astype(np.int64)
