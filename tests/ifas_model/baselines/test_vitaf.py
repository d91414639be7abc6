from dataclasses import replace

import pytest
import torch

from ifas_model.baselines import vitaf
from ifas_model.baselines.vitaf import AdaptedBlock, Adapter, squared_cosine
from ifas_model.config import VitafConfig
from ifas_model.vision import load_tower


@pytest.fixture
def model(configs, tower):
    return vitaf.build(configs["vitaf"], tower, 0)


def taught(model, items):
    model.train()
    model(**model.collate(items)).loss.backward()
    return {name for name, weight in model.named_parameters() if weight.grad is not None}


def test_in_head_the_head_alone_learns(model, items):
    model.begin("head")
    assert taught(model, items) == {n for n, _ in model.named_parameters() if n.startswith("head.")}


def test_in_main_adapters_and_thetas_alone_learn(model, items):
    model.begin("main")
    found = taught(model, items)
    assert found == {n for n, _ in model.named_parameters() if n.startswith("blocks.")}
    assert {"blocks.0.scale", "blocks.1.shift", "blocks.1.after_mlp.1.up.weight"} <= found


def test_the_tower_never_moves_nor_do_the_statistics_of_its_stem(model, items, learn):
    before = {name: weight.clone() for name, weight in model.tower.state_dict().items()}
    for phase in ("head", "main"):
        model.begin(phase)
        learn(model, items, steps=2)
    after = model.tower.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_an_adapter_is_its_formula():
    torch.manual_seed(0)
    adapter = Adapter(6, 3).double()
    tokens = torch.randn(2, 4, 6, dtype=torch.float64)
    weights = {name: weight.detach() for name, weight in adapter.named_parameters()}
    for row in range(2):
        for token in range(4):
            x = tokens[row, token]
            hidden = weights["down.weight"] @ x + weights["down.bias"]
            hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
            expected = x + weights["up.weight"] @ hidden + weights["up.bias"]
            assert torch.allclose(adapter(tokens)[row, token], expected, atol=1e-12)


def test_fresh_adapters_are_near_the_identity_and_thetas_as_set(model):
    config = model.settings
    for block in model.blocks:
        assert torch.equal(block.scale, torch.full_like(block.scale, config.initial_scale))
        assert torch.equal(block.shift, torch.full_like(block.shift, config.initial_shift))
        for adapter in [*block.after_attention, *block.after_mlp]:
            assert 1e-4 < adapter.down.weight.std() < 3e-4
            assert not adapter.up.bias.any()


def test_a_block_adds_both_adapters_after_attention_and_after_the_mlp(tower):
    torch.manual_seed(0)
    clip = load_tower(tower).double().vision_model.encoder.layers[0]
    added = AdaptedBlock(32, VitafConfig(adapter_dim=4)).double().eval()
    tokens = torch.randn(2, 5, 32, dtype=torch.float64)
    with torch.no_grad():
        found, cosine = added(clip, tokens)
    x = clip.self_attn(clip.layer_norm1(tokens), attention_mask=None)[0]
    a, b = added.after_attention[0](x), added.after_attention[1](x)
    middle = tokens + a + b
    y = clip.mlp(clip.layer_norm2(middle))
    c, d = added.after_mlp[0](y), added.after_mlp[1](y)
    assert torch.allclose(found, middle + c + d, atol=1e-12)
    squares = [
        (float(first @ second) / float(first.norm() * second.norm())) ** 2
        for one, two in ((a, b), (c, d))
        for first, second in zip(
            one.detach().reshape(-1, 32), two.detach().reshape(-1, 32), strict=True
        )
    ]
    assert float(cosine) == pytest.approx(sum(squares) / len(squares), abs=1e-12)


def test_the_transform_is_its_formula_and_one_for_the_batch():
    added = AdaptedBlock(4, VitafConfig(adapter_dim=2))
    torch.nn.init.uniform_(added.scale, -0.05, 0.5)
    torch.nn.init.uniform_(added.shift, -0.05, 0.5)
    tokens = torch.randn(3, 2, 4)
    torch.manual_seed(1)
    found = added.transform(tokens)
    torch.manual_seed(1)
    noise = torch.randn(2, 4)
    softplus = [(1 + (100 * theta).exp()).log() / 100 for theta in (added.scale, added.shift)]
    expected = (1 + noise[0] * softplus[0]) * tokens + noise[1] * softplus[1]
    assert torch.allclose(found, expected, atol=1e-6)


def test_parallel_directions_have_cosine_one_and_orthogonal_ones_none():
    first = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    assert squared_cosine(first, -3 * first).item() == pytest.approx(1)
    assert squared_cosine(first, first.flip(-1)).item() == 0


def test_the_cosines_are_in_the_loss_by_their_weight_and_absent_at_zero(tower, items, configs):
    extra = []
    for weight in (0.0, 0.5, 1.0):
        config = replace(configs["vitaf"], cosine_weight=weight)
        model = vitaf.build(config, tower, 0).eval()
        judged = model(**model.collate(items))
        extra.append((judged.loss - judged.judgment).item())
    assert extra[0] == 0
    assert extra[2] == pytest.approx(2 * extra[1], rel=1e-4)
    assert 0.9 < extra[2] <= 1.0001  # fresh adapters are nearly the same, the identity


def test_the_head_learns_on_the_tower_as_it_came_and_is_saved_so(
    model, tower, items, margins, tmp_path
):
    model.eval()
    adapted = margins(model, items)
    model.begin("head")
    plain = margins(model, items)
    assert not torch.allclose(plain, adapted)
    model.save_pretrained(tmp_path)
    assert torch.equal(margins(vitaf.load(tmp_path), items), plain)
    model.begin("main")
    assert torch.equal(margins(model, items), adapted)
