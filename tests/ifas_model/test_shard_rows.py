"""Rows of shards that strangers wrote: each is sound, or the folder is refused by name."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ifas_model.errors import ShardError
from ifas_model.prompt import QUESTION
from ifas_model.shard_rows import NULLABLE, read_pictures, read_rows
from ifas_model.shards import SHARD_SCHEMA

FILE = "data/train-00000-of-00001.parquet"


def picture(width: int = 8, height: int = 8, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, form)
    return buffer.getvalue()


def row(number: int, split: str = "train", **changes: Any) -> dict[str, Any]:
    label = number % 2
    judgment, told = ("No", "Yes")[label], f"This is face {number}"
    return {
        "face_id": f"siw/{number}#0",
        "sample_id": f"siw/{number}",
        "dataset": "siw",
        "subject_id": None,
        "frame": 0,
        "split": split,
        "image": {"bytes": picture(), "path": None},
        "label": label,
        "pai_species": None if label else "print",
        "fine_type": None if label else "print_flat",
        "native_label": "x",
        "question": QUESTION,
        "answer": f"{judgment}. {told}",
        "judgment": judgment,
        "interpretation": told,
        "captioner": "me",
        "keywords": [],
    } | changes


def write(folder: Path, rows: list[dict[str, Any]], name: str = FILE) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows, schema=SHARD_SCHEMA)
    pq.write_table(table, folder / name, row_group_size=2, write_page_checksum=True)
    return folder


def test_rows_are_read_in_the_order_of_the_files_without_their_pictures(tmp_path: Path) -> None:
    write(tmp_path, [row(n) for n in range(5)])
    write(tmp_path, [row(n, "dev") for n in (7, 8)], "data/dev-00000-of-00001.parquet")
    table = read_rows(tmp_path)
    assert table["face_id"].to_pylist() == [f"siw/{n}#0" for n in (7, 8, 0, 1, 2, 3, 4)]
    assert table.column_names == [name for name in SHARD_SCHEMA.names if name != "image"]


def test_a_label_is_told_by_its_number_where_there_is_no_metadata(tmp_path: Path) -> None:
    write(tmp_path, [row(n) for n in range(3)])
    table = pq.read_table(tmp_path / FILE).replace_schema_metadata(None)
    pq.write_table(table, tmp_path / FILE)
    assert read_rows(tmp_path)["label"].to_pylist() == [0, 1, 0]


@pytest.mark.parametrize("name", [n for n in SHARD_SCHEMA.names if n not in NULLABLE | {"image"}])
def test_what_every_row_must_have_is_asked_of_every_row(name: str, tmp_path: Path) -> None:
    write(tmp_path, [row(0), row(1), row(2, **{name: None})])
    with pytest.raises(ShardError, match=f"`{name}` must be given, but is None") as caught:
        read_rows(tmp_path)
    assert caught.value.where == str(tmp_path / FILE)
    assert caught.value.fix.startswith("Correct the row")


@pytest.mark.parametrize(
    ("number", "changes", "problem"),
    [
        (1, {"split": "valid"}, "`split` must be one of train, dev, test, but is 'valid'"),
        (1, {"split": "test"}, "`split` must be train, as in the name of its file, but is 'test'"),
        (1, {"label": 2}, "`label` must be one of 0, 1, but is 2 of 'siw/1#0'"),
        (0, {"pai_species": "paper"}, "`pai_species` must be one of print, replay, mask"),
        (0, {"pai_species": None}, "must be null exactly for bona fide faces, but is None"),
        (1, {"pai_species": "mask"}, "must be null exactly for bona fide faces, but is 'mask'"),
        (1, {"fine_type": "print_flat"}, "`fine_type` must be null for bona fide faces"),
        (0, {"question": "Real?"}, "`question` must be 'Is this photo of a real person"),
        (0, {"judgment": "Yes"}, "`judgment` must be that of the label, but is 'Yes'"),
        (1, {"label": 0, "pai_species": "print"}, "`judgment` must be that of the label"),
        (0, {"answer": "No. This is"}, "`answer` must be judgment and interpretation, but is 'No"),
    ],
)
def test_a_row_that_contradicts_itself_or_its_file_is_named(
    number: int, changes: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    rows = [row(n) for n in range(4)]
    rows[number] |= changes
    write(tmp_path, rows)
    with pytest.raises(ShardError) as caught:
        read_rows(tmp_path)
    assert problem in caught.value.what
    assert f"of 'siw/{number}#0'" in caught.value.what
    assert caught.value.where == str(tmp_path / FILE)


def test_a_face_is_there_once_in_the_whole_folder(tmp_path: Path) -> None:
    write(tmp_path, [row(n) for n in range(3)])
    write(tmp_path, [row(1, "dev")], "data/dev-00000-of-00001.parquet")
    with pytest.raises(ShardError, match="`face_id` must be unique, but is 'siw/1#0'") as caught:
        read_rows(tmp_path)
    assert caught.value.where == str(tmp_path)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"dataset": "wmca"}, "dataset"),
        ({"label": 1, "pai_species": None, "fine_type": None}, "label"),
        ({"pai_species": "mask"}, "pai_species"),
    ],
)
def test_the_faces_of_a_sample_are_of_one_kind(
    changes: dict[str, Any], name: str, tmp_path: Path
) -> None:
    other = row(0, face_id="siw/0#9", **changes)
    judgment = ("No", "Yes")[other["label"]]
    other |= {"judgment": judgment, "answer": f"{judgment}. {other['interpretation']}"}
    write(tmp_path, [row(0), row(1), other])
    with pytest.raises(ShardError, match=f"`{name}` must be one for all faces of a sample"):
        read_rows(tmp_path)


def test_the_faces_of_a_sample_do_not_straddle_splits(tmp_path: Path) -> None:
    write(tmp_path, [row(0), row(1)])
    other = row(0, "test", face_id="siw/0#9")
    write(tmp_path, [other], "data/test-00000-of-00001.parquet")
    with pytest.raises(ShardError, match="`split` must be one for all faces of a sample"):
        read_rows(tmp_path)


# Pictures


def test_pictures_come_in_the_order_of_the_rows(tmp_path: Path) -> None:
    sides = [picture(), picture()]
    write(tmp_path, [row(n, image={"bytes": sides[n % 2], "path": None}) for n in range(5)])
    found = [image.as_py() for images in read_pictures(tmp_path) for image in images]
    assert found == [sides[n % 2] for n in range(5)]


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        (None, "`image` must be given, but is None"),
        ({"bytes": None, "path": "a.png"}, "`image` must be given, but is None"),
        ({"bytes": b"nothing", "path": None}, "`image` must be a PNG, but is b'nothing'"),
        ({"bytes": picture(8, 8, "JPEG"), "path": None}, "`image` must be a PNG"),
        ({"bytes": picture(8, 4), "path": None}, "`image` must be square, but is 8 x 4 px"),
        ({"bytes": picture(9, 9), "path": None}, "`image` must be 8 px wide, as the others"),
    ],
    ids=["null", "by path", "garbage", "jpeg", "oblong", "larger"],
)
def test_a_picture_that_is_no_square_png_of_the_others_size_is_named(
    image: Any, problem: str, tmp_path: Path
) -> None:
    """The last row is in a row group of its own."""
    write(tmp_path, [row(0), row(1), row(2, image=image)])
    with pytest.raises(ShardError) as caught:
        list(read_pictures(tmp_path))
    assert problem in caught.value.what
    assert "of 'siw/2#0'" in caught.value.what
    assert caught.value.where == str(tmp_path / FILE)
    assert read_rows(tmp_path).num_rows == 3  # whoever looks at no picture is not told of them


@pytest.mark.parametrize("read", [read_rows, lambda folder: list(read_pictures(folder))])
def test_a_damaged_page_is_told_with_its_file(read: Callable[[Path], Any], tmp_path: Path) -> None:
    write(tmp_path, [row(n) for n in range(4)])
    raw = bytearray((tmp_path / FILE).read_bytes())
    places = [n for n in range(len(raw)) if raw.startswith(b"siw/", n)]
    raw[places[0]] ^= 1
    (tmp_path / FILE).write_bytes(raw)
    with pytest.raises(ShardError, match=r"must be a sound Parquet file, .*CRC") as caught:
        read(tmp_path)
    assert caught.value.where == str(tmp_path / FILE)
