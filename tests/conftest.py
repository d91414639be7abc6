"""What all tests share."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from scf_pipeline.engine.ray import RayEngine

# Derandomized and without a deadline, so that neither chance nor a slow machine fails a property.
settings.register_profile("house", derandomize=True, deadline=None, max_examples=50, database=None)
settings.load_profile("house")


@pytest.fixture(scope="session")
def ray_engine() -> "Iterator[RayEngine]":
    """An engine of two workers on a local cluster, which the session's other engines join."""
    import ray

    from scf_pipeline.engine.ray import RayEngine

    yield RayEngine(workers=2)
    ray.shutdown()
