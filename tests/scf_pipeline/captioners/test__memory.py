import os
from types import SimpleNamespace

import pytest
import torch

from scf_pipeline.captioners._memory import (
    KEPT_BYTES,
    LARGE_PAGES,
    pictures_at_once,
    use_large_pages,
)


@pytest.mark.parametrize("said", [None, "0", "1"])
def test_large_pages_are_asked_for_unless_the_environment_says_otherwise(said, monkeypatch):
    monkeypatch.setenv(LARGE_PAGES, said or "")
    if said is None:
        monkeypatch.delenv(LARGE_PAGES)
    use_large_pages()
    assert os.environ[LARGE_PAGES] == (said or "1")


@pytest.mark.parametrize(
    ("patch", "width", "inner", "dtype", "numbers"),
    [
        (32, 768, 3_072, torch.float32, 50 * 3_072 * 4),
        (14, 1_408, 6_144, torch.float32, 257 * 6_144 * 4),
        (14, 1_408, 6_144, torch.bfloat16, 257 * 6_144 * 2),
        (16, 128, 128, torch.float32, 197 * 384 * 4),  # queries, keys and values are wider
    ],
)
def test_pictures_fit_into_memory_that_serves_again(patch, width, inner, dtype, numbers):
    config = SimpleNamespace(
        image_size=224, patch_size=patch, hidden_size=width, intermediate_size=inner
    )
    model = SimpleNamespace(
        config=SimpleNamespace(vision_config=config), vision_model=SimpleNamespace(dtype=dtype)
    )
    found = pictures_at_once(model)
    assert found * numbers <= KEPT_BYTES < (found + 1) * numbers


def test_a_picture_too_large_for_it_is_seen_by_itself():
    config = SimpleNamespace(
        image_size=4_480, patch_size=14, hidden_size=1_408, intermediate_size=6_144
    )
    model = SimpleNamespace(
        config=SimpleNamespace(vision_config=config),
        vision_model=SimpleNamespace(dtype=torch.float32),
    )
    assert pictures_at_once(model) == 1
