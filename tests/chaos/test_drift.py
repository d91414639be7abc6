"""Tables and weights that are not what they should be are refused, with the file and a way out."""

import io
import json
import shutil
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import chain
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from forge import Change, forge, rewrite
from PIL import Image
from typer.testing import CliRunner
from upath import UPath

from ifas_model import cli
from ifas_model.shard_rows import read_pictures, read_rows
from ifas_model.vocabulary import Label
from scf_pipeline.captioners import Model
from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.errors import ScfError
from scf_pipeline.keywords import default_dictionary
from scf_pipeline.stages import caption, finetune, shard
from scf_pipeline.stages import filter as keyword_filter
from scf_pipeline.stages.caption import CaptionConfig
from scf_pipeline.stages.filter import FilterConfig
from scf_pipeline.stages.finetune import FinetuneConfig
from scf_pipeline.stages.shard import ShardConfig
from scf_pipeline.store import Artifact

pytestmark = pytest.mark.chaos

GROUP = "malformed or drifted Parquet"
PART = "data/part-00001.parquet"
SHARD = "data/train-00000-of-00001.parquet"


@pytest.fixture
def root(tmp_path: Path, undisturbed: Path) -> Path:
    shutil.copytree(undisturbed, tmp_path / "root")
    return tmp_path / "root"


# What makes a table drift


def put(name: str, *values: Any) -> Change:
    """Give the first rows other values in a column."""

    def change(table: pa.Table) -> pa.Table:
        field = table.schema.field(name)
        made = [*values, *table[name].to_pylist()[len(values) :]]
        column = pa.array(made, field.type)
        return table.set_column(table.column_names.index(name), field.with_nullable(True), column)

    return change


def retype(name: str, kind: pa.DataType) -> Change:
    def change(table: pa.Table) -> pa.Table:
        index = table.column_names.index(name)
        return table.set_column(index, name, table[name].cast(kind))

    return change


def replace(name: str, make: Callable[[int], pa.Array]) -> Change:
    def change(table: pa.Table) -> pa.Table:
        return table.set_column(table.column_names.index(name), name, make(len(table)))

    return change


def timestamps(size: int) -> pa.Array:
    return pa.array([0] * size, pa.timestamp("us"))


def structs(size: int) -> pa.Array:
    return pa.array([{"id": "a"}] * size)


def drop(name: str) -> Change:
    return lambda table: table.drop_columns(name)


def rename(name: str, other: str) -> Change:
    return lambda table: table.rename_columns({name: other})


def picture(width: int = 8, height: int = 8, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, form)
    return buffer.getvalue()


def in_shard(encoded: bytes | None) -> dict[str, Any]:
    return {"bytes": encoded, "path": None}


def twice(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table, table.slice(0, 1)])


def reverse_labels(table: pa.Table) -> pa.Table:
    """Swap the names of the labels: what was 0, an attack, is called bona fide."""
    metadata = json.loads(table.schema.metadata[b"huggingface"])
    metadata["info"]["features"]["label"]["names"].reverse()
    return table.replace_schema_metadata({"huggingface": json.dumps(metadata)})


# What makes a file drift


def cut(raw: bytes) -> bytes:
    return raw[:-20]


def lie_about_the_footer(raw: bytes) -> bytes:
    return raw[:-8] + struct.pack("<I", 2**31 - 1) + raw[-4:]


def encrypt_the_footer(raw: bytes) -> bytes:
    return b"PARE" + raw[4:-4] + b"PARE"


def declare_many_rows(raw: bytes) -> bytes:
    """Let the footer tell of 2 ** 40 rows, in the Thrift that it is written in."""
    size = struct.unpack("<I", raw[-8:-4])[0]
    body, footer = raw[: -8 - size], raw[-8 - size : -8]
    rows = pq.ParquetFile(pa.BufferReader(raw)).metadata.num_rows
    told = b"\x16" + bytes([2 * rows]) + b"\x19\x1c"  # before the first group of rows
    footer = footer.replace(told, b"\x16" + b"\x80" * 5 + b"\x40" + told[2:], 1)
    lying = body + footer + struct.pack("<I", len(footer)) + raw[-4:]
    assert pq.read_metadata(pa.BufferReader(lying)).num_rows == 2**40
    return lying


