"""From scores to drawn tokens, and from tokens to a tidy sentence."""

import pytest
import torch

from scf_pipeline.captioners._saying import SeededSampling, lack_of_memory_is_said, tidy


def test_sampling_draws_tokens_as_often_as_the_model_says():
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]]).repeat(4000, 1)
    sampling = SeededSampling(range(4000), temperature=0.7, top_p=1.0)
    drawn = sampling(torch.zeros(4000, 1, dtype=torch.long), logits).argmax(1)
    wanted = (logits[0] / 0.7).softmax(0)
    found = torch.bincount(drawn, minlength=4) / 4000
    assert torch.allclose(found, wanted, atol=0.025)


def test_tokens_outside_the_nucleus_are_never_drawn():
    logits = torch.tensor([[5.0, 4.0, 0.0, -1.0]]).repeat(500, 1)
    sampling = SeededSampling(range(500), temperature=1.0, top_p=0.9)
    drawn = sampling(torch.zeros(500, 1, dtype=torch.long), logits).argmax(1)
    assert set(drawn.tolist()) == {0, 1}


def test_rows_that_are_kept_draw_on_as_before():
    scores = torch.zeros(3, 50)
    ids = torch.zeros(3, 1, dtype=torch.long)
    whole, part = (SeededSampling([7, 8, 9], temperature=1.0, top_p=1.0) for _ in range(2))
    assert torch.equal(whole(ids, scores), part(ids, scores))
    part.keep(torch.tensor([2, 0]))
    assert torch.equal(part(ids[:2], scores[:2]), whole(ids, scores)[[2, 0]])


def test_what_torch_says_of_full_memory_becomes_a_memory_error():
    with pytest.raises(MemoryError, match="can't allocate memory"), lack_of_memory_is_said():
        torch.empty(2**56)


def test_another_error_of_torch_stays_what_it_is():
    with pytest.raises(RuntimeError, match="inconsistent tensor size"), lack_of_memory_is_said():
        _ = torch.ones(2) @ torch.ones(3)


@pytest.mark.parametrize(
    ("raw", "tidied"),
    [
        ("  a man  with\nred hair. ", "a man with red hair"),
        ("A photo of a man", "a man"),
        ("a man in a photo of a man", "a man in a photo of a man"),
        ("a photo of", ""),
        ("", ""),
    ],
)
def test_captions_lose_the_prompts_echo_spare_space_and_the_final_full_stop(raw, tidied):
    assert tidy(raw, prompt="a photo of") == tidied
