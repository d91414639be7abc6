"""Out-of-core counts over caption tables: how often captioners name the attack, and how they talk.

Parts are read one by one and reduced to a `Tally` for each group at once, so memory holds the
distinct words and pairs of words of a group, never its rows.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ifas_model.vocabulary import Label, PaiSpecies
from scf_pipeline.keywords import KeywordDictionary
from scf_pipeline.schema import CAPTION_SCHEMA, Reject, is_held_out
from scf_pipeline.store import Artifact, FilePart

ALL = "all"
"""Stands for every dataset in a row of totals."""

KINDS = (*map(str, PaiSpecies), Label.ATTACK.value, Label.BONA_FIDE.value)
"""What a row counts, in the order of rows; ``attack`` is all PAI species together."""

MERGED_AT_ONCE = 8
"""Tallies that are merged by one task, and so held at one time."""

Hashes = NDArray[np.uint64]

_COLUMNS = [
    *("dataset", "label", "pai_species", "fine_type", "subject_id", "sample_id"),
    *("caption", "captioner", "reject"),
]
_MIX = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying loses nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """How one captioner speaks of one kind of picture in one dataset. Shares are in [0, 1]."""

    captioner: str
    """``<backend>@<revision>``."""

    dataset: str
    """Adapter name, or ``all``."""

    kind: str
    """PAI species, ``attack`` for all of them, or ``bona_fide``."""

    rows: int
    """Captions, degenerate ones included: what shares are of, unless they say otherwise."""

    judged: int
    """Captions of species that have keywords: what `own_rate` is a share of."""

    own_rate: float | None
    """Captions that name their own species; ``None`` where there are no such keywords."""

    other_rate: float
    """Captions that name another species."""

    any_rate: float
    """Captions that name any species; for bona fide, false alarms."""

    degenerate_rate: float
    """Captions that were rejected as empty or looping."""

    mean_words: float | None
    """Words in a caption, parted by spaces; like the rest below, of captions not rejected."""

    distinct_1: float | None
    """Distinct words, as a share of all words."""

    distinct_2: float | None
    """Distinct pairs of neighbours, as a share of all pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunnelRow:
    """What became of the captions of one species in one dataset."""

    dataset: str
    """Adapter name, or ``all``."""

    kind: str
    """PAI species, ``attack`` or ``bona_fide``, as in `AuditRow`."""

    rows: int
    """Captions."""

    live: int
    """Captions that go on."""

    rejected: dict[str, int]
    """Captions that do not, by reason."""


def _none() -> Hashes:
    return np.zeros(0, np.uint64)


def _distinct(hashes: Hashes) -> Hashes:
    """Return the distinct values, sorted: as `np.unique`, in a fifth of its time."""
    ordered = np.sort(hashes)
    is_new = np.ones(len(ordered), bool)
    is_new[1:] = ordered[1:] != ordered[:-1]
    return ordered[is_new]


@dataclass(slots=True)
class Tally:
    """Mergeable counts of one group of captions."""

    order: int
    """Number of the first artifact that holds the group."""

    counts: Counter[str] = field(default_factory=Counter)
    """Captions, words and pairs, by what is counted."""

    words: Hashes = field(default_factory=_none)
    """Hashes of the distinct words, sorted."""

    pairs: Hashes = field(default_factory=_none)
    """Hashes of the distinct pairs of neighbouring words, sorted."""

    def merge(self, other: Tally) -> Tally:
        """Return the counts of both groups together."""
        return Tally(
            min(self.order, other.order),
            self.counts + other.counts,
            _distinct(np.concatenate([self.words, other.words])),
            _distinct(np.concatenate([self.pairs, other.pairs])),
        )


Group = tuple[str, str, str]
"""Captioner, dataset, kind."""

Tallies = dict[Group, Tally]


