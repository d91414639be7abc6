import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pytest

from scf_pipeline.engine import Resources, local
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


@pytest.fixture(params=[False, True], ids=["dear", "cheap"])
def resources(request: pytest.FixtureRequest) -> Resources:
    return Resources(is_cheap=request.param)


def test_parts_are_worked_on_in_order_and_written_under_their_numbers(resources: Resources) -> None:
    written = {}
    parts = [Numbers(3), Numbers(1)]
    assert list(LocalEngine().map_parts(double, parts, written.__setitem__, resources)) == [3, 1]
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


def test_parts_before_a_failing_one_are_kept(resources: Resources) -> None:
    written = {}

    def make() -> Callable[[pa.Table], pa.Table]:
        def kernel(rows: pa.Table) -> pa.Table:
            if rows["n"][0].as_py() == 10:
                raise StageError("It must be even, but is odd.", where="part 1", fix="Double it.")
            return rows

        return kernel

    parts = [Numbers(n) for n in range(3)]
    with pytest.raises(StageError, match="but is odd"):
        list(LocalEngine().map_parts(make, parts, written.__setitem__, resources))
    assert set(written) in ({0}, {0, 2})  # a neighbour that was begun is finished


def test_cheap_parts_are_worked_on_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each waits for the other, so one after the other would never end."""
    monkeypatch.setattr(local, "MOST_THREADS", 2)
    both = threading.Barrier(2)
    written = []

    def make() -> Callable[[pa.Table], pa.Table]:
        def kernel(rows: pa.Table) -> pa.Table:
            both.wait(30)
            return rows

        return kernel

    def write(number: int, _: pa.Table) -> None:
        written.append(number)

    parts = [Numbers(n) for n in range(4)]
    done = LocalEngine().map_parts(make, parts, write, Resources(is_cheap=True))
    assert list(done) == sorted(written) == [0, 1, 2, 3]


def test_no_more_cheap_parts_are_begun_than_threads_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_cores", lambda: 1000)
    monkeypatch.setattr(local, "MOST_THREADS", 3)
    seen = set()

    def write(_number: int, _: pa.Table) -> None:
        seen.add(threading.get_ident())

    parts = [Numbers(n) for n in range(50)]
    assert len(list(LocalEngine().map_parts(double, parts, write, Resources(is_cheap=True)))) == 50
    assert len(seen) <= 3


def test_cheap_parts_that_wait_are_let_go_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "MOST_THREADS", 1)
    begun = []
    failed = threading.Event()

    def write(number: int, _: pa.Table) -> None:
        begun.append(number)
        if number == 0:
            raise StageError("It must fit, but does not.", where="here", fix="Make room.")
        assert failed.wait(30)

    parts = [Numbers(n) for n in range(50)]
    done = LocalEngine().map_parts(double, parts, write, Resources(is_cheap=True))
    threading.Timer(0.5, failed.set).start()
    with pytest.raises(StageError, match="must fit"):
        list(done)
    assert begun in ([0], [0, 1])


def test_a_failure_to_write_names_its_part_and_ends_the_run(resources: Resources) -> None:
    written = {}

    def write(number: int, rows: pa.Table) -> None:
        if number == 1:
            raise OSError("the disk is gone")
        written[number] = rows

    parts = [Numbers(n) for n in range(4)]
    with pytest.raises(
        RuntimeError, match=r"Part 1 \(3 rows, .* is 10\) failed: OSError: the disk"
    ):
        list(LocalEngine().map_parts(lambda: _same, parts, write, resources))
    assert 0 in written
    assert 1 not in written


def test_a_cheap_part_that_is_stored_is_not_worked_on_again() -> None:
    written = {}
    parts = [Numbers(n) for n in range(3)]
    done = LocalEngine().map_parts(
        double, parts, written.__setitem__, Resources(is_cheap=True), lambda number: number == 1
    )
    assert list(done) == [0, 1, 2]
    assert sorted(written) == [0, 2]


def _same(rows: pa.Table) -> pa.Table:
    return rows


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
