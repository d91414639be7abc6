import json
import os
import pickle
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from scf_pipeline.engine import Engine, Kernel, Part, Resources
from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.errors import ConfigError, SchemaError, StageError
from scf_pipeline.settings import Settings
from scf_pipeline.store import Artifact, ArtifactWriter

pytestmark = pytest.mark.ray

SCHEMA = pa.schema([("face_id", pa.string()), ("n", pa.int64())])
ONE = Resources()


@dataclass(frozen=True)
class Numbers:
    """A part of four rows."""

    number: int

    def read(self) -> pa.Table:
        numbers = [self.number * 10 + i for i in range(4)]
        return pa.table({"face_id": [f"toy/{n}#0" for n in numbers], "n": numbers})


def parts(count: int) -> list[Part]:
    return [Numbers(number) for number in range(count)]


@pytest.fixture(scope="module", autouse=True)
def this_module_travels(ray_engine: Engine) -> None:
    """Let workers, which cannot import a test, get its functions and classes by value."""
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


def make_square() -> Kernel:
    return lambda rows: rows.set_column(1, "n", pa.array([n * n for n in rows["n"].to_pylist()]))


def make_failing(number: int, fail: Callable[[], None]) -> Kernel:
    def kernel(rows: pa.Table) -> pa.Table:
        if rows["n"][0].as_py() == number * 10:
            fail()
        return rows

    return kernel


