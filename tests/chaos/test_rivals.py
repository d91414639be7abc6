"""Two runs at once, moved clocks, stale locks, changed settings, other orders and places."""

import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import chain
import pytest
from test_kills import finish
from upath import UPath

from ifas_model.vocabulary import Label
from scf_pipeline import lock
from scf_pipeline.captioners import Model
from scf_pipeline.engine import Kernel, Part, Write, work
from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.errors import ArtifactError
from scf_pipeline.files import remove, write_whole
from scf_pipeline.keywords import default_dictionary
from scf_pipeline.lock import Owner
from scf_pipeline.stages import caption, shard
from scf_pipeline.stages import filter as keyword_filter
from scf_pipeline.stages.caption import CaptionConfig
from scf_pipeline.stages.filter import FilterConfig
from scf_pipeline.stages.shard import ShardConfig
from scf_pipeline.store import Artifact

pytestmark = pytest.mark.chaos


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03, 0.1, 0.2])
def test_of_two_runs_on_one_folder_one_is_refused_or_both_agree(
    delay: float, tmp_path: Path, undisturbed: Path, child, tried
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    first = child(chain.run_and_tell, root, tmp_path / "first")
    time.sleep(delay)
    second = child(chain.run_and_tell, root, tmp_path / "second")
    for process in (first, second):
        process.join()
        assert process.exitcode == 0
    told = [path.read_text() for path in (tmp_path / "first", tmp_path / "second") if path.exists()]
    assert all("must have one run at a time, but process" in what for what in told)
    assert len(told) < 2  # one of them goes on
    lost = finish(root, undisturbed, child)
    tried("two runs on one folder", rows_lost=lost)
    assert lost == 0


def run_with_a_clock_that_goes_back(root: Path) -> None:
    """Run while the clock on the wall loses an hour at every look."""
    begun, looks = time.time(), iter(range(1_000_000))
    time.time = lambda: begun - 3600 * next(looks)
    chain.run(root)


def run_against(root: Path, owner: dict[str, Any]) -> None:
    """Go on where another run left its lock beside the captions."""
    lock.BEAT_S, lock.STALE_S = 0.05, 0.3
    write_whole(UPath(root / "t_f/lock.json"), json.dumps(owner).encode())
    chain.run(root)


def run_twice(root: Path) -> None:
    """Run, and run again on what is sealed."""
    chain.run(root)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.*")}
    chain.run(root)
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("*.*")}


FIRST_CAPTIONS = 9
"""Commit that holds the first captions."""

OWNER = Owner(host="elsewhere", pid=1, born=None, nonce="theirs", beat=3)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (run_with_a_clock_that_goes_back, ()),
        (run_against, (asdict(OWNER),)),
        (run_against, (asdict(OWNER) | {"host": socket.gethostname(), "pid": 2**22 + 1},)),
        (run_against, ({"damaged": True},)),
        (run_twice, ()),
    ],
    ids=["clock", "stale-elsewhere", "dead-here", "damaged-lock", "commit-repeated"],
)
def test_clocks_stale_locks_and_a_second_commit_do_no_harm(
    function: Callable, arguments: tuple, tmp_path: Path, undisturbed: Path, child, tried
) -> None:
    if arguments:
        child(chain.run_and_die, tmp_path, FIRST_CAPTIONS, "after").join()
        assert (tmp_path / "t_f/lock.json").exists()
    process = child(function, tmp_path, *arguments)
    process.join()
    assert process.exitcode == 0
    lost = finish(tmp_path, undisturbed, child)
    tried("clock moved back, stale lock, commit repeated", rows_lost=lost)
    assert lost == 0


# Changed settings


def other_words(tmp_path: Path) -> Path:
    file = tmp_path / "words.yaml"
    file.write_text(default_dictionary().read_text("utf-8") + "\n# another version\n", "utf-8")
    return file


def caption_again(root: Path, revision: str = "c_g", **changes: Any) -> None:
    config = CaptionConfig(**({"label": Label.ATTACK, "batch_size": 2} | changes))
    model = Model(backend="speaker", location="nowhere", revision=revision)
    faces, out = Artifact.open(root / "faces"), UPath(root / "t_f")
    caption.run(config, faces=faces, model=model, out=out, engine=LocalEngine())


