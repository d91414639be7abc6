"""Workers, nodes and drivers of a Ray cluster die: nothing is lost, and little is done again."""

import faulthandler
import os
import random
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import chain
import pytest
import workers
from test_kills import finish
from upath import UPath
from workers import BATCH, RENAME, SYNC, Watched, wait_for

from scf_pipeline.engine import Engine
from scf_pipeline.files import hash_files
from scf_pipeline.stages import caption
from scf_pipeline.store import Artifact

pytestmark = [pytest.mark.chaos, pytest.mark.ray]

PATIENCE_S = 240
"""After that a child that hangs tells where, and ends."""

CLUSTER = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else Ray listens on more than loopback
}


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ray_engine: Engine) -> Engine:
    """The engine of two workers, in a process that knows the captioner of `chain`."""
    monkeypatch.setattr(caption, "plugins", caption.plugins)  # `chain` puts its own there
    chain.listen(tmp_path)
    workers.travel()
    return ray_engine


def describe(root: Path, engine: Engine) -> Artifact:
    """Caption the attacks, the first of the stages that caption."""
    faces = chain.write_faces(UPath(root / "faces"))
    return chain.describe("t_f", faces=faces, place=UPath(root), engine=engine)


def compare(made: Artifact, undisturbed: Path) -> int:
    """Compare captions with those of an undisturbed run, and return the rows that were lost."""
    wanted = Artifact.open(undisturbed / "t_f")
    assert hash_files(made.path) == hash_files(wanted.path)
    assert made.identity == wanted.identity
    assert not list(made.path.rglob("*.partial"))
    return abs(made.read().num_rows - wanted.read().num_rows)


def made_again(root: Path) -> Counter[str]:
    """Return how often too often each committed caption was made."""
    wanted = chain.committed(root)
    shown = Counter(chain.shown(root))
    assert shown.keys() == wanted
    return shown - Counter(wanted)


# Actors

MOST_MADE_AGAIN = 4
"""Captions of one part."""

QUICK = [(BATCH, 1, True), (RENAME, 1, True)]


@pytest.mark.parametrize(
    ("function", "nth", "is_over"),
    [
        pytest.param(
            function, nth, over, marks=[] if (function, nth, over) in QUICK else pytest.mark.slow
        )
        for function in (BATCH, SYNC, RENAME)
        for nth in (1, 2)
        for over in (False, True)
        if (function, over) != (SYNC, True)
    ],
)
def test_an_actor_that_dies_is_replaced_and_what_it_committed_is_not_made_again(
    function: str,
    nth: int,
    is_over: bool,
    listening: Engine,
    tmp_path: Path,
    undisturbed: Path,
    tried,
) -> None:
    # Syncs alternate between a file and its folder.
    nth = 2 * nth - 1 if function == SYNC else nth
    marker = tmp_path / "died"
    befall = partial(workers.die, function, nth, is_over, marker)
    made = describe(tmp_path, Watched(engine=listening, root=tmp_path, befall=befall))
    assert marker.exists()
    again = made_again(tmp_path)
    assert again.total() <= (0 if (function, is_over) == (RENAME, True) else MOST_MADE_AGAIN)
    lost = compare(made, undisturbed)
    tried("SIGKILL of a caption actor", rows_lost=lost)
    assert lost == 0


def kill_one_at_a_random_moment(
    root: Path, engine: Engine, undisturbed: Path, chance: random.Random
) -> tuple[bool, int]:
    """Return whether an actor was killed while it worked, and the rows lost."""
    moment, ended, killed = chance.uniform(0, 1), threading.Event(), []

    def kill() -> None:
        pids = wait_for(lambda: sorted(workers.at_work(root)) or ended.is_set())
        if ended.wait(moment):
            return
        pid = chance.choice(sorted(workers.at_work(root)) or pids)
        before, safe = Counter(chain.shown(root)), chain.committed(root)
        os.kill(pid, signal.SIGKILL)
        killed.append((before, safe))

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    made = describe(root, Watched(engine=engine, root=root, pause_s=0.2))
    ended.set()
    killer.join()
    for before, safe in killed:
        again = Counter(chain.shown(root))
        assert {name for name in safe if again[name] > before[name]} == set()
    assert made_again(root).total() <= MOST_MADE_AGAIN
    return bool(killed), compare(made, undisturbed)


@pytest.mark.slow
def test_an_actor_that_is_killed_at_a_random_moment_is_replaced(
    listening: Engine, tmp_path: Path, undisturbed: Path, tried
) -> None:
    chance, kills, lost = random.Random(0), 0, 0  # noqa: S311 - no secret
    while kills < 10:
        root = tmp_path / str(chance.random())
        chain.listen(root)
        is_killed, rows = kill_one_at_a_random_moment(root, listening, undisturbed, chance)
        kills, lost = kills + is_killed, lost + rows
    tried("SIGKILL of a caption actor", cases=kills, rows_lost=lost)
    assert lost == 0


