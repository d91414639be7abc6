import subprocess
import sys

import pytest
import torch

from ifas_model import baselines, plugins
from ifas_model.baselines import Method
from ifas_model.errors import ModelError

NAMES = plugins.names(baselines)


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def method(name):
    return plugins.load(baselines, "METHOD", name)


@pytest.fixture
def model(name, method, configs, tower):
    return method.build(configs[name], tower=tower, seed=0)


def test_the_papers_baselines_are_there():
    assert {"vit", "vitaf", "flip"} <= set(NAMES)


def test_titles_are_unique():
    methods = [plugins.load(baselines, "METHOD", name) for name in NAMES]
    assert all(isinstance(method, Method) for method in methods)
    assert len({method.title for method in methods}) == len(methods)


def test_importing_the_registry_imports_no_torch():
    code = "import sys, ifas_model.baselines; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_it_needs_pixels(model):
    assert model.needs_features is False


def test_it_learns_an_easy_batch(model, items, learn, margins):
    if model.config.model_type == "scf-vitaf":
        model.begin("head")
        learn(model, items, steps=3)
    model.begin("main")
    losses = learn(model, items, steps=45)
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])
    model.eval()
    found = margins(model, items) > 0
    assert found.tolist() == [item["label"] == 1 for item in items]


def test_the_same_seed_builds_the_same_weights_and_leaves_the_generator(
    name, method, configs, tower
):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = method.build(configs[name], tower, 3).state_dict()
    assert torch.equal(torch.rand(1), expected)
    again = method.build(configs[name], tower, 3).state_dict()
    other = method.build(configs[name], tower, 4).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("kind", ["stem", "plain"])
def test_the_saved_model_gives_the_same_margins_without_the_tower(
    kind, name, method, configs, towers, items, learn, margins, tmp_path
):
    model = method.build(configs[name], towers[kind], 0)
    model.begin("main")
    learn(model, items, steps=2)
    model.eval()
    model.save_pretrained(tmp_path)
    loaded = method.load(tmp_path)
    assert not loaded.training
    assert torch.equal(margins(loaded, items), margins(model, items))


def test_a_folder_that_lacks_a_weight_is_refused(model, method, tmp_path):
    from safetensors.torch import load_file, save_file

    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    lost = sorted(weights)[0]
    del weights[lost]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=f"must hold every weight, but lacks '{lost}'"):
        method.load(tmp_path)


def test_a_face_is_judged_alone_as_in_a_batch_and_always_alike(model, items, margins):
    model.eval()
    together = margins(model, items)
    assert together.shape == (len(items),)
    assert together.dtype == torch.float32
    assert torch.equal(margins(model, items), together)
    alone = torch.cat([margins(model, [item]) for item in items])
    assert torch.allclose(alone, together, atol=1e-5)


def test_training_is_repeated_by_the_global_seed(model, items):
    model.begin("main")
    model.train()
    batch = model.collate(items)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(model(**batch).loss.item())
    assert found[0] == found[1] != found[2]


def test_the_loss_of_the_judgment_is_the_cross_entropy_of_the_margins(model, items):
    model.eval()
    judged = model(**model.collate(items))
    labels = torch.tensor([float(item["label"]) for item in items])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(judged.margin, labels)
    assert torch.allclose(judged.judgment, expected, atol=1e-6)


def test_without_labels_there_is_no_loss(model, items):
    batch = model.collate([{"pixels": item["pixels"]} for item in items])
    assert set(batch) == {"pixels"}
    assert model.eval()(**batch).loss is None


def test_a_phase_that_it_does_not_have_is_refused(model):
    with pytest.raises(ValueError, match=r"`phase` must be one of .*main.*, but is 'align'"):
        model.begin("align")


def test_concluding_without_need_changes_nothing(model, items, margins):
    model.eval()
    before = margins(model, items)
    model.conclude(items)
    assert torch.equal(margins(model, items), before)
