"""Memory does not suffice: batches are halved, who was killed goes on, and the bytes are the same.

Where memory really fails, a child may take no more than a few MiB of addresses beside what it has
when the captions begin (``RLIMIT_AS``). Such a limit needs no rights, and the allocation itself
fails; under a limit of a control group the kernel kills instead, which is tried by SIGKILL.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import chain
import numpy as np
import pyarrow as pa
import pytest
from test_kills import finish
from upath import UPath

from scf_pipeline.captioners import Caption, _blip2, find
from scf_pipeline.captioners._instructions import Decoding, Instructions
from scf_pipeline.engine import IsStored, Kernel, Part, Resources, Write
from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.errors import StageError
from scf_pipeline.miniature.models import Blip2Sizes, build_blip2
from scf_pipeline.miniature.tokenizer import learn_opt_tokenizer
from scf_pipeline.schema import FACE_SCHEMA
from scf_pipeline.settings import Settings
from scf_pipeline.stages import caption
from scf_pipeline.stages.caption import HALVED, CaptionConfig
from scf_pipeline.store import Artifact, ArtifactWriter
from scf_pipeline.verify import verify

pytestmark = pytest.mark.chaos

GROUP = "out of memory"
MIB = 2**20

limited = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux limits the addresses of a process"
)


class Tight(LocalEngine):
    """Captions with no more memory than the process has, and some MiB.

    Args:
        room: Bytes beside what the process has when the first part begins.
        warm_rows: Rows that are captioned before, so that what is loaded at first use is there.
    """

    def __init__(self, room: int, warm_rows: int = 0) -> None:
        self.room, self.warm_rows = room, warm_rows

    def map_parts(
        self,
        make_kernel: Callable[[], Kernel],
        parts: Sequence[Part],
        write: Write,
        resources: Resources,
        is_stored: IsStored | None = None,
    ) -> Iterator[int]:
        import resource

        before = resource.getrlimit(resource.RLIMIT_AS)

        def begin() -> Kernel:
            kernel = make_kernel()
            kernel(parts[0].read().slice(0, self.warm_rows))
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            most = pages * resource.getpagesize() + self.room
            resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
            return kernel

        is_caption = getattr(make_kernel, "func", None) is caption.make_kernel
        make = begin if is_caption else make_kernel
        try:
            yield from super().map_parts(make, parts, write, resources, is_stored)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)


# The chain, whose captioner wants much memory for each picture

WANTED = 512 * MIB
"""Addresses that the captioner takes for each picture; batches are of two."""

ROOM_FOR_ONE, ROOM_FOR_NONE = WANTED * 3 // 2, WANTED // 2


class Hungry(chain.Speaker):
    """Takes memory for each picture; where it does not suffice, it may be killed instead."""

    dies_at = 0
    """Number of the failure at which the process is killed."""

    failures = 0

    def caption(self, pictures: Any, seeds: Any, *, insist: bool = False) -> list[Caption]:
        try:
            np.empty(len(pictures) * WANTED, np.uint8)
        except MemoryError:
            Hungry.failures += 1
            if Hungry.failures == Hungry.dies_at:
                os.kill(os.getpid(), signal.SIGKILL)  # as the kernel's OOM killer does
            raise
        return super().caption(pictures, seeds, insist=insist)


def run_hungry(root: Path, room: int, dies_at: int = 0) -> None:
    """Run the chain with little memory, and write what an expected error says."""
    chain.Speaker, Hungry.dies_at = Hungry, dies_at
    try:
        chain.run(root, engine=Tight(room))
    except StageError as error:
        (root / "told").write_text(error.what)


def halved(root: Path, name: str) -> dict[str, list[int]]:
    return dict(Artifact.open(root / name).notes.get(HALVED, {}))


@limited
def test_batches_that_do_not_fit_are_halved_and_the_chain_ends_in_the_same_bytes(
    tmp_path: Path, undisturbed: Path, child, tried
) -> None:
    lost = finish(tmp_path, undisturbed, child, run_hungry, ROOM_FOR_ONE)
    assert not (tmp_path / "told").exists()
    for name in chain.TOLD:
        assert list(halved(tmp_path, name).values()) == [[1]] * chain.NUM_PARTS
        assert halved(undisturbed, name) == {}
        assert verify(UPath(tmp_path / name)) == []
    tried(GROUP, rows_lost=lost)
    assert lost == 0


@limited
def test_where_no_picture_fits_the_error_is_clear_and_more_memory_helps(
    tmp_path: Path, undisturbed: Path, child, tried
) -> None:
    process = child(run_hungry, tmp_path, ROOM_FOR_NONE)
    process.join()
    assert process.exitcode == 0
    told = (tmp_path / "told").read_text()
    assert told.startswith("Memory must suffice for one picture at a time, but does not: Unable to")
    lost = finish(tmp_path, undisturbed, child)
    assert all(halved(tmp_path, name) == {} for name in chain.TOLD)
    tried(GROUP, rows_lost=lost)
    assert lost == 0


QUICK = [(2, False), (5, True)]


@limited
@pytest.mark.parametrize(
    ("failure", "is_tight"),
    [
        pytest.param(
            failure,
            is_tight,
            marks=[] if (failure, is_tight) in QUICK else pytest.mark.slow,
            id=f"{failure}-{'tight' if is_tight else 'roomy'}",
        )
        for failure in (1, 2, 3, 5, 9)
        for is_tight in (False, True)
    ],
)
def test_who_was_killed_for_want_of_memory_goes_on_with_as_much_or_with_more(
    failure: int, is_tight: bool, tmp_path: Path, undisturbed: Path, child, tried
) -> None:
    process = child(run_hungry, tmp_path, ROOM_FOR_ONE, failure)
    process.join()
    assert process.exitcode == -9
    again = (run_hungry, ROOM_FOR_ONE) if is_tight else (chain.run,)
    lost = finish(tmp_path, undisturbed, child, *again)
    noted = [part for name in chain.TOLD for part in halved(tmp_path, name)]
    # One for each part that is done with little memory, before the kill or after it.
    assert len(noted) == (chain.NUM_PARTS * len(chain.TOLD) if is_tight else failure - 1)
    tried(GROUP, rows_lost=lost)
    assert lost == 0


# The package's own captioner

FACES, BATCH = 96, 32
SIZES = Blip2Sizes(
    image_px=256, dim=64, vision_layers=1, qformer_layers=1, language_layers=1, queries=2, heads=2
)
"""A picture takes some 200 KB as bytes and some 2 MB as numbers, the weights 1 MB."""

CRASHES, TRIES = (-signal.SIGSEGV, -signal.SIGABRT), 5
"""Libraries below torch may end the process where an allocation fails, or its stack cannot grow.
That is a kill like any other: the command is given again."""

TEXTS = ("a photo of a man with red hair\n", "a woman in front of a tablet\n")
DECODINGS = {
    "beams": Decoding(num_beams=3, min_new_tokens=1, max_new_tokens=6),
    "sampled": Decoding(
        num_beams=1, min_new_tokens=1, max_new_tokens=6, temperature=1.0, top_p=0.95
    ),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small captioner for each decoding."""
    root = tmp_path_factory.mktemp("models")
    for name, decoding in DECODINGS.items():
        parts = build_blip2(learn_opt_tokenizer(TEXTS), SIZES, seed=0)
        _blip2.save_parts(root / name, *parts, Instructions(decoding=decoding))
    return root


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two parts of faces."""
    folder = tmp_path_factory.mktemp("artifact") / "faces"
    writer = ArtifactWriter(folder, FACE_SCHEMA, settings=Settings("crop", 1, {}, {}))
    for number in range(2):
        rows = [chain._face(n) for n in range(number * FACES // 2, (number + 1) * FACES // 2)]
        writer.write(number, pa.Table.from_pylist(rows, schema=FACE_SCHEMA))
    writer.seal(rows_in={"siw": FACES})
    return folder


def describe(faces: Path, model: Path, out: Path, room: int | None = None) -> Artifact:
    """Caption the faces; with so much room beside what the process has, if it is said."""
    return caption.run(
        CaptionConfig(batch_size=BATCH),
        faces=Artifact.open(faces),
        model=find(str(model)),
        out=UPath(out),
        engine=LocalEngine() if room is None else Tight(room, warm_rows=1),
    )


def compare(made: Artifact, whole: Artifact) -> int:
    """Compare what was made with little memory with what was made in peace; return rows lost.

    Last bits of the probabilities depend on the size of the batch where a processor's libraries say
    so; what is written must not.
    """
    bits = ["mean_log_probability"]
    found, wanted = made.read(), whole.read()
    assert found.drop_columns(bits).equals(wanted.drop_columns(bits))
    assert found[bits[0]].to_pylist() == pytest.approx(wanted[bits[0]].to_pylist(), abs=1e-4)
    assert made.fingerprint == whole.fingerprint
    assert made.counts == whole.counts
    assert verify(made.path) == []
    assert HALVED not in whole.notes
    return abs(FACES - len(set(found["face_id"].to_pylist())))


@limited
@pytest.mark.parametrize(
    "room", [44, pytest.param(36, marks=pytest.mark.slow)], ids=["44-mib", "36-mib"]
)
@pytest.mark.parametrize("decoding", DECODINGS)
def test_a_captioner_whose_allocations_fail_says_the_same_in_smaller_batches(
    decoding: str, room: int, models: Path, faces: Path, tmp_path: Path, child, tried
) -> None:
    for name, bytes_left in {"whole": None, "tight": room * MIB}.items():
        for _ in range(TRIES):
            process = child(describe, faces, models / decoding, tmp_path / name, bytes_left)
            process.join()
            if process.exitcode not in CRASHES:
                break
        assert process.exitcode == 0
    made, whole = Artifact.open(tmp_path / "tight"), Artifact.open(tmp_path / "whole")
    assert made.notes[HALVED].keys() == {"part-00000.parquet", "part-00001.parquet"}
    assert all(max(sizes) < BATCH for sizes in made.notes[HALVED].values())
    lost = compare(made, whole)
    tried(GROUP, rows_lost=lost)
    assert lost == 0


def torch_error(message: str) -> Exception:
    import torch

    return torch.OutOfMemoryError(message)


ERRORS: dict[str, Callable[[], Exception]] = {
    "gpu": partial(torch_error, "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"),
    "amd-gpu": partial(torch_error, "HIP out of memory. Tried to allocate 2.00 GiB. GPU 0 has"),
    "apple-gpu": partial(RuntimeError, "MPS backend out of memory (MPS allocated: 9.0 GB)."),
    "gpu-driver": partial(RuntimeError, "CUDA error: out of memory\nCUDA kernel errors might be"),
    "gpu-libraries": partial(RuntimeError, "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"),
    "cpu": partial(RuntimeError, "DefaultCPUAllocator: can't allocate memory: you tried to"),
    "cpu-libraries": partial(RuntimeError, "could not create a primitive"),
    "standard-library": partial(RuntimeError, "std::bad_alloc"),
    "python": MemoryError,
}


@pytest.fixture(scope="module")
def spoken(models: Path, faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """What the captioner says in peace."""
    return describe(faces, models / "sampled", tmp_path_factory.mktemp("spoken") / "whole")


@pytest.mark.parametrize(("fits", "cuts"), [(16, [16]), (5, [16, 8, 4]), (1, [16, 8, 4, 2, 1])])
@pytest.mark.parametrize("kind", ERRORS)
def test_whatever_says_that_memory_fails_halves_batches_and_changes_no_caption(
    kind: str,
    fits: int,
    cuts: list[int],
    models: Path,
    faces: Path,
    spoken: Artifact,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tried,
) -> None:
    look = _blip2.Blip2Captioner.look

    def cramped(self: _blip2.Blip2Captioner, pictures: Sequence[Any]) -> Any:
        if len(pictures) > fits:
            raise ERRORS[kind]()
        return look(self, pictures)

    monkeypatch.setattr(_blip2.Blip2Captioner, "look", cramped)
    made = describe(faces, models / "sampled", tmp_path / "made")
    assert made.notes[HALVED] == {f"part-0000{n}.parquet": cuts for n in range(2)}
    assert len(set(made.read()["caption"].to_pylist())) > FACES / 2  # they differ
    lost = compare(made, spoken)
    tried(GROUP, rows_lost=lost)
    assert lost == 0


def test_pictures_for_which_memory_fails_before_they_are_shown_end_in_a_clear_error(
    faces: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("Unable to allocate 1 GiB")

    with monkeypatch.context() as patch:
        patch.setattr(_blip2.Blip2Captioner, "prepare", fail)
        with pytest.raises(StageError, match=r"suffice for a part, .* Unable to") as caught:
            describe(faces, models / "sampled", tmp_path / "made")
    assert "part 0 (48 rows" in caught.value.where
    assert "finished parts are kept" in caught.value.fix
    made = describe(faces, models / "sampled", tmp_path / "made")
    assert made.read().num_rows == FACES
    tried(GROUP)
