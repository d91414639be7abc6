import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

from ifas_model.errors import ModelError
from ifas_model.vision import Clip, ConvolutionalStem, load_tower

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def config(**vision):
    sizes = SIZES | {"num_attention_heads": 2}
    vision = {"image_size": 64, "patch_size": 16} | vision
    return CLIPConfig(
        vision_config=CLIPVisionConfig(**sizes, **vision).to_dict(),
        text_config=CLIPTextConfig(vocab_size=20, max_position_embeddings=8, **sizes).to_dict(),
        projection_dim=16,
    )


@pytest.fixture
def pictures():
    return torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def see(tower, pictures):
    with torch.no_grad():
        return tower.vision_model(pixel_values=pictures, output_hidden_states=True).hidden_states


def test_a_stem_makes_as_many_patches_as_the_linear_map_would(pictures):
    assert ConvolutionalStem([4, 8, 12], 32)(pictures).shape == (4, 32, 4, 4)


def test_neighbouring_patches_of_a_stem_see_the_same_pixel(pictures):
    stem = ConvolutionalStem([4, 8, 12], 32).eval()
    changed = pictures.clone()
    changed[:, :, 15, 8] += 5
    with torch.no_grad():
        moved = (stem(pictures) - stem(changed)).abs().sum(1)[0] > 1e-6
    assert moved[:2, 0].tolist() == [True, True]
    assert not moved[3].any()


def test_a_saved_stem_is_rebuilt_with_its_weights_and_statistics(tmp_path, pictures):
    tower = Clip(config(stem_widths=[4, 8, 12]))
    tower.train()
    tower.vision_model(pixel_values=pictures)  # moves the running statistics
    tower.save_pretrained(tmp_path)
    loaded = load_tower(tmp_path)
    assert not loaded.training
    for mine, theirs in zip(see(tower.eval(), pictures), see(loaded, pictures), strict=True):
        assert torch.equal(mine, theirs)


def test_a_plain_checkpoint_loads_as_transformers_loads_it(tmp_path, pictures):
    plain = CLIPModel(config()).eval()
    plain.save_pretrained(tmp_path)
    loaded = load_tower(tmp_path)
    assert isinstance(loaded.vision_model.embeddings.patch_embedding, torch.nn.Conv2d)
    for mine, theirs in zip(see(plain, pictures), see(loaded, pictures), strict=True):
        assert torch.equal(mine, theirs)


def test_a_tower_keeps_its_type_in_bfloat16(pictures):
    tower = Clip(config(stem_widths=[4, 8, 12])).bfloat16().eval()
    assert see(tower, pictures)[-1].dtype == torch.bfloat16


def test_a_stem_that_does_not_fit_the_patch_size_is_refused():
    with pytest.raises(ValueError, match="`patch_size` must be 8 with 2 stem widths, but is 16"):
        Clip(config(stem_widths=[4, 8]))


def test_a_missing_weight_is_refused(tmp_path):
    Clip(config(stem_widths=[4, 8, 12])).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    del weights["visual_projection.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 'visual_projection\.weight'"):
        load_tower(tmp_path)


def test_the_config_says_so_where_there_is_a_stem(tmp_path):
    Clip(config(stem_widths=[4, 8, 12])).save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["vision_config"]["stem_widths"] == [4, 8, 12]
