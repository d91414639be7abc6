"""Every error this package raises on purpose.

* ScfError                 carries `what`, `where` and `fix`; the CLI prints all three
  + ConfigError            a setting is unknown, missing, or out of range
  + ShardError             a shard folder is missing, incomplete, or does not keep the schema
  + ModelError             a checkpoint cannot be loaded

A bug is not in this tree: broken invariants surface as built-in exceptions with a traceback.
"""

from __future__ import annotations

from ifas_model.text import folded, in_line


class ScfError(Exception):
    """Base of all expected failures.

    As text it has three lines, whatever names of files or data of strangers it tells.

    Args:
        what: The violated expectation: "must be X, but is Y".
        where: File, artifact, sample or config field, as the user knows it.
        fix: One imperative sentence: the next thing to try.
    """

    def __init__(self, what: str, *, where: str, fix: str) -> None:
        told = f"{folded(what)}\n  where: {in_line(where)}\n  fix:   {in_line(fix)}"
        super().__init__(told)
        self.what, self.where, self.fix = what, where, fix

    def __reduce__(self) -> tuple[object, tuple[type[ScfError], str, str, str]]:
        """Survive the trip from a worker process, which pickles exceptions by position."""
        return _rebuild, (type(self), self.what, self.where, self.fix)


def _rebuild(kind: type[ScfError], what: str, where: str, fix: str) -> ScfError:
    return kind(what, where=where, fix=fix)


class ConfigError(ScfError):
    """A setting is unknown, missing, or out of range."""


class ShardError(ScfError):
    """A shard folder is missing, incomplete, or does not keep the schema."""


class ModelError(ScfError):
    """A checkpoint cannot be loaded."""
