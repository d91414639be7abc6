import json

import pytest
import torch
from transformers import CLIPImageProcessorPil

from ifas_model.baselines import _tower, vit
from ifas_model.baselines._tower import BaselineConfig
from ifas_model.vision import load_tower


@pytest.fixture
def config(tower):
    return BaselineConfig(**_tower.describe(tower, load_tower(tower)))


def test_the_config_is_plain_data_and_comes_back(config, tmp_path):
    config.save_pretrained(tmp_path)
    found = json.loads((tmp_path / "config.json").read_text())
    assert found["clip"]["vision_config"]["stem_widths"] == [8, 8, 8]
    again = BaselineConfig.from_pretrained(tmp_path)
    assert _tower.rebuild(again).config.to_dict() == _tower.rebuild(config).config.to_dict()
    assert (again.mean, again.std) == (config.mean, config.std)


def test_statistics_are_the_folders_own(tower, config, tmp_path):
    CLIPImageProcessorPil(image_mean=[0.1, 0.2, 0.3], image_std=[1, 2, 3]).save_pretrained(tmp_path)
    found = _tower.describe(tmp_path, load_tower(tower))
    assert found["mean"] == [0.1, 0.2, 0.3]
    assert config.mean != found["mean"]


def test_a_tower_kept_in_half_precision_is_trained_in_full(towers, configs, tmp_path):
    for name in ("config.json", "preprocessor_config.json", "processor_config.json"):
        if (file := towers["plain"] / name).exists():
            (tmp_path / name).write_bytes(file.read_bytes())
    load_tower(towers["plain"]).half().save_pretrained(tmp_path)
    model = vit.build(configs["vit"], tmp_path, 0)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_pictures_are_prepared_as_transformers_prepares_them(tower, config, items):
    processor = CLIPImageProcessorPil.from_pretrained(tower)
    pixels = torch.stack([item["pixels"] for item in items])
    expected = processor(list(pixels.permute(0, 2, 3, 1).numpy()), return_tensors="pt")
    found = _tower.normalize(_tower.to_pictures(pixels, config), config)
    assert torch.allclose(found, expected["pixel_values"].float(), atol=1e-5)


def test_labels_are_stacked_only_where_every_item_has_one(items):
    batch = _tower.stack(items)
    assert batch["pixels"].shape == (8, 3, 32, 32)
    assert batch["pixels"].dtype == torch.uint8
    assert batch["labels"].tolist() == [0, 1] * 4
    assert "labels" not in _tower.stack([*items, {"pixels": items[0]["pixels"]}])


def test_what_does_not_learn_is_frozen():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    _tower.learn(model, [model[1]])
    assert [weight.requires_grad for weight in model.parameters()] == [False, False, True, True]
    _tower.learn(model, [model])
    assert all(weight.requires_grad for weight in model.parameters())


def test_statistics_are_held_wherever_they_are():
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(2), torch.nn.Dropout()).train()
    _tower.hold_statistics(model)
    assert [module.training for module in model] == [False, True]


def test_an_unknown_phase_is_named_with_the_known_ones():
    error = _tower.refuse("align", ["main", "head"])
    assert str(error) == "`phase` must be one of main, head, but is 'align'."


def test_a_fresh_tower_has_the_checkpoints_shape(tower, config):
    fresh, given = _tower.rebuild(config).state_dict(), load_tower(tower).state_dict()
    assert {name: weight.shape for name, weight in fresh.items()} == {
        name: weight.shape for name, weight in given.items()
    }
