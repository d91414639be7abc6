"""What all tests share."""

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from scf_pipeline.engine import Engine

# Derandomized and without a deadline, so that neither chance nor a slow machine fails a property.
settings.register_profile("house", derandomize=True, deadline=None, max_examples=50, database=None)
settings.load_profile("house")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite tests/golden instead of comparing"
    )


class Trap:
    """Code that strangers would like to be run: it makes a folder, by which it is found out."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker
        self.source = f"import os\nos.makedirs({str(marker)!r}, exist_ok=True)\n"

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.makedirs, (str(self.marker),)

    @property
    def is_sprung(self) -> bool:
        return self.marker.exists()


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    """A trap that works: whoever unpickles it, or runs its source, springs it."""
    trap = Trap(tmp_path / "sprung")
    pickle.loads(pickle.dumps(trap))
    assert trap.is_sprung
    trap.marker.rmdir()
    exec(trap.source)  # noqa: S102 - it is ours
    assert trap.is_sprung
    trap.marker.rmdir()
    return trap


@pytest.fixture(scope="session")
def ray_engine() -> Iterator[Engine]:
    """An engine of two workers on a local cluster, which the session's other engines join."""
    import ray

    from scf_pipeline.engine.ray import RayEngine

    yield RayEngine(workers=2)
    ray.shutdown()