FILES = {
    "no Parquet": lambda _: picture(),
    "empty": lambda _: b"",
    "footer cut off": cut,
    "magic": lambda raw: raw[:-4] + b"PAR2",
    "length of the footer": lie_about_the_footer,
    "encrypted footer": encrypt_the_footer,
    "declared rows": declare_many_rows,
}
"""Files whose bytes are wrong."""


# Stages, behind forged hashes


def run_caption(root: Path) -> None:
    chain_speaker = partial(chain._load_backend, root / chain.NOTES, 0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(caption, "plugins", SimpleNamespace(load=chain_speaker))
        caption.run(
            CaptionConfig(label=Label.ATTACK, batch_size=2),
            faces=Artifact.open(root / "faces"),
            model=Model(backend="speaker", location="nowhere", revision="c_g"),
            out=UPath(root / "out"),
            engine=LocalEngine(),
        )


def run_filter(root: Path, captions: str = "t_f") -> None:
    keyword_filter.run(
        FilterConfig(dictionary=default_dictionary()),
        captions=Artifact.open(root / captions),
        out=UPath(root / "out"),
        engine=LocalEngine(),
    )


def run_finetune(root: Path) -> None:
    (root / "out").mkdir()
    captions = [Artifact.open(root / name) for name in ("d_s", "t_r")]
    faces = Artifact.open(root / "faces")
    finetune.gather(FinetuneConfig(), faces, captions, root / "out")


def run_shard(root: Path, captions: tuple[str, ...] = ("t_r", "t_s")) -> None:
    shard.run(
        ShardConfig(dictionary=default_dictionary()),
        faces=Artifact.open(root / "faces"),
        captions=[Artifact.open(root / name) for name in captions],
        out=UPath(root / "out"),
        engine=LocalEngine(),
    )


def refusal(act: Callable[[Path], Any], root: Path, file: Path) -> str:
    """Return what is said of a file that is refused; nothing may have been made of it."""
    with pytest.raises(ScfError) as caught:
        act(root)
    assert caught.value.where == str(file)
    assert len(caught.value.fix.split()) > 3
    assert not (root / "out/manifest.json").exists()
    return caught.value.what


STAGES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "caption": ("faces", run_caption),
    "filter": ("t_f", run_filter),
    "finetune": ("d_s", run_finetune),
    "shard": ("t_s", run_shard),
}
"""The artifact that is changed, and the stage that reads it."""


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("change", FILES)
def test_a_stage_refuses_a_part_that_is_no_sound_parquet(
    stage: str, change: str, root: Path, tried
) -> None:
    name, act = STAGES[stage]
    file = root / name / PART
    file.write_bytes(FILES[change](file.read_bytes()))
    forge(root)
    assert "must be a sound Parquet file" in refusal(act, root, file)
    tried(GROUP)


