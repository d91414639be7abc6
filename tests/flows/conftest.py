"""What the tests of flows share: the smallest setting, and how two steps or configs differ."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from flows.reproduce import MINIATURE_SMOKE
from flows.scf import another_c_s, scf
from flows.settings import DATASETS
from flows.trial import Bench
from scf_pipeline.config import to_data
from scf_pipeline.steps import External, Step, plan


@pytest.fixture(scope="session")
def bench() -> Bench:
    """Trials of three seeds in the smoke world, with one more captioner."""
    setting = replace(MINIATURE_SMOKE, seeds=(3, 1, 2))
    made = scf(setting, *DATASETS)
    other = another_c_s(setting, made, "other", replace(setting.finetune, seed=7))
    return Bench(setting=setting, made=made, others=(other,), world="hard")


@pytest.fixture(scope="session")
def identity() -> Callable[[Any], Any]:
    """What tells an input from another: fingerprints of all that led to it."""

    def found(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: found(item) for name, item in value.items()}
        if isinstance(value, tuple):
            return [found(item) for item in value]
        if isinstance(value, External):
            return value.name
        assert isinstance(value, Step)
        return plan(value)[-1].fingerprint

    return found


@pytest.fixture(scope="session")
def changes() -> Callable[[Any, Any], dict[str, tuple[Any, Any]]]:
    """Fields, by dotted name, in which two configs differ, with both values."""

    def found(one: Any, other: Any) -> dict[str, tuple[Any, Any]]:
        ours, theirs = dict(leaves(to_data(one))), dict(leaves(to_data(other)))
        return {
            name: (ours.get(name), theirs.get(name))
            for name in sorted(ours.keys() | theirs.keys())
            if (name in ours, ours.get(name)) != (name in theirs, theirs.get(name))
        }

    return found


def leaves(data: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of nested mappings by its dotted name; a list is one value."""
    if not isinstance(data, dict):
        yield place, data
        return
    for name, value in data.items():
        yield from leaves(value, f"{place}.{name}" if place else name)