# Other numbers of workers


def run_with_workers(root: Path, number: int, pause_s: float = 0.0) -> None:
    """Run the chain on a cluster of so many workers."""
    from scf_pipeline.engine.ray import RayEngine

    faulthandler.dump_traceback_later(PATIENCE_S, exit=True)
    workers.travel()
    engine = Watched(engine=RayEngine(workers=number), root=root, pause_s=pause_s)
    chain.run(root, engine=engine)


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2, 3])
def test_any_number_of_workers_gives_the_same_bytes(
    number: int, tmp_path: Path, undisturbed: Path, child, tried
) -> None:
    process = child(run_with_workers, tmp_path, number)
    process.join()
    assert process.exitcode == 0
    assert chain.contents(tmp_path) == chain.contents(undisturbed)
    assert chain.identities(tmp_path) == chain.identities(undisturbed)
    lost = chain.rows_lost(tmp_path)
    tried("other orders, workers and places", rows_lost=lost)
    assert lost == 0


# Nodes


NODE = {"num_cpus": 1, "node_ip_address": "127.0.0.1"}


@contextmanager
def a_cluster(nodes: int) -> Iterator[Any]:
    """Start a cluster of nodes of one CPU beside the driver's, and name it to the engine."""
    # A short path: sockets lie below it.
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as place:
        # Before Ray is imported, which looks at most of it only then. A cluster leaves word of
        # itself in Ray's folder; in the usual one, whoever starts Ray beside this test would join.
        os.environ.update(CLUSTER, RAY_TMPDIR=place)
        import ray
        from ray.cluster_utils import Cluster

        workers.travel()
        head = NODE | {
            "num_cpus": 0,
            "include_dashboard": False,
            "_system_config": {"health_check_period_ms": 1000, "health_check_failure_threshold": 5},
        }
        cluster = Cluster(initialize_head=True, head_node_args=head)
        assert Path(place, "ray/ray_current_cluster").read_text() == cluster.address
        try:
            for _ in range(nodes):
                cluster.add_node(**NODE)
            os.environ["RAY_ADDRESS"] = cluster.address
            yield cluster
        finally:
            ray.shutdown()
            for node in cluster.list_all_nodes()[::-1]:
                cluster.remove_node(node, allow_graceful=False)


def run_while_nodes_go(folder: Path, removals: int) -> None:
    """Caption again and again on two nodes, of which one that works is removed half way."""
    faulthandler.dump_traceback_later(PATIENCE_S + 60 * removals, exit=True)
    with a_cluster(2) as cluster, ThreadPoolExecutor() as pool:
        from scf_pipeline.engine.ray import RayEngine

        for number in range(removals):
            root = folder / str(number)
            chain.listen(root)
            removed = pool.submit(remove_a_node_at_work, cluster, root)
            describe(root, Watched(engine=RayEngine(workers=2), root=root, pause_s=1.0))
            removed.result()
            cluster.add_node(**NODE)


def remove_a_node_at_work(cluster: Any, root: Path) -> None:
    """Kill all processes of a node that captions."""
    nodes = {node.node_id: node for node in cluster.worker_nodes}
    at_work = wait_for(lambda: workers.at_work(root))
    wait_for(lambda: chain.shown(root))
    cluster.remove_node(nodes[min(at_work.values())], allow_graceful=False)
    (root / "removed").write_text(str(len(chain.committed(root))))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_node_that_is_removed_takes_nothing_with_it(
    tmp_path: Path, undisturbed: Path, child, tried
) -> None:
    removals, lost = 10, 0
    process = child(run_while_nodes_go, tmp_path, removals)
    process.join()
    assert process.exitcode == 0
    for number in range(removals):
        root = tmp_path / str(number)
        made = Artifact.open(root / "t_f")
        assert int((root / "removed").read_text()) < made.read().num_rows  # it was half way
        lost += compare(made, undisturbed)
        made_again(root)
    tried("node of a cluster removed", cases=removals, rows_lost=lost)
    assert lost == 0


# The driver


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_killed_driver_leaves_no_worker_and_the_next_run_takes_over(
    seed: int, tmp_path: Path, undisturbed: Path, child, tried
) -> None:
    driver = child(run_with_workers, tmp_path, 2, 0.3)
    orphans = wait_for(lambda: workers.at_work(tmp_path))
    wait_for(lambda: chain.shown(tmp_path))
    driver.join(random.Random(seed).uniform(0, 2))  # noqa: S311 - no secret
    driver.kill()
    driver.join()
    assert driver.exitcode == -9
    orphans |= workers.at_work(tmp_path)
    lost = finish(tmp_path, undisturbed, child)  # at once, beside workers that may still end
    wait_for(lambda: not any(map(is_running, orphans)), patience_s=60)
    assert chain.contents(tmp_path) == chain.contents(undisturbed)
    tried("SIGKILL of the driver while Ray workers run", rows_lost=lost)
    assert lost == 0
