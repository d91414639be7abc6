import json
import logging
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner
from upath import UPath

from ifas_model import plugins
from ifas_model.text import VisibleFormatter
from scf_pipeline import adapters, cli
from scf_pipeline.config import hash_file
from scf_pipeline.keywords import default_dictionary
from scf_pipeline.miniature import world
from scf_pipeline.schema import CAPTION_SCHEMA, SAMPLE_SCHEMA
from scf_pipeline.settings import Settings
from scf_pipeline.store import Artifact, ArtifactWriter
from scf_pipeline.verify import verify

COMMANDS = {
    *("world", "datasets", "ingest", "crop", "caption", "filter", "finetune", "shard"),
    *("run", "status", "retry", "verify", "stats"),
}
PICTURES = ("train/bona_fide/a.png", "train/print/b.png", "test/replay/c.png")
CROP = "image_size: 32\ndetector: none\n"
HEAVY = {"torch", "ray", "pyarrow", "transformers", "datasets", "numpy", "cv2", "pandas", "dask"}

FLOW = """
from scf_pipeline.stages.crop import CropConfig
from scf_pipeline.stages.ingest import IngestConfig
from scf_pipeline.steps import step

samples = step(IngestConfig(datasets=("image_folder",)))
FLOW = step(CropConfig(image_size=32, detector="none"), samples=samples)
ONLY = samples
"""


def scf(*arguments: object) -> Result:
    """Run a command as a user does; whatever is no expected failure comes through."""
    runner = CliRunner()
    return runner.invoke(cli.app, [str(one) for one in arguments], catch_exceptions=False)


def made_by(*arguments: object) -> Path:
    """Run a command that must succeed and return the path that it prints."""
    done = scf(*arguments)
    assert done.exit_code == 0, done.stderr
    (path,) = done.stdout.splitlines()
    return Path(path)


def refused(*arguments: object) -> tuple[str, str, str]:
    """Run a command that must fail as expected and return what, where and fix."""
    done = scf(*arguments)
    assert (done.exit_code, done.stdout) == (1, ""), done.output
    what, where, fix = done.stderr.splitlines()
    assert what.startswith("error: ")
    assert where.startswith("  where: ")
    assert fix.startswith("  fix:   ")
    return what[len("error: ") :], where[len("  where: ") :], fix[len("  fix:   ") :]


@pytest.fixture
def datasets_file(tmp_path: Path) -> Path:
    """Three drawn pictures in a user's own folder, and the file that says where it lies."""
    cv2.setNumThreads(1)
    for number, name in enumerate(PICTURES):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True)
        noise = np.random.default_rng(number).integers(0, 256, (12, 16, 3), np.uint8)
        Image.fromarray(noise.repeat(8, axis=0).repeat(8, axis=1)).save(path)
    file = tmp_path / "datasets.yaml"
    file.write_text("image_folder: pictures\n")
    return file


@pytest.fixture
def samples(datasets_file: Path, tmp_path: Path) -> Path:
    out = tmp_path / "runs/samples"
    return made_by("ingest", "image_folder", "--datasets", datasets_file, "--out", out)


@pytest.fixture
def faces(samples: Path, tmp_path: Path) -> Path:
    config = tmp_path / "crop.yaml"
    config.write_text(CROP)
    return made_by("crop", samples, "--config", config, "--out", tmp_path / "runs/faces")


@pytest.fixture
def captions(faces: Path, tmp_path: Path) -> Path:
    """Captions of all faces, as a captioner would write them."""
    artifact = Artifact.open(faces)
    inputs = {"faces": f"crop@{artifact.identity}", "model": "blip2@0"}
    settings = Settings("caption", 1, {"label": None}, inputs)
    writer = ArtifactWriter(tmp_path / "runs/captions", CAPTION_SCHEMA, settings=settings)
    told = {"caption": "a man on a screen", "num_tokens": 5, "mean_log_probability": -1.0}
    for part in artifact.parts():
        rows = part.read().to_pylist()
        same = [{name: row[name] for name in CAPTION_SCHEMA.names if name in row} for row in rows]
        rows = [row | told | {"captioner": "blip2@0"} for row in same]
        writer.write(part.number, pa.Table.from_pylist(rows, schema=CAPTION_SCHEMA))
    writer.seal(rows_in={"image_folder": len(PICTURES)})
    return Path(str(writer.path))


