"""HTML by hand: whatever is not `Html` is untrusted text and is escaped."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ifas_model.text import visible

LONGEST = 20_000
"""Most characters of one text that are shown; the settings of a model take a tenth of it."""


class Html(str):
    """Markup that this package wrote; any other string is text."""

    __slots__ = ()


Content = object
"""`Html`, or anything else, which is shown as text."""


def escape(content: Content) -> Html:
    """Return content as markup: `Html` as it is, all else as escaped text, of which none acts."""
    return content if isinstance(content, Html) else Html(_escape(str(content)))


def join(parts: Iterable[Content], between: str = "") -> Html:
    """Return contents one after the other, with markup between them."""
    return Html(between.join(map(escape, parts)))


def tag(name: str, *contents: Content, **attributes: str) -> Html:
    """Return an element; ``class_`` stands for ``class``, ``_`` for ``-`` elsewhere."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escape(value)}"'
        for key, value in attributes.items()
        if value
    )
    return Html(f"<{name}{told}>{join(contents)}</{name}>")


def paragraph(*contents: Content, class_: str = "") -> Html:
    """Return a paragraph."""
    return tag("p", *contents, class_=class_)


def absent(*contents: Content) -> Html:
    """Return a sentence that stands where a table or a chart would, had there been data."""
    return paragraph(*contents, class_="absent")


def items(contents: Iterable[Content]) -> Html:
    """Return a bulleted list."""
    return tag("ul", *(tag("li", content) for content in contents))


def section(name: str, title: str, *contents: Content) -> Html:
    """Return a section that a link can name."""
    return tag("section", tag("h2", title), *contents, id=name)


def folded(title: Content, *contents: Content) -> Html:
    """Return what is shown when its title is clicked."""
    return tag("details", tag("summary", title), *contents)


def picture(png: bytes, description: str) -> Html:
    """Return a PNG within the page."""
    data = base64.b64encode(png).decode("ascii")
    return Html(
        f'<img src="data:image/png;base64,{data}" alt="{_escape(description)}" loading="lazy">'
    )


def _escape(text: str) -> str:
    """Return text for a place between tags or within quotes; a line feed stays one."""
    return html.escape(visible(text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."))


@dataclass(frozen=True, slots=True)
class Group:
    """Neighbouring columns under one heading."""

    title: str
    """Heading, e.g. whose numbers they are; empty for none."""

    columns: Sequence[str]
    """Heading of each column."""

    is_paper: bool = False
    """Whether the paper printed the numbers, so that they are set apart."""


def table(caption: Content, groups: Sequence[Group], rows: Iterable[Sequence[Content]]) -> Html:
    """Return a table in a box of its own, which scrolls where it is too wide.

    Args:
        caption: What it shows, and by which policies.
        groups: Columns from left to right; the first column names the rows.
        rows: Cells, as many as there are columns.
    """
    columns = [(column, group) for group in groups for column in group.columns]
    over = Html("")
    if any(group.title for group in groups):
        over = tag("tr", *(_over(group) for group in groups))
    head = tag("tr", *(tag("th", c, class_=_kind(g), scope="col") for c, g in columns))
    body = [_row(cells, [group for _, group in columns]) for cells in rows]
    whole = tag("table", tag("caption", caption), tag("thead", over, head), tag("tbody", *body))
    return tag("div", whole, class_="box", tabindex="0")


def _over(group: Group) -> Html:
    return tag("th", group.title, class_=_kind(group), colspan=str(len(group.columns)))


def _row(cells: Sequence[Content], groups: Sequence[Group]) -> Html:
    if len(cells) != len(groups):
        raise ValueError(f"`rows` must have {len(groups)} cells each, but one has {len(cells)}.")
    first = tag("th", cells[0], scope="row")
    rest = zip(cells[1:], groups[1:], strict=True)
    return tag("tr", first, *(tag("td", cell, class_=_kind(group)) for cell, group in rest))


def _kind(group: Group) -> str:
    return "paper" if group.is_paper else ""
