"""Where a result comes from: packages and their versions, the code's commit, the machine."""

from __future__ import annotations

import os
import platform
import re
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


@cache
def machine() -> str:
    """Return what kind of machine this is: system, processor, cores, GPUs, Python; no name of it.

    A cluster's workers may be of another kind.
    """
    known = Path("/proc/cpuinfo"), Path("/proc/driver/nvidia/gpus")
    processor = _field(known[0], "model name") or platform.machine()
    gpus = [_field(file, "Model") for file in sorted(known[1].glob("*/information"))]
    return ", ".join(
        [
            f"{platform.system()} {platform.machine()}",
            f"{os.cpu_count()} cores of {processor}",
            " and ".join(gpu for gpu in gpus if gpu) or "no GPU",
            f"Python {platform.python_version()}",
        ]
    )


def _field(file: Path, name: str) -> str | None:
    """Return a field of a ``name : value`` file of the kernel's."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(rf"^{name}\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
