"""The paper's flow: a function of what a site has, and the same graph as the miniature's."""

import inspect
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from flows import paper
from flows.ablations import ABLATIONS, ALPHAS
from flows.baselines import BASELINES
from flows.paper import MODELS, PAPER, REHEARSAL, SIDE, scope
from flows.protocol1 import TARGETS
from flows.settings import DATASETS
from ifas_model.config import PhaseConfig, TrainConfig
from ifas_model.protocols import protocol
from scf_pipeline.runner import _stage, find_flow
from scf_pipeline.steps import External, Given, OnSite, plan
from scf_pipeline.store import Artifact
from scf_pipeline.verify import find_artifacts, verify_all

ROOT = Path(__file__).parents[2]
FLOW = ROOT / "flows/paper.py"
TRIALS = 2 + len(ABLATIONS) + 1 + len(BASELINES) + len(ALPHAS) - 1
"""Variants of Protocol 2: full, T_F, ablations, source-only captions, baselines, other alphas."""

NARROW = """
from dataclasses import replace

from flows.paper import DATASETS, MODELS, paper, rehearsal, scope
from flows.reproduce import reproduce
from ifas_model.config import ConnectorConfig
from scf_pipeline.steps import OnSite


def make(given):
    setting = rehearsal(paper(given))
    connector = ConnectorConfig(dim=32, num_queries=4, num_blocks=1, num_heads=2)
    method = replace(setting.full.method, connector=connector)
    full = replace(setting.full, method=method)
    return reproduce((replace(setting, full=full), scope(given.datasets)))


FLOW = OnSite(datasets=DATASETS, models=MODELS, make=make)
"""
"""The rehearsal with a connector as narrow as the toys."""


def given(*datasets: str) -> Given:
    models = {name: External(f"models/{name}", one.kind) for name, one in MODELS.items()}
    return Given(datasets=datasets or DATASETS, models=models)


def steps(flow: OnSite, *datasets: str):
    return [one.step for one in plan(*flow.make(given(*datasets)))]


def judged(flow: OnSite, *datasets: str) -> set[str]:
    found = (one.config for one in steps(flow, *datasets) if one.config.stage == "train")
    return {protocol(one.protocol, one.target).title for one in found}


@pytest.mark.parametrize("name", ["PAPER", "REHEARSAL"])
def test_a_flow_waits_to_be_told_what_a_site_has(name: str) -> None:
    _, found = find_flow(f"{FLOW}:{name}")
    assert isinstance(found, OnSite)
    assert found.datasets == DATASETS
    assert set(found.models) == {"captioner", "tower_large", "tower_base", "language"}


@pytest.mark.parametrize(("flow", "seeds"), [(PAPER, 3), (REHEARSAL, 1)])
def test_with_all_twelve_it_is_the_graph_of_the_miniature(flow: OnSite, seeds: int) -> None:
    counts = Counter(one.config.stage for one in steps(flow))
    assert counts == {
        **dict.fromkeys(("ingest", "crop", "filter", "report"), 1),
        **dict.fromkeys(("finetune", "stats"), 2),
        "caption": 6,
        "shard": 3,
        **dict.fromkeys(("train", "evaluate"), seeds * (TRIALS + len(TARGETS))),
    }


def test_the_rehearsal_begins_as_the_paper_does() -> None:
    """What C_G says is not made twice."""
    folders = [{one.folder for one in plan(*flow.make(given()))} for flow in (PAPER, REHEARSAL)]
    shared = {folder.rsplit("-", 1)[0] for folder in folders[0] & folders[1]}
    captions = {"caption-general", "caption-bona-fide"}
    assert shared == {"ingest", "crop", "filter", "shard-general", *captions}


def test_every_stage_runs_with_the_inputs_that_its_steps_give() -> None:
    for one in steps(PAPER):
        known = inspect.signature(_stage(one.config).run).parameters
        needed = {name for name, p in known.items() if p.default is inspect.Parameter.empty}
        assert needed <= {"config", "out", "engine", *one.inputs} <= known.keys()


