import pytest
import torch
from transformers import OPTConfig, OPTForCausalLM

from scf_pipeline.captioners._reading import Reader, close_ranks


def build():
    torch.manual_seed(0)
    config = OPTConfig(
        vocab_size=40, hidden_size=16, word_embed_proj_dim=16, ffn_dim=32, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=32, init_std=0.5,
    )  # fmt: skip
    return OPTForCausalLM(config).eval()


def test_reading_token_by_token_says_what_reading_all_at_once_says():
    language = build()
    ids = torch.randint(3, 40, (3, 9))
    with torch.inference_mode():
        whole = language(input_ids=ids).logits
        reader = Reader(language, room=9)
        steps = [reader.read(language.get_input_embeddings()(ids[:, :4]))]
        steps += [reader.read_tokens(ids[:, at : at + 1])[:, 0] for at in range(4, 9)]
    assert torch.allclose(torch.stack(steps, 1), whole[:, 3:], atol=1e-5)


def test_rows_that_stay_do_not_notice_who_left():
    language = build()
    ids = torch.randint(3, 40, (4, 8))
    stay = torch.tensor([1, 3])
    with torch.inference_mode():
        whole = language(input_ids=ids[stay]).logits
        reader = Reader(language, room=8)
        reader.read(language.get_input_embeddings()(ids[:, :5]))
        reader.read_tokens(ids[:, 5:6])
        reader.keep(stay)
        found = [reader.read_tokens(ids[stay, at : at + 1])[:, 0] for at in (6, 7)]
    assert torch.allclose(torch.stack(found, 1), whole[:, 6:], atol=1e-5)


@pytest.mark.parametrize("order", [[0, 1, 2], [0, 4, 2], [3, 1, 0], [2, 3, 4], [4]])
def test_rows_take_the_order_that_they_are_given(order):
    language = build()
    ids = torch.randint(3, 40, (5, 8))
    with torch.inference_mode():
        reader = Reader(language, room=8)
        reader.read(language.get_input_embeddings()(ids[:, :6]))
        reader.keep(torch.tensor(order))
        found = reader.read_tokens(ids[order, 6:7])[:, 0]
        whole = language(input_ids=ids[order]).logits[:, 6]
    assert torch.allclose(found, whole, atol=1e-5)


def test_a_beam_sees_the_prompt_and_its_own_words_alone():
    """Two beams of one picture that part after the prompt, and cross later."""
    language = build()
    prompt = torch.randint(3, 40, (1, 4))
    first, second = torch.tensor([[5, 6]]), torch.tensor([[7, 8]])
    with torch.inference_mode():
        reader = Reader(language, room=8)
        reader.read(language.get_input_embeddings()(prompt))
        seen = torch.ones(1, 2, 4, dtype=torch.bool)
        own = torch.eye(2, dtype=torch.bool)[None]
        seen = torch.cat([seen, own], dim=-1)
        reader.read_tokens(first, seen)
        # Both go on from what was the second beam.
        seen = torch.cat([seen[:, [1, 1]], own], dim=-1)
        found = reader.read_tokens(second, seen)[0]
        texts = torch.tensor([[*prompt[0].tolist(), 6, 7], [*prompt[0].tolist(), 6, 8]])
        whole = language(input_ids=texts).logits[:, -1]
    assert torch.allclose(found, whole, atol=1e-5)


@pytest.mark.parametrize(
    ("going", "expected"),
    [
        ([0, 1, 2], [0, 1, 2]),
        ([1, 3], [3, 1]),
        ([0, 2, 4, 5], [0, 4, 2, 5]),
        ([4, 5, 6], [4, 5, 6]),
        ([7], [7]),
    ],
)
def test_rowsclose_ranks_and_most_stay_in_their_places(going, expected):
    assert close_ranks(torch.tensor(going)).tolist() == expected
