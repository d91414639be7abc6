"""What a preflight found, one line each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from scf_pipeline.errors import ScfError


class Level(StrEnum):
    """What a finding means for the run."""

    READY = "ready"
    """As it must be."""

    NOTE = "note"
    """Worth knowing."""

    WARNING = "warning"
    """The run starts, and may not give what is expected of it."""

    MISSING = "missing"
    """The run does not start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One of them."""

    level: Level
    """What it means for the run."""

    subject: str
    """Dataset, model or part of the machine."""

    text: str
    """What was found, as a sentence without its full stop."""

    fix: str = ""
    """The next thing to try, as a sentence."""

    def line(self) -> str:
        """Return the finding as a line for people."""
        fix = f" Fix: {self.fix}" if self.fix else ""
        return f"{self.level:8} {self.subject}: {self.text}.{fix}"


def missing(subject: str, text: str, *, fix: str) -> Finding:
    """Return the finding of what keeps a run from its start."""
    return Finding(level=Level.MISSING, subject=subject, text=text, fix=fix)


def warning(subject: str, text: str, *, fix: str = "") -> Finding:
    """Return the finding of what may be wrong."""
    return Finding(level=Level.WARNING, subject=subject, text=text, fix=fix)


def note(subject: str, text: str) -> Finding:
    """Return a finding that is worth knowing."""
    return Finding(level=Level.NOTE, subject=subject, text=text)


def ready(subject: str, text: str) -> Finding:
    """Return the finding of what is as it must be."""
    return Finding(level=Level.READY, subject=subject, text=text)


def reason_of(error: Exception) -> str:
    """Return the first line of what an error says, or its name."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def of_error(subject: str, error: ScfError) -> Finding:
    """Return an expected failure, met early, as a finding."""
    return missing(subject, f"{error.what.rstrip('.')} ({error.where})", fix=error.fix)
