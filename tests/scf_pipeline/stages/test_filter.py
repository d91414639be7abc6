"""The filter keeps captions that name their own attack, and loses no row."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.errors import ArtifactError, ConfigError
from scf_pipeline.keywords import KeywordDictionary
from scf_pipeline.schema import CAPTION_SCHEMA, FILTER_SCHEMA, Reject, coded
from scf_pipeline.settings import Settings
from scf_pipeline.stages.filter import FilterConfig, keep_spoof_aware, run
from scf_pipeline.store import Artifact, ArtifactWriter

DEFAULT = Path(__file__).parents[3] / "keyword_dicts/spoof_aware.yaml"
CONFIG = FilterConfig(dictionary=DEFAULT)


def caption(number, species, text, *, fine_type=None, dataset="siw", reject=None):
    return {
        "face_id": f"{dataset}/{number}#0",
        "sample_id": f"{dataset}/{number}",
        "dataset": dataset,
        "split": "train",
        "subject_id": None,
        "label": "attack" if species else "bona_fide",
        "pai_species": species,
        "fine_type": fine_type or (f"{species}_flat" if species else None),
        "caption": text,
        "num_tokens": len(text.split()),
        "mean_log_probability": -1.0,
        "captioner": "blip2@general",
        "reject": reject,
    }


ROWS = [
    caption(0, "print", "a man on paper"),
    caption(1, "print", "a man with glasses"),
    caption(2, "replay", "a man on paper"),
    caption(3, None, "a man holding paper"),
    caption(4, "mask", "a mask on a screen", dataset="wmca"),
    caption(5, "makeup", "a masked woman", dataset="wmca"),
    caption(6, "mask", "a man on paper", fine_type="paper_mask_face", dataset="wmca"),
]
KEPT = [0, 4, 6]


def table(rows):
    return pa.Table.from_pylist(rows, schema=CAPTION_SCHEMA)


def kernel(rows, dictionary=DEFAULT):
    return keep_spoof_aware(table(rows), KeywordDictionary.load(dictionary))


def numbers(rows):
    return [int(row["face_id"].split("/")[1].split("#")[0]) for row in rows]


@pytest.fixture
def captions(tmp_path) -> Artifact:
    writer = ArtifactWriter(
        tmp_path / "captions", CAPTION_SCHEMA, settings=Settings("caption", 1, {}, {})
    )
    writer.write(0, table(ROWS[:3]))
    writer.write(1, table([*ROWS[3:5], caption(8, "print", "", reject="degenerate")]))
    writer.write(2, table(ROWS[5:]))
    return writer.seal()


def test_a_caption_that_names_its_attack_stays() -> None:
    rows = kernel(ROWS).to_pylist()
    assert numbers(row for row in rows if row["reject"] is None) == KEPT
    assert {row["reject"] for row in rows} == {None, "no_keyword"}


def test_no_attack_is_dropped_and_the_order_stays() -> None:
    assert numbers(kernel(ROWS).to_pylist()) == [0, 1, 2, 4, 5, 6]


def test_bona_fide_captions_are_passed_over() -> None:
    assert kernel([caption(0, None, "a man on paper")]).num_rows == 0


def test_keywords_of_other_species_are_recorded() -> None:
    rows = {row["face_id"]: row for row in kernel(ROWS).to_pylist()}
    assert (rows["wmca/4#0"]["keywords"], rows["wmca/4#0"]["other_keywords"]) == (
        ["mask"],
        ["on a screen"],
    )
    assert rows["siw/2#0"]["other_keywords"] == ["paper"]
    assert rows["siw/1#0"]["keywords"] == rows["siw/1#0"]["other_keywords"] == []


def test_all_other_columns_pass_unchanged() -> None:
    rows = [row for row in ROWS if row["label"] == "attack"]
    result = kernel(ROWS)
    for name in CAPTION_SCHEMA.names:
        if name != "reject":
            assert result[name].to_pylist() == table(rows)[name].to_pylist()
    assert result.schema == FILTER_SCHEMA


def test_coded_captions_are_filtered_as_plain_ones() -> None:
    dictionary = KeywordDictionary.load(DEFAULT)
    captions = table([*ROWS, caption(7, "print", "a man on paper") | {"fine_type": None}])
    halves = [half.cast(coded(CAPTION_SCHEMA)) for half in (captions[:3], captions[3:])]
    result = keep_spoof_aware(pa.concat_tables(halves), dictionary)  # of two row groups
    assert result.schema == coded(FILTER_SCHEMA)
    assert result.cast(FILTER_SCHEMA).equals(keep_spoof_aware(captions, dictionary))


def test_conflicts_are_dropped_where_the_dictionary_says_so(tmp_path) -> None:
    strict = tmp_path / "strict.yaml"
    strict.write_text(DEFAULT.read_text().replace("conflict_policy: keep", "conflict_policy: drop"))
    rows = {row["face_id"]: row["reject"] for row in kernel(ROWS, strict).to_pylist()}
    assert rows["wmca/4#0"] == Reject.CONFLICT
    assert rows["siw/2#0"] == Reject.NO_KEYWORD  # it names no attack of its own
    assert rows["wmca/6#0"] is None  # an alias is no conflict


def test_an_empty_part_stays_empty() -> None:
    assert kernel([]).schema == FILTER_SCHEMA
    assert kernel([]).num_rows == 0


def test_every_row_is_counted(captions, tmp_path) -> None:
    d_s = run(CONFIG, captions=captions, out=tmp_path / "out", engine=LocalEngine())
    assert d_s.counts.imbalance() is None
    assert (d_s.counts.rows_in, d_s.counts.live, d_s.counts.passed_over) == (7, 3, 1)
    assert d_s.counts.rejected == {"no_keyword": 3}
    assert d_s.counts.datasets["wmca"].live == 2
    assert numbers(d_s.read().to_pylist()) == KEPT
    assert [part.number for part in d_s.parts()] == [0, 1, 2]


def test_an_interrupted_run_writes_only_what_is_missing(captions, tmp_path) -> None:
    whole = run(CONFIG, captions=captions, out=tmp_path / "whole", engine=LocalEngine())
    broken = run(CONFIG, captions=captions, out=tmp_path / "broken", engine=LocalEngine())
    lost, kept = broken.parts()[1].path, broken.parts()[0].path
    (broken.path / "manifest.json").unlink()
    lost.unlink()
    before = kept.stat().st_mtime_ns
    again = run(CONFIG, captions=captions, out=tmp_path / "broken", engine=LocalEngine())
    assert kept.stat().st_mtime_ns == before
    assert again.identity == whole.identity


def test_identity_follows_the_content_of_the_dictionary(captions, tmp_path) -> None:
    twin = tmp_path / "twin.yaml"
    twin.write_bytes(DEFAULT.read_bytes())
    first = run(CONFIG, captions=captions, out=tmp_path / "out", engine=LocalEngine())
    second = run(
        FilterConfig(dictionary=twin), captions=captions, out=tmp_path / "2", engine=LocalEngine()
    )
    assert second.fingerprint == first.fingerprint
    twin.write_text(DEFAULT.read_text().replace("    - poster\n", ""))
    with pytest.raises(ArtifactError, match="differs"):
        run(
            FilterConfig(dictionary=twin),
            captions=captions,
            out=tmp_path / "2",
            engine=LocalEngine(),
        )


def test_a_bad_dictionary_stops_before_anything_is_written(captions, tmp_path) -> None:
    (tmp_path / "bad.yaml").write_text("keywords: {prnt: [paper]}\n")
    config = FilterConfig(dictionary=tmp_path / "bad.yaml")
    with pytest.raises(ConfigError, match="Did you mean print"):
        run(config, captions=captions, out=tmp_path / "out", engine=LocalEngine())
    assert not (tmp_path / "out").exists()


def test_importing_the_stage_imports_nothing_heavy() -> None:
    code = "import sys, json, scf_pipeline.stages.filter; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    )
    assert not {"torch", "ray", "transformers", "dask", "pandas"} & set(loaded)


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray's own, of its own settings
def test_ray_and_local_write_the_same_bytes(captions, tmp_path) -> None:
    from scf_pipeline.engine.ray import RayEngine

    local = run(CONFIG, captions=captions, out=tmp_path / "local", engine=LocalEngine())
    ray = run(CONFIG, captions=captions, out=tmp_path / "ray", engine=RayEngine(workers=2))
    for one, other in zip(local.parts(), ray.parts(), strict=True):
        assert one.path.read_bytes() == other.path.read_bytes()
