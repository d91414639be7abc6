import os
import subprocess
import sys
from dataclasses import dataclass

import pyarrow as pa
import pytest

from scf_pipeline.engine import Resources, choose, limit_threads, work
from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.errors import ConfigError, StageError

NAMES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass
class Rows:
    """A part in memory."""

    table: pa.Table
    number: int = 7

    def read(self) -> pa.Table:
        return self.table


class Unreadable(Rows):
    def read(self) -> pa.Table:
        raise OSError("the disk is gone")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "5")


def test_no_workers_are_this_process() -> None:
    assert isinstance(choose(0), LocalEngine)


@pytest.mark.parametrize(
    ("variable", "text", "range_"),
    [
        ("SCF_CPUS_PER_WORKER", "half", "[0, inf]"),
        ("SCF_CPUS_PER_WORKER", "-1", "[0, inf]"),
        ("SCF_CPUS_PER_WORKER", "inf", "[0, inf]"),
        ("SCF_LEAST_WORKERS", "0", "[1, 4]"),
        ("SCF_LEAST_WORKERS", "5", "[1, 4]"),
    ],
)
def test_what_the_environment_asks_for_must_be_a_number_in_range(
    variable: str, text: str, range_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(ConfigError) as caught:
        choose(4)
    assert caught.value.what == f"`{variable}` must be a number in {range_}, but is {text!r}."
    assert isinstance(choose(0), LocalEngine)


def test_one_thread_for_each_core_and_at_least_one() -> None:
    for cpus, threads in ((1, "1"), (3, "3"), (0.5, "1"), (2.9, "2")):
        limit_threads(cpus)
        assert [os.environ[name] for name in NAMES] == [threads] * 3


def test_torch_is_told_where_it_is_loaded_and_not_loaded_where_it_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Torch:
        threads = None

        def set_num_threads(self, threads: int) -> None:
            self.threads = threads

    torch = Torch()
    monkeypatch.setitem(sys.modules, "torch", torch)
    limit_threads(3)
    assert torch.threads == 3
    monkeypatch.delitem(sys.modules, "torch")
    limit_threads(2)
    assert "torch" not in sys.modules


def test_a_part_is_read_worked_on_and_written_under_its_number() -> None:
    written = {}
    work(lambda rows: rows.slice(1), Rows(pa.table({"a": [1, 2]})), written.__setitem__)
    assert {number: table.to_pydict() for number, table in written.items()} == {7: {"a": [2]}}


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (pa.table({"face_id": ["x#0", "y#0"], "n": [1, 2]}), "2 rows, the first is 'x#0'"),
        (pa.table({"face_id": pa.array([], pa.string())}), "0 rows"),
        (pa.table({"n": [1]}).select([]), "1 rows"),
    ],
)
def test_an_unexpected_failure_names_the_part_and_its_first_row(rows: pa.Table, told: str) -> None:
    def divide(_: pa.Table) -> pa.Table:
        return 1 / 0

    with pytest.raises(RuntimeError) as caught:
        work(divide, Rows(rows), lambda *_: None)
    assert str(caught.value) == f"Part 7 ({told}) failed: ZeroDivisionError: division by zero"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_failure_to_read_or_write_names_the_part_too() -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    rows = pa.table({"face_id": ["x#0"]})
    with pytest.raises(
        RuntimeError, match=r"Part 7 \(not read\) failed: OSError: the disk is gone"
    ):
        work(lambda rows: rows, Unreadable(rows), lambda *_: None)
    with pytest.raises(RuntimeError, match=r"Part 7 \(1 rows, .* OSError: no space left"):
        work(lambda rows: rows, Rows(rows), fail)


def test_memory_that_does_not_suffice_for_a_part_is_an_expected_failure() -> None:
    def grow(_: pa.Table) -> pa.Table:
        raise MemoryError

    with pytest.raises(StageError, match="Memory must suffice for a part, but does not") as caught:
        work(grow, Rows(pa.table({"a": [1]})), lambda *_: None)
    assert caught.value.where == "part 7 (1 rows, the first is 1)"
    assert caught.value.fix.endswith("finished parts are kept.")


def test_an_expected_failure_stays_as_it_is() -> None:
    error = StageError("what", where="where", fix="fix")

    def refuse(_: pa.Table) -> pa.Table:
        raise error

    with pytest.raises(StageError) as caught:
        work(refuse, Rows(pa.table({"a": [1]})), lambda *_: None)
    assert caught.value is error


def test_nothing_is_written_of_a_part_that_failed() -> None:
    written = {}
    with pytest.raises(RuntimeError):
        work(lambda rows: rows["absent"], Rows(pa.table({"a": [1]})), written.__setitem__)
    assert written == {}


def test_resources_are_one_core_unless_said_otherwise() -> None:
    assert Resources() == Resources(cpus=1, gpus=0)


def test_neither_the_protocol_nor_the_local_engine_imports_ray_or_torch() -> None:
    code = (
        "import sys; from scf_pipeline.engine import choose; choose(0); "
        "assert sys.modules.keys().isdisjoint({'ray', 'torch'})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
