"""What all tests share."""

from collections.abc import Iterator

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


@pytest.fixture(scope="session")
def ray_engine() -> Iterator[Engine]:
    """An engine of two workers on a local cluster, which the session's other engines join."""
    import ray

    from scf_pipeline.engine.ray import RayEngine

    yield RayEngine(workers=2)
    ray.shutdown()
