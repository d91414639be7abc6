"""Rows of a shard folder, each of them sound: strangers write shards too."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ifas_model.errors import ShardError
from ifas_model.prompt import JUDGMENTS, QUESTION, SEPARATOR
from ifas_model.rows import (
    Claim,
    breach,
    given,
    null_exactly_for,
    one_of,
    png_side,
    square_pngs,
    unique,
)
from ifas_model.shards import IMAGE, LABEL_CODES, SHARD_SCHEMA, open_shards, reading
from ifas_model.vocabulary import Label, PaiSpecies, Split

NULLABLE = frozenset({"subject_id", "pai_species", "fine_type"})
"""Columns in which a row may have nothing."""

_KEY = "face_id"


def read_rows(folder: Path) -> pa.Table:
    """Return every row of a shard folder, all columns but the picture, if every row is sound.

    Raises:
        ShardError: If the folder holds no shards, a file is damaged, or a row contradicts the
            contract, its file, itself or another row.
    """
    columns = [name for name in SHARD_SCHEMA.names if name != IMAGE]
    tables = []
    for fragment in open_shards(folder).get_fragments():
        file = Path(fragment.path)
        with reading(file):
            table = fragment.to_table(schema=SHARD_SCHEMA, columns=columns)
        _refuse(breach(table, _claims_of_rows(table, file), key=_KEY), where=file)
        tables.append(table)
    whole = pa.concat_tables(tables)
    _refuse(breach(whole, _claims_of_all(whole), key=_KEY), where=folder)
    return whole


def read_pictures(folder: Path) -> Iterator[pa.Array]:
    """Yield the encoded pictures of a shard folder, row group by row group, if each is sound.

    A picture is known by its head: whether the rest of it is one too, decoding will tell.

    Raises:
        ShardError: If a file is damaged, or a picture is no PNG, not square, or not of the size of
            the others.
    """
    side: int | None = None
    for fragment in open_shards(folder).get_fragments():
        file = Path(fragment.path)
        with reading(file):
            for batch in fragment.to_batches(schema=SHARD_SCHEMA, columns=[_KEY, IMAGE]):
                encoded = pc.struct_field(batch[IMAGE], "bytes")
                table = pa.table({_KEY: batch[_KEY], IMAGE: encoded})
                claims = chain(given(table, [IMAGE]), square_pngs(table, IMAGE, side=side))
                _refuse(breach(table, claims, key=_KEY), where=file)
                if side is None and len(encoded):
                    side = png_side(encoded[0].as_py())
                yield encoded


def _refuse(problem: str | None, *, where: Path) -> None:
    if problem is not None:
        raise ShardError(
            f"Every row must keep the contract, but one does not: {problem}.",
            where=str(where),
            fix="Correct the row, or write the shards again with `scf shard`.",
        )


def _claims_of_rows(table: pa.Table, file: Path) -> Iterator[Claim]:
    """Claim what a row can keep by itself."""
    yield from given(table, [name for name in table.column_names if name not in NULLABLE])
    yield one_of(table, "split", list(Split))
    split = file.name.split("-", 1)[0]
    rule = f"{split}, as in the name of its file"
    yield Claim(column="split", rule=rule, broken=pc.not_equal(table["split"], split))
    yield one_of(table, "label", sorted(LABEL_CODES.values()))
    is_bona_fide = pc.equal(table["label"], LABEL_CODES[Label.BONA_FIDE])
    yield one_of(table, "pai_species", list(PaiSpecies))
    yield null_exactly_for(table, "pai_species", is_bona_fide, who="bona fide faces")
    is_fine = pc.and_(is_bona_fide, pc.is_valid(table["fine_type"]))
    yield Claim(column="fine_type", rule="null for bona fide faces", broken=is_fine)
    broken = pc.not_equal(table["question"], QUESTION)
    yield Claim(column="question", rule=f"{QUESTION!r}", broken=broken)
    judged = pc.if_else(is_bona_fide, JUDGMENTS[Label.BONA_FIDE], JUDGMENTS[Label.ATTACK])
    broken = pc.not_equal(table["judgment"], judged)
    yield Claim(column="judgment", rule="that of the label", broken=broken)
    told = pc.binary_join_element_wise(table["judgment"], table["interpretation"], SEPARATOR)
    broken = pc.not_equal(table["answer"], told)
    yield Claim(column="answer", rule="judgment and interpretation", broken=broken)


def _claims_of_all(table: pa.Table) -> Iterator[Claim]:
    """Claim what rows can keep together."""
    yield unique(table, _KEY)
    names = ("dataset", "split", "label", "pai_species")
    kinds = table.group_by("sample_id").aggregate([(name, "count_distinct") for name in names])
    for name in names:
        torn = kinds["sample_id"].filter(pc.greater(kinds[f"{name}_count_distinct"], 1))
        broken = pc.is_in(table["sample_id"], value_set=torn.combine_chunks())
        yield Claim(column=name, rule="one for all faces of a sample", broken=broken)