def run(engine: Engine, make: Callable[[], Kernel], todo: list[Part], folder: Path) -> list[int]:
    """Work on parts and return their numbers as they finish; their rows lie in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return list(engine.map_parts(make, todo, partial(write, folder), ONE))


def write(folder: Path, number: int, table: pa.Table) -> None:
    partial_file = folder / f"{number}.partial"
    partial_file.write_text(json.dumps(table.to_pylist()))
    partial_file.replace(folder / f"{number}.json")


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_once(marker: Path) -> None:
    if not marker.exists():
        marker.touch()
        kill()


def refuse(kind: type[Exception]) -> None:
    raise kind("It must be even, but is odd.", where="toy/20#0", fix="Double it.")


def divide() -> None:
    raise ZeroDivisionError("by nought")


def make_slow(folder: Path, fail: Callable[[], None]) -> Kernel:
    """The part that begins first takes as long as it may; another one fails in the meantime.

    Which one is first is left to Ray: where a part waits for a certain other one, that may stand
    behind it in the queue of the same worker. The file ``begun`` tells the first one's number.
    """

    def kernel(rows: pa.Table) -> pa.Table:
        number = rows["n"][0].as_py() // 10
        mine = folder / f"beginning-{number}"
        mine.write_text(str(number))
        try:
            os.link(mine, folder / "begun")
        except FileExistsError:
            fail()
            return rows
        time.sleep(600)
        return rows

    return kernel


def wait_for(claim: Callable[[], bool], patience_s: float = 60) -> None:
    end = time.monotonic() + patience_s
    while not claim():
        assert time.monotonic() < end, f"{claim} did not become true within {patience_s} s"
        time.sleep(0.02)


def all_cpus_are_free() -> bool:
    import ray

    return ray.available_resources().get("CPU") == 2


def start(function: Callable[..., None], *arguments: object) -> threading.Thread:
    """Run a function in a thread that keeps no process alive."""
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


# map_parts


@pytest.mark.parametrize("workers", [1, 2])
def test_both_engines_write_the_same_bytes(workers: int, tmp_path: Path) -> None:
    from scf_pipeline.engine.ray import RayEngine

    def seal(folder: str, engine: Engine) -> Artifact:
        identity = Settings("toy", 1, {}, {})
        writer = ArtifactWriter(UPath(tmp_path / folder), SCHEMA, settings=identity)
        todo = writer.missing(parts(5))
        assert sorted(engine.map_parts(make_square, todo, writer.write, ONE)) == [0, 1, 2, 3, 4]
        return writer.seal()

    local, ray = seal("local", LocalEngine()), seal("ray", RayEngine(workers=workers))
    for a, b in zip(local.parts(), ray.parts(), strict=True):
        assert a.path.read_bytes() == b.path.read_bytes()
    assert local.identity == ray.identity


def test_numbers_come_back_as_they_were_whatever_they_are(ray_engine: Engine, tmp_path) -> None:
    todo = [Numbers(7), Numbers(100_000), Numbers(3)]
    done = run(ray_engine, make_square, todo, tmp_path)
    assert sorted(done) == [3, 7, 100_000]
    assert {type(number) for number in done} == {int}


def test_nothing_to_do_starts_nothing(ray_engine: Engine) -> None:
    done = ray_engine.map_parts(pytest.fail, [], lambda *_: None, Resources(cpus=1000))
    assert list(done) == []


def test_the_kernel_is_built_once_in_each_worker(ray_engine: Engine, tmp_path: Path) -> None:
    built = tmp_path / "built"
    built.mkdir()

    def make() -> Kernel:
        (built / f"{os.getpid()}-{len(list(built.iterdir()))}").touch()
        return lambda rows: rows

    run(ray_engine, make, parts(8), tmp_path / "out")
    pids = [path.name.split("-")[0] for path in built.iterdir()]
    assert str(os.getpid()) not in pids
    assert 1 <= len(pids) == len(set(pids)) <= 2


def test_a_worker_has_as_many_threads_as_cores(ray_engine: Engine, tmp_path: Path) -> None:
    def make() -> Kernel:
        return lambda _: pa.table({"threads": [os.environ["OMP_NUM_THREADS"]]})

    for cpus in (1, 2):
        folder = tmp_path / str(cpus)
        folder.mkdir()
        list(ray_engine.map_parts(make, parts(1), partial(write, folder), Resources(cpus=cpus)))
        assert json.loads((folder / "0.json").read_text()) == [{"threads": str(cpus)}]


@pytest.mark.parametrize("kind", [StageError, SchemaError, ConfigError])
def test_an_expected_error_crosses_with_what_where_and_fix(
    ray_engine: Engine, tmp_path: Path, kind: type[Exception]
) -> None:
    make = partial(make_failing, 2, partial(refuse, kind))
    with pytest.raises(kind) as caught:
        run(ray_engine, make, parts(4), tmp_path)
    error = caught.value
    assert type(error) is kind
    assert error.what == "It must be even, but is odd."
    assert (error.where, error.fix) == ("toy/20#0", "Double it.")
    assert not (tmp_path / "2.json").exists()


def test_an_expected_error_of_the_kernels_making_crosses_too(ray_engine, tmp_path: Path) -> None:
    def make() -> Kernel:
        refuse(ConfigError)

    with pytest.raises(ConfigError, match="but is odd"):
        run(ray_engine, make, parts(2), tmp_path)


def test_an_unexpected_error_names_the_part_and_its_first_row(ray_engine, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="by nought") as caught:
        run(ray_engine, partial(make_failing, 1, divide), parts(3), tmp_path)
    assert "Part 1 (4 rows, the first is 'toy/10#0') failed: ZeroDivisionError" in str(caught.value)


def test_a_worker_that_dies_is_replaced_and_nothing_is_lost(
    ray_engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make = partial(make_failing, 1, partial(kill_once, tmp_path / "killed"))
    done = run(ray_engine, make, parts(4), tmp_path / "out")
    assert capsys.readouterr().out == ""  # Ray would tell of the death where paths go
    assert (tmp_path / "killed").exists()
    assert sorted(done) == [0, 1, 2, 3]
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert found == {f"{number}.json" for number in range(4)}


@pytest.mark.slow
def test_a_part_that_kills_every_worker_ends_the_stage(ray_engine, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="must survive its part, but died 4 times") as caught:
        run(ray_engine, partial(make_failing, 1, kill), parts(2), tmp_path)
    assert caught.value.where == "one of 2 parts"
    assert not (tmp_path / "1.json").exists()


def test_a_run_goes_on_after_one_that_failed(ray_engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(StageError):
        run(ray_engine, partial(make_failing, 0, partial(refuse, StageError)), parts(2), tmp_path)
    assert sorted(run(ray_engine, make_square, parts(2), tmp_path)) == [0, 1]


def test_two_stages_share_the_cluster(ray_engine: Engine, tmp_path: Path) -> None:
    """As the runner does it: from threads, side by side."""
    done: dict[str, list[int]] = {}

    def work(name: str) -> None:
        done[name] = sorted(run(ray_engine, make_square, parts(3), tmp_path / name))

    threads = [start(work, name) for name in ("a", "b")]
    for thread in threads:
        thread.join(timeout=120)
    assert done == {"a": [0, 1, 2], "b": [0, 1, 2]}


def test_a_stage_in_which_nothing_happens_is_looked_at_seldom(
    ray_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.data._internal.execution.streaming_executor import StreamingExecutor

    looks: list[float] = []
    step = StreamingExecutor._scheduling_loop_step

    def look(executor: StreamingExecutor, topology: Any) -> bool:
        looks.append(time.monotonic())
        return step(executor, topology)

    def make() -> Kernel:
        def kernel(rows: pa.Table) -> pa.Table:
            begun = time.monotonic()
            time.sleep(3)
            (tmp_path / "while").write_text(json.dumps([begun, time.monotonic()]))
            return rows

        return kernel

    monkeypatch.setattr(StreamingExecutor, "_scheduling_loop_step", look)
    assert run(ray_engine, make, parts(1), tmp_path) == [0]
    begun, ended = json.loads((tmp_path / "while").read_text())
    # Ray Data alone looks ten times a second.
    assert 1 <= sum(begun < when < ended for when in looks) <= 3 * (ended - begun)


def test_a_stage_that_finished_frees_its_workers(ray_engine: Engine, tmp_path: Path) -> None:
    run(ray_engine, make_square, parts(3), tmp_path)
    wait_for(all_cpus_are_free, patience_s=30)


@pytest.mark.parametrize(
    ("fail", "kind"),
    [(partial(refuse, StageError), StageError), (divide, Exception)],
)
def test_a_stage_that_failed_frees_its_workers_while_its_error_is_held(
    ray_engine: Engine, tmp_path: Path, fail: Callable[[], None], kind: type[Exception]
) -> None:
    with pytest.raises(kind) as held:
        run(ray_engine, partial(make_slow, tmp_path, fail), parts(6), tmp_path)
    wait_for(all_cpus_are_free, patience_s=30)
    assert held.tb is not None


def test_a_stage_that_is_closed_early_frees_its_workers(ray_engine: Engine, tmp_path: Path) -> None:
    make = partial(make_slow, tmp_path, lambda: None)
    done = ray_engine.map_parts(make, parts(6), partial(write, tmp_path), ONE)
    assert next(done) != int((tmp_path / "begun").read_text())
    done.close()
    wait_for(all_cpus_are_free, patience_s=30)


def test_a_stage_that_is_interrupted_frees_its_workers(ray_engine: Engine, tmp_path: Path) -> None:
    def interrupt() -> None:
        wait_for((tmp_path / "begun").exists)
        # As the keys do: `interrupt_main` would not wake a thread that waits for a lock.
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    # A shell starts what it runs in the background with this signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        start(interrupt)
        with pytest.raises(KeyboardInterrupt) as held:
            run(ray_engine, partial(make_slow, tmp_path, lambda: None), parts(1), tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    wait_for(all_cpus_are_free, patience_s=30)
    assert held.tb is not None


def test_a_stage_that_ends_leaves_the_workers_of_another_alone(ray_engine, tmp_path: Path) -> None:
    def make_waiting() -> Kernel:
        def kernel(rows: pa.Table) -> pa.Table:
            (tmp_path / f"worker-{os.getpid()}").touch()
            wait_for((tmp_path / "ended").exists)
            return rows

        return kernel

    def work() -> None:
        done.extend(run(ray_engine, make_waiting, parts(1), tmp_path / "a"))

    done: list[int] = []
    other = start(work)
    wait_for(lambda: any(tmp_path.glob("worker-*")))
    with pytest.raises(StageError):
        run(ray_engine, partial(make_failing, 0, partial(refuse, StageError)), parts(1), tmp_path)
    (tmp_path / "ended").touch()
    other.join(timeout=120)
    assert done == [0]
    assert len(list(tmp_path.glob("worker-*"))) == 1


# call


def test_call_runs_elsewhere_and_returns(ray_engine: Engine) -> None:
    def where(text: str) -> tuple[str, int, str]:
        return text, os.getpid(), os.environ["OMP_NUM_THREADS"]

    text, pid, threads = ray_engine.call(where, Resources(cpus=2), text="here")
    assert (text, threads) == ("here", "2")
    assert pid != os.getpid()


def test_call_raises_an_expected_error_as_it_is(ray_engine: Engine) -> None:
    with pytest.raises(StageError) as caught:
        ray_engine.call(refuse, ONE, kind=StageError)
    assert type(caught.value) is StageError
    assert caught.value.fix == "Double it."


def test_call_raises_an_unexpected_error_with_its_words(ray_engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError, match="by nought"):
        ray_engine.call(divide, ONE)


def test_call_tries_again_where_its_worker_died(ray_engine: Engine, tmp_path: Path) -> None:
    def survive(marker: Path) -> str:
        kill_once(marker)
        return "alive"

    assert ray_engine.call(survive, ONE, marker=tmp_path / "killed") == "alive"


@pytest.mark.slow
def test_a_call_that_kills_every_worker_is_an_expected_error(ray_engine: Engine) -> None:
    with pytest.raises(StageError, match="died 4 times") as caught:
        ray_engine.call(kill, ONE)
    assert "kill" in caught.value.where


# Beginning


def test_at_least_one_worker_is_asked_for() -> None:
    from scf_pipeline.engine.ray import RayEngine

    with pytest.raises(ValueError, match="`workers` must be at least 1, but is 0"):
        RayEngine(workers=0)


@pytest.mark.parametrize("least", [0, 3])
def test_a_stage_begins_with_one_to_all_of_its_workers(least: int) -> None:
    from scf_pipeline.engine.ray import RayEngine

    with pytest.raises(ValueError, match=rf"`least_workers` must be in \[1, 2\], but is {least}"):
        RayEngine(workers=2, least_workers=least)


def test_two_workers_may_share_a_cpu_and_keep_the_stages_threads(
    ray_engine: Engine, tmp_path: Path
) -> None:
    from scf_pipeline.engine.ray import RayEngine

    def make() -> Kernel:
        (tmp_path / f"begun-{os.getpid()}").touch()
        wait_for(lambda: len(list(tmp_path.glob("begun-*"))) == 2)
        return lambda _: pa.table({"threads": [os.environ["OMP_NUM_THREADS"]]})

    engine = RayEngine(workers=2, cpus_per_worker=0.5, least_workers=2)
    engine_cpus = Resources(cpus=2)  # which two actors of this cluster could not both have
    done = list(engine.map_parts(make, parts(4), partial(write, tmp_path), engine_cpus))
    assert sorted(done) == [0, 1, 2, 3]
    told = [json.loads((tmp_path / f"{n}.json").read_text()) for n in range(4)]
    assert told == [[{"threads": "2"}]] * 4


def test_code_is_shipped_unless_a_submitted_job_has_done_so(
    ray_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scf_pipeline.engine import ray as engine

    folders = [Path(folder) for folder in engine._shipped()["py_modules"]]
    assert [folder.name for folder in folders] == ["ifas_model", "scf_pipeline"]
    assert all((folder / "__init__.py").is_file() for folder in folders)
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert engine._shipped() is None


def test_a_second_engine_joins_the_cluster(ray_engine: Engine) -> None:
    import ray

    from scf_pipeline.engine import choose

    before = ray.get_runtime_context().get_job_id()
    choose(1)
    assert ray.get_runtime_context().get_job_id() == before
    assert ray.cluster_resources()["CPU"] == 2


def test_a_local_cluster_listens_on_loopback_only(ray_engine: Engine) -> None:
    import ray

    address, port = ray.get_runtime_context().gcs_address.split(":")
    assert {node["NodeManagerAddress"] for node in ray.nodes()} == {address} == {"127.0.0.1"}
    with socket.create_connection((address, int(port)), timeout=5):
        pass
    with pytest.raises(ConnectionRefusedError):  # an address of this machine's, but another one
        socket.create_connection(("127.0.0.2", int(port)), timeout=5)


def test_every_process_of_a_local_cluster_listens_on_loopback_or_nowhere(ray_engine) -> None:
    from ray._private.worker import _global_node

    heard: dict[str, set[str]] = {}
    for name, (started,) in _global_node.all_processes.items():
        process = psutil.Process(started.process.pid)
        for one in (process, *process.children(recursive=True)):
            places = [c.laddr.ip for c in one.net_connections("inet") if c.status == "LISTEN"]
            heard.setdefault(name, set()).update(places)
    assert "ray_client_server" not in heard
    assert heard.pop("dashboard") == set()  # it gathers figures, and shows none
    assert not _global_node.webui_url
    assert set().union(*heard.values()) <= {"127.0.0.1", "::ffff:127.0.0.1"}
    assert heard["gcs_server"]


def test_whoever_does_not_know_the_token_is_kept_out(ray_engine: Engine) -> None:
    import ray

    code = (
        "import sys\n"
        "from ray._raylet import GcsClient\n"
        "print(len(GcsClient(address=sys.argv[1]).get_all_node_info(timeout=20)))\n"
    )
    address = ray.get_runtime_context().gcs_address
    ours = {name: value for name, value in os.environ.items() if name.startswith("RAY_AUTH")}
    bare = {name: value for name, value in os.environ.items() if name not in ours}
    guessed = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
    for known, told in ((ours, "1\n"), ({"RAY_AUTH_MODE": "disabled"}, ""), (guessed, "")):
        done = subprocess.run(
            [sys.executable, "-c", code, address],
            env=bare | known,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.stdout == told
        assert told or "Authentication token is missing or incorrect" in done.stderr


def test_the_files_of_a_local_cluster_are_the_users_alone(ray_engine: Engine) -> None:
    from ray._private.worker import _global_node

    folder = Path(_global_node.get_temp_dir_path()).parent
    assert Path(_global_node.plasma_store_socket_name).is_relative_to(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert folder.stat().st_uid == os.getuid()


@pytest.mark.slow
def test_the_files_of_a_local_cluster_go_with_its_process() -> None:
    code = (
        "import os\n"
        "from scf_pipeline.engine import Resources, choose\n"
        "choose(1).call(os.getpid, Resources())\n"
        "print(*os.listdir(os.environ['RAY_TMPDIR']))\n"
    )
    bare = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    place = Path(tempfile.mkdtemp(dir="/tmp"))  # pytest's own folders are too deep for sockets
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=bare | {"RAY_TMPDIR": str(place)},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        assert re.fullmatch(r"scf-\w+\n", done.stdout)
        assert list(place.iterdir()) == []
    finally:
        shutil.rmtree(place)


def test_a_column_of_pickles_is_bytes_to_every_reader(
    ray_engine: Engine, tmp_path: Path, trap
) -> None:
    """Ray Data registers a type with Arrow that unpickles whatever a file holds."""
    name = {"ARROW:extension:name": "ray.data.arrow_pickled_object"}
    schema = pa.schema([pa.field("face_id", pa.large_binary(), metadata=name)])
    pickled = pickle.dumps(trap)
    pq.write_table(pa.table([[pickled]], schema=schema), tmp_path / "forged.parquet")
    for engine in (LocalEngine(), ray_engine):
        found = engine.call(read_rows, ONE, file=tmp_path / "forged.parquet")
        assert found == [{"face_id": pickled}]
    assert not trap.is_sprung


def read_rows(file: Path) -> list[dict[str, object]]:
    return pq.read_table(file).to_pylist()


@pytest.mark.slow
def test_the_cluster_that_the_environment_names_is_joined(ray_engine: Engine) -> None:
    import ray

    code = (
        "import os, ray\n"
        "from scf_pipeline.engine import Resources, choose\n"
        "pid = choose(7).call(os.getppid, Resources())\n"
        "print(pid, ray.cluster_resources()['CPU'])\n"
    )
    address = ray.get_runtime_context().gcs_address
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"RAY_ADDRESS": address, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout == f"{ray_engine.call(os.getppid, ONE)} 2.0\n"


@pytest.mark.slow
def test_a_cluster_that_nobody_named_is_not_joined(ray_engine: Engine) -> None:
    import ray

    code = (
        "import ray\n"
        "from scf_pipeline.engine import choose\n"
        "choose(1)\n"
        "print(ray.cluster_resources()['CPU'])\n"
    )
    with tempfile.TemporaryDirectory() as folder:  # a short path: sockets lie below it
        note = Path(folder) / "ray" / "ray_current_cluster"  # `ray start` leaves it
        note.parent.mkdir()
        note.write_text(ray.get_runtime_context().gcs_address)
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"RAY_TMPDIR": folder},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
    assert done.stdout == "1.0\n"
