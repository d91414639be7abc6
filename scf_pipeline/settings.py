"""What an artifact is a result of: a stage at some version, its config, its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from upath import UPath

from scf_pipeline import reach
from scf_pipeline.config import digest, to_data
from scf_pipeline.errors import ArtifactError

DAMAGE = (ValueError, KeyError, TypeError, AttributeError, OSError)
"""What reading a JSON file and taking it for what a stage wrote may raise."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What an artifact is a result of: the code's version, the config, the inputs."""

    stage: str
    """Name of the stage."""

    version: int
    """Version of the stage's meaning, raised by hand."""

    config: Mapping[str, Any]
    """The config as plain data, files by their content."""

    inputs: Mapping[str, Any]
    """Identity of each input, by name."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all the rest."""
        return digest([self.stage, self.version, self.config, self.inputs])

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain data, fingerprint included."""
        return {
            "stage": self.stage,
            "version": self.version,
            "config": dict(self.config),
            "inputs": dict(self.inputs),
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Settings:
        """Read settings back from plain data.

        Raises:
            TypeError: If the config or the inputs are no mapping.
        """
        for name in ("config", "inputs"):
            if not isinstance(data[name], Mapping):
                raise TypeError(f"`{name}` must be a mapping, but is {data[name]!r}.")
        return cls(data["stage"], data["version"], data["config"], data["inputs"])

    def diff(self, found: Settings) -> str:
        """Tell in words how other settings differ from these."""
        ours, theirs = _flat(self.to_dict()), _flat(found.to_dict())
        lines = [
            f"{key} must be {ours.get(key, 'absent')} but is {theirs.get(key, 'absent')}"
            for key in sorted(ours.keys() | theirs.keys())
            if key != "fingerprint" and ours.get(key) != theirs.get(key)
        ]
        return "; ".join(lines) or "they are equal"


def settings(config: Any, **inputs: Any) -> Settings:  # noqa: ANN401 - any config, any input
    """Return the settings of a stage: its config and the identity of its inputs.

    Args:
        config: A config dataclass with the class variables ``stage`` and ``version``.
        inputs: Values with a `name` (artifacts, models), names themselves, or sequences of either,
            by the names that the stage gives them; ``None`` is left out.
    """
    found = {name: _identity(value) for name, value in inputs.items() if value is not None}
    return Settings(config.stage, config.version, to_data(config), found)


def _identity(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        return [_identity(item) for item in value]
    return value.name


def read_settings(file: UPath) -> Settings:
    """Read a ``settings.json``.

    Raises:
        ArtifactError: If it cannot be read, is not as a stage wrote it, or its store fails.
    """
    try:
        return Settings.from_dict(reach.read_json(file))
    except DAMAGE as error:
        raise ArtifactError(
            f"settings.json must be as a stage wrote it, but is damaged: {error!r}.",
            where=str(file),
            fix="Delete the folder and rerun the stage.",
        ) from error


def _flat(data: object, prefix: str = "") -> dict[str, str]:
    """Return the values of nested data as Python writes them, by dotted key."""
    if not isinstance(data, Mapping) or not data:
        return {prefix: repr(data)}
    flat: dict[str, str] = {}
    for key, value in data.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return flat