FACES = {
    "column absent": (drop("image"), "Column `image` must be binary, but is absent"),
    "column renamed": (rename("face_id", "id"), "Column `face_id` must be string, but is absent"),
    "column twice": (
        lambda table: table.append_column("label", table["label"]),
        "Column `label` must be string, but is absent or there twice",
    ),
    "text for a number": (retype("frame", pa.string()), "`frame` must be int32, but is string"),
    "text for a list": (
        replace("box", lambda size: pa.array(["0,0,8,8"] * size)),
        "Column `box` must be fixed_size_list<",
    ),
    "a timestamp": (replace("frame", timestamps), "must be int32, but is timestamp[us]"),
    "a struct": (replace("subject_id", structs), "`subject_id` must be string, but is struct<"),
    "dictionary": (
        lambda table: replace("label", lambda _: table["label"].dictionary_encode())(table),
        "Column `label` must be string, but is dictionary<",
    ),
    "large_string": (retype("label", pa.large_string()), "must be string, but is large_string"),
    "string_view": (retype("label", pa.string_view()), "must be string, but is string_view"),
    "null key": (put("face_id", None), "`face_id` must be given, but is None in row 0"),
    "null label": (put("label", None), "`label` must be given, but is None of 'siw/6#0'"),
    "null picture": (put("image", None), "`image` must be given in live rows, but is None"),
    "null hash": (put("sha256", None), "`sha256` must be given in live rows, but is None"),
    "key twice": (twice, "`face_id` must be unique, but is 'siw/6#0' in row 0"),
    "unknown label": (put("label", "fake"), "`label` must be one of attack, bona_fide, but is"),
    "unknown species": (
        put("pai_species", None, "paper"),
        "`pai_species` must be one of print, replay, mask, mannequin, makeup, partial, but is 'pap",
    ),
    "bona fide species": (put("pai_species", "print"), "null exactly for bona fide faces, but is"),
    "no species": (put("pai_species", None, None), "null exactly for bona fide faces, but is None"),
    "unknown split": (put("split", "valid"), "`split` must be one of train, dev, test, but is"),
    "unknown reason": (put("reject", "ugly"), "`reject` must be one of missing, unreadable, no_"),
    "no PNG": (put("image", picture(form="JPEG")), "`image` must be a PNG, but is"),
    "oblong": (put("image", picture(8, 4)), "`image` must be square, but is 8 x 4 px of 'siw/6#0'"),
    "another size": (
        put("image", picture(), picture(9, 9)),
        "`image` must be 8 px wide, as the others, but is 9 x 9 px of 'siw/7#0'",
    ),
}


@pytest.mark.parametrize("change", FACES)
def test_faces_that_drifted_are_not_captioned(change: str, root: Path, tried) -> None:
    act, problem = FACES[change]
    rewrite(root / "faces" / PART, act)
    forge(root)
    assert problem in refusal(run_caption, root, root / "faces" / PART)
    tried(GROUP)


CAPTIONS = {
    "column absent": (drop("caption"), "Column `caption` must be string, but is absent"),
    "a number for text": (
        replace("caption", lambda size: pa.array(range(size))),
        "Column `caption` must be string, but is int64",
    ),
    "a fraction for a number": (retype("num_tokens", pa.float64()), "must be int32, but is double"),
    "no caption": (put("caption", None), "`caption` must be given in live rows, but is None"),
    "NaN": (put("mean_log_probability", float("nan")), "must be a number, but is nan of 'siw/7#0'"),
    "no captioner": (put("captioner", None), "`captioner` must be given, but is None"),
    "key twice": (twice, "`face_id` must be unique"),
    "no species": (put("pai_species", None), "must be null exactly for bona fide faces, but is"),
}


@pytest.mark.parametrize("change", CAPTIONS)
def test_captions_that_drifted_are_not_filtered(change: str, root: Path, tried) -> None:
    act, problem = CAPTIONS[change]
    rewrite(root / "t_f" / PART, act)
    forge(root)
    assert problem in refusal(run_filter, root, root / "t_f" / PART)
    tried(GROUP)


def test_an_artifact_of_another_stage_is_refused_with_the_way_out(root: Path, tried) -> None:
    what = refusal(
        partial(run_filter, captions="faces"), root, root / "faces/data/part-00000.parquet"
    )
    assert "Column `caption` must be string, but is absent" in what
    tried(GROUP)


def rekey(table: pa.Table) -> pa.Table:
    """Name a face that does not exist."""
    return put("face_id", "siw/elsewhere#0")(table)


def test_captions_of_other_faces_or_of_too_few_become_no_shards(root: Path, tried) -> None:
    file = root / "t_s" / PART
    whole = file.read_bytes()
    rewrite(file, rekey)
    forge(root)
    assert "but 'siw/elsewhere#0' is no such face" in refusal(run_shard, root, file)
    shutil.rmtree(root / "out")
    file.write_bytes(whole)
    rewrite(file, lambda table: table.slice(1))
    forge(root)
    assert "but 'siw/7#0' has none" in refusal(run_shard, root, file)
    tried(GROUP, cases=2)


def test_two_captions_of_a_face_become_no_shards(root: Path, tried) -> None:
    files = ", ".join(str(root / name / "data/part-00000.parquet") for name in ("t_f", "t_s"))
    act = partial(run_shard, captions=("t_f", "t_s"))
    assert "A face must have one caption, but 'siw/" in refusal(act, root, Path(files))
    tried(GROUP)


