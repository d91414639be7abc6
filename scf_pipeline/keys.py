"""Keys across artifacts: what a stage made is of the rows that it was given, each of them once.

Artifacts that lie in one folder are compared with their inputs that lie there too, by the names
that manifests hold. Key columns alone are read, part by part; of shards, which are shuffled, ids
and texts are held in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from upath import UPath

from ifas_model import prompt
from ifas_model.rows import repeated
from ifas_model.shards import SHARD_SCHEMA
from ifas_model.vocabulary import Label
from scf_pipeline.errors import ArtifactError, ScfError
from scf_pipeline.files import DATA
from scf_pipeline.schema import (
    CAPTION_SCHEMA,
    FACE_SCHEMA,
    FILTER_SCHEMA,
    REJECT,
    SAMPLE_SCHEMA,
    check_columns,
    check_rows,
)
from scf_pipeline.store import Artifact

Inputs = Mapping[str, Sequence[Artifact]]
"""Inputs of an artifact that lie beside it, by the names that its stage gives them."""


def compare(artifacts: Sequence[Artifact], *, unsound: Collection[str] = ()) -> Iterator[str]:
    """Yield one line for each difference between artifacts and their inputs beside them.

    Args:
        artifacts: What lies in one folder.
        unsound: Names of those whose own files are known to be damaged; they are not read.
    """
    known = {artifact.name: artifact for artifact in artifacts}
    for artifact in artifacts:
        inputs: dict[str, list[Artifact]] = {}
        for name, told in _names(artifact):
            if told in known and told not in unsound:
                inputs.setdefault(name, []).append(known[told])
            elif told not in known and (others := _others(artifact, told, artifacts)):
                yield (
                    f"{artifact.path}: stale, unless its input was taken away: `{name}` is "
                    f"{told}, but here is {others}"
                )
        if artifact.name in unsound or artifact.stage not in _CHECKS:
            continue
        try:
            yield from _CHECKS[artifact.stage](artifact, inputs)
        except ScfError as error:
            yield f"{error.where}: {error.what}"


def _names(artifact: Artifact) -> Iterator[tuple[str, str]]:
    """Yield the inputs that a manifest names, each with what its stage calls it."""
    for name, told in sorted(artifact.manifest["inputs"].items()):
        for one in told if isinstance(told, list) else [told]:
            yield name, str(one)


def _others(artifact: Artifact, told: str, artifacts: Sequence[Artifact]) -> str:
    """Return what lies beside an artifact in the place of an input, by the input's stage."""
    own = {name for _, name in _names(artifact)}
    stage = told.partition("@")[0]
    return ", ".join(one.name for one in artifacts if one.stage == stage and one.name not in own)


def _faces_of_samples(faces: Artifact, inputs: Inputs) -> Iterator[str]:
    """Compare part by part: every live sample has a face or a rejected row, and nobody else."""
    for samples in inputs.get("samples", ()):
        for file, given in _paired(faces, samples):
            found = _read(file, ["face_id", "sample_id"], FACE_SCHEMA)
            wanted = _live(_read(given, ["sample_id", REJECT], SAMPLE_SCHEMA))
            ids = pc.unique(_keys(found, "sample_id"))
            yield from _differ(file, ids, _keys(wanted, "sample_id"), is_ordered=True)


def _captions_of_faces(captions: Artifact, inputs: Inputs) -> Iterator[str]:
    """Compare part by part: every live face of the label has a caption, or a rejected one."""
    label = captions.manifest["config"].get("label")
    for faces in inputs.get("faces", ()):
        for file, given in _paired(captions, faces):
            wanted = _live(_read(given, ["face_id", "label", REJECT], FACE_SCHEMA))
            if label is not None:
                wanted = wanted.filter(pc.equal(wanted["label"], label))
            found = _read(file, ["face_id"], CAPTION_SCHEMA)
            ids = _keys(found, "face_id")
            yield from _differ(file, ids, _keys(wanted, "face_id"), is_ordered=True)


def _filtered_of_captions(filtered: Artifact, inputs: Inputs) -> Iterator[str]:
    """Compare part by part: every live caption of an attack was kept or rejected."""
    for captions in inputs.get("captions", ()):
        for file, given in _paired(filtered, captions):
            wanted = _live(_read(given, ["face_id", "label", REJECT], CAPTION_SCHEMA))
            wanted = wanted.filter(pc.equal(wanted["label"], Label.ATTACK.value))
            found = _read(file, ["face_id"], FILTER_SCHEMA)
            ids = _keys(found, "face_id")
            yield from _differ(file, ids, _keys(wanted, "face_id"), is_ordered=True)