def filter_again(root: Path, dictionary: Path) -> None:
    keyword_filter.run(
        FilterConfig(dictionary=dictionary),
        captions=Artifact.open(root / "t_f"),
        out=UPath(root / "d_s"),
        engine=LocalEngine(),
    )


def shard_again(root: Path, faces: str = "faces", **changes: Any) -> None:
    shard.run(
        ShardConfig(dictionary=default_dictionary(), **changes),
        faces=Artifact.open(root / faces),
        captions=[Artifact.open(root / name) for name in ("t_r", "t_s")],
        out=UPath(root / "shards"),
        engine=LocalEngine(),
    )


def with_another_version(root: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CaptionConfig, "version", CaptionConfig.version + 1)
        caption_again(root)


@pytest.mark.parametrize(
    ("artifact", "again", "differs"),
    [
        ("t_f", lambda root, _: caption_again(root, revision="other"), "model"),
        ("t_f", lambda root, _: caption_again(root, label=Label.BONA_FIDE), "label"),
        ("t_f", lambda root, _: with_another_version(root), "version"),
        ("d_s", lambda root, tmp: filter_again(root, other_words(tmp)), "dictionary"),
        ("shards", lambda root, _: shard_again(root, seed=1), "seed"),
        ("shards", lambda root, _: shard_again(root, file_bytes=2**20), "file_bytes"),
    ],
    ids=["revision", "label", "schema", "dictionary", "seed", "layout"],
)
def test_an_unfinished_run_of_other_settings_is_refused_with_a_diff(
    artifact: str, again: Callable, differs: str, tmp_path: Path, undisturbed: Path, tried
) -> None:
    root = tmp_path / "root"
    shutil.copytree(undisturbed, root)
    (root / artifact / "manifest.json").unlink()
    kept = chain.contents(root)
    with pytest.raises(ArtifactError, match="must be new or belong to these settings") as caught:
        again(root, tmp_path)
    assert differs in caught.value.what
    assert caught.value.where == str(root / artifact)
    assert chain.contents(root) == kept
    tried("resume under other settings")


# Other orders and places


class InAnotherOrder:
    """Works on parts in an order of its own."""

    def __init__(self, order: Callable[[Sequence[Part]], Sequence[Part]]) -> None:
        self.order = order

    def map_parts(
        self,
        make_kernel: Callable[[], Kernel],
        parts: Sequence[Part],
        write: Write,
        *_: object,
    ) -> Iterator[int]:
        kernel = make_kernel()
        for part in self.order(parts):
            work(kernel, part, write)
            yield part.number

    call = LocalEngine.call


class SideBySide(InAnotherOrder):
    """Works on all parts at the same time."""

    def map_parts(
        self,
        make_kernel: Callable[[], Kernel],
        parts: Sequence[Part],
        write: Write,
        *_: object,
    ) -> Iterator[int]:
        with ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(lambda part: work(make_kernel(), part, write), parts))
        yield from (part.number for part in parts)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[UPath | None]:
    if request.param is None:
        yield None
        return
    found = UPath(request.param.format(tmp_path))
    yield found
    if found.protocol == "memory":
        remove(found)


@pytest.mark.parametrize(
    ("engine", "place"),
    [
        (InAnotherOrder(lambda parts: parts[::-1]), None),
        (InAnotherOrder(lambda parts: [*parts[1:], *parts[:1]]), None),
        (SideBySide(list), None),
        (None, "memory://chaos{}"),
        (None, "file://{}/elsewhere"),
        (None, "{}/ an odd näme; with 'quotes' & % signs"),
    ],
    indirect=["place"],
    ids=["backwards", "rotated", "side-by-side", "memory", "file-url", "odd-name"],
)
def test_other_orders_and_places_give_the_same_bytes(
    engine, place: UPath | None, tmp_path: Path, undisturbed: Path, monkeypatch, tried
) -> None:
    monkeypatch.setattr(caption, "plugins", caption.plugins)  # `chain` puts its own there
    monkeypatch.setattr(lock, "SETTLE_S", 0.0)
    chain.run(tmp_path, engine=engine, out=place)
    made = tmp_path if place is None else place
    assert chain.contents(made) == chain.contents(undisturbed)
    assert chain.identities(made) == chain.identities(undisturbed)
    tried("other orders, workers and places")
