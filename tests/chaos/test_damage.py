"""Whatever part of a file is cut off or changed, it is found."""

import random
import shutil
from pathlib import Path

import chain
import pyarrow as pa
import pytest
from upath import UPath

from scf_pipeline.errors import ArtifactError
from scf_pipeline.schema import FACE_SCHEMA
from scf_pipeline.settings import Settings
from scf_pipeline.store import Artifact, ArtifactWriter
from scf_pipeline.verify import verify

pytestmark = pytest.mark.chaos

TRUNCATIONS = 12
FLIPS = 100
PARTS = 100


@pytest.fixture
def root(tmp_path: Path, undisturbed: Path) -> Path:
    shutil.copytree(undisturbed, tmp_path / "root")
    return tmp_path / "root"


def tables(root: Path) -> list[Path]:
    return sorted(path for name in chain.STAGES for path in (root / name / "data").rglob("*.*"))


def write_parts(folder: Path) -> Artifact:
    """Seal an artifact of many parts, each of a few rows of its own."""
    writer = ArtifactWriter(folder, FACE_SCHEMA, settings=Settings("crop", 1, {}, {}))
    for number in range(PARTS):
        rows = [chain._face(PARTS * row + number) for row in range(2)]
        writer.write(number, pa.Table.from_pylist(rows, schema=FACE_SCHEMA))
    return writer.seal(rows_in={"siw": 2 * PARTS})


def is_found(artifact: Path, part: Path) -> bool:
    """Tell whether both a reader and `scf verify` name the damaged part."""
    with pytest.raises(ArtifactError) as caught:
        Artifact.open(artifact).read()
    named = [line for line in verify(UPath(artifact)) if line.startswith(str(part))]
    return caught.value.where == str(part) and len(named) == 1


def test_a_part_that_was_cut_off_anywhere_is_found(root: Path, tried) -> None:
    part = root / "t_f/data/part-00001.parquet"
    raw = part.read_bytes()
    ends = [round(len(raw) * n / TRUNCATIONS) for n in range(TRUNCATIONS - 1)] + [len(raw) - 1]
    for end in ends:
        part.write_bytes(raw[:end])
        assert is_found(root / "t_f", part), f"cut off after {end} of {len(raw)} bytes"
    part.write_bytes(raw)
    assert verify(UPath(root / "t_f")) == []
    tried("truncation of a part", cases=len(ends))


def test_one_flipped_byte_in_each_of_many_parts_is_found_every_time(tmp_path: Path, tried) -> None:
    chance = random.Random(1)  # noqa: S311 - no secret
    artifact = write_parts(tmp_path / "artifact")
    parts = artifact.parts()
    assert len({part.path.read_bytes() for part in parts}) == PARTS
    assert verify(UPath(artifact.path)) == []
    for part in parts:
        raw = bytearray(part.path.read_bytes())
        raw[chance.randrange(len(raw))] ^= chance.randrange(1, 256)
        part.path.write_bytes(raw)
    for part in parts:
        with pytest.raises(ArtifactError, match="must have the hash") as caught:
            part.read()
        assert caught.value.where == str(part.path)
    assert verify(UPath(artifact.path)) == [
        f"{part.path}: the content is not the one that was sealed" for part in parts
    ]
    tried("one flipped byte in each of 100 parts", cases=PARTS)


def test_one_flipped_bit_anywhere_is_found(root: Path, tried) -> None:
    chance = random.Random(0)  # noqa: S311 - no secret
    files = [
        path for path in tables(root) if path.suffix == ".parquet" and "shards" not in str(path)
    ]
    for number in range(FLIPS):
        part = files[number % len(files)]
        raw = bytearray(part.read_bytes())
        place, bit = chance.randrange(len(raw)), 1 << chance.randrange(8)
        raw[place] ^= bit
        part.write_bytes(raw)
        assert is_found(part.parents[1], part), f"bit {bit} of byte {place} of {part}"
        raw[place] ^= bit
        part.write_bytes(raw)
    assert [line for name in chain.STAGES for line in verify(UPath(root / name))] == []
    tried("one flipped bit in a part", cases=FLIPS)
