"""Artifacts of one folder against each other: every face once, from one stage to the next."""

import io
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from upath import UPath

from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.files import hash_files
from scf_pipeline.keys import compare
from scf_pipeline.keywords import default_dictionary
from scf_pipeline.schema import CAPTION_SCHEMA, FACE_SCHEMA, SAMPLE_SCHEMA
from scf_pipeline.settings import Settings
from scf_pipeline.stages import filter as keyword_filter
from scf_pipeline.stages import shard
from scf_pipeline.stages.filter import FilterConfig
from scf_pipeline.stages.shard import ShardConfig
from scf_pipeline.store import Artifact, ArtifactWriter
from scf_pipeline.verify import verify, verify_all

NAMES = ("samples", "faces", "attack", "bona_fide", "d_s", "shards")
"""Artifacts in the order in which they are made."""

SHARD = "data/train-00000-of-00001.parquet"
SECOND = "data/part-00001.parquet"
NUM_PARTS, OF_A_PART = 2, 6


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    return buffer.getvalue()


def identity(number: int) -> dict[str, Any]:
    is_attack = number % 3 > 0
    return {
        "sample_id": f"siw/{number}",
        "dataset": "siw",
        "split": "train",
        "subject_id": None,
        "label": "attack" if is_attack else "bona_fide",
        "pai_species": "print" if is_attack else None,
        "fine_type": "print_flat" if is_attack else None,
        "native_label": "x",
    }


def sample(number: int) -> dict[str, Any]:
    """A sample; the last of each part is missing, which ingest found."""
    is_last = number % OF_A_PART == OF_A_PART - 1
    told = {"media_path": f"{number}.png", "reject": "missing" if is_last else None}
    return identity(number) | told


def face(number: int) -> list[dict[str, Any]]:
    """The two faces of a sample; none of a rejected one, and one without a picture of another."""
    if sample(number)["reject"]:
        return []
    rows = [
        identity(number)
        | {"face_id": f"siw/{number}#{frame}", "frame": frame, "image": picture(), "sha256": "0"}
        for frame in (0, 3)
    ]
    if number == 4:
        return [rows[0] | {"image": None, "sha256": None, "reject": "unreadable"}]
    return rows


def caption(row: dict[str, Any]) -> dict[str, Any]:
    """A caption that names the attack of one sample in two, and loops for one face."""
    number = int(row["sample_id"].removeprefix("siw/"))
    text = "A man with paper." if number % 2 else "a man"
    told = {"caption": text, "num_tokens": 3, "mean_log_probability": -1.0, "captioner": "blip2@0"}
    is_looping = row["face_id"] == "siw/7#3"
    kept = {name: row[name] for name in CAPTION_SCHEMA.names if name in row}
    return kept | told | {"reject": "degenerate" if is_looping else None}


def seal(folder: Path, schema: pa.Schema, settings: Settings, parts: Sequence[list]) -> Artifact:
    writer = ArtifactWriter(folder, schema, settings=settings)
    for number, rows in enumerate(parts):
        writer.write(number, pa.Table.from_pylist(rows, schema=schema))
    return writer.seal()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples, faces, captions of both labels, D_S and shards, as the stages make them."""
    root = tmp_path_factory.mktemp("made")
    numbers = [range(n * OF_A_PART, (n + 1) * OF_A_PART) for n in range(NUM_PARTS)]
    listed = Settings("ingest", 1, {}, {})
    samples = seal(
        root / "samples", SAMPLE_SCHEMA, listed, [[sample(n) for n in some] for some in numbers]
    )
    rows = [[row for n in some for row in face(n)] for some in numbers]
    cut = Settings("crop", 1, {}, {"samples": samples.name})
    faces = seal(root / "faces", FACE_SCHEMA, cut, rows)
    told = []
    for label in ("attack", "bona_fide"):
        wanted = [[row for row in some if row["label"] == label] for some in rows]
        live = [[row for row in some if "reject" not in row] for some in wanted]
        inputs = {"faces": faces.name, "model": "blip2@0"}
        settings = Settings("caption", 1, {"label": label}, inputs)
        parts = [[caption(row) for row in some] for some in live]
        told.append(seal(root / label, CAPTION_SCHEMA, settings, parts))
    words, engine = default_dictionary(), LocalEngine()
    out = UPath(root)
    keyword_filter.run(
        FilterConfig(dictionary=words), captions=told[0], out=out / "d_s", engine=engine
    )
    shard.run(
        ShardConfig(dictionary=words), faces=faces, captions=told, out=out / "shards", engine=engine
    )
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "root")
    return tmp_path / "root"


def differences(root: Path) -> list[str]:
    """Return what is told of all artifacts that lie there, without the folder's own path."""
    paths = [UPath(root / name) for name in NAMES if (root / name).exists()]
    assert [line for path in paths for line in verify(path)] == []
    return [line.removeprefix(f"{root}/") for line in verify_all(paths)]


