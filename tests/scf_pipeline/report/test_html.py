"""Markup by hand: what is not ours is escaped."""

import pytest

from scf_pipeline.report.html import (
    Group,
    Html,
    absent,
    escape,
    folded,
    items,
    join,
    paragraph,
    picture,
    section,
    table,
    tag,
)

EVIL = "<img src=x onerror=\"alert('1')\">&"


@pytest.mark.parametrize("make", [
    lambda text: tag("p", text), paragraph, absent, lambda text: items([text]),
    lambda text: section("a", text, text), lambda text: folded(text, text),
    lambda text: table(text, [Group(text, [text])], [[text]]),
    lambda text: tag("p", class_=text), lambda text: picture(b"", text),
])  # fmt: skip
def test_text_is_escaped_wherever_it_stands(make) -> None:
    made = make(EVIL)
    assert "<img src=x" not in made
    assert 'onerror="' not in made
    assert "&lt;img" in made


def test_markup_of_ours_is_kept() -> None:
    assert join([Html("<b>1</b>"), "<"], ", ") == "<b>1</b>, &lt;"
    assert escape(escape("<")) == "&lt;"


def test_a_number_is_shown_as_text() -> None:
    assert tag("td", 3) == "<td>3</td>"


def test_a_table_scrolls_in_a_box_of_its_own() -> None:
    made = table("c", [Group("", ["a"]), Group("theirs", ["b"], is_paper=True)], [["x", 1]])
    assert made.startswith('<div class="box"')
    assert '<td class="paper">1</td>' in made
    assert '<th class="paper" colspan="1">theirs</th>' in made


def test_a_table_without_group_titles_has_one_row_of_headings() -> None:
    assert table("c", [Group("", ["a", "b"])], []).count("<tr>") == 1


def test_a_row_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="`rows` must have 2 cells each, but one has 1"):
        table("c", [Group("", ["a", "b"])], [["x"]])


def test_a_picture_is_within_the_page() -> None:
    assert 'src="data:image/png;base64,AQI="' in picture(b"\x01\x02", "d")
