import io
import re
import threading
from collections.abc import Iterator

import pytest
from rich.console import Console

from scf_pipeline import progress
from scf_pipeline.progress import consume, say


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    console = Console(
        file=stream, force_terminal=True, width=80, color_system=None, emoji=progress.console._emoji
    )
    monkeypatch.setattr(progress, "console", console)
    return stream


def ticking(clock: Clock, parts: int, *, seconds: float) -> Iterator[int]:
    for number in range(parts):
        clock.now += seconds
        yield number


def test_the_iterator_is_drained_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[int] = []
    assert consume((seen.append(n) or n for n in (2, 0, 1)), total=3, label="crop") == 3
    assert seen == [2, 0, 1]
    assert capsys.readouterr() == ("", "")


def test_nothing_to_do_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert consume(iter(()), total=0, label="crop") == 0
    assert capsys.readouterr() == ("", "")


def test_where_there_is_no_terminal_a_line_comes_at_most_every_thirty_seconds(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    assert consume(ticking(clock, 10, seconds=11), total=10, label="crop") == 10
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [f"crop: {done} of 10 parts" for done in (3, 6, 9)]


def test_a_bar_is_drawn_on_a_terminal_and_taken_away(terminal: io.StringIO) -> None:
    assert consume(iter(range(3)), total=3, label="crop [1/2]") == 3
    drawn = terminal.getvalue()
    assert "3/3" in drawn
    assert drawn.endswith("\x1b[2K")  # the line is erased


def test_two_stages_draw_side_by_side(terminal: io.StringIO) -> None:
    together, done = threading.Barrier(2), []

    def work(label: str) -> None:
        def numbers() -> Iterator[int]:
            for number in range(3):
                together.wait(timeout=10)
                yield number

        done.append(consume(numbers(), total=3, label=label))

    threads = [threading.Thread(target=work, args=(label,)) for label in ("crop", "filter")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [3, 3]
    assert re.search("crop", terminal.getvalue())
    assert re.search("filter", terminal.getvalue())


@pytest.mark.parametrize("on_terminal", [True, False])
def test_an_error_of_a_part_passes_through(
    request: pytest.FixtureRequest, on_terminal: bool
) -> None:
    if on_terminal:
        request.getfixturevalue("terminal")

    def numbers() -> Iterator[int]:
        yield 0
        raise RuntimeError("part 1")

    with pytest.raises(RuntimeError, match="part 1"):
        consume(numbers(), total=2, label="crop")
    assert consume(iter(range(2)), total=2, label="crop") == 2


def test_words_go_to_stderr_verbatim_and_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    line = "[bold]runs/x[/bold] " + "word " * 60
    say(line)
    assert capsys.readouterr() == ("", f"{line}\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("crop: a\x1b[2J\rb", r"crop: a\x1b[2J\rb"),
        ("crop: a\nerror: b", r"crop: a\nerror: b"),
        (":warning: [link=x]y[/link]", ":warning: [link=x]y[/link]"),
    ],
)
def test_no_word_of_a_stranger_acts(text: str, shown: str, terminal: io.StringIO) -> None:
    say(text)
    assert terminal.getvalue() == f"{shown}\n"