def test_captions_without_a_part_of_their_faces_become_no_shards(root: Path, tried) -> None:
    (root / "t_s" / PART).rename(root / "t_s/data/part-00003.parquet")
    forge(root)
    what = refusal(run_shard, root, root / "t_s")
    assert what == "Captions must have the 3 parts of their faces, but have 3 others."
    tried(GROUP)


def test_a_face_in_two_parts_becomes_no_shard(root: Path, tried) -> None:
    """Its captions are there twice as well, so that each part is sound for itself."""
    for name in ("faces", "t_r", "t_s"):
        first = pq.read_table(root / name / "data/part-00000.parquet")
        some = first.filter(pc.is_in(first["face_id"], pa.array(["siw/0#0", "siw/1#0"])))
        rewrite(root / name / PART, lambda table, some=some: pa.concat_tables([table, some]))
    forge(root)
    what = refusal(run_shard, root, root / "faces")
    assert what.startswith("A face must be there once, but 'siw/")
    tried(GROUP)


def test_captions_that_have_no_face_or_two_teach_nobody(root: Path, tried) -> None:
    file = root / "d_s" / PART
    whole = file.read_bytes()
    rewrite(file, lambda table: put("face_id", "siw/x#0")(put("reject", None)(table)))
    forge(root)
    assert "must belong to one of the faces" in refusal(run_finetune, root, root / "faces")
    shutil.rmtree(root / "out")
    file.write_bytes(whole)
    rewrite(root / "d_s/data/part-00000.parquet", put("reject", None))
    shutil.copy(root / "d_s/data/part-00000.parquet", file)
    forge(root)
    told = ", ".join(str(root / name) for name in ("d_s", "t_r"))
    assert "A face must have one caption" in refusal(run_finetune, root, Path(told))
    tried(GROUP, cases=2)


def test_a_picture_that_ends_early_is_named(root: Path, tried) -> None:
    rewrite(root / "faces" / PART, put("image", picture(), picture()[:45]))
    forge(root)
    assert "must be a sound PNG, but is not" in refusal(run_caption, root, Path("siw/7#0"))
    tried(GROUP)


def test_a_column_more_is_no_reason_to_refuse_a_part(root: Path) -> None:
    rewrite(root / "faces" / PART, lambda table: table.append_column("note", table["label"]))
    forge(root)
    run_caption(root)
    assert Artifact.open(root / "out").counts.live == 12


# Shards, which strangers write too


def load(root: Path) -> None:
    """Read as the trainer does."""
    read_rows(root / "shards")
    list(read_pictures(root / "shards"))


@pytest.mark.parametrize("change", FILES)
def test_a_shard_that_is_no_sound_parquet_is_refused(change: str, root: Path, tried) -> None:
    file = root / "shards" / SHARD
    file.write_bytes(FILES[change](file.read_bytes()))
    forge(root)
    assert "must be a sound Parquet file" in refusal(load, root, file)
    tried(GROUP)


