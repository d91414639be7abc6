"""Pictures, videos and sequences as strangers may send them, through ingest and crop.

The tables in the files `hostile_*` state for each file what must
become of it: faces of the right pixels, or one row with the right reason. All of them lie in one
dataset, so one run must survive them all.
"""

import io
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import ENCODED, MEMORY_BYTES, PASSED_OVER, PIXEL_LIMIT, Case, Faces, draw, encode
from hostile_colours import CARRIED, COLOURS, TURNED
from hostile_files import KINDS, SPELLED
from hostile_pictures import BOMBS, DAMAGED, DISGUISED, TRUNCATED
from hostile_sequences import SEQUENCES
from hostile_videos import MP4, VIDEOS
from PIL import Image

from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.errors import DatasetLayoutError
from scf_pipeline.files import MANIFEST
from scf_pipeline.media import FramePreset, MediaError, Picture, isolated, read_frames
from scf_pipeline.media.faces import square_crop, whole
from scf_pipeline.schema import Reject
from scf_pipeline.stages import crop, ingest
from scf_pipeline.stages.crop import CropConfig
from scf_pipeline.stages.ingest import IngestConfig
from scf_pipeline.store import Artifact
from scf_pipeline.verify import verify

pytestmark = pytest.mark.chaos

CONFIG = CropConfig(image_size=32, detector="none", max_reject_fraction=1, pixel_limit=PIXEL_LIMIT)
PICTURES: dict[str, Case] = {}
for table in (TRUNCATED, DISGUISED, BOMBS, DAMAGED, COLOURS, TURNED, CARRIED, KINDS, SPELLED):
    assert not PICTURES.keys() & table.keys()
    PICTURES |= table

SEQUENCE = "001_01_014_1_02"
"""Name of a sequence in WMCA, but for its folder."""

CUTS = 150
"""Places where a picture is cut off, at least."""

BLOCK = 8
"""Side of the patches of a crop whose mean colours are compared, in pixels."""


def write(case: Case, folder: Path) -> Path:
    folder.mkdir(parents=True)
    path = folder / case.name
    if callable(case.content):
        case.content(path)
    else:
        path.write_bytes(case.content)
    return path


def sequence_folder(title: str) -> str:
    """Return the folder of a sequence: WMCA has names of its own."""
    return f"wmca/{list(SEQUENCES).index(title) + 1:02d}.01.18"


def by_folder(artifact: Artifact) -> Mapping[str, list[dict[str, Any]]]:
    """Return all rows by the folder of their file, which holds one case."""
    found = defaultdict(list)
    for part in artifact.parts():
        for row in part.read_all().to_pylist():
            found["/".join(row["sample_id"].split("/")[:3]).removesuffix(f"/{SEQUENCE}")].append(
                row
            )
    return found


class Run:
    """One run over all files: what was listed, and what became of it."""

    def __init__(self, root: Path) -> None:
        cases = {f"image_folder/print/{title}": case for title, case in PICTURES.items()}
        cases |= {f"image_folder/replay/{title}": case for title, case in VIDEOS.items()}
        cases |= {
            sequence_folder(title): case._replace(name=f"{SEQUENCE}.hdf5")
            for title, case in SEQUENCES.items()
        }
        paths = {folder: write(case, root / "data" / folder) for folder, case in cases.items()}
        roots = {name: root / "data" / name for name in ("image_folder", "wmca")}
        config, engine = IngestConfig(datasets=tuple(roots)), LocalEngine()
        self.samples = ingest.run(config, out=root / "samples", engine=engine, roots=roots)
        for folder, case in cases.items():
            if case.later is not None:
                case.later(paths[folder])
        self.faces = crop.run(CONFIG, samples=self.samples, out=root / "faces", engine=engine)
        self.listed, self.became = by_folder(self.samples), by_folder(self.faces)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(isolated, "MEMORY_BYTES", MEMORY_BYTES)
        isolated._end_all()
        yield Run(tmp_path_factory.mktemp("hostile"))
        isolated._end_all()


def pixels(face: Mapping[str, Any]) -> np.ndarray:
    with Image.open(io.BytesIO(face["image"])) as image:
        return np.asarray(image)


