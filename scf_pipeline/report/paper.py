"""What the paper printed, as data: Tables 1 to 4, its keywords, its names of datasets.

Figures are in percent, as printed. A ``!`` behind a figure marks it as a misprint: no scores can
have that HTER and that AUC at once, since an HTER of h >= 50 % caps the AUC at 2 (1 - h).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TypeAlias

Row: TypeAlias = Mapping[str, str]
"""A line of a table by column."""


@dataclass(frozen=True, slots=True)
class Pair:
    """HTER and AUC of one cell, in percent."""

    hter: float
    """Half total error rate."""

    auc: float
    """Area under the ROC curve."""

    is_misprint: bool = False
    """Whether the two exclude each other."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset's names."""

    title: str
    """As the paper writes it."""

    short: str
    """For charts."""

    is_masks_only: bool
    """Whether its only attacks are 3D masks."""


def read_table(name: str) -> list[Row]:
    """Return the lines of one of the package's tables."""
    text = files(__package__).joinpath("paper_tables", f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def pair(cell: str) -> Pair:
    """Read ``HTER/AUC``."""
    hter, auc = cell.split("/")
    return Pair(float(hter.rstrip("!")), float(auc.rstrip("!")), "!" in cell)


@cache
def datasets() -> dict[str, Dataset]:
    """Return the twelve datasets by adapter name, in the order of Table 2, the source last."""
    return {
        row["name"]: Dataset(row["title"], row["short"], row["masks_only"] == "yes")
        for row in read_table("datasets")
    }


def title(name: str) -> str:
    """Return a dataset's title; its own name where the paper has none."""
    known = datasets().get(name)
    return known.title if known else name


def short(name: str) -> str:
    """Return a dataset's name for charts."""
    known = datasets().get(name)
    return known.short if known else name


def keywords() -> dict[str, str]:
    """Return the species of each keyword that the paper gives."""
    return {row["word"]: row["species"] for row in read_table("keywords")}


def table1() -> dict[str, dict[str, Pair]]:
    """Return Table 1: by method, then by target."""
    return {
        row["method"]: {
            key: pair(cell) for key, cell in row.items() if key not in ("method", "average_hter")
        }
        for row in read_table("table1")
    }


def table1_averages() -> dict[str, float]:
    """Return the average HTER of each method of Table 1, as printed."""
    return {row["method"]: float(row["average_hter"]) for row in read_table("table1")}


def table2() -> dict[str, dict[str, Pair]]:
    """Return Table 2: by method, then by target and ``average``."""
    rows = read_table("table2")
    methods = [name for name in rows[0] if name != "dataset"]
    return {name: {row["dataset"]: pair(row[name]) for row in rows} for name in methods}


def averages(name: str) -> dict[str, Pair]:
    """Return the pairs of Table 3 or 4 by variant, e.g. of ``table3``."""
    return {row["variant"]: Pair(float(row["hter"]), float(row["auc"])) for row in read_table(name)}
