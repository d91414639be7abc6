import json
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cosine_similarity, cross_entropy, normalize
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from ifas_model.baselines import flip
from ifas_model.config import FlipConfig
from ifas_model.vocabulary import Label

CAPTIONED = FlipConfig(text="captions", hidden_dim=32, view_dim=8)


@pytest.fixture
def model(configs, tower):
    return flip.build(configs["flip"], tower, 0)


@pytest.fixture
def captioned(tower):
    return flip.build(CAPTIONED, tower, 0)


def embed(model, texts):
    """Texts through CLIP's own code, one at a time, without padding."""
    rows = []
    for text in texts:
        tokens = model.tokenizer([text], return_tensors="pt")
        pooled = model.clip.text_model(input_ids=tokens["input_ids"]).pooler_output
        rows.append(model.clip.text_projection(pooled)[0])
    return torch.stack(rows)


def test_the_templates_hold_six_sentences_of_each_class():
    templates = flip.read_templates()
    assert set(templates) == set(Label)
    sentences = [text for texts in templates.values() for text in texts]
    assert [len(texts) for texts in templates.values()] == [6, 6]
    assert len(set(sentences)) == 12
    assert all(text == text.strip() and text for text in sentences)


@pytest.mark.parametrize(("attack", "bona_fide"), [(6, 5), (3, 3)])
def test_templates_that_cannot_be_halved_are_refused(attack, bona_fide, tmp_path):
    file = tmp_path / "mine.yaml"
    lines = ["attack:", *["- a"] * attack, "bona_fide:", *["- b"] * bona_fide]
    file.write_text("\n".join(lines))
    counts = f"'attack': {attack}, 'bona_fide': {bona_fide}"
    with pytest.raises(ValueError, match=f"`mine.yaml` must hold as many .* but holds {{{counts}"):
        flip.read_templates(file)


def test_everything_learns(model, items):
    model.begin("main")
    model.train()
    model(**model.collate(items)).loss.backward()
    names = {name for name, _ in model.named_parameters()}
    assert {name for name, weight in model.named_parameters() if weight.grad is not None} == names


def test_a_face_is_judged_by_the_mean_templates_of_the_classes(model, items, margins):
    model.eval()
    with torch.no_grad():
        classes = torch.stack(
            [embed(model, model.config.templates[label]).mean(0) for label in Label]
        )
        mean, std = (torch.tensor(x)[:, None, None] for x in (model.config.mean, model.config.std))
        pictures = (torch.stack([item["pixels"] for item in items]) / 255 - mean) / std
        pooled = model.clip.vision_model(pixel_values=pictures).pooler_output
        seen = model.clip.visual_projection(pooled)
        logits = model.clip.logit_scale.exp() * normalize(seen) @ normalize(classes).T
    assert torch.allclose(margins(model, items), logits[:, 1] - logits[:, 0], atol=1e-4)


def test_its_views_do_not_move_the_statistics_of_its_stem(model, items, learn):
    before = {name: weight.clone() for name, weight in model.clip.named_buffers()}
    assert any("running_mean" in name for name in before)
    model.begin("main")
    learn(model, items, steps=2)
    assert all(torch.equal(before[name], now) for name, now in model.clip.named_buffers())


def test_the_views_add_to_the_loss_and_image_text_alone_has_none(model, items, tower, configs):
    judged = model.train()(**model.collate(items))
    assert judged.loss > judged.judgment
    alone = flip.build(replace(configs["flip"], variant="it"), tower, 0).train()
    assert not any("projection." in n and n.startswith("projection") for n in alone.state_dict())
    judged = alone(**alone.collate(items))
    assert judged.loss is judged.judgment


def test_texts_are_judgment_and_interpretation(items):
    assert flip.text_of(items[0]) == "No. This is a man holding a sheet of paper"
    assert flip.text_of(items[1]) == "Yes. This is a man in a red shirt"


def test_texts_longer_than_clip_reads_are_cut(captioned, items):
    long = [item | {"interpretation": "This is " + "a man " * 50} for item in items]
    batch = captioned.collate(long)
    assert batch["input_ids"].shape == (8, 24)
    assert (batch["input_ids"][:, -1] == captioned.tokenizer.eos_token_id).all()
    assert captioned.train()(**batch).loss.isfinite()


def test_templates_read_no_interpretation(model, items):
    assert set(model.collate(items)) == {"pixels", "labels"}


def test_captions_teach_and_their_prototypes_judge(captioned, items, learn, margins, tmp_path):
    captioned.begin("main")
    losses = learn(captioned, items, steps=30)
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])
    captioned.conclude(items)
    assert captioned.training
    captioned.eval()
    found = margins(captioned, items)
    assert (found > 0).tolist() == [item["label"] == 1 for item in items]
    captioned.save_pretrained(tmp_path)
    assert torch.equal(margins(flip.load(tmp_path), items), found)