def test_the_sizes_and_recipes_are_the_papers() -> None:
    setting = paper.paper(given())
    assert setting.crop.image_size == SIDE == 224
    assert setting.full == TrainConfig()
    (phase,) = setting.full.phases
    assert phase == PhaseConfig(epochs=10, batch_size=32, learning_rate=1e-5, weight_decay=1e-2)
    assert len(setting.seeds) == 3
    assert set(setting.baselines) == {"vit", "vitaf", "flip"}
    assert setting.baselines["flip"].phases[0].learning_rate == 1e-6
    assert setting.baselines["vitaf"].phases[-1].learning_rate == 1e-4


def test_models_come_from_the_site_and_each_goes_where_it_belongs() -> None:
    models = given().models
    trained = [one for one in steps(PAPER) if one.config.stage == "train"]
    for one in trained:
        is_ifas = one.config.method.method == "ifas"
        assert one.inputs.get("language") == (models["language"] if is_ifas else None)
        assert "captioner" not in one.inputs
        assert one.inputs["tower"] in (models["tower_large"], models["tower_base"])
        assert not is_ifas or one.inputs["tower"] == models["tower_large"]
    (tuned, *_) = [one for one in steps(PAPER) if one.config.stage == "finetune"]
    assert tuned.inputs["model"] == models["captioner"]


@pytest.mark.parametrize(
    ("datasets", "titles"),
    [
        (("celeba_spoof", "siw"), {"CelebA-Spoof to eleven"}),
        (TARGETS, {"O&C&I to M", "O&M&I to C", "O&C&M to I", "I&C&M to O"}),
        (TARGETS[:3], set()),
        (("celeba_spoof",), set()),
        (("siw", "wmca"), set()),
    ],
)
def test_a_subset_is_judged_by_the_protocols_that_it_allows(datasets, titles) -> None:
    assert judged(PAPER, *datasets) == titles
    (ingest,) = [one for one in steps(PAPER, *datasets) if one.config.stage == "ingest"]
    assert ingest.config.datasets == datasets
    (page,) = [one for one in steps(PAPER, *datasets) if one.config.stage == "report"]
    assert bool(page.inputs["evaluations"]) is bool(titles)


def test_only_a_site_with_the_source_has_captions_of_the_source_alone() -> None:
    assert scope(("celeba_spoof",)).captioners == ("source-only-captions",)
    assert scope(TARGETS).captioners == ()


def scf(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `scf` in a process of its own, far from the hub; it says on stderr if Ray was loaded."""
    code = (
        "import sys; from scf_pipeline.cli import app\n"
        "try:\n    app()\nfinally:\n    print('ray' in sys.modules, file=sys.stderr)"
    )
    hub = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(folder / "hub")}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""} | hub,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_on_a_bare_machine_all_that_is_missing_is_told_and_nothing_starts(tmp_path, more) -> None:
    done = scf("run", f"{FLOW}:PAPER", *more, folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    told = [line.split()[1].rstrip(":") for line in lines if line.startswith("missing")]
    assert told == [
        *("paper.yaml", "datasets.yaml"),
        *DATASETS,
        *MODELS,
        *["terms"] * (len(DATASETS) + len(MODELS)),
        "GPU",
    ]
    assert lines[-4].startswith("error: Nothing must be missing when this flow starts, but 35")
    assert lines[-1] == "False"  # of Ray
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_flow_runs_to_its_report_on_drawn_datasets_and_toy_checkpoints(tmp_path) -> None:
    """Weights are random: the path is shown, not a result."""
    from toy_checkpoints import write_all

    drawn = scf("world", "world", "--scale", "smoke", folder=tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows/narrow.py").write_text(NARROW)
    site = {
        "datasets": "world/datasets.yaml",
        "models": write_all(tmp_path / "models"),
        "accepted_terms": [*DATASETS, *MODELS],
        "gpus_per_worker": 0,
    }
    (tmp_path / "paper.yaml").write_text(json.dumps(site))
    done = scf("run", "flows/narrow.py", "--workers", "0", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    page = Path(done.stdout.strip())
    assert page.name == "report.html"
    runs = tmp_path / "runs"
    paths = find_artifacts(runs)
    assert verify_all(paths) == []
    stages = Counter(Artifact.open(path).stage for path in paths)
    assert stages["evaluate"] == TRIALS + len(TARGETS)
    text = (tmp_path / page).read_text(encoding="utf-8")
    assert "CelebA-Spoof" in text
    again = scf("run", "flows/narrow.py", "--workers", "0", folder=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout
