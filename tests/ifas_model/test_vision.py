import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

from ifas_model.errors import ModelError
from ifas_model.vision import (
    Clip,
    ConvolutionalStem,
    Pixels,
    VisionTower,
    load_pixels,
    load_tower,
    look,
)

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
        vision_config=CLIPVisionConfig(**(sizes | vision)).to_dict(),
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


DEPTH = 3


@pytest.fixture(scope="module", params=["stem", "plain"])
def tower(request):
    """A vision tower of three layers; V = 32, N = 16."""
    torch.manual_seed(0)
    stem = {"stem_widths": [4, 8, 12]} if request.param == "stem" else {}
    vision = config(num_hidden_layers=DEPTH, **stem).vision_config
    tower = VisionTower(vision).eval()
    torch.nn.init.normal_(tower.embeddings.position_embedding.weight, std=0.5)
    return tower


def slow_states(tower, pictures):
    """Every hidden state, the input of the first layer first, one block after another."""
    embeddings = tower.embeddings
    patches = embeddings.patch_embedding(pictures).flatten(2).transpose(1, 2)
    class_token = embeddings.class_embedding.expand(len(pictures), 1, -1)
    states = torch.cat([class_token, patches], dim=1) + embeddings.position_embedding.weight
    found = [tower.pre_layrnorm(states)]
    for layer in tower.encoder.layers:
        heads, attention = tower.config.num_attention_heads, layer.self_attn
        x = layer.layer_norm1(found[-1])
        q, k, v = (
            project(x).unflatten(-1, (heads, -1)).transpose(1, 2)
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        shares = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
        middle = found[-1] + attention.out_proj((shares @ v).transpose(1, 2).flatten(2))
        hidden = layer.mlp.fc1(layer.layer_norm2(middle))
        found.append(middle + layer.mlp.fc2(hidden * torch.sigmoid(1.702 * hidden)))
    return found


def by_look(tower, pictures, local_layer=-2, *, keep_class_token=False):
    with torch.no_grad():
        return look(tower, pictures, local_layer=local_layer, keep_class_token=keep_class_token)


@pytest.mark.parametrize("local_layer", [1, 2, 3, -1, -2, -3])
def test_features_are_hidden_states_computed_block_by_block(tower, pictures, local_layer):
    with torch.no_grad():
        states = slow_states(tower, pictures)
    found = by_look(tower, pictures, local_layer)
    which = local_layer if local_layer > 0 else DEPTH + 1 + local_layer
    assert torch.allclose(found.patches, states[which][:, 1:], atol=1e-5)
    class_tokens = torch.stack([state[:, 0] for state in states[1:]], dim=1)
    assert torch.allclose(found.class_tokens, class_tokens, atol=1e-5)
    assert found.patches.shape == (4, 16, 32)
    assert found.class_tokens.shape == (4, DEPTH, 32)


def test_the_class_token_of_the_same_layer_stands_first_where_it_is_kept(tower, pictures):
    plain = by_look(tower, pictures, 2)
    kept = by_look(tower, pictures, 2, keep_class_token=True)
    assert torch.equal(kept.patches[:, 1:], plain.patches)
    assert torch.equal(kept.patches[:, 0], plain.class_tokens[:, 1])
    assert torch.equal(kept.class_tokens, plain.class_tokens)


def test_negative_layers_count_from_the_last(tower, pictures):
    for layer in range(1, DEPTH + 1):
        mine, theirs = (by_look(tower, pictures, at) for at in (layer, layer - DEPTH - 1))
        assert torch.equal(mine.patches, theirs.patches)


@pytest.mark.parametrize("layer", [0, DEPTH + 1, -DEPTH - 1])
def test_a_layer_that_is_none_is_refused(tower, pictures, layer):
    with pytest.raises(ValueError, match=rf"must be in 1\.\.3 or -3\.\.-1, but is {layer}\."):
        by_look(tower, pictures, layer)


def test_the_vision_half_of_a_tower_sees_as_the_whole_does(tower_folder):
    clip = load_tower(tower_folder)
    half = VisionTower(clip.config.vision_config).eval()
    half.load_state_dict(clip.vision_model.state_dict())
    pictures = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert isinstance(half.embeddings.patch_embedding, ConvolutionalStem)
    whole = by_look(clip.vision_model, pictures)
    for mine, theirs in zip(by_look(half, pictures), whole, strict=True):
        assert torch.equal(mine, theirs)


def test_pictures_of_a_batch_do_not_see_each_other(tower, pictures):
    together = by_look(tower, pictures)
    for row in range(4):
        alone = by_look(tower, pictures[row, None])
        for mine, theirs in zip(alone, together, strict=True):
            assert torch.allclose(mine[0], theirs[row], atol=1e-5)


def test_pictures_are_normalized_colour_by_colour():
    pixels = Pixels(2, (0.5, 0.25, 0.0), (0.5, 0.25, 2.0))
    pictures = torch.tensor([0, 255, 51], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    found = pixels.normalize(pictures)
    assert found.dtype == torch.float32
    assert found[0, :, 0, 0].tolist() == pytest.approx([-1.0, 3.0, 0.1])
    assert found.shape == (1, 3, 2, 2)


def test_pictures_are_normalized_as_transformers_would(tower_folder):
    from transformers import CLIPImageProcessorPil

    pictures = torch.randint(256, (3, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    pictures = pictures.to(torch.uint8)
    processor = CLIPImageProcessorPil.from_pretrained(tower_folder)
    rows = [picture.permute(1, 2, 0).numpy() for picture in pictures]
    theirs = processor(rows, return_tensors="pt")["pixel_values"]
    assert torch.allclose(load_pixels(tower_folder).normalize(pictures), theirs, atol=1e-5)


def test_how_pictures_are_wanted_is_read_from_the_folder(tower_folder, tmp_path):
    side, mean, std = load_pixels(tower_folder)
    assert side == 32
    assert mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))  # OpenAI's
    assert std == pytest.approx((0.26862954, 0.26130258, 0.27577711))
    copy = shutil.copytree(tower_folder, tmp_path / "copy")
    file = next(copy.glob("*processor_config.json"))
    settings = json.loads(file.read_text())
    inner = settings.get("image_processor", settings)
    inner |= {"crop_size": {"height": 48, "width": 48}, "image_mean": [0.1, 0.2, 0.3]}
    file.write_text(json.dumps(settings))
    assert load_pixels(copy)[:2] == (48, (0.1, 0.2, 0.3))


def test_a_folder_that_does_not_say_how_it_wants_pictures_is_refused(tower_folder, tmp_path):
    copy = shutil.copytree(tower_folder, tmp_path / "copy")
    for file in copy.glob("*processor_config.json"):
        file.unlink()
    with pytest.raises(ModelError) as caught:
        load_pixels(copy)
    assert caught.value.where == str(copy)
    with pytest.raises(ModelError, match="must be a folder, but is none"):
        load_pixels(tmp_path / "nothing")


def test_a_folder_that_is_no_tower_is_refused(tmp_path, language_folder):
    with pytest.raises(ModelError, match="must be a folder, but is none"):
        load_tower(tmp_path / "nothing")
    with pytest.raises(ModelError, match="must be complete and sound"):
        load_tower(tmp_path)
    with pytest.raises(ModelError, match="must be complete and sound"):
        load_tower(language_folder)


def test_loading_and_saving_draw_nothing(tower_folder, tmp_path, capfd):
    load_tower(tower_folder).save_pretrained(tmp_path)
    load_pixels(tower_folder)
    assert capfd.readouterr() == ("", "")


def test_pictures_of_another_side_are_resized_and_keep_their_colours() -> None:
    wanted = Pixels(32, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    edge = torch.zeros(1, 3, 96, 64, dtype=torch.uint8)
    edge[..., 32:] = 255
    found = wanted.normalize(edge)
    assert found.shape == (1, 3, 32, 32)
    assert (float(found.min()), float(found.max())) == (0.0, 1.0)  # overshoots are cut
    assert found[..., :14].max() < 0.01
    assert found[..., 18:].min() > 0.99


def test_pictures_that_fit_are_only_scaled() -> None:
    pictures = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    plain = Pixels(32, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)).normalize(pictures)
    assert torch.equal(plain, pictures.float() / 255)
