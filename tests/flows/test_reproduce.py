"""Flows are values: loading one starts nothing, and a plan is the same on any machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scf_pipeline.runner import load_flow
from scf_pipeline.steps import plan

ROOT = Path(__file__).parents[2]
FLOW = str(ROOT / "flows" / "reproduce.py")
GOLDEN = ROOT / "tests" / "golden" / "reproduce-smoke.plan.json"


def test_the_plan_of_the_smoke_reproduction_is_the_golden_one(
    request: pytest.FixtureRequest,
) -> None:
    found = [planned.to_dict() for planned in plan(*load_flow(f"{FLOW}:SMOKE")[1])]
    text = json.dumps(found, indent=2, sort_keys=True) + "\n"
    if request.config.getoption("--update-golden"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["SMOKE", "DEFAULT", "FULL"])
def test_every_scale_ends_with_the_shards_and_shares_no_folder(name: str) -> None:
    steps = plan(*load_flow(f"{FLOW}:{name}")[1])
    assert steps[-1].step.name == "shard"
    assert len({planned.folder for planned in steps}) == len(steps)


@pytest.mark.parametrize("module", ["flows.settings", "flows.scf", "flows.reproduce"])
def test_loading_a_flow_imports_nothing_heavy(module: str) -> None:
    heavy = "{'torch', 'transformers', 'ray', 'datasets'}"
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
