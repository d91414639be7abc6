"""Benchmarks are run by hand; those with a tiny size are tried here, so that none goes stale."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TINY = sorted(
    file.name for file in BENCHMARKS.glob("[a-z]*.py") if '"--tiny"' in file.read_text("utf-8")
)


def test_some_benchmarks_have_a_tiny_size() -> None:
    assert {"caption_stage.py", "decoding.py", "vision_cache.py"} <= set(TINY)


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_a_benchmark_that_has_a_tiny_size_runs(name: str) -> None:
    command = [sys.executable, str(BENCHMARKS / name), "--tiny"]
    told = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(told.stdout)
