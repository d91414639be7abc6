import os
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pytest

from scf_pipeline.engine import Resources
from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.errors import StageError

NAMES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Numbers:
    """A part of three rows."""

    number: int

    def read(self) -> pa.Table:
        return pa.table({"n": [self.number * 10 + i for i in range(3)]})


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "5")


def double() -> Callable[[pa.Table], pa.Table]:
    return lambda rows: pa.table({"n": [2 * n for n in rows["n"].to_pylist()]})


def test_parts_are_worked_on_in_order_and_written_under_their_numbers() -> None:
    written = {}
    parts = [Numbers(3), Numbers(1)]
    assert list(LocalEngine().map_parts(double, parts, written.__setitem__, Resources())) == [3, 1]
    assert {number: table["n"].to_pylist() for number, table in written.items()} == {
        3: [60, 62, 64],
        1: [20, 22, 24],
    }


def test_the_kernel_is_built_once_and_not_at_all_without_parts() -> None:
    built = []

    def make() -> Callable[[pa.Table], pa.Table]:
        built.append(os.environ["OMP_NUM_THREADS"])
        return double()

    engine = LocalEngine()
    assert list(engine.map_parts(make, [], lambda *_: None, Resources())) == []
    assert built == []
    parts = [Numbers(n) for n in range(4)]
    assert len(list(engine.map_parts(make, parts, lambda *_: None, Resources(cpus=3)))) == 4
    assert built == ["3"]


def test_a_part_is_done_when_its_number_is_yielded() -> None:
    written = {}
    done = LocalEngine().map_parts(
        double, [Numbers(0), Numbers(1)], written.__setitem__, Resources()
    )
    assert written == {}
    assert next(done) == 0
    assert list(written) == [0]


def test_parts_before_a_failing_one_are_kept() -> None:
    written = {}

    def make() -> Callable[[pa.Table], pa.Table]:
        def kernel(rows: pa.Table) -> pa.Table:
            if rows["n"][0].as_py() == 10:
                raise StageError("It must be even, but is odd.", where="part 1", fix="Double it.")
            return rows

        return kernel

    parts = [Numbers(n) for n in range(3)]
    with pytest.raises(StageError, match="but is odd"):
        list(LocalEngine().map_parts(make, parts, written.__setitem__, Resources()))
    assert list(written) == [0]


def test_call_runs_the_function_with_its_threads_and_returns_its_result() -> None:
    def add(a: int, b: int) -> tuple[int, str]:
        return a + b, os.environ["OMP_NUM_THREADS"]

    assert LocalEngine().call(add, Resources(cpus=2), a=1, b=2) == (3, "2")


def test_call_lets_every_error_through() -> None:
    def fail(error: Exception) -> None:
        raise error

    for error in (StageError("a", where="b", fix="c"), KeyError("d")):
        with pytest.raises(type(error)) as caught:
            LocalEngine().call(fail, Resources(), error=error)
        assert caught.value is error
