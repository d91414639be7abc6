"""What rows must keep, asked of whole columns at once: no row is looked at alone.

A `Claim` is a rule of one column and the mask of the rows that break it; a mask's nulls break
nothing, so that a value that is absent is told of once, by `given`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

PNG_HEAD = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
"""How every PNG begins; width and height follow, four bytes each, the highest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A rule that every row must keep."""

    column: str
    """The column that it speaks of."""

    rule: str
    """What stands after "must be"."""

    broken: Any
    """Which rows break it: a Boolean array."""

    found: Callable[[Any], str] = lambda value: f"{value!r:.60}"
    """Tell of a value that breaks it what is wrong."""


def breach(table: pa.Table, claims: Iterable[Claim], *, key: str) -> str | None:
    """Return in words the first row that breaks the first claim that is broken, if one is.

    Args:
        table: The rows.
        claims: Asked in order; a later one may rest on an earlier one.
        key: Column that names a row.
    """
    for claim in claims:
        if pc.any(claim.broken).as_py():
            row = pc.index(claim.broken, value=True).as_py()
            value = table[claim.column][row].as_py()
            is_named = key != claim.column and key in table.column_names
            who = f"of {table[key][row].as_py()!r}" if is_named else f"in row {row}"
            return f"`{claim.column}` must be {claim.rule}, but is {claim.found(value)} {who}"
    return None


def ask(values: pa.ChunkedArray, question: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - a mask
    """Ask yes or no of each value of a column; where it is a dictionary, once of each distinct one.

    Args:
        values: The column.
        question: Takes values and returns a mask.
    """
    if not pa.types.is_dictionary(values.type):
        return question(values)
    answers = [question(chunk.dictionary).take(chunk.indices) for chunk in values.chunks]
    return pa.chunked_array(answers, pa.bool_())


def given(table: pa.Table, names: Iterable[str]) -> Iterator[Claim]:
    """Claim that no value of some columns is null."""
    for name in names:
        yield Claim(column=name, rule="given", broken=pc.is_null(table[name]))


def one_of(table: pa.Table, name: str, words: Sequence[Any]) -> Claim:
    """Claim that the values of a column are among some words; null is none."""
    values = table[name]
    known = ask(values, partial(pc.is_in, value_set=pa.array(list(words))))
    broken = pc.and_(pc.is_valid(values), pc.invert(known))
    return Claim(column=name, rule=f"one of {', '.join(map(str, words))}", broken=broken)


def null_exactly_for(table: pa.Table, name: str, chosen: Any, *, who: str) -> Claim:  # noqa: ANN401
    """Claim that a column is null in some rows and nowhere else.

    Args:
        table: The rows.
        name: The column.
        chosen: Which rows: a Boolean array.
        who: What the rows are called.
    """
    broken = pc.not_equal(pc.is_null(table[name]), chosen)
    return Claim(column=name, rule=f"null exactly for {who}", broken=broken)


def unique(table: pa.Table, name: str) -> Claim:
    """Claim that no value of a column occurs twice."""
    values = table[name]
    if _rises(values) or len(pc.unique(values)) == len(values):  # as nearly always, and cheaper
        broken = pa.repeat(pa.scalar(value=False), len(values))
    else:
        broken = pc.is_in(values, value_set=repeated(values))
    return Claim(column=name, rule="unique", broken=broken)


def _rises(values: pa.ChunkedArray) -> bool:
    """Tell whether each value is greater than the one before, as ids of sorted files are."""
    pairs = pc.less(values[:-1], values[1:])
    return bool(pc.all(pairs, skip_nulls=False).as_py())


def repeated(values: Any) -> pa.Array:  # noqa: ANN401 - an array, in chunks or not
    """Return the values that occur more than once, each of them once."""
    counts = pc.value_counts(values)
    return counts.field("values").filter(pc.greater(counts.field("counts"), 1))


def numbers(table: pa.Table) -> Iterator[Claim]:
    """Claim that no column of fractions holds NaN."""
    for field in table.schema:
        if pa.types.is_floating(field.type):
            broken = pc.is_nan(table[field.name])
            yield Claim(column=field.name, rule="a number", broken=broken)


def square_pngs(table: pa.Table, name: str, *, side: int | None = None) -> Iterator[Claim]:
    """Claim that pictures are PNG, square and of one size; their heads alone are looked at.

    Args:
        table: The rows.
        name: Column of encoded pictures.
        side: Side in pixels; that of the first picture without it.
    """
    images = table[name]
    is_png = pc.equal(pc.binary_slice(images, 0, len(PNG_HEAD)), PNG_HEAD)
    yield Claim(column=name, rule="a PNG", broken=pc.invert(is_png))
    widths, heights = (pc.binary_slice(images, start, start + 4) for start in (16, 20))
    yield Claim(
        column=name, rule="square", broken=pc.not_equal(widths, heights), found=_picture_size
    )
    if side is None:
        valid = widths.drop_null()
        if not len(valid):
            return
        side = int.from_bytes(valid[0].as_py(), "big")
    broken = pc.not_equal(widths, side.to_bytes(4, "big"))
    rule = f"{side} px wide, as the others"
    yield Claim(column=name, rule=rule, broken=broken, found=_picture_size)


def png_side(image: bytes) -> int:
    """Return the width of a PNG, in pixels, as its head tells it."""
    return int.from_bytes(image[16:20], "big")


def _picture_size(image: bytes) -> str:
    return f"{png_side(image)} x {int.from_bytes(image[20:24], 'big')} px"
