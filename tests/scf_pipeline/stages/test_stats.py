"""The audit as an artifact: what `scf_pipeline.stats` counts, sealed."""

import shutil
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import ValidationError
from upath import UPath

from ifas_model.vocabulary import PaiSpecies
from scf_pipeline import stats
from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.errors import ArtifactError
from scf_pipeline.keywords import KeywordDictionary
from scf_pipeline.schema import CAPTION_SCHEMA, is_held_out
from scf_pipeline.settings import Settings
from scf_pipeline.stages.stats import AUDIT_SCHEMA, StatsConfig, run
from scf_pipeline.store import Artifact, ArtifactWriter

FILE = Path(__file__).parents[3] / "keyword_dicts/spoof_aware.yaml"
CONFIG = StatsConfig(dictionary=FILE)
SPECIES = [None, *map(str, PaiSpecies)]
TEXTS = ["a man", "a man with a paper mask", "a phone screen", "a sheet of paper", "no mask here"]


class NoEngine:
    def call(self, *_: object, **__: object) -> None:
        raise AssertionError("a sealed audit must not be made again")


def captions(folder, captioner: str, shift: int) -> Artifact:
    """Seal 70 captions of two datasets, every species, in two parts; some are degenerate."""
    rows = [
        {
            "face_id": f"siw/{number}#0",
            "sample_id": f"siw/{number}",
            "dataset": "siw" if number % 3 else "wmca",
            "split": "train",
            "subject_id": f"{number % 11}" if number % 5 else None,
            "label": "attack" if SPECIES[number % 7] else "bona_fide",
            "pai_species": SPECIES[number % 7],
            "fine_type": f"{SPECIES[number % 7]}_flat" if SPECIES[number % 7] else None,
            "caption": TEXTS[(number + shift) % 5],
            "num_tokens": 4,
            "mean_log_probability": -1.0,
            "captioner": captioner,
            "reject": None if number % 10 else "degenerate",
        }
        for number in range(70)
    ]
    writer = ArtifactWriter(folder, CAPTION_SCHEMA, settings=Settings("caption", 1, {}, {}))
    for number, part in enumerate((rows[:40], rows[40:])):
        writer.write(number, pa.Table.from_pylist(part, schema=CAPTION_SCHEMA))
    return writer.seal()


@pytest.fixture(scope="module")
def spoken(tmp_path_factory) -> tuple[Artifact, Artifact]:
    folder = tmp_path_factory.mktemp("captions")
    return captions(folder / "general", "blip2@g", 0), captions(folder / "aware", "blip2@s", 1)


@pytest.fixture(scope="module")
def audit(spoken, tmp_path_factory) -> Artifact:
    return run(
        CONFIG, captions=spoken, out=UPath(tmp_path_factory.mktemp("audit")), engine=LocalEngine()
    )


def counted(spoken, held_out=None):
    rows = stats.audit(spoken, KeywordDictionary.load(FILE), held_out=held_out)
    return [asdict(row) for row in rows]


def test_the_rows_are_those_of_the_count_in_its_order(spoken, audit) -> None:
    assert audit.read().to_pylist() == counted(spoken)
    assert {row["captioner"] for row in audit.read().to_pylist()} == {"blip2@g", "blip2@s"}


def test_the_table_has_a_column_for_each_field_of_a_row(audit) -> None:
    assert audit.parts()[0].read_all().schema.equals(AUDIT_SCHEMA)
    assert set(AUDIT_SCHEMA.names) == set(stats.AuditRow.__dataclass_fields__)


def test_what_cannot_be_a_share_is_null(audit) -> None:
    bona_fide = [row for row in audit.read().to_pylist() if row["kind"] == "bona_fide"]
    assert bona_fide
    assert all(row["own_rate"] is None for row in bona_fide)
    assert all(row["any_rate"] is not None for row in bona_fide)


def test_only_held_out_subjects_are_counted_if_asked_for(spoken, tmp_path) -> None:
    config = StatsConfig(dictionary=FILE, hold_out_fraction=0.4)
    found = run(config, captions=spoken, out=UPath(tmp_path / "a"), engine=LocalEngine())
    assert found.read().to_pylist() == counted(spoken, held_out=0.4) != counted(spoken)
    rows = [row for part in spoken[0].parts() for row in part.read_all().to_pylist()]
    apart = [
        row
        for row in rows
        if is_held_out(row["dataset"], row["subject_id"] or row["sample_id"], 0.4)
    ]
    assert 0 < len(apart) < len(rows)
    totals = {
        (row["captioner"], row["kind"]): row["rows"]
        for row in found.read().to_pylist()
        if row["dataset"] == stats.ALL
    }
    assert totals["blip2@g", "attack"] + totals["blip2@g", "bona_fide"] == len(apart)


def test_it_is_sealed_once(spoken, tmp_path) -> None:
    out = UPath(tmp_path / "audit")
    first = run(CONFIG, captions=spoken, out=out, engine=LocalEngine())
    before = (out / "manifest.json").read_bytes()
    again = run(CONFIG, captions=spoken, out=out, engine=NoEngine())
    assert again.identity == first.identity
    assert (out / "manifest.json").read_bytes() == before


def test_an_audit_that_broke_off_before_its_seal_is_made_anew(spoken, audit, tmp_path) -> None:
    shutil.copytree(audit.path, tmp_path / "audit")
    (tmp_path / "audit/manifest.json").unlink()
    again = run(CONFIG, captions=spoken, out=UPath(tmp_path / "audit"), engine=LocalEngine())
    assert again.identity == audit.identity


@pytest.mark.parametrize("change", ["captions", "hold-out"])
def test_another_audit_does_not_go_into_the_same_folder(spoken, audit, change) -> None:
    config, inputs = CONFIG, spoken
    if change == "captions":
        inputs = spoken[::-1]
    else:
        config = StatsConfig(dictionary=FILE, hold_out_fraction=0.4)
    with pytest.raises(ArtifactError, match=r"inputs\.captions|config\.hold_out_fraction"):
        run(config, captions=inputs, out=audit.path, engine=NoEngine())


def test_the_captions_are_inputs_by_stage_and_identity(spoken, audit) -> None:
    names = [f"caption@{artifact.identity}" for artifact in spoken]
    assert audit.manifest["inputs"] == {"captions": names}


@pytest.mark.parametrize("fraction", [-0.1, 1.1])
def test_a_share_of_subjects_is_a_share(fraction: float) -> None:
    with pytest.raises(ValidationError, match="hold_out_fraction"):
        StatsConfig(dictionary=FILE, hold_out_fraction=fraction)