def audit(
    artifacts: Sequence[Artifact], dictionary: KeywordDictionary, *, held_out: float | None = None
) -> list[AuditRow]:
    """Judge captioners by their captions, side by side.

    Args:
        artifacts: Caption artifacts, of one captioner or several.
        dictionary: K of Algorithm 1.
        held_out: Count only subjects that are held out of the training of C_S at this share, as
            `is_held_out` tells (samples where the subject is not known); ``None`` counts all rows.

    Returns:
        A row for each captioner, dataset and kind, and totals; the rows of one dataset and kind
        stand together, captioners in the order of the artifacts.
    """
    # dask takes a second to load: not whenever this module is imported
    import dask.bag

    parts = [
        (number, part)
        for number, item in enumerate(artifacts)
        for part in item.parts(CAPTION_SCHEMA)
    ]
    if not parts:
        return []
    tally = partial(_tally_part, dictionary=dictionary, held_out=held_out)
    bag = dask.bag.from_sequence(parts, npartitions=len(parts))  # type: ignore[no-untyped-call]
    scheduler = dask.config.get("scheduler", "threads")
    tallies = bag.map(tally).fold(_merge, split_every=MERGED_AT_ONCE).compute(scheduler=scheduler)
    return _audit_rows(_with_totals(tallies))


def funnel(artifact: Artifact) -> list[FunnelRow]:
    """Count what became of the captions of an artifact, by dataset and species, totals included."""
    counts: dict[tuple[str, str], Counter[str | None]] = {}
    keys = ["dataset", "label", "pai_species", "reject"]
    for part in artifact.parts(CAPTION_SCHEMA):
        for row in part.read_all(keys).group_by(keys).aggregate([([], "count_all")]).to_pylist():
            for group in _totals(row["dataset"], row["pai_species"] or row["label"]):
                counts.setdefault(group, Counter())[row["reject"]] += row["count_all"]
    return [
        FunnelRow(
            dataset=dataset,
            kind=kind,
            rows=reasons.total(),
            live=reasons[None],
            rejected={str(reason): reasons[reason] for reason in reasons if reason is not None},
        )
        for (dataset, kind), reasons in sorted(counts.items(), key=lambda item: _place(*item[0]))
    ]


def _totals(dataset: str, kind: str) -> list[tuple[str, str]]:
    """Return what a group of captions counts for: itself and its totals."""
    kinds = (kind, Label.ATTACK.value) if kind in set(PaiSpecies) else (kind,)
    return [(place, each) for place in (dataset, ALL) for each in kinds]


def _place(dataset: str, kind: str) -> tuple[bool, str, int]:
    """Return where a row stands: datasets by name, the total last."""
    return dataset == ALL, dataset, KINDS.index(kind)


def _merge(one: Tallies, other: Tallies) -> Tallies:
    both = [group for group in other if group in one]
    return one | other | {group: one[group].merge(other[group]) for group in both}


def _with_totals(tallies: Tallies) -> Tallies:
    result: Tallies = {}
    for (captioner, dataset, kind), tally in tallies.items():
        for place, each in _totals(dataset, kind):
            result = _merge(result, {(captioner, place, each): tally})
    return result


def _audit_rows(tallies: Tallies) -> list[AuditRow]:
    groups = sorted(tallies, key=lambda g: (_place(g[1], g[2]), tallies[g].order, g[0]))
    return [_audit_row(group, tallies[group]) for group in groups]


def _audit_row(group: Group, tally: Tally) -> AuditRow:
    n = tally.counts
    return AuditRow(
        captioner=group[0],
        dataset=group[1],
        kind=group[2],
        rows=n["rows"],
        judged=n["judged"],
        own_rate=_share(n["own"], n["judged"]),
        other_rate=n["other"] / n["rows"],
        any_rate=n["any"] / n["rows"],
        degenerate_rate=n["degenerate"] / n["rows"],
        mean_words=_share(n["words"], n["live"]),
        distinct_1=_share(len(tally.words), n["words"]),
        distinct_2=_share(len(tally.pairs), n["pairs"]),
    )


def _share(some: int, of: int) -> float | None:
    return some / of if of else None