SHARDS = {
    "column absent": (drop("keywords"), "Column `keywords` must be list<", SHARD),
    "column renamed": (rename("label", "y"), "Column `label` must be int64, but is absent", SHARD),
    "text for a list": (
        replace("keywords", lambda size: pa.array(["paper"] * size)),
        "but is string.",
        SHARD,
    ),
    "text for a label": (retype("label", pa.string()), "must be int64, but is string", SHARD),
    "a fraction for a label": (retype("label", pa.float64()), "int64, but is double", SHARD),
    "one part of another type": (retype("frame", pa.int64()), "int32, but is int64", SHARD),
    "large_string": (retype("answer", pa.large_string()), "but is large_string", SHARD),
    "string_view": (retype("answer", pa.string_view()), "but is string_view", SHARD),
    "a timestamp": (replace("frame", timestamps), "but is timestamp[us]", SHARD),
    "a struct": (replace("subject_id", structs), "must be string, but is struct<", SHARD),
    "no rows": (lambda table: table.slice(0, 0), "must hold rows, but holds none", SHARD),
    "labels reversed": (reverse_labels, "but are named bona_fide, attack.", SHARD),
    "null key": (put("face_id", None), "`face_id` must be given, but is None", SHARD),
    "null label": (put("label", None), "`label` must be given, but is None", SHARD),
    "null picture": (put("image", None), "`image` must be given, but is None", SHARD),
    "null bytes": (put("image", in_shard(None)), "`image` must be given, but is None", SHARD),
    "label out of range": (put("label", 2), "`label` must be one of 0, 1, but is 2", SHARD),
    "label below it": (put("label", -1), "`label` must be one of 0, 1, but is -1", SHARD),
    "unknown species": (put("pai_species", "paper"), "`pai_species` must be one of", SHARD),
    "bona fide species": (put("pai_species", "mask"), "null exactly for bona fide", SHARD),
    "no species": (put("label", *[0] * 6), "null exactly for bona fide", SHARD),
    "unknown split": (put("split", "valid"), "`split` must be one of train, dev, test", SHARD),
    "another file's split": (put("split", "dev"), "must be train, as in the name of", SHARD),
    "another question": (put("question", "Real?"), "`question` must be 'Is this photo", SHARD),
    "another judgment": (put("judgment", "Maybe"), "that of the label, but is 'Maybe'", SHARD),
    "another answer": (put("answer", "No."), "must be judgment and interpretation", SHARD),
    "no PNG": (put("image", in_shard(picture(form="JPEG"))), "`image` must be a PNG", SHARD),
    "garbage": (put("image", in_shard(b"nothing")), "`image` must be a PNG, but is b'no", SHARD),
    "oblong": (put("image", in_shard(picture(4, 8))), "must be square, but is 4 x 8 px", SHARD),
    "another size": (
        put("image", in_shard(picture(9, 9))),
        "`image` must be 8 px wide, as the others, but is 9 x 9 px",
        SHARD,
    ),
    "key twice": (twice, "`face_id` must be unique", ""),
    "key in two files": (put("face_id", "siw/1#0"), "`face_id` must be unique", ""),
    "sample in two splits": (
        put("sample_id", "siw/1"),
        "`split` must be one for all faces of a sample",
        "",
    ),
}


@pytest.mark.parametrize("change", SHARDS)
def test_shards_that_drifted_are_not_read(change: str, root: Path, tried) -> None:
    act, problem, where = SHARDS[change]
    rewrite(root / "shards" / SHARD, act)
    forge(root)
    assert problem in refusal(load, root, root / "shards" / where)
    tried(GROUP)


def test_a_file_without_row_groups_is_refused(root: Path, tried) -> None:
    file = root / "shards" / SHARD
    with pq.ParquetWriter(file, pq.read_schema(file)):
        pass
    forge(root)
    assert pq.read_metadata(file).num_row_groups == 0
    assert "must hold rows, but holds none" in refusal(load, root, file)
    tried(GROUP)


def test_a_column_more_and_no_metadata_are_no_reason_to_refuse_shards(root: Path) -> None:
    file = root / "shards" / SHARD
    rewrite(file, lambda table: table.append_column("note", table["label"]))
    rewrite(file, lambda table: table.replace_schema_metadata(None))
    forge(root)
    load(root)
    assert "note" not in read_rows(root / "shards").column_names


def test_ifas_tells_of_drifted_shards_in_three_lines(root: Path, tmp_path: Path, tried) -> None:
    file = root / "shards" / SHARD
    rewrite(file, put("answer", "Perhaps."))
    forge(root)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    options = {"tower": "model", "language": "model", "out": "made"}
    words = [word for name, value in options.items() for word in (f"--{name}", tmp_path / value)]
    done = CliRunner().invoke(cli.app, ["train", *map(str, (root / "shards", *words))])
    assert done.exit_code == 1
    what, where, fix = done.stderr.splitlines()
    assert "`answer` must be judgment and interpretation, but is 'Perhaps.'" in what
    assert (where, fix.split()[:2]) == (f"  where: {file}", ["fix:", "Correct"])
    tried(GROUP)