def forge(root: Path) -> None:
    """Let manifests list the files as they are, counts included, and name their new inputs."""
    renamed: dict[str, str] = {}
    for name in NAMES:
        folder = root / name
        text = (folder / "manifest.json").read_text("utf-8")
        before = Artifact(UPath(folder), json.loads(text)).name
        for old, new in renamed.items():
            text = text.replace(old, new)
        manifest = json.loads(text)
        settings = Settings.from_dict(manifest)
        (folder / "manifest.json").unlink()
        (folder / "settings.json").write_text(json.dumps(settings.to_dict()), "utf-8")
        schema = pq.read_schema(next(iter((folder / "data").iterdir())))
        assert hash_files(UPath(folder))
        sealed = ArtifactWriter(folder, schema, settings=settings).seal()
        renamed[before] = sealed.name


def change(file: Path, act: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    table = pq.read_table(file)
    pq.write_table(pa.Table.from_pylist(act(table.to_pylist()), schema=table.schema), file)


def rekeyed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    key = "face_id" if "face_id" in rows[0] else "sample_id"
    return [rows[0] | {key: "siw/elsewhere"}, *rows[1:]]


def test_what_the_stages_made_agrees(root: Path) -> None:
    assert differences(root) == []
    assert Artifact.open(root / "attack").counts.rejected == {"degenerate": 1}
    assert Artifact.open(root / "faces").counts.rejected == {"unreadable": 1}


@pytest.mark.parametrize("name", ["attack", "bona_fide", "d_s"])
@pytest.mark.parametrize(
    ("act", "problem"),
    [
        (lambda rows: rows[1:], ["1 row absent that the input holds, first {first!r}"]),
        (
            rekeyed,
            [
                "1 row absent that the input holds, first {first!r}",
                "1 row that the input does not hold, first 'siw/elsewhere'",
            ],
        ),
        (lambda rows: rows[::-1], ["the rows are not in the order of the input"]),
        (lambda _: [], ["{all} absent that the input holds, first {first!r}"]),
    ],
    ids=["absent", "strange", "disordered", "empty"],
)
def test_rows_that_are_not_the_inputs_are_found_behind_forged_hashes_and_counts(
    name: str, act: Callable, problem: list[str], root: Path
) -> None:
    rows = pq.read_table(root / name / SECOND).to_pylist()
    change(root / name / SECOND, act)
    forge(root)
    told = {"first": rows[0]["face_id"], "all": f"{len(rows)} rows"}
    mine = [line for line in differences(root) if line.startswith(f"{name}/")]
    assert mine == [f"{name}/{SECOND}: {one.format(**told)}" for one in problem]


@pytest.mark.parametrize(
    ("act", "problem"),
    [
        (
            lambda rows: [row for row in rows if row["sample_id"] != "siw/7"],
            "1 row absent that the input holds, first 'siw/7'",
        ),
        (
            lambda rows: [*rows, rows[0] | {"face_id": "x", "sample_id": "siw/99"}],
            "1 row that the input does not hold, first 'siw/99'",
        ),
        (
            lambda rows: [*rows, rows[0] | {"face_id": "x", "sample_id": "siw/11"}],
            "1 row that the input does not hold, first 'siw/11'",
        ),
    ],
    ids=["absent", "strange", "of a rejected sample"],
)
def test_every_live_sample_has_a_face_and_no_other_has(
    act: Callable, problem: str, root: Path
) -> None:
    change(root / "faces" / SECOND, act)
    forge(root)
    assert f"faces/{SECOND}: {problem}" in differences(root)


def test_a_face_without_its_caption_is_told_of_its_captions(root: Path) -> None:
    change(root / "faces" / SECOND, lambda rows: [*rows, rows[-1] | {"face_id": "siw/10#9"}])
    forge(root)
    assert differences(root) == [
        f"attack/{SECOND}: 1 row absent that the input holds, first 'siw/10#9'"
    ]


def test_a_part_that_the_input_does_not_have_is_told(root: Path) -> None:
    shutil.copy(root / "attack" / SECOND, root / "attack/data/part-00002.parquet")
    forge(root)
    lines = differences(root)
    assert f"attack: Parts must be those of {root}/faces, but part 2 is in one alone." in lines


def test_a_table_that_drifted_is_one_line(root: Path) -> None:
    change(root / "attack" / SECOND, lambda rows: [*rows, rows[0]])
    forge(root)
    (line,) = [line for line in differences(root) if line.startswith("attack/")]
    assert "`face_id` must be unique, but is 'siw/7#0'" in line


# Shards


@pytest.mark.parametrize(
    ("act", "problems"),
    [
        (lambda rows: rows[1:], ["1 row absent that the input holds, first {first!r}"]),
        (
            rekeyed,
            [
                "1 row of no face of {root}/faces, first 'siw/elsewhere'",
                "1 row absent that the input holds, first {first!r}",
                "1 row that the input does not hold, first 'siw/elsewhere'",
            ],
        ),
        (
            lambda rows: [rows[0] | {"interpretation": "This is a dog"}, *rows[1:]],
            ["1 row whose `interpretation` is not that of the captions, first {first!r}"],
        ),
        (
            lambda rows: [row | {"captioner": "me"} for row in rows],
            ["{all} whose `captioner` is not that of the captions, first 'siw/1#0'"],
        ),
    ],
    ids=["absent", "strange", "another text", "another captioner"],
)
def test_shards_are_compared_with_faces_and_captions(
    act: Callable, problems: list[str], root: Path
) -> None:
    rows = pq.read_table(root / "shards" / SHARD).to_pylist()
    change(root / "shards" / SHARD, act)
    forge(root)
    told = {"first": rows[0]["face_id"], "all": f"{len(rows)} rows", "root": root}
    assert differences(root) == [f"shards: {one.format(**told)}" for one in problems]


def test_a_face_in_two_shards_is_told(root: Path) -> None:
    change(root / "shards" / SHARD, lambda rows: rows[:-1])
    lost = pq.read_table(root / "shards" / SHARD).to_pylist()
    other = root / "shards/data/test-00000-of-00001.parquet"
    shutil.copy(root / "shards" / SHARD, other)
    change(other, lambda rows: rows[:1])
    forge(root)
    assert f"shards: 1 row there more than once, first {lost[0]['face_id']!r}" in differences(root)


def test_shards_are_compared_with_what_lies_there_of_their_captions(root: Path) -> None:
    shutil.rmtree(root / "bona_fide")
    assert differences(root) == []
    shutil.rmtree(root / "faces")
    assert differences(root) == []
    rows = pq.read_table(root / "attack/data/part-00000.parquet").to_pylist()
    file = root / "shards" / SHARD
    artifact = Artifact.open(root / "shards")
    change(file, lambda found: [row for row in found if row["face_id"] != rows[0]["face_id"]])
    others = [Artifact.open(root / name) for name in ("attack", "d_s")]
    (line,) = compare([*others, artifact])
    assert line.endswith(f"shards: 1 row absent that the input holds, first {rows[0]['face_id']!r}")


# Which artifacts are compared


def test_an_input_that_was_made_anew_makes_what_rests_on_it_stale(root: Path) -> None:
    before = Artifact.open(root / "faces").name
    (root / "faces/manifest.json").unlink()
    change(root / "faces" / SECOND, lambda rows: rows[:-1])
    settings = Settings.from_dict(json.loads((root / "faces/settings.json").read_bytes()))
    now = ArtifactWriter(root / "faces", FACE_SCHEMA, settings=settings).seal().name
    assert [line for line in differences(root) if "stale" in line] == [
        f"{name}: stale, unless its input was taken away: `faces` is {before}, but here is {now}"
        for name in ("attack", "bona_fide", "shards")
    ]


def test_an_input_of_whose_stage_none_lies_there_is_not_asked_for(root: Path) -> None:
    for name in ("samples", "faces", "bona_fide"):
        shutil.rmtree(root / name)
        assert differences(root) == []


def test_a_damaged_artifact_is_told_of_once_and_not_compared(root: Path) -> None:
    file = root / "faces" / SECOND
    raw = bytearray(file.read_bytes())
    raw[50] ^= 1
    file.write_bytes(raw)
    assert verify_all([UPath(root / name) for name in NAMES]) == [
        f"{file}: the content is not the one that was sealed"
    ]


def test_two_worlds_in_one_folder_are_compared_each_with_its_own(root: Path) -> None:
    other = root / "other"
    settings = Settings("crop", 1, {"seed": 1}, {})
    seal(other, FACE_SCHEMA, settings, [face(50), face(51)])
    assert verify_all([UPath(root / name) for name in (*NAMES, "other")]) == []