def _tally_part(
    numbered: tuple[int, FilePart], *, dictionary: KeywordDictionary, held_out: float | None
) -> Tallies:
    """Reduce one part to the tallies of its groups."""
    number, part = numbered
    table = part.read_all(_COLUMNS)
    if held_out is not None:
        table = table.filter(_held_out(table, held_out))
    own, other = (
        pc.greater(pc.list_value_length(words), 0)
        for words in dictionary.match_columns(
            table["caption"], table["pai_species"], table["fine_type"]
        )
    )
    # a degenerate caption says nothing, whatever words it holds
    live = pc.fill_null(pc.not_equal(table["reject"], Reject.DEGENERATE.value), fill_value=True)
    species = [keyword.species.value for keyword in dictionary.keywords]
    flags = {
        "live": live,
        "judged": pc.is_in(table["pai_species"], value_set=pa.array(species, pa.string())),
        "own": pc.and_(own, live),
        "other": pc.and_(other, live),
        "any": pc.and_(pc.or_(own, other), live),
        "degenerate": pc.invert(live),
    }
    kinds = pc.coalesce(table["pai_species"], table["label"])
    spoken = _hash_words(pc.if_else(live, table["caption"], pa.scalar(None, pa.string())))
    masks = {name: flag.to_numpy(zero_copy_only=False) for name, flag in flags.items()}
    return {
        group: _tally(number, rows, masks, spoken)
        for group, rows in _groups(table["captioner"], table["dataset"], kinds)
    }


def _groups(*columns: pa.ChunkedArray) -> Iterator[tuple[Group, NDArray[np.intp]]]:
    """Yield each combination of values, and which rows have it."""
    keys = pa.table(list(columns), names=["captioner", "dataset", "kind"])
    for group in keys.group_by(keys.column_names).aggregate([]).to_pylist():
        same = [pc.equal(keys[name], value) for name, value in group.items()]
        yield tuple(group.values()), np.flatnonzero(reduce(pc.and_, same).to_numpy())


def _held_out(table: pa.Table, fraction: float) -> pa.BooleanArray:
    subjects = pc.coalesce(table["subject_id"], table["sample_id"])
    pairs = zip(table["dataset"].to_pylist(), subjects.to_pylist(), strict=True)
    known: dict[tuple[str, str], bool] = {}
    for pair in (names := list(pairs)):
        if pair not in known:
            known[pair] = is_held_out(*pair, fraction)
    return pa.array([known[pair] for pair in names], pa.bool_())


class _Words(NamedTuple):
    """The words of all captions, one after the other."""

    hashes: Hashes
    """Hash of each word."""

    first: NDArray[np.int32]
    """Number of each caption's first word, and the number of all words."""


def _hash_words(captions: pa.ChunkedArray) -> _Words:
    """Split captions into words; a null has none."""
    words = pc.utf8_split_whitespace(pc.utf8_lower(captions.combine_chunks()))
    encoded = words.flatten().dictionary_encode()
    distinct = np.array([_hash(word) for word in encoded.dictionary.to_pylist()], np.uint64)
    first = words.offsets.to_numpy()
    return _Words(distinct[encoded.indices.to_numpy()], first - first[0])


def _tally(
    number: int, rows: NDArray[np.intp], flags: Mapping[str, NDArray[np.bool_]], words: _Words
) -> Tally:
    """Count the captions of one group."""
    start = words.first[rows]
    size = words.first[rows + 1] - start
    ends = np.cumsum(size)
    hashes = words.hashes[np.arange(size.sum()) + np.repeat(start - (ends - size), size)]
    crossing = ends[(ends > 0) & (ends < len(hashes))] - 1
    pairs = np.delete(hashes[:-1] * _MIX + hashes[1:], crossing)
    counts = {name: int(np.count_nonzero(flag[rows])) for name, flag in flags.items()}
    sizes = {"rows": len(rows), "words": len(hashes), "pairs": len(pairs)}
    return Tally(number, Counter(counts | sizes), _distinct(hashes), _distinct(pairs))


def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
