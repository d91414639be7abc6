from scf_pipeline.errors import ConfigError
from scf_pipeline.preflight.findings import (
    Level,
    missing,
    note,
    of_error,
    ready,
    reason_of,
    warning,
)


def test_a_line_says_what_it_means_for_the_run_first() -> None:
    finding = missing("wmca", "it has no root", fix="Write one.")
    assert finding.line() == "missing  wmca: it has no root. Fix: Write one."
    assert note("disk", "1 GB").line() == "note     disk: 1 GB."


def test_each_kind_has_its_level() -> None:
    made = [ready("x", "y"), note("x", "y"), warning("x", "y"), missing("x", "y", fix="z")]
    assert [one.level for one in made] == list(Level)


def test_an_expected_failure_keeps_what_where_and_fix() -> None:
    error = ConfigError("It must be, but is not.", where="here", fix="Do it.")
    found = of_error("wmca", error)
    assert found.level is Level.MISSING
    assert found.line() == "missing  wmca: It must be, but is not (here). Fix: Do it."


def test_a_reason_is_one_line_and_never_empty() -> None:
    assert reason_of(ValueError("one\ntwo")) == "one"
    assert reason_of(MemoryError()) == "MemoryError"
