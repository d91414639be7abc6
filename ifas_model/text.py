"""Text of strangers made harmless: on a terminal and on a page every character shows, none acts."""

from __future__ import annotations

import logging
import re

_ACTING = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but for tab and line feed
    "\u2028\u2029\u202a-\u202e\u2066-\u2069"  # break a line, or turn what follows them around
    "\ud800-\udfff"  # halves of a character, which no encoding can write
    "]"
)
_BREAKING = re.compile(r"\s*\n\s*")


def visible(text: str) -> str:
    r"""Return text in which every character that would act stands as an escape, e.g. ``\x1b``.

    Line feeds and tabs are left as they are.
    """
    return _ACTING.sub(_escape, text)


def in_line(text: str) -> str:
    """Return the same of text that must stay in one line, as the name of a file must."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def folded(text: str) -> str:
    """Return the same of text whose own lines become one, as those of a library's message."""
    return in_line(_BREAKING.sub(" ", text.strip()))


class VisibleFormatter(logging.Formatter):
    """Formats what is logged, so that the names in it do not act."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as visible text."""
        return visible(super().format(record))


def make_warnings_visible() -> None:
    """Make visible what Python itself prints of warnings that no handler was set up for."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(VisibleFormatter())


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
