"""The chain on an object store that fails, is away, tells stale things, or has two runs on it."""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import chain
import pytest
from s3_server import START, Fault, serve
from upath import UPath
from workers import Watched, travel

from scf_pipeline import lock
from scf_pipeline.errors import ArtifactError

pytestmark = pytest.mark.chaos


@dataclass(frozen=True)
class Store:
    """A bucket of a local S3 server."""

    orders: Connection
    variables: dict[str, str]
    url: str = field(default="s3://chaos")

    def order(self, order: object) -> int:
        """Start the server, or let requests fail; return how many the last fault could meet."""
        self.orders.send(order)
        return int(self.orders.recv())


@pytest.fixture(scope="module")
def server(child) -> Iterator[Store]:
    ours, theirs = Pipe()
    process = child(serve, theirs)
    theirs.close()  # so that its death is known
    port = ours.recv()
    variables = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "2",
    }
    yield Store(ours, variables)
    process.terminate()
    process.join()


@pytest.fixture
def store(server: Store, request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty place in the store, for one test."""
    name = request.node.name.replace("[", "-").replace("]", "").replace("_", "-")[-50:].strip("-")
    yield Store(server.orders, server.variables, f"s3://chaos/{name}")
    server.order(None)


def run_there(variables: dict[str, str], url: str, root: Path, workers: int = 0) -> None:
    """Run the chain in a store, and write what an expected error says."""
    os.environ.update(variables)
    (root / "client").write_text(str(os.getpid()))
    try:
        chain.run(root, out=UPath(url), engine=with_workers(workers, root) if workers else None)
    except ArtifactError as error:
        (root / "told").write_text(json.dumps([error.what, error.where, error.fix]))


def run_there_without_beats(variables: dict[str, str], url: str, root: Path) -> None:
    """Run as `run_there`, with as many puts whether the machine is busy or not."""
    lock.BEAT_S = 3600.0
    run_there(variables, url, root)


def with_workers(number: int, root: Path) -> Watched:
    from scf_pipeline.engine.ray import RayEngine

    travel()
    return Watched(engine=RayEngine(workers=number), root=root)


def look(variables: dict[str, str], url: str, root: Path) -> None:
    """Write what lies in a store: every file's hash, what the artifacts are, and the rows lost."""
    os.environ.update(variables)
    place = UPath(url)
    found = [dict(chain.contents(place)), chain.identities(place), chain.rows_lost(place)]
    (root / "there").write_text(json.dumps(found))


def look_half_way(variables: dict[str, str], url: str, root: Path) -> None:
    """Write which captions are committed in a store."""
    os.environ.update(variables)
    (root / "committed").write_text(json.dumps(sorted(chain.committed(UPath(url)))))


def told(root: Path) -> list[str]:
    """Return what, where and fix of the error that ended the last run; empty if none did."""
    file = root / "told"
    found = json.loads(file.read_text()) if file.exists() else []
    file.unlink(missing_ok=True)
    return found


def run(function, store: Store, root: Path, child, *arguments: object) -> int:
    process = child(function, store.variables, store.url, root, *arguments)
    process.join()
    return process.exitcode


def finish(store: Store, root: Path, undisturbed: Path, child) -> int:
    """Run again on a store that is well; compare with a local run, and return the rows lost."""
    store.order(None)
    assert run(look_half_way, store, root, child) == 0
    safe, before = json.loads((root / "committed").read_text()), Counter(chain.shown(root))
    assert run(run_there, store, root, child) == 0
    assert told(root) == []
    again = Counter(chain.shown(root))
    assert {name for name in safe if again[name] > before[name]} == set()  # none is shown twice
    assert run(look, store, root, child) == 0
    contents, identities, lost = json.loads((root / "there").read_text())
    assert contents == chain.contents(undisturbed)
    assert identities == chain.identities(undisturbed)
    return lost


def is_clear(error: list[str], store: Store) -> bool:
    """Tell whether an error says that the store fails, where, and what to do."""
    what, where, fix = error
    return (
        what.startswith("A store must do as it is asked, but fails: ")
        and where.startswith(store.url)
        and fix.startswith("Mend the connection")
        and "what is finished is kept" in fix
    )


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_store_holds_the_same_bytes_as_a_disk(
    workers: int, store: Store, tmp_path: Path, undisturbed: Path, child, tried
) -> None:
    assert run(run_there, store, tmp_path, child, workers) == 0
    assert told(tmp_path) == []
    assert Counter(chain.shown(tmp_path)) == Counter(chain.shown(undisturbed))
    lost = finish(store, tmp_path, undisturbed, child)
    tried("object store", rows_lost=lost)
    assert lost == 0


# Killed


@pytest.mark.parametrize(
    ("what", "every"),
    [
        ("kill-after", None),
        pytest.param("kill-after", 4, marks=pytest.mark.slow),
        pytest.param("kill", 4, marks=pytest.mark.slow),
    ],
)
def test_killed_at_a_put_the_chain_goes_on(
    what: str, every: int | None, store: Store, tmp_path: Path, undisturbed: Path, child, tried
) -> None:
    puts: Sequence[int] = [12]  # of the first captions
    if every is not None:
        store.order(Fault(what="busy", method="PUT", first=10_000))
        assert run(run_there_without_beats, store, tmp_path, child) == 0
        puts = range(2, store.order(None), every)
    lost = 0
    for first in puts:
        root = tmp_path / str(first)
        root.mkdir()
        place = Store(store.orders, store.variables, f"{store.url}/{first}")
        place.order(Fault(what=what, method="PUT", first=first, client=root / "client"))
        assert run(run_there_without_beats, place, root, child) == -9
        lost += finish(place, root, undisturbed, child)
    tried("object store", cases=len(puts), rows_lost=lost)
    assert lost == 0


# Away


def test_a_store_that_goes_away_is_told_and_keeps_what_is_finished(
    store: Store, tmp_path: Path, undisturbed: Path, child, tried
) -> None:
    store.order(Fault(what="stop", method="PUT", part_of_name="t_s/data", first=2))
    assert run(run_there, store, tmp_path, child) == 0
    error = told(tmp_path)
    assert is_clear(error, store)
    assert "Could not connect" in error[0]
    assert run(run_there, store, tmp_path, child) == 0
    assert is_clear(told(tmp_path), store)  # a run on a store that is away from the beginning
    store.order(START)
    lost = finish(store, tmp_path, undisturbed, child)
    assert len(json.loads((tmp_path / "committed").read_text())) > len(chain.shown(tmp_path)) / 2
    tried("object store", cases=2, rows_lost=lost)
    assert lost == 0


@pytest.mark.slow
@pytest.mark.parametrize("what", ["busy", "half", "unsaid"])
@pytest.mark.parametrize("method", ["PUT", "GET", "HEAD", "LIST"])
def test_a_store_that_fails_is_told_and_loses_nothing(
    what: str, method: str, store: Store, tmp_path: Path, undisturbed: Path, child, tried
) -> None:
    store.order(Fault(what=what, method=method, first=12))
    assert run(run_there, store, tmp_path, child) == 0
    assert is_clear(told(tmp_path), store)
    lost = finish(store, tmp_path, undisturbed, child)
    tried("object store", rows_lost=lost)
    assert lost == 0


@pytest.mark.slow
@pytest.mark.parametrize("what", ["busy", "half", "unsaid"])
@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_one_failure_of_a_store_is_passed_over(
    what: str, method: str, store: Store, tmp_path: Path, undisturbed: Path, child, tried
) -> None:
    store.order(Fault(what=what, method=method, first=12, times=1))
    assert run(run_there, store, tmp_path, child) == 0
    assert told(tmp_path) == []
    lost = finish(store, tmp_path, undisturbed, child)
    tried("object store", rows_lost=lost)
    assert lost == 0


# Two views of one store


@pytest.mark.slow
@pytest.mark.parametrize("name", ["t_f%2Fdata", "shards%2Fdata"])
def test_a_listing_that_lags_behind_seals_nothing_that_lacks_rows(
    name: str, store: Store, tmp_path: Path, undisturbed: Path, child, tried
) -> None:
    store.order(Fault(what="stale", method="LIST", part_of_name=name))
    assert run(run_there, store, tmp_path, child) == 0
    what, where, fix = told(tmp_path)
    assert what.startswith("Every part must be written, but ")
    assert where.startswith(store.url)
    assert fix == "Rerun the stage; finished parts are kept."
    lost = finish(store, tmp_path, undisturbed, child)
    tried("object store", rows_lost=lost)
    assert lost == 0


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.0, 0.5, 1.5])
def test_of_two_runs_in_one_place_one_is_refused(
    delay: float, store: Store, tmp_path: Path, undisturbed: Path, child, tried
) -> None:
    roots = [tmp_path / "first", tmp_path / "second"]
    processes = []
    for root in roots:
        root.mkdir()
        processes.append(child(run_there, store.variables, store.url, root))
        time.sleep(delay)
    for process in processes:
        process.join()
        assert process.exitcode == 0
    errors = [error for root in roots if (error := told(root))]
    assert all("must have one run at a time, but" in what for what, _, _ in errors)
    assert len(errors) < 2  # one of them goes on
    lost = finish(store, tmp_path, undisturbed, child)
    tried("object store", rows_lost=lost)
    assert lost == 0
