"""Small tables for people."""

from dataclasses import dataclass

from scf_pipeline.tables import to_text


@dataclass
class Row:
    name: str
    rows: int
    share: float | None
    rejected: dict[str, int]


def test_rows_become_aligned_lines() -> None:
    text = to_text([Row("siw", 12, 0.5, {"no_keyword": 3}), Row("a", 1, None, {"conflict": 1})])
    lines = text.splitlines()
    assert lines[0].split() == ["name", "rows", "share", "no_keyword", "conflict"]
    assert lines[1].split() == ["siw", "12", "0.500", "3", "0"]
    assert lines[2].split() == ["a", "1", "0", "1"]
    assert len({len(line) for line in lines}) == 1


def test_no_rows_are_said_in_words() -> None:
    assert to_text([]) == "no rows"


def test_wide_and_long_tables_are_not_cut() -> None:
    rows = [Row(f"name{n}", n, 0.1, {f"reason{m}": m for m in range(30)}) for n in range(200)]
    lines = to_text(rows).splitlines()
    assert len(lines) == 201
    assert "..." not in lines[0]
