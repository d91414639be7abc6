import hashlib
import io
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from upath import UPath

from ifas_model.prompt import QUESTION, answer
from ifas_model.shards import LABEL_CODES, SHARD_SCHEMA
from ifas_model.vocabulary import Label, Split
from scf_pipeline import shuffle
from scf_pipeline.captioners import is_degenerate
from scf_pipeline.engine import Engine, Kernel, Part, Resources, Write
from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.errors import StageError
from scf_pipeline.files import hash_files
from scf_pipeline.keywords import default_dictionary
from scf_pipeline.schema import CAPTION_SCHEMA, FACE_SCHEMA, Reject
from scf_pipeline.settings import Settings
from scf_pipeline.stages.shard import ShardConfig, run
from scf_pipeline.store import Artifact, ArtifactWriter
from scf_pipeline.verify import verify

SIZE_PX = 48
CONFIG = ShardConfig(dictionary=default_dictionary(), file_bytes=2**16, row_group_bytes=2**16)
LIMIT = ShardConfig(dictionary=default_dictionary())
"""The default: everything here fits into one file for each split."""

KINDS: Sequence[tuple[str, str, str | None, str]] = (
    ("print", "print_photo", "2", "A man with paper and a tablet."),
    ("replay", "replay_video", "3", "a man on a tablet"),
    ("", "", "1", "A woman with a hat"),
    ("mask", "paper_mask", "5", "TV on a wall "),
)
SPLITS = tuple(split.value for split in Split)


@dataclass(frozen=True)
class Curated:
    """Faces and two caption artifacts of them, one of attacks and one of bona fide."""

    faces: Artifact
    captions: tuple[Artifact, ...]

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        return {row["face_id"]: row for row in self.faces.read().to_pylist()}


def png(seed: int) -> bytes:
    """Draw noise, so that pictures differ and keep their size of about 7 kB."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (SIZE_PX, SIZE_PX, 3), np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


def face(number: int, **changes: Any) -> dict[str, Any]:
    species, fine, native, _ = KINDS[number % len(KINDS)]
    dataset = ("siw", "image_folder")[number % 5 == 0]
    image = png(number)
    return {
        "face_id": f"{dataset}/s{number:03d}#{number % 3}",
        "sample_id": f"{dataset}/s{number:03d}",
        "dataset": dataset,
        "split": SPLITS[number // 2 % 3],
        "subject_id": None if dataset == "image_folder" else str(number % 7),
        "label": "attack" if species else "bona_fide",
        "pai_species": species or None,
        "fine_type": fine or None,
        "native_label": native,
        "frame": number % 3,
        "box": [0, 0, SIZE_PX, SIZE_PX],
        "box_source": "sidecar",
        "image": image,
        "sha256": hashlib.sha256(image).hexdigest(),
    } | changes


def write_faces(folder: UPath, parts: Sequence[Sequence[dict[str, Any]]]) -> Artifact:
    settings = Settings("crop", 1, {"name": folder.name}, {})
    writer = ArtifactWriter(folder, FACE_SCHEMA, settings=settings)
    for number, rows in enumerate(parts):
        writer.write(number, pa.Table.from_pylist(list(rows), schema=FACE_SCHEMA))
    return writer.seal()


def write_captions(
    folder: UPath, faces: Artifact, label: str | None, rejected: Sequence[str] = ()
) -> Artifact:
    """Caption the faces of one label, all without it; reject some of the captions."""
    inputs = {"faces": f"crop@{faces.identity}", "model": f"blip2@{label}"}
    settings = Settings("caption", 1, {"label": label}, inputs)
    writer = ArtifactWriter(folder, CAPTION_SCHEMA, settings=settings)
    text = {kind[0]: kind[3] for kind in KINDS}
    for part in faces.parts():
        wanted = [row for row in part.read().to_pylist() if label in (None, row["label"])]
        told = {"num_tokens": 4, "mean_log_probability": -1.0, "captioner": f"blip2@{label}"}
        rows = [
            {name: row[name] for name in CAPTION_SCHEMA.names if name in row}
            | told
            | {"caption": text[row["pai_species"] or ""]}
            | {"reject": Reject.DEGENERATE.value if row["face_id"] in rejected else None}
            for row in reversed(wanted)
        ]
        writer.write(part.number, pa.Table.from_pylist(rows, schema=CAPTION_SCHEMA))
    return writer.seal(rows_in={name: t.live for name, t in faces.counts.datasets.items()})


def curate(folder: Path, numbers: Sequence[int] = range(90), part: int = 30) -> Curated:
    """Write faces, a rejected one among them, and the captions of both labels."""
    rows = [face(number) for number in numbers]
    parts = [rows[start : start + part] for start in range(0, len(rows), part)]
    lost = face(999, image=None, box=None, box_source=None, sha256=None, reject="missing")
    parts[0].append(lost)
    faces = write_faces(UPath(folder / "faces"), parts)
    captions = [
        write_captions(UPath(folder / label), faces, label) for label in ("attack", "bona_fide")
    ]
    return Curated(faces, tuple(captions))


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> Curated:
    return curate(tmp_path_factory.mktemp("curated"))


@pytest.fixture(scope="module")
def shards(curated: Curated, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Several files for each split, made once; nothing may change them."""
    return write(curated, UPath(tmp_path_factory.mktemp("made") / "shards"))