def test_a_prototype_is_the_normalised_mean_of_the_first_texts_of_its_class(tower, items):
    model = flip.build(replace(CAPTIONED, prototype_texts=2), tower, 0)
    words = ["a man", "a red shirt", "a sheet of paper", "paper"]
    faces = [
        items[number] | {"interpretation": f"This is {words[number // 2]}"} for number in range(8)
    ]
    model.conclude(faces)
    for label, judgment in enumerate(("No", "Yes")):
        with torch.no_grad():
            rows = embed(model, [f"{judgment}. This is {text}" for text in words[:2]])
        assert torch.allclose(model.prototypes[label], normalize(rows.mean(0), dim=0), atol=1e-5)


def test_many_texts_are_embedded_as_few_at_a_time(captioned, items, monkeypatch):
    captioned.conclude(items)
    whole = captioned.prototypes.clone()
    monkeypatch.setattr(flip, "TEXTS_AT_ONCE", 3)
    captioned.conclude(items)
    assert torch.allclose(captioned.prototypes, whole, atol=1e-6)


def test_the_margin_that_training_logs_is_not_told_the_label(tower, items):
    # one picture with four texts: each has another own text, yet all meet the same two means
    model = flip.build(replace(CAPTIONED, variant="it", saturation=0), tower, 0).train()
    words = ["a man", "paper", "a sheet of paper", "a red shirt"]
    same = [
        item | {"pixels": items[0]["pixels"], "interpretation": f"This is {text}"}
        for item, text in zip(items, words, strict=False)
    ]
    judged = model(**model.collate(same))
    assert torch.allclose(judged.margin, judged.margin[:1].expand(4), atol=1e-4)
    assert judged.margin.abs().min() > 1e-3


def test_captions_lead_each_picture_to_its_own_text(captioned, items):
    model = captioned.eval()
    batch = model.collate(items)
    own = embed(model, [flip.text_of(item) for item in items])
    labels = batch["labels"]
    seen = torch.randn(8, own.shape[1], generator=torch.Generator().manual_seed(0))
    judged, views = model._learn_captions(seen, labels, batch)
    other = torch.stack([own[labels != label].mean(0) for label in labels.tolist()])
    scale = model.clip.logit_scale.exp()
    pair = scale * torch.stack([cosine_similarity(seen, x) for x in (own, other)], dim=1)
    assert torch.allclose(judged.loss, cross_entropy(pair, torch.zeros(8, dtype=torch.long)))
    assert torch.equal(views[0], views[1])


def test_judging_before_there_are_prototypes_is_refused(captioned, items, margins):
    captioned.eval()
    with pytest.raises(ValueError, match="`conclude` must give the prototypes"):
        margins(captioned, items)


def test_prototypes_need_a_text_of_each_class(captioned, items):
    with pytest.raises(ValueError, match="must hold a text of each class, but none of attack"):
        captioned.conclude([item for item in items if item["label"] == 1])
    with pytest.raises(ValueError, match="`interpretation` must hold words, but is empty"):
        captioned.conclude([item | {"interpretation": ""} for item in items])


def test_learning_from_captions_needs_them(captioned, items):
    silent = [item | {"interpretation": ""} for item in items]
    with pytest.raises(ValueError, match="`interpretation` must hold a text of each face"):
        captioned.train()(**captioned.collate(silent))


@pytest.fixture
def published(tmp_path):
    """A folder as published checkpoints are: own tokenizer, old settings, half precision."""
    letters = [chr(code) for code in range(33, 127)]
    names = [*letters, *(f"{letter}</w>" for letter in letters)]
    names += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {name: number for number, name in enumerate(names)}
    CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(tmp_path)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    sizes |= {"num_attention_heads": 2}
    config = CLIPConfig(
        vision_config=sizes | {"image_size": 32, "patch_size": 16},
        text_config=sizes | {"vocab_size": len(names), "eos_token_id": 2, "pad_token_id": 1},
        projection_dim=8,
    )
    CLIPModel(config).half().save_pretrained(tmp_path)
    images = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.1, 0.2, 0.3], "size": 32}
    images |= {"crop_size": 32, "feature_extractor_type": "CLIPFeatureExtractor"}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(images))
    return tmp_path


def test_a_published_checkpoint_is_begun_trained_and_saved(published, items, margins, tmp_path):
    model = flip.build(CAPTIONED, published, 0)
    assert model.config.mean == [0.4, 0.5, 0.6]
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    model.begin("main")
    model.train()
    batch = model.collate([item | {"interpretation": "This is " + "a" * 99} for item in items])
    assert batch["input_ids"].shape == (8, 77)
    model(**batch).loss.backward()
    model.conclude(items)
    model.eval()
    model.save_pretrained(tmp_path / "saved")
    assert torch.equal(margins(flip.load(tmp_path / "saved"), items), margins(model, items))