# Help and usage


def test_help_lists_every_command() -> None:
    done = scf("--help")
    assert done.exit_code == 0
    told = {line.split()[1] for line in done.output.splitlines() if line.startswith("│ ")}
    assert told >= COMMANDS


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_a_help_of_its_own(command: str) -> None:
    done = scf(command, "--help")
    assert done.exit_code == 0
    assert f"Usage: scf {command}" in done.output or f"{command} [OPTIONS]" in done.output


def test_help_imports_nothing_that_takes_time() -> None:
    code = (
        "import sys, json\n"
        "from scf_pipeline.cli import app\n"
        "try:\n    app(['--help'])\n"
        "except SystemExit as done:\n    assert not done.code\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}
    assert "typer" in loaded
    assert not loaded & {*HEAVY, "pydantic", "fsspec", "upath"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["crops"],
        ["crop"],
        ["crop", "samples"],
        ["crop", "samples", "--out", "x", "--workers", "-1"],
        ["crop", "samples", "--out", "x", "--wrokers", "1"],
        ["caption", "faces", "--out", "x", "--label", "real"],
        ["shard", "faces", "--out", "x"],
        ["world", "x", "--scale", "huge"],
        ["world", "x", "--seed", "-1"],
        ["finetune", "faces", "captions", "--out", "x", "--workers", "2"],
        ["ingest", "--datasets", "x", "--out", "y"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2_and_says_nothing_on_stdout(arguments: Sequence[str]) -> None:
    done = scf(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Usage: " in done.stderr


def test_a_bug_keeps_its_traceback(samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Artifact:
        raise ZeroDivisionError

    monkeypatch.setattr("scf_pipeline.stages.crop.run", broken)
    with pytest.raises(ZeroDivisionError):
        scf("crop", samples, "--out", samples.with_name("faces"))


# Datasets


def test_datasets_names_every_adapter_with_its_counts() -> None:
    done = scf("datasets")
    assert (done.exit_code, done.stdout) == (0, "")
    lines = dict(line.split(": ", 1) for line in done.stderr.splitlines())
    assert list(lines) == plugins.names(adapters)
    assert lines["oulu_npu"] == "OULU-NPU (990 bona fide, 3960 attack)"
    assert lines["image_folder"].endswith("(? bona fide, ? attack)")


def test_one_dataset_is_told_with_its_layout() -> None:
    done = scf("datasets", "oulu_npu")
    adapter = plugins.load(adapters, "ADAPTER", "oulu_npu")
    for told in (adapter.citation, adapter.license, adapter.obtain, adapter.layout):
        assert told in done.stderr
    assert "SiW" not in done.stderr


def test_datasets_as_json_go_to_stdout() -> None:
    done = scf("datasets", "--json")
    told = json.loads(done.stdout)
    assert list(told) == plugins.names(adapters)
    siw = plugins.load(adapters, "ADAPTER", "siw")
    assert (told["siw"]["bona_fide"], told["siw"]["attack"]) == (siw.bona_fide, siw.attack)
    assert told["siw"]["layout"] == siw.layout
    assert done.stderr == ""


def test_an_unknown_dataset_is_answered_with_the_nearest() -> None:
    what, where, fix = refused("datasets", "oulu")
    assert what == "A dataset must be one that has an adapter, but is 'oulu'."
    assert where == "the command line"
    assert "Did you mean oulu_npu" in fix


# Stages


def test_ingest_and_crop_print_the_path_of_a_sealed_artifact(samples: Path, faces: Path) -> None:
    assert [Artifact.open(path).stage for path in (samples, faces)] == ["ingest", "crop"]
    rows = Artifact.open(faces).read().to_pylist()
    assert [(row["face_id"], row["label"], row["split"]) for row in rows] == [
        ("image_folder/test/replay/c#0", "attack", "test"),
        ("image_folder/train/bona_fide/a#0", "bona_fide", "train"),
        ("image_folder/train/print/b#0", "attack", "train"),
    ]
    assert verify(UPath(faces)) == []


def test_a_preview_of_sealed_faces_cuts_nothing_anew(
    samples: Path, faces: Path, tmp_path: Path
) -> None:
    before = {file: file.stat().st_mtime_ns for file in faces.rglob("*")}
    again = ("crop", samples, "--config", tmp_path / "crop.yaml", "--out", faces)
    done = scf(*again, "--preview", tmp_path / "crops.png")
    assert (done.exit_code, done.stdout) == (0, f"{faces}\n")
    assert f"preview: {tmp_path / 'crops.png'}" in done.stderr
    with Image.open(tmp_path / "crops.png") as sheet:
        assert sheet.format == "PNG"
    assert {file: file.stat().st_mtime_ns for file in faces.rglob("*")} == before
    what, where, _ = refused(*again, "--preview", faces / "crops.png")
    assert what == "A preview must be a PNG outside of its artifact, but is inside."
    assert where == str(faces / "crops.png")


def test_words_go_to_stderr(datasets_file: Path, tmp_path: Path) -> None:
    done = scf("ingest", "image_folder", "--datasets", datasets_file, "--out", tmp_path / "s")
    assert done.stdout == f"{tmp_path / 's'}\n"
    assert done.stderr == "ingest: 3 kept, 0 rejected (none)\n"


def test_settings_come_from_the_file(faces: Path) -> None:
    config = Artifact.open(faces).manifest["config"]
    assert (config["image_size"], config["detector"], config["scale"]) == (32, "none", 1.6)


def test_an_unknown_setting_is_named_with_its_file_and_the_nearest(
    samples: Path, tmp_path: Path
) -> None:
    config = tmp_path / "crop.yaml"
    config.write_text("scale: 1.3\nimage_sice: 32\n")
    what, where, fix = refused("crop", samples, "--config", config, "--out", tmp_path / "faces")
    assert "'image_sice'" in what
    assert where.startswith(f"{config}:2")
    assert "image_size" in fix
    assert not (tmp_path / "faces").exists()


def test_a_path_that_looks_like_markup_is_printed_as_it_is(tmp_path: Path) -> None:
    """Neither rich's tags nor its names of emoji."""
    folder = tmp_path / "[red]:cat:[/red]"
    assert refused("crop", folder, "--out", tmp_path / "x")[1] == str(folder)


ACTING = "a\x1b[2J\x1b]0;b\x07\rc\nerror: d\u202ee"
SHOWN = r"a\x1b[2J\x1b]0;b\x07\rc\nerror: d\u202ee"


def test_a_path_that_acts_on_a_terminal_is_printed_as_escapes(tmp_path: Path) -> None:
    assert refused("crop", tmp_path / ACTING, "--out", tmp_path / "x")[1] == str(tmp_path / SHOWN)


def test_no_line_of_status_verify_or_retry_acts(samples: Path, faces: Path) -> None:
    moved = samples.rename(samples.parent / ACTING)
    (moved / f"data/{ACTING}.txt").touch()
    for command in ("status", "verify", "retry"):
        lines = scf(command, moved.parent).stderr.split("\n")
        assert not [line for line in lines if not line.isprintable()]
        assert [line for line in lines if SHOWN in line]
        assert not [line for line in lines if line.startswith("error")]


def test_what_a_manifest_words_does_not_act(samples: Path) -> None:
    for name in ("settings.json", "manifest.json"):
        text = json.loads((samples / name).read_bytes()) | {"stage": ACTING}
        told = text | {"fingerprint": Settings.from_dict(text).fingerprint}
        told.pop("seal", None)
        (samples / name).write_text(json.dumps(told))
    line, rest = scf("status", samples).stderr.split("\n")
    assert line.startswith(f"samples: {SHOWN} sealed")
    assert rest == ""


def test_what_is_logged_of_a_broken_picture_does_not_act(samples: Path, tmp_path: Path) -> None:
    scf("status", samples)
    assert isinstance(logging.lastResort.formatter, VisibleFormatter)


def test_a_dataset_without_root_is_refused(datasets_file: Path, tmp_path: Path) -> None:
    arguments = ("ingest", "siw", "--datasets", datasets_file, "--out", tmp_path / "samples")
    what, where, fix = refused(*arguments)
    assert what == "Every dataset must have a root, but siw has none."
    assert where == str(datasets_file)
    assert fix == "Add a line `siw: path/to/its/root`."


def test_an_unfinished_artifact_is_refused(samples: Path, tmp_path: Path) -> None:
    (samples / "manifest.json").unlink()
    what, where, _ = refused("crop", samples, "--out", tmp_path / "faces")
    assert "must hold a manifest" in what
    assert where == str(samples)


@pytest.mark.parametrize("command", ["caption", "finetune"])
def test_a_command_that_needs_a_model_says_how_to_name_one(
    faces: Path, tmp_path: Path, command: str
) -> None:
    inputs = [faces] if command == "caption" else [faces, faces]
    what, where, fix = refused(command, *inputs, "--out", tmp_path / "out")
    assert what == "A captioner must be named, but --model is absent."
    assert where == "--model"
    assert "checkpoint folder" in fix
    assert "--model Salesforce/blip2-opt-2.7b-coco@<revision>" in fix
    assert not (tmp_path / "out").exists()


def test_shard_and_filter_print_the_path_of_a_sealed_artifact(
    faces: Path, captions: Path, tmp_path: Path
) -> None:
    shards = made_by("shard", faces, "--captions", captions, "--out", tmp_path / "runs/shards")
    d_s = made_by("filter", captions, "--out", tmp_path / "runs/d_s")
    assert [Artifact.open(path).stage for path in (shards, d_s)] == ["shard", "filter"]
    assert Artifact.open(shards).counts.live == 3


@pytest.fixture
def dictionaries(tmp_path: Path) -> Mapping[str, Path]:
    """Two dictionaries of another content than the packaged one."""
    files = {name: tmp_path / f"{name}.yaml" for name in ("option", "file")}
    for name, path in files.items():
        path.write_text(f"# {name}\n" + default_dictionary().read_text(encoding="utf-8"))
    return files


@pytest.mark.parametrize(
    ("in_option", "in_file", "wins"),
    [
        (False, False, "packaged"),
        (False, True, "file"),
        (True, False, "option"),
        (True, True, "option"),
    ],
)
@pytest.mark.parametrize("command", ["shard", "filter"])
def test_the_dictionary_is_the_options_else_the_files_else_the_packaged_one(
    faces: Path,
    captions: Path,
    tmp_path: Path,
    dictionaries: Mapping[str, Path],
    command: str,
    in_option: bool,
    in_file: bool,
    wins: str,
) -> None:
    config = tmp_path / "stage.yaml"
    config.write_text(f"dictionary: {dictionaries['file']}\n" if in_file else "{}\n")
    inputs = [faces, "--captions", captions] if command == "shard" else [captions]
    chosen = ["--dictionary", dictionaries["option"]] if in_option else []
    out = tmp_path / "runs/made"
    made = made_by(command, *inputs, *chosen, "--config", config, "--out", out)
    used = {"packaged": default_dictionary(), **dictionaries}[wins]
    found = Artifact.open(made).manifest["config"]["dictionary"]
    assert found == {"sha256": hash_file(used, field="dictionary")}


def test_world_draws_what_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[world.WorldConfig] = []

    def run(config: world.WorldConfig, **_: Any) -> Artifact:
        asked.append(config)
        settings = Settings("world", 1, {}, {})
        return ArtifactWriter(tmp_path / "world", None, settings=settings).seal()

    monkeypatch.setattr(world, "run", run)
    options = ("--scale", "smoke", "--seed", "3", "--difficulty", "easy")
    assert made_by("world", tmp_path / "world", *options) == tmp_path / "world"
    assert asked == [world.WorldConfig(scale="smoke", seed=3, difficulty="easy")]


# Status and verify


def test_status_tells_of_every_artifact_in_a_folder(faces: Path, samples: Path) -> None:
    (faces / "manifest.json").unlink()
    done = scf("status", samples.parent)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.splitlines() == [
        "faces: crop unfinished, 1 parts on disk",
        "samples: ingest sealed, 1 parts, 3 kept, 0 rejected (none)",
    ]


def test_status_as_json_goes_to_stdout(samples: Path) -> None:
    (told,) = json.loads(scf("status", samples, "--json").stdout)
    assert (told["path"], told["stage"], told["sealed"]) == (str(samples), "ingest", True)
    assert told["counts"]["live"] == 3


def test_status_of_a_folder_without_artifacts_is_refused(tmp_path: Path) -> None:
    assert refused("status", tmp_path)[1] == str(tmp_path)


def test_verify_passes_what_is_as_it_was_sealed(samples: Path, faces: Path) -> None:
    done = scf("verify", samples.parent)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "verify: 2 artifacts as they were sealed" in done.stderr


def test_verify_compares_what_was_made_with_what_it_was_made_of(samples: Path, faces: Path) -> None:
    settings = Settings.from_dict(json.loads((samples / "settings.json").read_bytes()))
    part = samples / "data/part-00000.parquet"
    pq.write_table(pq.read_table(part).slice(1), part)
    (samples / "manifest.json").unlink()
    ArtifactWriter(samples, SAMPLE_SCHEMA, settings=settings).seal()
    done = scf("verify", samples.parent)
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{faces}: stale, unless its input was taken away: `samples` is ingest@")


def test_verify_names_what_was_edited_and_exits_with_1(samples: Path, faces: Path) -> None:
    part = samples / "data/part-00000.parquet"
    raw = bytearray(part.read_bytes())
    raw[len(raw) // 2] ^= 1
    part.write_bytes(bytes(raw))
    done = scf("verify", samples.parent)
    assert (done.exit_code, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(str(part))


def test_retry_makes_repaired_rows_anew_and_leaves_the_others(
    samples: Path, tmp_path: Path
) -> None:
    config, out = tmp_path / "crop.yaml", tmp_path / "runs/faces"
    config.write_text(f"{CROP}\nmax_reject_fraction: 0.5\n")
    picture = tmp_path / "pictures" / PICTURES[0]
    sound = picture.read_bytes()
    picture.write_bytes(sound[:40])
    made_by("crop", samples, "--config", config, "--out", out)
    assert "2 kept, 1 rejected (1 unreadable)" in scf("status", out).stderr
    picture.write_bytes(sound)
    done = scf("retry", out)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.startswith("faces: 1 rejected rows; 1 parts will be made anew")
    made_by("crop", samples, "--config", config, "--out", out)
    assert "3 kept, 0 rejected (none)" in scf("status", out).stderr


# Flows


@pytest.fixture
def flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))  # a flow puts its repository first
    monkeypatch.setitem(sys.modules, "flows.tiny", None)
    file = tmp_path / "flows/tiny.py"
    file.parent.mkdir()
    file.write_text(FLOW)
    return file


def test_a_dry_run_prints_the_plan_and_makes_nothing(flow: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    done = scf("run", flow, "--dry-run", "--out", out)
    assert (done.exit_code, done.stdout) == (0, "")
    steps = [line.split("-")[0] for line in done.stderr.splitlines()]
    assert steps == ["ingest", "crop"]
    assert all(line.endswith(": to do") for line in done.stderr.splitlines())
    assert not out.exists()


def test_a_dry_run_as_json_goes_to_stdout(flow: Path, tmp_path: Path) -> None:
    ingest, crop = json.loads(scf("run", flow, "--dry-run", "--json").stdout)
    assert crop["inputs"] == {"samples": ingest["folder"]}
    assert crop["config"]["image_size"] == 32


def test_run_makes_what_the_dry_run_then_tells_is_sealed(
    flow: Path, datasets_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    arguments = ("run", flow, "--out", out)
    made = made_by(*arguments, "--datasets", datasets_file, "--workers", 0)
    assert made.parent == out
    assert Artifact.open(made).stage == "crop"
    done = scf(*arguments, "--dry-run")
    assert [line.split(": ")[1] for line in done.stderr.splitlines()] == ["sealed", "sealed"]


def test_one_value_of_a_flow_can_be_run_alone(flow: Path, tmp_path: Path) -> None:
    done = scf("run", f"{flow}:ONLY", "--dry-run", "--out", tmp_path / "runs")
    assert [line.split("-")[0] for line in done.stderr.splitlines()] == ["ingest"]


def test_an_unknown_value_of_a_flow_is_answered_with_those_that_it_holds(flow: Path) -> None:
    what, where, fix = refused("run", f"{flow}:SMOKE", "--dry-run")
    assert "'SMOKE' holds none" in what
    assert where == str(flow)
    assert "FLOW" in fix
    assert "ONLY" in fix


def test_a_flow_that_is_no_file_is_refused(tmp_path: Path) -> None:
    assert refused("run", tmp_path / "absent.py", "--dry-run")[1] == str(tmp_path / "absent.py")
