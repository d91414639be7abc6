import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig, OPTConfig

from ifas_model.checkpoint import IFasModelConfig
from ifas_model.config import ConnectorConfig, IFasConfig, LossConfig
from ifas_model.connector import GacBlock
from ifas_model.errors import ModelError
from ifas_model.loss import lopsided_lm_loss, standard_lm_loss
from ifas_model.model import IFas
from ifas_model.vision import load_tower
from scf_pipeline.miniature.tokenizer import learn_opt_tokenizer

SETTINGS = IFasConfig(
    connector=ConnectorConfig(dim=16, num_queries=4, num_blocks=2, num_heads=2, dropout=0.0),
    lora_rank=2,
    lora_alpha=4,
    max_interpretation_tokens=9,
)
TEXTS = ["This is a man with a beard", "", "This is a woman on a screen", "This is a house"]
LABELS = [1, 1, 0, 0]


@pytest.fixture(scope="module")
def build(tower_folder, language_folder):
    """Return a model whose connector and adapters all matter, as after some training."""

    def build(seed=0, **changes):
        settings = replace(SETTINGS, **changes)
        model = IFas.build(settings, tower=tower_folder, language=language_folder, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if weight.ndim > 1 and (name.startswith("connector") or "lora_B" in name):
                    weight.normal_(std=0.3, generator=generator)
        return model.eval()

    return build


@pytest.fixture(scope="module")
def model(build):
    return build()


@pytest.fixture(scope="module")
def pixels():
    """Two bright pictures of bona fide faces and two dark ones of attacks."""
    noise = torch.randint(128, (4, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    return (noise + 127 * torch.tensor(LABELS).view(4, 1, 1, 1)).to(torch.uint8)


@pytest.fixture
def items(pixels):
    rows = zip(pixels, LABELS, TEXTS, strict=True)
    return [{"pixels": p, "label": label, "interpretation": text} for p, label, text in rows]


@pytest.fixture
def captioned(pixels):
    texts = ["a tree", "a house in front of a tree", "a man", "a shirt"]
    return [{"pixels": p, "caption": text} for p, text in zip(pixels, texts, strict=True)]


def judge(model, items):
    with torch.no_grad():
        return model(**model.collate(items))


def margins(model, pixels):
    return judge(model, [{"pixels": p} for p in pixels]).margin


def learn(model, items, *, steps):
    """Take some steps on one batch and return the losses."""
    model.train()
    optimizer = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], lr=1e-2)
    losses = []
    for _ in range(steps):
        loss = model(**model.collate(items)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return losses


# Judging


def test_a_margin_is_what_tower_connector_and_opt_say_one_after_another(model, pixels):
    """Written without `look`, `connect` and `answer_logits`."""
    with torch.no_grad():
        normal = (pixels / 255 - torch.tensor(model.pixels.mean)[:, None, None]) / torch.tensor(
            model.pixels.std
        )[:, None, None]
        states = model.vision(pixel_values=normal, output_hidden_states=True).hidden_states
        soft = model.connector(states[-2][:, 1:], torch.stack([s[:, 0] for s in states[1:]], 1))
        asked = model.language.model.decoder.embed_tokens(torch.tensor([model.words.prompt] * 4))
        logits = model.language(inputs_embeds=torch.cat([soft, asked], dim=1)).logits[:, -1]
    expected = logits[:, model.words.yes] - logits[:, model.words.no]
    found = margins(model, pixels)
    assert soft.shape == (4, 4 + 3, 16)
    assert torch.allclose(found, expected, atol=1e-4)
    assert found.std() > 0.01  # it does depend on the picture


@pytest.mark.parametrize("global_queries", ["class_tokens", "learned"])
def test_language_reads_as_many_soft_tokens_with_class_tokens_as_without(
    build, pixels, global_queries
):
    connector = replace(SETTINGS.connector, global_queries=global_queries)
    assert build(connector=connector).connect({"pixels": pixels}).shape == (4, 7, 16)


def test_faces_are_judged_alike_alone_and_in_a_batch(model, items, pixels):
    together = margins(model, pixels)
    alone = torch.cat([margins(model, pixels[row, None]) for row in range(4)])
    assert torch.allclose(alone, together, atol=1e-5)
    assert torch.allclose(judge(model, items).margin, together, atol=1e-5)  # told or not


@pytest.mark.parametrize("kind", ["lopsided", "standard"])
def test_answers_of_any_length_cost_alike_alone_and_padded(build, items, kind):
    model = build(loss=LossConfig(kind=kind, alpha=0.6))
    together = judge(model, items)
    alone = [judge(model, [item]) for item in items]
    for part in ("loss", "judgment", "interpretation"):
        mean = torch.stack([getattr(one, part) for one in alone]).mean()
        assert torch.allclose(getattr(together, part), mean, atol=1e-5), part
    assert torch.allclose(torch.cat([one.margin for one in alone]), together.margin, atol=1e-5)


def test_the_loss_is_the_one_of_the_settings(build, items):
    model = build()
    batch = model.collate(items)
    with torch.no_grad():
        asked = torch.tensor([model.words.prompt] * 4)
        embed = model.language.model.decoder.embed_tokens
        told = torch.cat([asked, batch["targets"][:, :-1]], dim=1)
        sequence = torch.cat([model.connect(batch), embed(told)], dim=1)
        logits = model.language(inputs_embeds=sequence).logits[:, 7 + asked.shape[1] - 1 :]
    parts = logits, batch["targets"], batch["segments"]
    expected = {
        LossConfig(alpha=0.3): lopsided_lm_loss(*parts, alpha=0.3).total,
        LossConfig(alpha=0.9): lopsided_lm_loss(*parts, alpha=0.9).total,
        LossConfig(kind="standard"): standard_lm_loss(*parts).total,
    }
    for loss, total in expected.items():
        model.adopt(replace(model.settings, loss=loss))
        assert torch.allclose(judge(model, items).loss, total, atol=1e-5), loss
    assert len({round(total.item(), 4) for total in expected.values()}) == 3


def test_captions_cost_their_surprise_after_a_prompt_of_their_own(model, captioned):
    found = judge(model, captioned)
    assert found.judgment is None
    soft = model.connect(model.collate(captioned)).detach()
    costs = []
    for row, item in zip(soft, captioned, strict=True):
        ids = model.tokenizer(f" {item['caption']}\n", add_special_tokens=False).input_ids
        read = torch.tensor([*model.words.caption_prompt, *ids])
        sequence = torch.cat([row, model.language.model.decoder.embed_tokens(read)])[None]
        chances = model.language(inputs_embeds=sequence).logits[0].log_softmax(-1)
        costs.append(-chances[-1 - len(ids) : -1].gather(1, torch.tensor(ids)[:, None]).mean())
    assert torch.allclose(found.loss, torch.stack(costs).mean(), atol=1e-4)
    assert torch.equal(found.loss, found.interpretation)


@pytest.mark.parametrize("keep_class_token", [False, True])
@pytest.mark.parametrize("local_layer", [-2, 1])
def test_features_of_a_cache_are_judged_as_pixels_are(
    build, pixels, items, local_layer, keep_class_token
):
    model = build(local_layer=local_layer, keep_class_token=keep_class_token)
    seen = model.look(pixels)
    cached = [
        {"patches": patches, "class_tokens": tokens}
        | {key: item[key] for key in ("label", "interpretation")}
        for patches, tokens, item in zip(*seen, items, strict=True)
    ]
    mine, theirs = judge(model, cached), judge(model, items)
    assert torch.allclose(mine.margin, theirs.margin, atol=1e-5)
    assert torch.allclose(mine.loss, theirs.loss, atol=1e-5)
    assert seen.patches.shape[1] == 16 + keep_class_token


def test_swapped_judgments_turn_every_margin_round(model, build, pixels):
    swapped = build()
    swapped.words = replace(model.words, yes=model.words.no, no=model.words.yes)
    assert torch.allclose(margins(swapped, pixels), -margins(model, pixels))


def test_a_batch_holds_what_its_items_do(model, items, captioned, pixels):
    assert set(model.collate([{"pixels": pixels[0]}])) == {"pixels"}
    assert set(model.collate(items)) == {"pixels", "targets", "segments"}
    assert set(model.collate(captioned)) == {"pixels", "captions", "segments"}
    assert torch.equal(model.collate(items)["pixels"], pixels)


# Learning


def expected_to_learn(name, training):
    if name.startswith("connector."):
        return True
    is_language = name.startswith("language.")
    return is_language and (training == "full" or (training == "lora" and "lora_" in name))


@pytest.mark.parametrize("phase", ["main", "align"])
@pytest.mark.parametrize("training", ["frozen", "lora", "full"])
def test_gradient_reaches_what_learns_and_nothing_else(build, items, captioned, phase, training):
    model = build(language_training=training)
    model.begin(phase)
    model.train()
    model(**model.collate(items if phase == "main" else captioned)).loss.backward()
    learns = {
        name for name, weight in model.named_parameters() if expected_to_learn(name, training)
    }
    touched = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert touched == learns
    unmoved = {
        name
        for name, weight in model.named_parameters()
        if name in learns and not weight.grad.abs().sum() > 0
    }
    assert unmoved == set()
    assert {"connector.queries", "connector.project_class_tokens.0.weight"} <= touched
    for block in range(2):
        for part in ("self_attention", "cross_attention"):
            assert f"connector.blocks.{block}.{part}.in_proj_weight" in touched


@pytest.mark.parametrize("training", ["frozen", "lora", "full"])
def test_an_update_leaves_what_is_frozen_bit_for_bit(build, items, training):
    model = build(language_training=training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    learn(model, items, steps=1)  # nor do statistics of the tower's stem move
    assert not model.train().vision.training
    for name, tensor in model.state_dict().items():
        if not expected_to_learn(name, training):
            assert torch.equal(tensor, before[name]), name
    changed = any(
        not torch.equal(tensor, before[name])
        for name, tensor in model.state_dict().items()
        if name.startswith("language.")
    )
    assert changed == (training != "frozen")


def test_a_connector_alone_learns_to_part_bona_fide_faces_from_attacks(build, items):
    """As far as an untrained language model lets it: what it says hardly depends on soft tokens."""
    model = build(loss=LossConfig(alpha=1.0))

    def gap():
        bona_fide, attack = margins(model, [item["pixels"] for item in items]).split(2)
        return bona_fide.min() - attack.max()

    before = gap()
    losses = learn(model, items, steps=30)
    assert losses[-1] < losses[0]
    assert gap() > max(0, 3 * before), before


def test_a_phase_that_is_none_is_refused(model):
    with pytest.raises(ValueError, match="`phase` must be 'main' or 'align', but is 'head'"):
        model.begin("head")


def test_fresh_adapters_say_what_the_language_model_does(tower_folder, language_folder, pixels):
    found = []
    for training in ("frozen", "lora"):
        settings = replace(SETTINGS, language_training=training)
        model = IFas.build(settings, tower=tower_folder, language=language_folder, seed=0).eval()
        found.append(margins(model, pixels))
    assert torch.allclose(*found, atol=1e-6)


# Interpretations


def test_interpretations_are_texts_that_go_with_judgments(model, items):
    batch = model.collate(items)
    texts = model.interpret(batch, torch.tensor([True, True, False, False]))
    again = model.interpret(batch, torch.tensor([True, False, False, True]))
    assert all(isinstance(text, str) and "\n" not in text for text in texts)
    assert [texts[0], texts[2]] == [again[0], again[2]]
    limit = SETTINGS.max_interpretation_tokens + len(model.words.separator)
    for text in texts:
        assert len(model.tokenizer(text, add_special_tokens=False).input_ids) <= limit


def test_a_model_that_learnt_answers_by_heart_says_them(build, items):
    """Full stop and spaces between judgment and interpretation are not part of the text."""
    model = build(language_training="full")
    told = [items[0], items[2]]
    learn(model, told, steps=90)
    judgments = torch.tensor([True, False])
    assert model.interpret(model.collate(told), judgments) == [TEXTS[0], TEXTS[2]]


# Checkpoints


@pytest.mark.parametrize("training", ["frozen", "lora", "full"])
def test_a_saved_model_is_loaded_as_it_was(build, items, pixels, tmp_path, training):
    model = build(language_training=training)
    learn(model, items, steps=1)
    model.save_pretrained(tmp_path)
    loaded = IFas.load(tmp_path)
    assert not loaded.training
    assert torch.equal(margins(loaded, pixels), margins(model, pixels))
    assert torch.equal(judge(loaded, items).loss, judge(model, items).loss)
    assert loaded.settings == model.settings
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    learning = {n for n, w in model.named_parameters() if w.requires_grad}
    assert {n for n, w in loaded.named_parameters() if w.requires_grad} == learning


def test_a_checkpoint_is_plain_data_and_safetensors(model, tmp_path):
    model.save_pretrained(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert {name.rsplit(".", 1)[-1] for name in names} <= {"json", "safetensors"}
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model_type"] == "ifas"
    assert config["settings"]["loss"] == {"kind": "lopsided", "alpha": 0.7}
    sizes = {"vision_dim": 24, "language_dim": 16, "encoder_layers": 3, "num_queries": 4}
    assert sizes.items() <= config["settings"]["connector"].items()
    assert config["pixels"]["side"] == 32
    assert config["words"]["yes"] == model.words.yes


def test_building_saving_and_loading_say_nothing(build, tmp_path, capfd):
    build().save_pretrained(tmp_path)
    IFas.load(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_a_seed_makes_the_same_model_and_another_seed_another(tower_folder, language_folder):
    def fresh(seed):
        settings = replace(SETTINGS, language_training="lora")
        built = IFas.build(settings, tower=tower_folder, language=language_folder, seed=seed)
        return built.state_dict()

    first, again, other = fresh(0), fresh(0), fresh(1)
    differing = {name for name in first if not torch.equal(first[name], other[name])}
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert "connector.queries" in differing
    assert all(name.startswith("connector.") or "lora_A" in name for name in differing)


def test_tower_and_language_model_are_those_of_the_folders(model, tower_folder, language_folder):
    for name, weight in load_tower(tower_folder).vision_model.state_dict().items():
        assert torch.equal(model.vision.state_dict()[name], weight), name
    for name, weight in load_file(language_folder / "model.safetensors").items():
        assert torch.equal(model.language.state_dict()[name], weight), name


def test_a_connector_begins_with_a_file_that_may_be_gone_later(
    tower_folder, language_folder, tmp_path, model, pixels
):
    file = tmp_path / "connector.safetensors"
    save_file(model.connector.state_dict(), file)
    settings = replace(SETTINGS, connector=replace(SETTINGS.connector, initial_weights=file))
    begun = IFas.build(settings, tower=tower_folder, language=language_folder, seed=9).eval()
    file.unlink()
    assert torch.equal(margins(begun, pixels), margins(model, pixels))
    begun.save_pretrained(tmp_path / "saved")
    assert torch.equal(margins(IFas.load(tmp_path / "saved"), pixels), margins(model, pixels))


def test_training_goes_on_under_another_loss_and_prompt(model, items, pixels, tmp_path):
    model.save_pretrained(tmp_path)
    settings = replace(SETTINGS, loss=LossConfig(kind="standard"), prompt="{question}")
    going_on = IFas.go_on(tmp_path, replace(settings, language_training="full"))
    assert going_on.language.lm_head.weight.requires_grad
    assert len(going_on.words.prompt) < len(model.words.prompt)
    assert torch.equal(going_on.connector.queries, model.connector.queries)
    going_on.save_pretrained(tmp_path / "later")
    later = IFas.load(tmp_path / "later")
    assert later.settings.loss.kind == "standard"
    assert later.words == going_on.words
    assert torch.equal(judge(later, items).loss, judge(going_on, items).loss)
    assert not torch.equal(margins(later, pixels), margins(model, pixels))


@pytest.mark.parametrize(
    "changes",
    [
        {"connector": replace(SETTINGS.connector, num_blocks=3)},
        {"connector": replace(SETTINGS.connector, cross_attend="learnable")},
        {"language_training": "lora"},
    ],
)
def test_training_does_not_go_on_with_another_connector_or_adapters(model, tmp_path, changes):
    model.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="must be the checkpoint's") as caught:
        IFas.go_on(tmp_path, replace(SETTINGS, **changes))
    assert caught.value.where == str(tmp_path)


def test_adapters_of_another_rank_are_refused(build, tmp_path):
    build(language_training="lora").save_pretrained(tmp_path)
    settings = replace(SETTINGS, language_training="lora")
    assert IFas.go_on(tmp_path, settings).settings.lora_rank == 2
    for other in (SETTINGS, replace(settings, lora_rank=3), replace(settings, lora_alpha=5)):
        with pytest.raises(ModelError, match="must be the checkpoint's"):
            IFas.go_on(tmp_path, other)


def test_broken_folders_are_refused(model, tower_folder, language_folder, tmp_path):
    nothing = tmp_path / "nothing"
    for tower, language in ((nothing, language_folder), (tower_folder, nothing)):
        with pytest.raises(ModelError) as caught:
            IFas.build(SETTINGS, tower=tower, language=language, seed=0)
        assert caught.value.where == str(nothing)
    wordless = shutil.copytree(language_folder, tmp_path / "wordless")
    learn_opt_tokenizer([" maybe"]).save_pretrained(wordless)
    with pytest.raises(ModelError, match="' Yes' must be one token"):
        IFas.build(SETTINGS, tower=tower_folder, language=wordless, seed=0)
    for loading in (IFas.load, lambda folder: IFas.go_on(folder, SETTINGS)):
        with pytest.raises(ModelError, match="must be a folder"):
            loading(nothing)
        with pytest.raises(ModelError, match="complete and sound"):
            loading(tower_folder)


def test_a_checkpoint_that_lacks_a_weight_or_its_tokenizer_is_refused(model, tmp_path):
    whole = tmp_path / "whole"
    model.save_pretrained(whole)
    short = shutil.copytree(whole, tmp_path / "short")
    weights = load_file(short / "model.safetensors")
    del weights["connector.queries"]
    save_file(weights, short / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 'connector\.queries'"):
        IFas.load(short)
    other = shutil.copytree(whole, tmp_path / "other")
    learn_opt_tokenizer([" Yes No maybe perhaps\n"]).save_pretrained(other)
    with pytest.raises(ModelError, match="must be the one that the model learnt with"):
        IFas.load(other)
    mute = shutil.copytree(whole, tmp_path / "mute")
    for file in mute.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelError):
        IFas.load(mute)


# Sizes


def count(module):
    return sum(weight.numel() for weight in module.parameters())


@pytest.fixture(scope="module")
def published(model):
    """CLIP ViT-L/14, the default connector and OPT-2.7B, without memory."""
    vision = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=224,
        patch_size=14,
    )
    text = OPTConfig(
        vocab_size=50272,
        hidden_size=2560,
        word_embed_proj_dim=2560,
        ffn_dim=10240,
        num_hidden_layers=32,
        num_attention_heads=32,
        max_position_embeddings=2048,
    )
    config = IFasModelConfig(
        settings={"method": "ifas"},
        vision=vision.to_dict(),
        text=text.to_dict(),
        words=model.config.words,
        pixels=model.config.pixels | {"side": 224},
    )
    with torch.device("meta"):
        return IFas(config)


def test_the_paper_sizes_are_a_config_of_the_same_class(published):
    assert count(published.vision) == 303_179_776  # ViT-L/14
    assert count(published.language) == 2_651_596_800  # OPT-2.7B
    assert {count(block) for block in published.connector.blocks} == {16_798_720}
    assert isinstance(published.connector.blocks[5], GacBlock)
    assert count(published.connector.blocks) == 100_792_320
    assert count(published.connector) == 105_548_288
    learning = sum(w.numel() for w in published.parameters() if w.requires_grad)
    assert learning == 105_548_288


def test_paper_sizes_make_56_soft_tokens_of_257_tokens_and_24_layers(published):
    seen = published.look(torch.zeros(2, 3, 224, 224, dtype=torch.uint8, device="meta"))
    assert seen.patches.shape == (2, 256, 1024)
    assert seen.class_tokens.shape == (2, 24, 1024)
    assert published.connector(*seen).shape == (2, 32 + 24, 2560)
