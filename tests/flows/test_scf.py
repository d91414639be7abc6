"""Algorithm 1 from end to end: counts balance, and a kill changes nothing but time.

The world is small, three of its media are damaged, and the captioner knows nothing.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from upath import UPath

from flows.reproduce import MINIATURE_SMOKE
from flows.scf import another_c_s, scf
from flows.settings import DATASETS, DICTIONARY
from ifas_model.protocols import protocol
from ifas_model.vocabulary import Label, Split
from scf_pipeline import captioners
from scf_pipeline.captioners import Model
from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.miniature import world
from scf_pipeline.miniature.layouts import Budget
from scf_pipeline.miniature.world import SOURCE
from scf_pipeline.stages import caption, crop, filter, ingest, shard  # noqa: A004 - its name
from scf_pipeline.stages.finetune import FinetuneConfig, gather
from scf_pipeline.steps import plan
from scf_pipeline.store import Artifact
from scf_pipeline.verify import verify

TRUNCATED = "celeba_spoof/Data/train/*/live/*.jpg"
EMPTY = "siw/Test/live/*/*.mov"
DISGUISED = "celeba_spoof/Data/test/*/spoof/*.png"
WORDS = "a photo of a man woman holding paper screen mask mannequin in front of the wall"


@dataclass(frozen=True)
class Chain:
    """Sealed artifacts of one run."""

    samples: Artifact
    faces: Artifact
    model: Model


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """Draw a world, damage three of its media, and crop the rest."""
    folder, engine = UPath(tmp_path_factory.mktemp("chain")), LocalEngine()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(world.BUDGETS, "smoke", Budget(train=4, dev=2, test=6))
        patch.setitem(world.SOURCE_BUDGETS, "smoke", Budget(train=16, dev=0, test=8))
        made = world.run(world.WorldConfig(scale="smoke"), out=folder / "world", engine=engine)
    damage(Path(str(folder / "world")))
    config = ingest.IngestConfig(datasets=DATASETS, part_samples=16)
    samples = ingest.run(config, world=made, out=folder / "samples", engine=engine)
    settings = crop.CropConfig(image_size=32, detector="none", max_reject_fraction=0.05)
    faces = crop.run(settings, samples=samples, out=folder / "faces", engine=engine)
    return Chain(samples, faces, ignorant_captioner(Path(str(folder / "model"))))


def damage(root: Path) -> None:
    """Truncate a picture, empty a video, and write text under the name of a picture."""
    truncated = min(root.glob(TRUNCATED))
    truncated.write_bytes(truncated.read_bytes()[:300])
    min(root.glob(EMPTY)).write_bytes(b"")
    min(root.glob(DISGUISED)).write_text("this is no picture", encoding="utf-8")


def ignorant_captioner(folder: Path) -> Model:
    """Save a tiny BLIP-2 with random weights that samples, and return it."""
    from scf_pipeline.captioners import _blip2
    from scf_pipeline.captioners._instructions import Decoding, Instructions
    from scf_pipeline.miniature.models import Blip2Sizes, build_blip2
    from scf_pipeline.miniature.tokenizer import learn_opt_tokenizer

    sizes = Blip2Sizes(
        image_px=32, patch_px=16, vision_layers=1, qformer_layers=1, language_layers=1,
        queries=2, dim=16, heads=2,
    )  # fmt: skip
    decoding = Decoding(
        num_beams=1, min_new_tokens=2, max_new_tokens=12, temperature=1.0, top_p=1.0
    )
    tokenizer = learn_opt_tokenizer([WORDS])
    parts = build_blip2(tokenizer, sizes, seed=0)
    _blip2.save_parts(folder, *parts, Instructions(prompt="", decoding=decoding))
    return captioners.find(str(folder))


def hashes(artifact: Artifact) -> dict[str, str]:
    return {name: entry["sha256"] for name, entry in artifact.files.items()}


def test_damaged_media_are_rejected_with_their_reason_and_nothing_else_is(chain: Chain) -> None:
    assert chain.faces.counts.rejected == Counter(unreadable=3, missing=1)
    rejected = {
        row["sample_id"]: row["reject"]
        for part in chain.faces.parts()
        for row in part.read_all(["sample_id", "reject"]).to_pylist()
        if row["reject"]
    }
    by_dataset = Counter(sample.split("/")[0] for sample in rejected)
    assert by_dataset == Counter(celeba_spoof=3, siw=1)


def test_samples_in_are_samples_with_faces_and_rejected_ones(chain: Chain) -> None:
    counts = chain.faces.counts.inputs
    assert counts is not None
    assert counts.rows_in == chain.samples.counts.live
    assert counts.live + counts.rejected.total() == counts.rows_in
    found = set(chain.faces.read(["sample_id"])["sample_id"].to_pylist())
    assert len(found) == counts.live


def test_what_a_damaged_world_makes_verifies(chain: Chain) -> None:
    assert verify(chain.samples.path) == []
    assert verify(chain.faces.path) == []


def test_every_face_reaches_the_shards_or_is_counted(chain: Chain, tmp_path: Path) -> None:
    out, engine = UPath(tmp_path), LocalEngine()
    told = [
        caption.run(
            caption.CaptionConfig(label=label),
            faces=chain.faces, model=chain.model, out=out / label, engine=engine,
        )
        for label in Label
    ]  # fmt: skip
    for one in told:
        assert one.counts.rows_in == chain.faces.counts.live
        assert one.counts.imbalance() is None
    kept = filter.run(
        filter.FilterConfig(dictionary=DICTIONARY),
        captions=told[0], out=out / "d_s", engine=engine,
    )  # fmt: skip
    assert kept.counts.live + kept.counts.rejected.total() == told[0].counts.live
    shards = shard.run(
        shard.ShardConfig(dictionary=DICTIONARY),
        faces=chain.faces, captions=told, out=out / "shards", engine=engine,
    )  # fmt: skip
    assert shards.counts.live == sum(one.counts.live for one in told)
    assert shards.counts.live + sum(one.counts.rejected.total() for one in told) == (
        chain.faces.counts.live
    )
    assert [line for made in (*told, kept, shards) for line in verify(made.path)] == []


def test_a_c_s_of_the_source_alone_learns_from_no_face_that_protocol_2_judges(
    chain: Chain, tmp_path: Path
) -> None:
    told = caption.run(
        caption.CaptionConfig(label=Label.ATTACK),
        faces=chain.faces, model=chain.model, out=UPath(tmp_path / "t_f"), engine=LocalEngine(),
    )  # fmt: skip
    paper = FinetuneConfig(hold_out_fraction=0.2)
    alone = replace(paper, datasets=(SOURCE,), splits=(Split.TRAIN,))
    taught = {}
    for name, config in (("paper", paper), ("alone", alone)):
        scratch = tmp_path / name
        scratch.mkdir()
        tables = gather(config, chain.faces, [told], scratch)
        taught[name] = {face for table in tables for face in table["face_id"].to_pylist()}
    one = protocol("protocol2")
    rows = told.read(["face_id", "dataset", "split"]).to_pylist()
    judged = {
        row["face_id"]
        for row in rows
        for parts in (one.targets, one.dev)
        if row["split"] in parts.get(row["dataset"], ())
    }
    source = {r["face_id"] for r in rows if (r["dataset"], r["split"]) == (SOURCE, "train")}
    assert judged
    assert taught["paper"] & judged  # as the paper has it
    assert taught["alone"] == source
    assert not taught["alone"] & judged


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL, which Windows lacks")
def test_captioning_that_was_killed_goes_on_and_writes_the_same_bytes(
    chain: Chain, tmp_path: Path
) -> None:
    program = "from scf_pipeline.cli import app; app()"
    command = [sys.executable, "-c", program, "caption", str(chain.faces.path)]
    command += ["--model", chain.model.location, "--out", str(tmp_path / "killed")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    data = tmp_path / "killed" / "data"
    while process.poll() is None and len(list(data.glob("part-*.parquet"))) < 3:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {path.name: path.stat().st_mtime_ns for path in data.glob("part-*.parquet")}
    assert 3 <= len(before) < len(chain.faces.parts())
    assert not (tmp_path / "killed" / "manifest.json").exists()

    config = caption.CaptionConfig()
    given = {"faces": chain.faces, "model": chain.model, "engine": LocalEngine()}
    resumed = caption.run(config, out=UPath(tmp_path / "killed"), **given)
    undisturbed = caption.run(config, out=UPath(tmp_path / "undisturbed"), **given)
    assert hashes(resumed) == hashes(undisturbed)
    after = {name: (data / name).stat().st_mtime_ns for name in before}
    assert after == before  # what was captioned is not captioned again
    ids = resumed.read(["face_id"])["face_id"].to_pylist()
    assert len(ids) == len(set(ids)) == chain.faces.counts.live


def test_the_flow_runs_the_lines_of_algorithm_1_in_order() -> None:
    made = scf(MINIATURE_SMOKE, *DATASETS)
    names = [planned.step.name for planned in plan(made.shards)]
    lines = ["caption-general", "filter", "finetune", "caption-spoof-aware", "shard"]
    assert [name for name in names if name in lines] == lines
    assert "caption-bona-fide" in names


def test_another_setting_changes_the_plan_only_downstream_of_it() -> None:
    finetune = replace(MINIATURE_SMOKE.finetune, seed=1)
    before = {p.folder for p in plan(scf(MINIATURE_SMOKE, *DATASETS).shards)}
    after = {
        p.folder for p in plan(scf(replace(MINIATURE_SMOKE, finetune=finetune), *DATASETS).shards)
    }
    changed = {folder.rsplit("-", 1)[0] for folder in after - before}
    assert changed == {"finetune", "caption-spoof-aware", "shard"}


def test_the_shards_for_table_4_differ_in_who_captioned_the_attacks() -> None:
    made = scf(MINIATURE_SMOKE, *DATASETS)
    assert made.shards.config == made.shards_t_f.config
    (ours, t_s), (theirs, t_f) = (one.inputs["captions"] for one in (made.shards, made.shards_t_f))
    assert ours is theirs is made.t_r
    assert t_f is made.t_f
    assert t_s.config == t_f.config
    assert (t_s.inputs["model"], t_f.inputs["model"]) == (made.c_s, MINIATURE_SMOKE.captioner)


def test_the_audit_compares_both_captioners_on_attacks_and_on_bona_fide_faces() -> None:
    made = scf(MINIATURE_SMOKE, *DATASETS)
    read = made.audit.inputs["captions"]
    found = {(one.config.label, one.inputs["model"]) for one in read}
    models = (MINIATURE_SMOKE.captioner, made.c_s)
    assert found == {(label, model) for label in Label for model in models}
    assert len(read) == 4
    held_out = MINIATURE_SMOKE.finetune.hold_out_fraction
    assert made.audit.config.hold_out_fraction == held_out > 0


def test_another_c_s_changes_nothing_but_c_s_and_what_it_says(changes) -> None:
    made = scf(MINIATURE_SMOKE, *DATASETS)
    tuned = replace(MINIATURE_SMOKE.finetune, datasets=(SOURCE,))
    other = another_c_s(MINIATURE_SMOKE, made, "other", tuned)
    for kept in ("faces", "t_f", "t_r", "d_s", "shards_t_f"):
        assert getattr(other, kept) is getattr(made, kept)
    assert set(changes(made.c_s.config, other.c_s.config)) == {"datasets"}
    assert other.c_s.inputs == made.c_s.inputs
    t_r, t_s = other.shards.inputs["captions"]
    assert t_r is made.t_r
    assert t_s.inputs["model"] is other.c_s
    assert t_s.config == made.shards.inputs["captions"][1].config
    spoken = [one for one in other.audit.inputs["captions"] if one.inputs["model"] is other.c_s]
    assert {one.config.label for one in spoken} == set(Label)


def test_more_captions_teach_another_c_s_beside_d_s() -> None:
    made = scf(MINIATURE_SMOKE, *DATASETS)
    mixed = another_c_s(MINIATURE_SMOKE, made, "mixed", MINIATURE_SMOKE.finetune, extra=made.t_r)
    assert mixed.c_s.config == made.c_s.config
    assert dict(mixed.c_s.inputs) == {**made.c_s.inputs, "extra": made.t_r}
    again = another_c_s(MINIATURE_SMOKE, made, "same", MINIATURE_SMOKE.finetune)
    assert plan(again.c_s)[-1].fingerprint == plan(made.c_s)[-1].fingerprint


def test_only_the_datasets_that_are_passed_are_ingested() -> None:
    made = scf(MINIATURE_SMOKE, SOURCE)
    ingested = [p.step.config for p in plan(made.shards) if p.step.config.stage == "ingest"]
    assert [config.datasets for config in ingested] == [(SOURCE,)]
