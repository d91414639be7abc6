"""A directory is a registry: each public module of a package is one entry, found by its name."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any


def names(package: ModuleType) -> list[str]:
    """Return the names of a package's entries, sorted, without importing them."""
    return sorted(
        module.name for module in iter_modules(package.__path__) if not module.name.startswith("_")
    )


def load(package: ModuleType, attribute: str, name: str) -> Any:  # noqa: ANN401 - entries differ
    """Import one entry and return the value it declares.

    Args:
        package: The registry, a package whose modules are its entries.
        attribute: Name of the value that every entry declares, e.g. ``ADAPTER``.
        name: Entry, i.e. module name.

    Raises:
        KeyError: If there is no such entry; the message names the nearest ones.
    """
    known = names(package)
    if name not in known:
        near = get_close_matches(name, known, n=3) or known
        raise KeyError(
            f"`{package.__name__}` must have an entry {name!r}, but has: {', '.join(near)}."
        )
    return getattr(import_module(f"{package.__name__}.{name}"), attribute)
