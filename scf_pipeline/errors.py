"""Every error this package raises on purpose.

* ScfError                 carries `what`, `where` and `fix`; the CLI prints all three
  + ConfigError            a setting is unknown, missing, or out of range
  + DatasetLayoutError     files on disk do not match the dataset's native layout
  + SchemaError            a table lacks a column or holds the wrong type
  + ArtifactError          an artifact is missing, incomplete, damaged, or of other settings
  + CaptionerError         a captioner cannot be loaded or cannot run here
  + StageError             a stage gave up, e.g. too many samples were rejected

A bug is not in this tree: broken invariants surface as built-in exceptions with a traceback.
"""

from __future__ import annotations


class ScfError(Exception):
    """Base of all expected failures.

    Args:
        what: The violated expectation: "must be X, but is Y".
        where: File, artifact, sample or config field, as the user knows it.
        fix: One imperative sentence: the next thing to try.
    """

    def __init__(self, what: str, *, where: str, fix: str) -> None:
        super().__init__(f"{what}\n  where: {where}\n  fix:   {fix}")
        self.what, self.where, self.fix = what, where, fix

    def __reduce__(self) -> tuple[object, tuple[type[ScfError], str, str, str]]:
        """Survive the trip from a worker process, which pickles exceptions by position."""
        return _rebuild, (type(self), self.what, self.where, self.fix)


def _rebuild(kind: type[ScfError], what: str, where: str, fix: str) -> ScfError:
    return kind(what, where=where, fix=fix)


class ConfigError(ScfError):
    """A setting is unknown, missing, or out of range."""


class DatasetLayoutError(ScfError):
    """Files on disk do not match the dataset's native layout."""


class SchemaError(ScfError):
    """A table lacks a column or holds the wrong type."""


class ArtifactError(ScfError):
    """An artifact is missing, incomplete, damaged, or belongs to other settings."""


class CaptionerError(ScfError):
    """A captioner cannot be loaded or cannot run here."""


class StageError(ScfError):
    """A stage gave up."""
