"""Faces of a shard folder: which, in what order, and what they show."""

import io
import tempfile

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ifas_model import data
from ifas_model.data import decode, load_faces
from ifas_model.errors import ShardError
from ifas_model.prompt import QUESTION
from ifas_model.shards import SHARD_SCHEMA
from ifas_model.vocabulary import Split


def encode(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write(folder, pictures):
    """Write a shard folder that holds these pictures."""
    return write_images(folder, [{"bytes": picture, "path": None} for picture in pictures])


def write_images(folder, images):
    """Write a shard folder with these values of the column `image`."""
    (folder / "data").mkdir(parents=True)
    said = {"question": QUESTION, "answer": "Yes. This is a man", "captioner": "blip2@0"}
    said |= {"judgment": "Yes", "interpretation": "This is a man"}
    rows = [
        dict.fromkeys(SHARD_SCHEMA.names)
        | said
        | {"face_id": f"siw/{n}#0", "sample_id": f"siw/{n}", "dataset": "siw", "split": "test"}
        | {"frame": 0, "label": 1, "native_label": "x", "keywords": []}
        | {"image": image}
        for n, image in enumerate(images)
    ]
    table = pa.Table.from_pylist(rows, schema=SHARD_SCHEMA)
    pq.write_table(table, folder / "data" / "test-00000-of-00001.parquet", row_group_size=3)
    return folder


def stored(folder):
    """Return the rows of a shard folder, in the order of its files."""
    files = sorted((folder / "data").glob("*.parquet"))
    return pa.concat_tables([pq.read_table(file) for file in files]).to_pylist()


def assert_shows(faces, rows):
    assert faces.column("face_id") == [row["face_id"] for row in rows]
    for place, row in enumerate(rows):
        with Image.open(io.BytesIO(row["image"]["bytes"])) as picture:
            wanted = np.asarray(picture)
        assert np.array_equal(faces.pixels(place).permute(1, 2, 0).numpy(), wanted)


def test_all_faces_come_in_the_order_of_the_files_with_their_pictures(shard_folder):
    faces = load_faces(shard_folder)
    rows = stored(shard_folder)
    assert len(faces) == len(rows) == 80
    assert "image" not in faces.table.column_names
    assert_shows(faces, rows)


def test_a_selection_is_of_datasets_and_splits(shard_folder):
    wanted = {"replay_attack": (Split.DEV,), "casia_mfsd": (Split.TRAIN, Split.TEST)}
    rows = [
        row
        for row in stored(shard_folder)
        if row["dataset"] in wanted and row["split"] in wanted[row["dataset"]]
    ]
    assert len(rows) == 8 + 20
    assert_shows(load_faces(shard_folder, wanted), rows)


def test_selecting_twice_is_selecting_once(shard_folder):
    faces = load_faces(shard_folder, {"msu_mfsd": (Split.TRAIN,)})
    rows = [row for row in stored(shard_folder) if row["dataset"] == "msu_mfsd"]
    first, second = np.array([9, 2, 4, 4, 0]), np.array([3, 0, 1])
    untouched = faces.select(first).select(second)
    faces.pixels(0)  # now there is a copy of the pictures to share
    for chosen in (untouched, faces.select(first).select(second)):
        assert_shows(chosen, [rows[place] for place in first[second]])


def test_which_faces_are_bona_fide_is_told_by_the_label(shard_folder):
    faces = load_faces(shard_folder)
    assert faces.is_bona_fide.tolist() == [label == 1 for label in faces.column("label")]
    assert 0 < faces.is_bona_fide.sum() < len(faces)


@pytest.mark.parametrize("name", ["my shards", "a [1] #2%20 ü", "x=1,y=*"])
def test_pictures_are_read_from_any_path(tmp_path, name):
    pixels = [np.full((4, 4, 3), value, np.uint8) for value in range(7)]
    faces = load_faces(write(tmp_path / name, map(encode, pixels)))
    assert [int(faces.pixels(n).max()) for n in (5, 0, 6)] == [5, 0, 6]


def test_a_dataset_that_is_not_there_is_named(shard_folder):
    wanted = {"msu_mfsd": (Split.TRAIN,), "siw": (Split.TEST,), "oulu_npu": (Split.TRAIN,)}
    with pytest.raises(ShardError, match=r"none of: siw \(test\); oulu_npu \(train\)\.") as error:
        load_faces(shard_folder, wanted)
    assert error.value.where == str(shard_folder)
    with pytest.raises(ShardError, match="none of: no dataset"):
        load_faces(shard_folder, {})


def test_a_picture_that_ends_early_is_named(tmp_path):
    pictures = [encode(np.full((40, 40, 3), value, np.uint8)) for value in range(2)]
    faces = load_faces(write(tmp_path / "shards", [pictures[0], pictures[1][:60]]))
    assert faces.pixels(0).sum() == 0
    with pytest.raises(ShardError, match="must be a sound PNG, but is not") as error:
        faces.pixels(1)
    assert error.value.where.endswith("siw/1#0")


def test_a_full_disk_is_told(shard_folder, tmp_path, monkeypatch):
    def refuse(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(data, "read_pictures", refuse)
    faces = load_faces(shard_folder, cache=tmp_path)
    with pytest.raises(ShardError, match=r"must be written, .*No space") as error:
        faces.pixels(0)
    assert error.value.where.startswith(str(tmp_path))


def test_the_path_of_a_picture_is_never_opened(tmp_path, monkeypatch):
    """`datasets` would decode it where there are no bytes, be it a file or an address."""
    secret = tmp_path / "secret.png"
    secret.write_bytes(encode(np.full((4, 4, 3), 9, np.uint8)))
    own = encode(np.full((4, 4, 3), 1, np.uint8))
    paths = [str(secret), secret.as_uri(), "http://127.0.0.1:9/x.png", "/dev/zero", "hf://a/b/c"]
    pictures = [{"bytes": None, "path": path} for path in paths]
    folder = write_images(tmp_path / "shards", [*pictures, {"bytes": own, "path": str(secret)}])

    def refuse(*_, **__):
        raise AssertionError("a shard must not lead to another file")

    monkeypatch.setattr(datasets.Image, "decode_example", refuse)
    monkeypatch.setattr("fsspec.core.open_files", refuse)
    with pytest.raises(ShardError, match="image"):
        load_faces(folder).pixels(0)
    alone = write_images(tmp_path / "alone", [{"bytes": own, "path": str(secret)}])
    assert int(load_faces(alone).pixels(0).max()) == 1


@pytest.mark.parametrize("start", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n", b"GIF89a"])
def test_a_format_that_no_dataset_uses_is_not_tried(tmp_path, monkeypatch, start):
    """Pillow hands PostScript to Ghostscript, another program."""
    monkeypatch.setattr("subprocess.Popen", None)
    with pytest.raises(ShardError, match="image"):
        load_faces(write(tmp_path / "shards", [start + b"\0" * 99])).pixels(0)


def test_a_damaged_page_is_told(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3)).astype(np.uint8)
    folder = write(tmp_path / "shards", map(encode, noise))
    file = folder / "data" / "test-00000-of-00001.parquet"
    table = pq.read_table(file)
    pq.write_table(table, file, write_page_checksum=True, compression="none")
    content = bytearray(file.read_bytes())
    content[content.index(encode(noise[4])[40:60])] ^= 1
    file.write_bytes(content)
    with pytest.raises(ShardError, match=r"must be a sound Parquet file, .*CRC") as error:
        load_faces(folder).pixels(0)
    assert error.value.where == str(file)


def test_the_copy_of_the_pictures_holds_those_that_were_asked_for_and_goes(shard_folder, tmp_path):
    faces = load_faces(shard_folder, {"msu_mfsd": (Split.TRAIN,)}, cache=tmp_path / "cache")
    faces.pixels(3)
    (copy,) = (tmp_path / "cache").rglob("*.arrow")
    everything = sum(len(row["image"]["bytes"]) for row in stored(shard_folder))
    assert copy.stat().st_size < everything / 2
    chosen = faces.select(np.array([1]))
    del faces
    assert chosen.pixels(0).shape == (3, 32, 32)
    del chosen
    assert list((tmp_path / "cache").iterdir()) == []


def test_grey_and_transparent_pictures_become_rgb():
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert decode(encode(grey)).tolist() == [grey.tolist()] * 3
    clear = np.dstack([grey, grey + 1, grey + 2, np.full((4, 4), 9, np.uint8)])
    assert decode(encode(clear)).tolist() == [(grey + n).tolist() for n in range(3)]


def test_reading_prints_nothing_and_leaves_nothing(shard_folder, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    faces = load_faces(shard_folder)
    faces.pixels(7)
    assert len(list(tmp_path.iterdir())) == 1
    del faces
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