def blocks(picture: np.ndarray) -> np.ndarray:
    side = len(picture) // BLOCK
    return picture.reshape(side, BLOCK, side, BLOCK, 3).mean(axis=(1, 3))


def check_faces(rows: list[dict[str, Any]], expected: Faces) -> None:
    assert [row["frame"] for row in rows] == sorted(expected.frames)
    for row in rows:
        frame = np.ascontiguousarray(expected.frames[row["frame"]])
        assert row["reject"] is None
        assert row["box"] == [0, 0, frame.shape[1], frame.shape[0]]
        right = square_crop(frame, whole(frame), scale=CONFIG.scale, size=CONFIG.image_size)
        if expected.within == 0:
            np.testing.assert_array_equal(pixels(row), right)
        else:
            np.testing.assert_allclose(blocks(pixels(row)), blocks(right), atol=expected.within)


def check(made: Run, folder: str, expected: str | Faces) -> int:
    """Check what became of one file, and return how many rows were lost on the way."""
    listed, became = made.listed.get(folder, []), made.became.get(folder, [])
    if expected == PASSED_OVER:
        assert listed == became == []
        return 0
    assert len(listed) == 1
    if isinstance(expected, Faces):
        check_faces(became, expected)
    else:
        told = [(row["frame"], row["reject"], row["image"]) for row in became]
        assert told == [(0, expected, None)]
    return len({row["sample_id"] for row in listed} - {row["sample_id"] for row in became})


@pytest.mark.parametrize("title", PICTURES)
def test_a_hostile_picture_gives_its_face_or_its_reason(title: str, made: Run, tried) -> None:
    lost = check(made, f"image_folder/print/{title}", PICTURES[title].expected)
    tried("hostile picture", rows_lost=lost)


@pytest.mark.parametrize("title", VIDEOS)
def test_a_hostile_video_gives_its_faces_or_its_reason(title: str, made: Run, tried) -> None:
    lost = check(made, f"image_folder/replay/{title}", VIDEOS[title].expected)
    tried("hostile video", rows_lost=lost)


@pytest.mark.parametrize("title", SEQUENCES)
def test_a_hostile_sequence_gives_its_faces_or_its_reason(title: str, made: Run, tried) -> None:
    lost = check(made, sequence_folder(title), SEQUENCES[title].expected)
    tried("hostile HDF5 sequence", rows_lost=lost)


def test_every_file_is_counted_once(made: Run) -> None:
    assert made.faces.counts.imbalance() is None
    for name, tables in {"image_folder": (PICTURES, VIDEOS), "wmca": (SEQUENCES,)}.items():
        cases = [case.expected for table in tables for case in table.values()]
        expected = [case for case in cases if case != PASSED_OVER]
        faces = [case for case in expected if isinstance(case, Faces)]
        came_in = made.faces.counts.inputs.datasets[name]
        assert came_in.rows_in == made.samples.counts.datasets[name].live == len(expected)
        assert came_in.live == len(faces)
        went_out = made.faces.counts.datasets[name]
        assert went_out.live == sum(len(case.frames) for case in faces)
        assert went_out.rejected.total() == len(expected) - len(faces)


def test_verify_finds_no_difference(made: Run) -> None:
    assert verify(made.samples.path) == []
    assert verify(made.faces.path) == []


# Beside the run

WILD = """
import ctypes, os, signal
import numpy as np
from scf_pipeline.media import decoder

def read(path, *rest):
    frames = usual(path, *rest)
    yield next(frames)
    match path.stem:
        case "crashes": ctypes.string_at(0)
        case "ends": os._exit(1)
        case "is killed": os.kill(os.getpid(), signal.SIGKILL)
        case "hungers": np.ones(2**40, np.uint8)
        case "hangs": ctypes.PyDLL(None).sleep(600)
    yield from frames

usual, decoder.read_video = decoder.read_video, read
decoder.main()
"""
"""A decoder that reads half a video and then does what its name says."""

FATES = ("crashes", "ends", "is killed", "hungers", "hangs")


