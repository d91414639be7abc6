"""Small final tables as text, for people at a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def to_text(rows: Sequence[DataclassInstance]) -> str:
    """Return rows as aligned lines of text under their field names.

    A field that holds counts by name becomes a column for each name; fractions have three
    decimals; what is not known is left blank.

    Args:
        rows: Dataclasses of one kind, e.g. `stats.AuditRow`.
    """
    if not rows:
        return "no rows"
    table = pd.DataFrame([_flat(asdict(row)) for row in rows])
    spread = [name for name in table.columns if str(name) not in asdict(rows[0])]
    table[spread] = table[spread].fillna(0).astype(int)  # a name that a row does not count
    return str(table.map(_cell).to_string(index=False))


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        flat |= value if isinstance(value, Mapping) else {name: value}
    return flat


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)
