"""Where a result comes from: the versions of the packages and the commit of the code."""

from __future__ import annotations

import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "scf", "av", "datasets", "numpy", "opencv-python-headless", "pillow", "pyarrow", "ray",
    "torch", "transformers",
)  # fmt: skip
"""Packages whose version may change a result."""


@cache
def packages() -> dict[str, str | None]:
    """Return the installed version of each of `PACKAGES`; ``None`` where it is not installed."""
    return {name: _version(name) for name in PACKAGES}


@cache
def commit() -> str | None:
    """Return the commit of the code's checkout; ``None`` where it runs from an installation."""
    folder = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD", "--show-prefix"],  # noqa: S607 - as the user's shell
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    head, _, prefix = done.stdout.partition("\n")
    # An environment may lie within a checkout of something else.
    is_ours = done.returncode == 0 and prefix.strip() == f"{folder.name}/"
    return head if is_ours else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
