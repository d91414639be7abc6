"""Benchmarks are run by hand; those that can be small are tried here, so that none goes stale."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TINY = sorted(
    file.name for file in BENCHMARKS.glob("[a-z]*.py") if '"--tiny"' in file.read_text("utf-8")
)

SMALL = {
    "feature_cache.py": "--cases miniature --rounds 1",
    "filter.py": "--rows 4000 --part-rows 1000 --rounds 1 --searched 1000 --place .",
    "scale.py": "--rows 100 1000 --rounds 1",
}
"""Sizes of those that have no tiny one."""


def test_some_benchmarks_have_a_tiny_size() -> None:
    assert {"caption_stage.py", "decoding.py", "vision_cache.py"} <= set(TINY)


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_a_benchmark_that_has_a_tiny_size_runs(name: str) -> None:
    command = [sys.executable, str(BENCHMARKS / name), "--tiny"]
    told = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(told.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_runs_at_a_small_size(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / name), *SMALL[name].split()]
    told = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
    assert json.loads(told.stdout)