def write(
    curated: Curated, out: UPath, config: ShardConfig = CONFIG, engine: Engine | None = None
) -> Artifact:
    return run(
        config,
        faces=curated.faces,
        captions=curated.captions,
        out=out,
        engine=engine or LocalEngine(),
    )


def files_of(made: Artifact) -> list[str]:
    return [name for name in made.files if name.startswith("data/")]


def rows_of(made: Artifact, split: str = "") -> list[dict[str, Any]]:
    """Return the rows in the order in which a reader meets them."""
    rows: list[dict[str, Any]] = []
    for name in files_of(made):
        if name.startswith(f"data/{split}"):
            rows += pq.read_table(io.BytesIO((made.path / name).read_bytes())).to_pylist()
    return rows


# Rows


def test_an_attack_is_answered_with_no_and_its_caption(shards: Artifact, curated: Curated) -> None:
    (row,) = [row for row in rows_of(shards) if row["sample_id"] == "siw/s004"]
    same = ("face_id", "dataset", "subject_id", "frame", "split", "pai_species", "fine_type")
    source = curated.rows["siw/s004#1"]
    assert row == {name: source[name] for name in same} | {
        "sample_id": "siw/s004",
        "image": {"bytes": source["image"], "path": "siw/s004#1.png"},
        "label": 0,
        "native_label": "2",
        "question": "Is this photo of a real person?",
        "answer": "No. This is a man with paper and a tablet",
        "judgment": "No",
        "interpretation": "This is a man with paper and a tablet",
        "captioner": "blip2@attack",
        "keywords": ["paper", "tablet"],  # of any species
    }


def test_a_bona_fide_face_is_answered_with_yes_and_has_no_species(shards: Artifact) -> None:
    (row,) = [row for row in rows_of(shards) if row["sample_id"] == "siw/s002"]
    assert row["answer"] == "Yes. This is a woman with a hat"
    assert (row["label"], row["judgment"], row["captioner"]) == (1, "Yes", "blip2@bona_fide")
    assert (row["pai_species"], row["fine_type"], row["keywords"]) == (None, None, [])


def test_every_live_face_occurs_once_with_its_own_picture_and_label(
    shards: Artifact, curated: Curated
) -> None:
    rows = rows_of(shards)
    assert sorted(row["face_id"] for row in rows) == sorted(curated.rows)
    for row in rows:
        source = curated.rows[row["face_id"]]
        assert row["image"]["bytes"] == source["image"]
        assert row["label"] == LABEL_CODES[Label(source["label"])]
        assert row["split"] == source["split"]


def test_files_keep_the_schema_with_the_metadata_that_datasets_reads(shards: Artifact) -> None:
    for name in files_of(shards):
        schema = pq.read_schema(io.BytesIO((shards.path / name).read_bytes()))
        assert schema.equals(SHARD_SCHEMA)
        assert schema.metadata == SHARD_SCHEMA.metadata


@given(st.text("aB. \n\u3000'\"-"))
def test_every_caption_that_caption_lets_live_can_be_answered(text: str) -> None:
    """Else one caption of three dots, after days of captioning, would stop this stage."""
    assert is_degenerate(text) or answer(Label.ATTACK, text).interpretation


# Files


