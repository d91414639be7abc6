import pytest
import torch

from ifas_model.baselines import vit
from ifas_model.config import VitConfig
from ifas_model.vision import load_tower


def taught(model, items):
    """Names of the weights that a gradient reaches."""
    model.train()
    model(**model.collate(items)).loss.backward()
    return {name for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.fixture
def model(configs, tower):
    return vit.build(configs["vit"], tower, 0)


def test_the_tower_is_the_checkpoints(model, tower):
    expected = load_tower(tower).vision_model.state_dict()
    found = model.tower.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_in_main_everything_learns(model, items):
    model.begin("main")
    assert taught(model, items) == {name for name, _ in model.named_parameters()}


def test_in_head_the_head_alone_learns(model, items):
    model.begin("head")
    assert taught(model, items) == {n for n, _ in model.named_parameters() if n.startswith("head.")}


def test_a_probe_never_moves_its_tower_nor_the_statistics_of_its_stem(tower, items, learn):
    model = vit.build(VitConfig(head_dim=16, is_tower_frozen=True), tower, 0)
    before = {name: weight.clone() for name, weight in model.tower.state_dict().items()}
    model.begin("main")
    learn(model, items, steps=3)
    after = model.tower.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_tuned_stem_keeps_its_statistics(model, items, learn):
    before = {name: weight.clone() for name, weight in model.tower.named_buffers()}
    assert any("running_mean" in name for name in before)
    model.begin("main")
    learn(model, items, steps=2)
    assert all(torch.equal(before[name], now) for name, now in model.tower.named_buffers())


def test_a_thawed_tower_trains_again(model):
    model.train()
    model.begin("head")
    assert not model.tower.training
    model.begin("main")
    assert model.tower.training


def test_saturation_is_jittered_in_training_only(tower, items):
    batches = []
    for strength in (0.0, 0.9):
        config = VitConfig(head_dim=16, dropout=0, saturation=strength)
        model = vit.build(config, tower, 0)
        model.begin("head")  # the stem's statistics are fixed
        batch = model.collate(items)
        torch.manual_seed(0)
        batches.append((model.eval()(**batch).margin, model.train()(**batch).margin))
    (still, still_too), (calm, jittered) = batches
    assert torch.equal(still, still_too)
    assert torch.equal(still, calm)
    assert not torch.allclose(jittered, calm)


def test_pixels_of_another_size_are_resized(model, items, margins):
    model.eval()
    large = [
        item | {"pixels": item["pixels"].repeat_interleave(2, 1).repeat_interleave(2, 2)}
        for item in items
    ]
    assert large[0]["pixels"].shape == (3, 64, 64)
    found = margins(model, large)
    assert torch.allclose(found, margins(model, items), atol=0.05)
