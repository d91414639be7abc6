"""Every error this package raises on purpose; the trainer's own stand in the same tree.

* ScfError                 carries `what`, `where` and `fix`; the CLI prints all three
  + ConfigError            a setting is unknown, missing, or out of range
  + ShardError             a shard folder is missing, incomplete, or does not keep the schema
  + ModelError             a checkpoint cannot be loaded
  + DatasetLayoutError     files on disk do not match the dataset's native layout
  + SchemaError            a table lacks a column, or holds a wrong type or value
  + ArtifactError          an artifact is missing, incomplete, damaged, or of other settings
  + CaptionerError         a captioner cannot be loaded or cannot run here
  + StageError             a stage gave up, e.g. too many samples were rejected

A bug is not in this tree: broken invariants surface as built-in exceptions with a traceback.
"""

from __future__ import annotations

from ifas_model.errors import ConfigError, ModelError, ScfError, ShardError

__all__ = [
    "ArtifactError",
    "CaptionerError",
    "ConfigError",
    "DatasetLayoutError",
    "ModelError",
    "ScfError",
    "SchemaError",
    "ShardError",
    "StageError",
]


class DatasetLayoutError(ScfError):
    """Files on disk do not match the dataset's native layout."""


class SchemaError(ScfError):
    """A table lacks a column, or holds a wrong type or value."""


class ArtifactError(ScfError):
    """An artifact is missing, incomplete, damaged, or belongs to other settings."""


class CaptionerError(ScfError):
    """A captioner cannot be loaded or cannot run here."""


class StageError(ScfError):
    """A stage gave up."""