@pytest.fixture
def wild(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "wild.py").write_text(WILD)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(isolated, "PROGRAM", "wild")
    monkeypatch.setattr(isolated, "PATIENCE_S", 5.0)
    isolated._end_all()
    yield
    isolated._end_all()


def run_both(root: Path) -> tuple[Artifact, Artifact]:
    """Ingest and crop a folder of pictures."""
    config, engine = IngestConfig(datasets=("image_folder",)), LocalEngine()
    roots, out = {"image_folder": root / "data"}, root / "samples"
    samples = ingest.run(config, out=out, engine=engine, roots=roots)
    return samples, crop.run(CONFIG, samples=samples, out=root / "faces", engine=engine)


def test_a_video_that_ends_its_decoder_costs_its_own_row_alone(
    tmp_path: Path, wild: None, tried
) -> None:
    (tmp_path / "data/replay").mkdir(parents=True)
    names = [name for number, fate in enumerate(FATES) for name in (f"good {number}", fate)]
    for name in names:
        (tmp_path / f"data/replay/{name}.mp4").write_bytes(MP4)
    samples, faces = run_both(tmp_path)
    rows = [row for part in faces.parts() for row in part.read_all().to_pylist()]
    for name in names:
        found = [row["reject"] for row in rows if row["sample_id"] == f"image_folder/replay/{name}"]
        assert found == (["unreadable"] if name in FATES else [None, None]), name
    assert verify(faces.path) == []
    lost = samples.counts.live - len({row["sample_id"] for row in rows})
    tried("video that ends its decoder", cases=len(FATES), rows_lost=lost)


@pytest.mark.parametrize("place", ["{}.png", "{}/a.png"])
def test_a_name_that_is_no_text_is_told_and_nothing_is_made(
    place: str, tmp_path: Path, tried
) -> None:
    path = tmp_path / "data/print" / place.format(os.fsdecode(b"\xff\xfe"))
    try:
        path.parent.mkdir(parents=True)
        path.write_bytes(encode("PNG"))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (tmp_path / "data/print/good.png").write_bytes(encode("PNG"))
    with pytest.raises(DatasetLayoutError, match="must be UTF-8 text") as caught:
        run_both(tmp_path)
    assert r"\udcff\udcfe" in caught.value.where
    assert "Rename" in caught.value.fix
    assert not (tmp_path / "samples" / MANIFEST).exists()
    tried("hostile picture")


def test_names_that_look_alike_are_two_files(tmp_path: Path, tried) -> None:
    names = [unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD")]
    for value, name in enumerate(names):
        (tmp_path / "data/print").mkdir(parents=True, exist_ok=True)
        (tmp_path / "data/print" / name).write_bytes(encode("PNG", draw(value)))
    _, faces = run_both(tmp_path)
    ids = [f"image_folder/print/{name.removesuffix('.png')}#0" for name in names]
    assert sorted(faces.read()["face_id"].to_pylist()) == sorted(ids)
    assert len(set(faces.read()["sha256"].to_pylist())) == 2
    tried("hostile picture", rows_lost=2 - faces.counts.live)


def given(path: Path) -> list[Picture]:
    """Return the frames of a file, none if it is unreadable."""
    try:
        return list(read_frames(path, FramePreset.FIRST))
    except MediaError as error:
        return [] if error.reject is Reject.UNREADABLE else [Picture(-1, np.zeros(0))]


@pytest.mark.parametrize("kind", ENCODED)
def test_a_picture_cut_off_anywhere_gives_no_face_or_the_right_one(
    kind: str, tmp_path: Path, tried
) -> None:
    raw, path = ENCODED[kind], tmp_path / f"a.{kind}"
    path.write_bytes(raw)
    (right,) = read_frames(path, FramePreset.FIRST)
    ends = sorted({len(raw) * n // CUTS for n in range(CUTS)} | set(range(len(raw) - 20, len(raw))))
    for end in ends:
        path.write_bytes(raw[:end])
        for picture in given(path):
            np.testing.assert_array_equal(picture.pixels, right.pixels)
    tried("picture cut off anywhere", cases=len(ends))
