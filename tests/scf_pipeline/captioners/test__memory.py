import os

import pytest
import torch
from torch import nn
from transformers.activations import ACT2FN

from scf_pipeline.captioners._memory import LARGE_PAGES, overwrite_activations, use_large_pages


@pytest.mark.parametrize("said", [None, "0", "1"])
def test_large_pages_are_asked_for_unless_the_environment_says_otherwise(said, monkeypatch):
    monkeypatch.setenv(LARGE_PAGES, said or "")
    if said is None:
        monkeypatch.delenv(LARGE_PAGES)
    use_large_pages()
    assert os.environ[LARGE_PAGES] == (said or "1")


@pytest.mark.parametrize(
    ("name", "is_known"), [("gelu", True), ("relu", True), ("gelu_python", False), ("silu", False)]
)
def test_activations_write_over_their_input_and_say_the_same(name, is_known):
    model = nn.Sequential(nn.Sequential(ACT2FN[name]))
    numbers = torch.linspace(-5, 5, 1001)
    plain = model(numbers.clone())
    overwrite_activations(model)
    with torch.inference_mode():
        found = model(numbers)
    assert torch.equal(found, plain)
    assert (found.data_ptr() == numbers.data_ptr()) == is_known