def test_a_file_holds_one_split_and_is_named_after_it(shards: Artifact) -> None:
    for name in files_of(shards):
        splits = pq.read_table(shards.path / name, columns=["split"])["split"].to_pylist()
        assert set(splits) == {name.removeprefix("data/").split("-")[0]}


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_is_cut_into_numbered_files_of_limited_size(shards: Artifact, split: str) -> None:
    names = [name for name in files_of(shards) if name.startswith(f"data/{split}-")]
    of = len(names)
    assert of > 2
    assert names == [f"data/{split}-{n:05d}-of-{of:05d}.parquet" for n in range(of)]
    sizes = [sum(len(row["image"]["bytes"]) for row in file_rows(shards, name)) for name in names]
    assert max(sizes) <= CONFIG.file_bytes
    assert min(sizes) > CONFIG.file_bytes / 4


def file_rows(made: Artifact, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(made.path / name).to_pylist()
    return rows


def test_a_split_that_fits_is_one_file(curated: Curated, tmp_path: Path) -> None:
    made = write(curated, UPath(tmp_path / "shards"), LIMIT)
    assert files_of(made) == [f"data/{split}-00000-of-00001.parquet" for split in sorted(SPLITS)]


def test_row_groups_hold_what_is_asked_for_and_are_even(curated: Curated, tmp_path: Path) -> None:
    config = replace(LIMIT, row_group_bytes=2**16)
    made = write(curated, UPath(tmp_path / "shards"), config)
    for name in files_of(made):
        file = pq.ParquetFile(made.path / name)
        groups = [file.read_row_group(n, ["image"]) for n in range(file.num_row_groups)]
        sizes = [sum(len(i["bytes"]) for i in group["image"].to_pylist()) for group in groups]
        assert len(sizes) == -(-sum(sizes) // 2**16) > 1
        assert max(sizes) < 1.1 * 2**16
        assert min(sizes) > 2**15


def test_pages_carry_checksums(shards: Artifact) -> None:
    """A flipped bit within a picture is found by a reader that asks for it."""
    raw = bytearray((shards.path / files_of(shards)[0]).read_bytes())
    raw[len(raw) // 2] ^= 1
    file = pq.ParquetFile(io.BytesIO(bytes(raw)), page_checksum_verification=True)
    with pytest.raises(OSError, match="CRC"):
        file.read()


def test_nothing_but_shards_card_and_manifest_is_left(shards: Artifact) -> None:
    names = {path.name for path in shards.path.iterdir()}
    assert names == {"README.md", "data", "manifest.json", "settings.json"}
    assert verify(shards.path) == []


# Order


@pytest.mark.parametrize("split", SPLITS)
def test_rows_lie_in_the_order_of_their_places_over_all_files(shards: Artifact, split: str) -> None:
    ids = [row["face_id"] for row in rows_of(shards, split)]
    assert ids == sorted(ids, key=lambda face_id: shuffle.place(face_id, 0))


def test_rows_do_not_lie_in_the_order_of_the_faces(shards: Artifact, curated: Curated) -> None:
    """As of a shuffle: a half of all neighbours stand the other way round."""
    order = {face_id: number for number, face_id in enumerate(curated.rows)}
    places = [order[row["face_id"]] for row in rows_of(shards)]
    turned = sum(a > b for a, b in pairwise(places))
    assert 0.35 < turned / len(places) < 0.65


def test_the_same_faces_give_the_same_bytes(
    shards: Artifact, curated: Curated, tmp_path: Path
) -> None:
    again = write(curated, UPath(tmp_path / "shards"))
    assert again.files == shards.files
    assert again.identity == shards.identity


def test_the_order_does_not_depend_on_how_faces_are_cut_into_parts(tmp_path: Path) -> None:
    made = [
        write(curate(tmp_path / str(part), range(24), part), UPath(tmp_path / f"s{part}"), LIMIT)
        for part in (5, 24)
    ]
    ids = [[row["face_id"] for row in rows_of(one)] for one in made]
    assert ids[0] == ids[1]


def test_another_seed_gives_another_order_of_the_same_rows(
    shards: Artifact, curated: Curated, tmp_path: Path
) -> None:
    other = write(curated, UPath(tmp_path / "shards"), replace(CONFIG, seed=1))
    ids = [[row["face_id"] for row in rows_of(made)] for made in (shards, other)]
    assert ids[0] != ids[1]
    assert sorted(ids[0]) == sorted(ids[1])


# Counts


def test_faces_of_rejected_captions_are_counted_and_not_written(
    curated: Curated, tmp_path: Path
) -> None:
    rejected = ["siw/s004#1", "siw/s001#1", "image_folder/s000#0"]
    attack = write_captions(UPath(tmp_path / "attack"), curated.faces, "attack", rejected)
    only_attacks = replace(curated, captions=(attack,))
    made = write(only_attacks, UPath(tmp_path / "shards"), LIMIT)
    faces = [row for row in curated.rows.values() if row["label"] == "attack"]
    wanted = {row["face_id"] for row in faces} - set(rejected)
    assert {row["face_id"] for row in rows_of(made)} == wanted
    assert made.counts.live == len(wanted)
    counts = made.counts.inputs
    assert counts is not None
    assert (counts.rows_in, counts.live) == (90, len(wanted))
    assert counts.rejected == Counter(degenerate=3)
    assert counts.datasets["image_folder"].rejected == Counter(degenerate=1)
    assert counts.passed_over == 90 - len(faces)  # bona fide faces that nobody captioned
    assert verify(made.path) == []


def test_the_counts_of_complete_captions_balance(shards: Artifact, curated: Curated) -> None:
    inputs = shards.counts.inputs
    assert inputs is not None
    assert inputs.to_dict()["datasets"] == {
        name: {"in": tally.live, "live": tally.live, "passed_over": 0, "rejected": {}}
        for name, tally in curated.faces.counts.datasets.items()
    }
    assert shards.counts.live == curated.faces.counts.live == 90


def test_one_caption_artifact_of_all_faces_is_enough(curated: Curated, tmp_path: Path) -> None:
    every = write_captions(UPath(tmp_path / "all"), curated.faces, None)
    made = write(replace(curated, captions=(every,)), UPath(tmp_path / "shards"), LIMIT)
    assert made.counts.live == 90


# Refusals


def test_a_face_with_two_captions_is_refused_by_name(curated: Curated, tmp_path: Path) -> None:
    twice = write_captions(UPath(tmp_path / "all"), curated.faces, None)
    both = replace(curated, captions=(curated.captions[0], twice))
    with pytest.raises(StageError, match=r"must have one caption, but '.+/s\d{3}#\d' has more"):
        write(both, UPath(tmp_path / "shards"))


def test_captions_of_other_faces_are_refused(curated: Curated, tmp_path: Path) -> None:
    other = curate(tmp_path / "other", range(6))
    mixed = replace(curated, captions=(curated.captions[0], other.captions[1]))
    with pytest.raises(StageError, match="must be of these faces") as caught:
        write(mixed, UPath(tmp_path / "shards"))
    assert caught.value.where == str(other.captions[1].path)
    assert str(curated.faces.path) in caught.value.fix
    assert not (tmp_path / "shards").exists()


def rewrite(folder: Path, number: int, act: Callable[[pa.Table], pa.Table]) -> Artifact:
    """Change a part of a sealed artifact, and let its manifest tell of it as it is now."""
    file = folder / f"data/part-{number:05d}.parquet"
    pq.write_table(act(pq.read_table(file)), file)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"] = hash_files(UPath(folder))
    del manifest["seal"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return Artifact.open(folder)


def without_the_first(table: pa.Table) -> pa.Table:
    return table.slice(1)


def of_a_stranger(table: pa.Table) -> pa.Table:
    ids = ["siw/stranger#0", *table["face_id"].to_pylist()[1:]]
    return table.set_column(0, table.schema.field("face_id"), pa.array(ids))


@pytest.mark.parametrize(
    ("act", "problem"),
    [(without_the_first, "has none"), (of_a_stranger, "'siw/stranger#0' is no such face")],
)
def test_captions_are_of_each_face_of_their_label_and_of_no_other(
    act: Callable, problem: str, tmp_path: Path
) -> None:
    made = curate(tmp_path, range(12), part=6)
    bad = rewrite(tmp_path / "attack", 1, act)
    captions = (bad, made.captions[1])
    with pytest.raises(StageError, match="must be of the attack faces of their part") as caught:
        run(CONFIG, faces=made.faces, captions=captions, out=tmp_path / "out", engine=LocalEngine())
    assert problem in caught.value.what
    assert caught.value.where == str(tmp_path / "attack/data/part-00001.parquet")


def test_captions_with_other_parts_than_their_faces_are_refused(tmp_path: Path) -> None:
    made = curate(tmp_path, range(12), part=6)
    file = tmp_path / "attack/data/part-00001.parquet"
    file.rename(file.with_name("part-00002.parquet"))
    bad = rewrite(tmp_path / "attack", 2, lambda table: table)
    captions = (bad, made.captions[1])
    with pytest.raises(StageError, match="must have the 2 parts of their faces") as caught:
        run(CONFIG, faces=made.faces, captions=captions, out=tmp_path / "out", engine=LocalEngine())
    assert caught.value.where == str(tmp_path / "attack")


def test_a_face_in_two_parts_is_refused_by_name(tmp_path: Path) -> None:
    faces = write_faces(UPath(tmp_path / "faces"), [[face(1), face(2)], [face(3), face(1)]])
    captions = [write_captions(UPath(tmp_path / "all"), faces, None)]
    with pytest.raises(StageError, match="must be there once, but 'siw/s001#1'") as caught:
        run(CONFIG, faces=faces, captions=captions, out=tmp_path / "out", engine=LocalEngine())
    assert caught.value.where == str(tmp_path / "faces")


def test_no_caption_artifact_at_all_is_refused(curated: Curated, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no face has a caption"):
        write(replace(curated, captions=()), UPath(tmp_path / "shards"))


def test_captions_that_are_all_rejected_are_refused(curated: Curated, tmp_path: Path) -> None:
    none = write_captions(UPath(tmp_path / "none"), curated.faces, None, list(curated.rows))
    with pytest.raises(StageError, match="no face has a caption"):
        write(replace(curated, captions=(none,)), UPath(tmp_path / "shards"))
    assert not (tmp_path / "shards/manifest.json").exists()


@pytest.mark.parametrize(
    "sizes", [{"file_bytes": 2**30}, {"row_group_bytes": 2**26}, {"row_group_bytes": 1}]
)
def test_sizes_beyond_the_contract_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match=next(iter(sizes))):
        ShardConfig(dictionary=default_dictionary(), **sizes)


# Interruption


class Killed(LocalEngine):
    """Dies in one of the passes, after some of its parts are written."""

    def __init__(self, in_pass: int, after: int) -> None:
        self.in_pass, self.after, self.passes = in_pass, after, 0

    def map_parts(
        self,
        make_kernel: Callable[[], Kernel],
        parts: Sequence[Part],
        write: Write,
        resources: Resources,
    ) -> Iterator[int]:
        self.passes += 1
        if self.passes < self.in_pass:
            yield from super().map_parts(make_kernel, parts, write, resources)
            return
        yield from super().map_parts(make_kernel, parts[: self.after], write, resources)
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("in_pass", "after"), [(1, 1), (2, 0), (2, 2)], ids=["in pass 1", "between", "in pass 2"]
)
def test_a_killed_run_is_continued_to_the_same_bytes(
    shards: Artifact, curated: Curated, tmp_path: Path, in_pass: int, after: int
) -> None:
    out = UPath(tmp_path / "shards")
    with pytest.raises(KeyboardInterrupt):
        write(curated, out, engine=Killed(in_pass, after))
    assert not (out / "manifest.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    assert len(kept) == (1 if in_pass == 1 else 3 + after)
    again = Watch(kept)
    assert write(curated, out, engine=again).files == shards.files
    assert again.untouched


class Watch(LocalEngine):
    """Notes whether what an earlier run left is kept."""

    def __init__(self, kept: dict[UPath, int]) -> None:
        self.kept, self.untouched = kept, True

    def map_parts(self, *arguments: Any) -> Iterator[int]:
        yield from super().map_parts(*arguments)
        found = {path: path.stat().st_mtime_ns for path in self.kept}
        self.untouched = self.untouched and found == self.kept


def test_sealed_shards_are_not_made_again(
    shards: Artifact, curated: Curated, tmp_path: Path
) -> None:
    out = UPath(shutil.copytree(shards.path, tmp_path / "shards"))
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert write(curated, out, engine=Killed(1, 0)).identity == shards.identity
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


# Places


def test_shards_can_be_written_to_an_object_store(shards: Artifact, curated: Curated) -> None:
    made = write(curated, UPath("memory://test-shard/shards"))
    assert made.files == shards.files
    assert hash_files(made.path) == shards.files
    assert verify(made.path) == []


@pytest.mark.ray
@pytest.mark.parametrize("workers", [1, 2])
def test_ray_and_local_write_the_same_bytes(
    shards: Artifact, curated: Curated, tmp_path: Path, ray_engine: Engine, workers: int
) -> None:
    from scf_pipeline.engine.ray import RayEngine

    made = write(curated, UPath(tmp_path / "shards"), engine=RayEngine(workers=workers))
    assert made.files == shards.files


# Readers: the same folder, without any option


Row = tuple[str, int, str]


@pytest.fixture(scope="module")
def truth(curated: Curated) -> list[Row]:
    rows = curated.rows.values()
    return sorted((r["face_id"], LABEL_CODES[Label(r["label"])], r["split"]) for r in rows)


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep `datasets` off the network, also where it was imported before, and return its cache."""
    import datasets
    import huggingface_hub

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


def with_pyarrow(folder: Path) -> pa.Table:
    import pyarrow.dataset as ds

    return ds.dataset(folder / "data").to_table()


def with_pandas(folder: Path) -> pa.Table:
    import pandas as pd

    return pa.Table.from_pandas(pd.read_parquet(folder / "data")[["face_id", "label", "split"]])


def with_polars(folder: Path) -> pa.Table:
    import polars as pl

    return pl.read_parquet(folder / "data").select("face_id", "label", "split").to_arrow()


def with_dask(folder: Path) -> pa.Table:
    import dask.dataframe as dd

    frame = dd.read_parquet(folder / "data", columns=["face_id", "label", "split"])
    return pa.Table.from_pandas(frame.compute(scheduler="synchronous"))


def with_duckdb(folder: Path) -> pa.Table:
    import duckdb

    files = folder / "data/*.parquet"
    with duckdb.connect() as connection:
        rows = connection.execute("select face_id, label, split from read_parquet(?)", [str(files)])
        columns = list(zip(*rows.fetchall(), strict=True))
    return pa.table(dict(zip(("face_id", "label", "split"), columns, strict=True)))


@pytest.mark.parametrize(
    "read",
    [with_pyarrow, with_pandas, with_polars, with_dask, with_duckdb],
    ids=lambda f: f.__name__,
)
def test_tables_read_every_row_with_label_and_split(
    shards: Artifact, truth: list[Row], read: Callable[[Path], pa.Table]
) -> None:
    table = read(Path(shards.path))
    columns = [table[name].to_pylist() for name in ("face_id", "label", "split")]
    assert sorted(zip(*columns, strict=True)) == truth


@pytest.mark.parametrize("streaming", [False, True], ids=["cached", "streaming"])
def test_datasets_names_the_splits_and_decodes_pictures_and_labels(
    shards: Artifact, curated: Curated, truth: list[Row], offline: Path, streaming: bool
) -> None:
    import datasets

    loaded = datasets.load_dataset(str(shards.path), streaming=streaming, cache_dir=str(offline))
    assert set(loaded) == {"train", "dev", "test"}
    found: list[Row] = []
    for split, rows in loaded.items():
        assert rows.features["label"].names == ["attack", "bona_fide"]
        for row in rows:
            assert row["split"] == split
            picture = row["image"]
            assert (picture.mode, picture.size) == ("RGB", (SIZE_PX, SIZE_PX))
            source = io.BytesIO(curated.rows[row["face_id"]]["image"])
            assert picture.tobytes() == Image.open(source).tobytes()
            found.append((row["face_id"], row["label"], row["split"]))
    assert sorted(found) == truth


@pytest.mark.ray
def test_ray_data_reads_the_folder_itself(
    shards: Artifact, truth: list[Row], ray_engine: Engine
) -> None:
    import ray

    rows = ray.data.read_parquet(str(shards.path)).select_columns(["face_id", "label", "split"])
    found = [(row["face_id"], row["label"], row["split"]) for row in rows.take_all()]
    assert sorted(found) == truth


def test_the_features_in_the_files_are_those_of_datasets(shards: Artifact) -> None:
    import datasets

    metadata = pq.read_schema(shards.path / files_of(shards)[0]).metadata[b"huggingface"]
    features = datasets.Features.from_dict(json.loads(metadata)["info"]["features"])
    assert features["image"] == datasets.Image()
    assert features["label"] == datasets.ClassLabel(names=["attack", "bona_fide"])
    assert list(features) == SHARD_SCHEMA.names
    assert features.arrow_schema.types == SHARD_SCHEMA.types


def test_the_question_is_the_papers(shards: Artifact) -> None:
    assert {row["question"] for row in rows_of(shards)} == {QUESTION}
