import pytest
import torch
from transformers import OPTConfig, OPTForCausalLM

from scf_pipeline.captioners import _screening
from scf_pipeline.captioners._screening import Screen, screen_of

pytestmark = pytest.mark.usefixtures("onednn_in_bfloat16")

BANNED = [3]


def draw(words, width, rows=6, *, seed=0):
    """A matrix and rows to multiply."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(words, width, generator=generator)
    return weight, torch.randn(rows, width, generator=generator)


def best(weight, hidden, banned=BANNED):
    """The plain way."""
    logits = hidden @ weight.T
    told = logits.log_softmax(-1)
    logits[:, banned] = -torch.inf
    chosen = logits.argmax(-1)
    return chosen, told.gather(1, chosen.unsqueeze(1))[:, 0]


@pytest.mark.parametrize("words", [1, 31, 512, 1000, 4096])
@pytest.mark.parametrize("width", [16, 64, 256])
def test_tokens_and_log_probabilities_are_those_of_float32(words, width):
    weight, hidden = draw(words + 4, width)
    chosen, told = Screen(weight).choose(hidden, BANNED)
    wanted, expected = best(weight, hidden)
    assert torch.equal(chosen, wanted)
    assert torch.allclose(told, expected, atol=0.02)


def test_few_tokens_are_multiplied_again():
    """Else nothing would be won."""
    weight, hidden = draw(8192, 256, rows=40)
    screen = Screen(weight)
    estimates = (hidden.bfloat16() @ weight.bfloat16().T).float()
    rows, _tokens = screen._hopeful(estimates, hidden)
    assert set(rows.tolist()) == set(range(40))
    assert len(rows) < 5 * 40


def test_rounding_that_turns_the_order_is_seen_through():
    """One token's weights lose the most that rounding can take, another's gain it."""
    width = 64
    weight, _ = draw(512, width)
    weight *= 0.01
    low, high = 1 + 2**-8 - 2**-15, 1 + 2**-8 + 2**-15  # on both sides of the middle
    weight[100], weight[200] = low, high
    hidden = torch.ones(1, width)
    weight[100, 0] += 0.02  # so the first is the better one, by a little
    short = hidden.bfloat16() @ weight.bfloat16().T
    assert short.argmax() == 200, "bfloat16 alone must go wrong here, or this says nothing"
    assert best(weight, hidden)[0] == 100
    assert Screen(weight).choose(hidden, BANNED)[0] == 100


@pytest.mark.parametrize("seed", range(20))
def test_no_estimate_is_further_off_than_is_allowed_for(seed):
    weight, hidden = draw(512, 64, seed=seed)
    spread = torch.linspace(-6, 6, 64).exp()  # a few numbers outweigh the rest
    weight, hidden = weight * spread, hidden * spread.flip(0) * 10.0**seed / 1e9
    estimates = (hidden.bfloat16() @ weight.bfloat16().T).float()
    tops = estimates.amax(-1, keepdim=True)
    off = (estimates - hidden @ weight.T).abs()
    near = estimates >= tops - Screen(weight)._doubt(hidden, tops)
    assert (off[near] <= Screen(weight)._doubt(hidden, tops).expand_as(off)[near] / 2).all()


def test_tokens_that_bfloat16_cannot_tell_apart_are_all_multiplied_again(monkeypatch):
    """As one matrix: token by token it would take much memory."""
    whole, asked = Screen._choose_of_all, []
    monkeypatch.setattr(Screen, "_choose_of_all", lambda *a: asked.append(1) or whole(*a))
    weight, hidden = draw(512, 64)
    alike = weight[:1] + 1e-4 * weight
    estimates = hidden.bfloat16() @ alike.bfloat16().T
    chosen, told = Screen(alike).choose(hidden, BANNED)
    wanted, expected = best(alike, hidden)
    assert not torch.equal(estimates.argmax(-1), wanted)
    assert torch.equal(chosen, wanted)
    assert torch.allclose(told, expected, atol=1e-5)
    assert asked


def test_of_equals_the_first_is_chosen():
    weight, hidden = draw(512, 64, rows=1)
    weight[[90, 7, 300]] = hidden * 3
    assert Screen(weight).choose(hidden, BANNED)[0] == 7


@pytest.mark.parametrize("banned", [[3], [3, 100], list(range(200))])
def test_what_is_banned_is_not_chosen_but_has_its_probability(banned):
    weight, hidden = draw(512, 64)
    weight[3] = 5 * hidden[0]
    chosen, told = Screen(weight).choose(hidden, banned)
    wanted, expected = best(weight, hidden, banned)
    assert torch.equal(chosen, wanted)
    assert torch.allclose(told, expected, atol=0.02)
    assert told[0] < -100


def build(words, dtype=torch.float32):
    config = OPTConfig(
        vocab_size=words, hidden_size=64, word_embed_proj_dim=64, ffn_dim=64, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=8,
    )  # fmt: skip
    return OPTForCausalLM(config).to(dtype)


@pytest.fixture
def matrix_units(monkeypatch):
    monkeypatch.setattr(_screening, "has_matrix_units", lambda: True)


@pytest.mark.usefixtures("matrix_units")
def test_large_vocabularies_are_screened():
    words = _screening.LEAST_WEIGHTS // 64
    language = build(words)
    screen = screen_of(language)
    assert screen is not None
    assert screen.weight.data_ptr() == language.lm_head.weight.data_ptr(), "not copied"
    assert screen_of(build(words - 1)) is None
    assert screen_of(build(words, torch.bfloat16)) is None
    assert screen_of(torch.nn.Linear(64, words)) is None


def test_without_matrix_units_nothing_is_screened(monkeypatch):
    monkeypatch.setattr(_screening, "has_matrix_units", lambda: False)
    assert screen_of(build(_screening.LEAST_WEIGHTS // 64)) is None