def _shards_of_captions(shards: Artifact, inputs: Inputs) -> Iterator[str]:
    """Compare as a whole: every live caption is in one row, with its own text."""
    files = [shards.path / name for name in shards.files if name.startswith(f"{DATA}/")]
    found = _read_all(files, ["face_id", "interpretation", "captioner"], SHARD_SCHEMA)
    ids = _keys(found, "face_id")
    for faces in inputs.get("faces", ()):
        parts = [part.path for part in faces.parts()]
        live = _live(_read_all(parts, ["face_id", REJECT], FACE_SCHEMA))
        strange = _without(ids, _keys(live, "face_id"))
        yield from _tell(shards.path, strange, f"of no face of {faces.path}")
    captions = inputs.get("captions", ())
    if not captions:
        return
    wanted = pa.concat_tables([_answers(one) for one in captions])
    expected = _keys(wanted, "face_id")
    if len(captions) < len(shards.manifest["inputs"]["captions"]):
        # Captions that do not lie here may be of any of the rows.
        expected = pc.unique(pa.concat_arrays([expected, ids]))
    yield from _differ(shards.path, ids, expected, is_ordered=False)
    places = pc.index_in(wanted["face_id"], value_set=ids)
    wanted, found = wanted.filter(pc.is_valid(places)), found.take(places.drop_null())
    for name in ("interpretation", "captioner"):
        others = wanted.filter(pc.not_equal(wanted[name], found[name]))
        problem = f"whose `{name}` is not that of the captions"
        yield from _tell(shards.path, _keys(others, "face_id"), problem)


_CHECKS: Mapping[str, Callable[[Artifact, Inputs], Iterator[str]]] = {
    "crop": _faces_of_samples,
    "caption": _captions_of_faces,
    "filter": _filtered_of_captions,
    "shard": _shards_of_captions,
}
"""What is compared, by the stage that made it."""


def _answers(captions: Artifact) -> pa.Table:
    """Return what shards are to say of the faces that were captioned."""
    columns = ["face_id", "label", "caption", "captioner", REJECT]
    live = _live(_read_all([part.path for part in captions.parts()], columns, CAPTION_SCHEMA))
    pairs = zip(live["label"].to_pylist(), live["caption"].to_pylist(), strict=True)
    told = [prompt.answer(Label(label), caption).interpretation for label, caption in pairs]
    return live.select(["face_id", "captioner"]).append_column(
        "interpretation", pa.array(told, pa.string())
    )


def _paired(made: Artifact, given: Artifact) -> Iterator[tuple[UPath, UPath]]:
    """Yield the parts of the same number.

    Raises:
        ArtifactError: If one of them has parts that the other does not.
    """
    ours, theirs = ({part.number: part.path for part in one.parts()} for one in (made, given))
    if alone := sorted(ours.keys() ^ theirs.keys()):
        raise ArtifactError(
            f"Parts must be those of {given.path}, but part {alone[0]} is in one alone.",
            where=str(made.path),
            fix="Delete the artifact and rerun the stage that writes it.",
        )
    yield from ((path, theirs[number]) for number, path in ours.items())


def _read(file: UPath, names: Sequence[str], schema: pa.Schema) -> pa.Table:
    """Return some columns of a file, whose hash is known to be right."""
    with file.open("rb") as stream:
        parquet = pq.ParquetFile(stream)
        check_columns(parquet.schema_arrow, schema, names, where=str(file))
        table = parquet.read(columns=list(names))
    check_rows(table, schema, where=str(file))
    return table


def _read_all(files: Iterable[UPath], names: Sequence[str], schema: pa.Schema) -> pa.Table:
    nothing = pa.schema([schema.field(name) for name in names]).empty_table()
    return pa.concat_tables([nothing, *(_read(file, names, schema) for file in files)])


def _live(table: pa.Table) -> pa.Table:
    return table.filter(pc.is_null(table[REJECT]))


def _differ(file: UPath, found: pa.Array, wanted: pa.Array, *, is_ordered: bool) -> Iterator[str]:
    """Tell of keys that are absent, strange or repeated; where none is, of their order."""
    problems = [
        *_tell(file, _without(wanted, found), "absent that the input holds"),
        *_tell(file, _without(found, wanted), "that the input does not hold"),
        *_tell(file, repeated(found), "there more than once"),
    ]
    yield from problems
    if is_ordered and not problems and not found.equals(wanted):
        yield f"{file}: the rows are not in the order of the input"


def _tell(file: UPath, keys: pa.Array, problem: str) -> Iterator[str]:
    if len(keys):
        rows = "1 row" if len(keys) == 1 else f"{len(keys)} rows"
        yield f"{file}: {rows} {problem}, first {keys[0].as_py()!r}"


def _keys(table: pa.Table, name: str) -> pa.Array:
    return table[name].combine_chunks()


def _without(some: pa.Array, others: pa.Array) -> pa.Array:
    return some.filter(pc.invert(pc.is_in(some, value_set=others)))
