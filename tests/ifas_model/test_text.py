"""Nothing that a stranger wrote acts on a terminal or a page."""

import logging
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifas_model.text import VisibleFormatter, folded, in_line, make_warnings_visible, visible

ANYTHING = st.text(st.characters())  # surrogates and control characters included


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("safe\rerror", r"safe\rerror"),
        ("\x9b31m", r"\x9b31m"),
        ("a\x00b\x7f", r"a\x00b\x7f"),
        ("photo\u202egnp.exe\u2066", r"photo\u202egnp.exe\u2066"),
        ("\ud800 \udcff", r"\ud800 \udcff"),
        ("one\u2028two", r"one\u2028two"),
        ("ein Mädchen, 一张照片, صورة", "ein Mädchen, 一张照片, صورة"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
    ],
)
def test_what_acts_is_written_as_an_escape_and_all_else_stays(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(ANYTHING)
def test_visible_text_holds_no_control_character_and_can_be_written(text: str) -> None:
    shown = visible(text)
    acting = [sign for sign in shown if unicodedata.category(sign) in ("Cc", "Cs")]
    assert set(acting) <= {"\n", "\t"}
    shown.encode()
    assert visible(shown) == shown


@given(ANYTHING)
def test_text_in_a_line_is_one_line_for_everybody(text: str) -> None:
    assert len(f"a{in_line(text)}b".splitlines()) == 1
    assert len(f"a{folded(text)}b".splitlines()) == 1


def test_a_message_of_several_lines_is_folded_and_not_escaped() -> None:
    assert folded("It failed:\n   no such file\n") == "It failed: no such file"


def warning_of(name: str) -> logging.LogRecord:
    return logging.LogRecord("x", logging.WARNING, "", 0, "%s is broken", (name,), None)


def test_a_logged_name_does_not_act() -> None:
    assert VisibleFormatter().format(warning_of("\x1b[2J")) == r"\x1b[2J is broken"


def test_a_warning_that_nobody_handles_does_not_act(capsys, monkeypatch) -> None:
    monkeypatch.setattr(logging, "lastResort", logging._StderrHandler(logging.WARNING))
    make_warnings_visible()
    logging.lastResort.handle(warning_of("clip\x1b[2J.mov"))
    assert capsys.readouterr().err == "clip\\x1b[2J.mov is broken\n"
