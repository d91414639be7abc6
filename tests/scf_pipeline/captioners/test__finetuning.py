"""What learns in fine-tuning, and what it sees; the stage is tested beside its own file."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from scf_pipeline.captioners import _blip2, _finetuning
from scf_pipeline.captioners._checkpoint import resolve
from scf_pipeline.captioners._finetuning import (
    LORA_RANK,
    Course,
    Recipe,
    _Lessons,
    choose_trained,
    finetune,
    set_modes,
)
from scf_pipeline.captioners._instructions import Instructions
from scf_pipeline.captioners._pictures import encode_png
from scf_pipeline.captioners._teaching import Writer
from scf_pipeline.captioners._training import Schedule
from scf_pipeline.miniature.models import Blip2Sizes, build_blip2
from scf_pipeline.miniature.tokenizer import learn_opt_tokenizer

SIZES = Blip2Sizes(
    image_px=16, patch_px=8, dim=32, vision_layers=1, qformer_layers=1, language_layers=2,
    queries=4, heads=2,
)  # fmt: skip
CAPTIONS = ["a man", "a red sheet of paper", "a mask", "a woman with a phone", "a man with a mask"]
SCHEDULE = Schedule(steps=3, learning_rate=1e-3, warmup_steps=1, weight_decay=0.05)
BRIDGE = {"qformer", "query_tokens", "language_projection"}
PLAIN, MIRRORED = np.array([False] * 5), np.array([True] * 5)
ALL = np.arange(5)


def build():
    tokenizer = learn_opt_tokenizer([f"a photo of {caption}" for caption in CAPTIONS])
    return build_blip2(tokenizer, SIZES, seed=0)


def picture(number):
    return np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def table(pictures):
    images = [encode_png(p) for p in pictures]
    return pa.table({"face_id": [f"{n}#0" for n in range(5)], "image": images, "caption": CAPTIONS})


ROWS = table([picture(number) for number in range(5)])


def recipe(parts="qformer", micro_batch_size=2):
    return Recipe(trained_parts=parts, micro_batch_size=micro_batch_size, schedule=SCHEDULE)


@pytest.fixture
def course():
    """A course that trains the Q-Former, drops nothing out, and whose losses depend on pictures."""
    model, processor = build()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6)
    choose_trained(model.eval(), "qformer", seed=0)
    return Course(model, processor, Writer(processor, Instructions(), _blip2.end_tokens(model)[0]))


@torch.no_grad()
def losses(lessons, rows, mirrored):
    return [float(loss) for loss in lessons.losses(rows, mirrored)]


def total(lessons, rows, mirrored):
    return sum(losses(lessons, rows, mirrored))


def learning(module):
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}


# What learns


@pytest.mark.parametrize(
    ("parts", "trained"),
    [
        ("qformer", BRIDGE),
        ("qformer_and_language", BRIDGE | {"language_model"}),
        ("full", BRIDGE | {"language_model", "vision_model"}),
    ],
)
def test_the_chosen_parts_learn_whole_and_the_rest_is_frozen(parts, trained):
    model, _ = build()
    assert choose_trained(model, parts, seed=0) is model
    everything = {name for name, _ in model.named_parameters()}
    assert learning(model) == {name for name in everything if name.split(".")[0] in trained}
    assert {name.split(".")[0] for name in learning(model)} == trained


def test_adapters_learn_beside_queries_and_keys_of_the_language_model_alone():
    model, _ = build()
    adapted = choose_trained(model, "lora", seed=0)
    found = learning(adapted)
    assert len(found) == SIZES.language_layers * 2 * 2  # layers, q and k, two factors
    assert all("language_model" in name and "lora_" in name for name in found)
    assert all(".q_proj." in name or ".k_proj." in name for name in found)
    ranks = {min(p.shape) for name, p in adapted.named_parameters() if name in found}
    assert ranks == {LORA_RANK}


def test_adapters_begin_the_same_for_a_seed_and_change_nothing_yet():
    def factors(seed):
        adapted = choose_trained(build()[0], "lora", seed=seed)
        return {n: p.detach() for n, p in adapted.named_parameters() if p.requires_grad}

    first, again, other = factors(3), factors(3), factors(4)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert all(not p.any() for name, p in first.items() if "lora_B" in name)


@pytest.mark.parametrize("parts", ["qformer", "lora", "full"])
def test_what_learns_is_kept_in_float32_and_the_rest_as_it_was(parts):
    model, _ = build()
    trained = choose_trained(model.to(torch.bfloat16), parts, seed=0)
    for name, parameter in trained.named_parameters():
        expected = torch.float32 if parameter.requires_grad else torch.bfloat16
        assert parameter.dtype is expected, name


@pytest.mark.parametrize(
    ("parts", "modes"),
    [
        ("qformer", (False, True, False)),
        ("qformer_and_language", (False, True, True)),
        ("lora", (False, False, True)),
        ("full", (True, True, True)),
    ],
)
def test_only_what_learns_is_in_training_mode(parts, modes):
    """Dropout in a frozen part would blur what it says, and teach nothing."""
    model, _ = build()
    choose_trained(model.train(), parts, seed=0)
    set_modes(model)
    assert (model.vision_model.training, model.qformer.training, model.language_model.training) == (
        modes
    )


# What it sees


def test_mirrored_features_are_those_of_mirrored_pictures(course):
    plain = [picture(number) for number in range(5)]
    turned = [np.ascontiguousarray(picture(number)[:, ::-1]) for number in range(5)]
    assert torch.allclose(course.look(plain, MIRRORED), course.look(turned, PLAIN), atol=1e-6)
    assert not torch.allclose(course.look(plain, MIRRORED), course.look(plain, PLAIN), atol=1e-2)


def test_each_row_is_mirrored_for_itself(course):
    images = [picture(number) for number in range(5)]
    some = np.array([True, False, False, True, False])
    plain, mirrored = course.look(images, PLAIN), course.look(images, MIRRORED)
    wanted = torch.where(torch.from_numpy(some)[:, None, None], mirrored, plain)
    assert torch.allclose(course.look(images, some), wanted, atol=1e-6)


def test_features_carry_gradients_only_if_the_tower_learns(course):
    images = [picture(number) for number in range(5)]
    assert course.sees_the_same
    assert not course.look(images, PLAIN).requires_grad
    choose_trained(course.model, "full", seed=0)
    assert not course.sees_the_same
    assert course.look(images, PLAIN).requires_grad


# Features that never change


def test_cached_features_are_those_that_are_seen_anew(course, tmp_path):
    cached = _Lessons.open(course, ROWS, recipe(), tmp_path / "taught.features")
    anew = _Lessons(course, ROWS, micro_batch_size=2)
    assert cached.cached.shape == (2, 5, 4 + 1, SIZES.dim)
    rows, mirrored = np.array([3, 0, 3, 4]), np.array([True, False, False, True])
    assert torch.allclose(
        cached._features(rows, mirrored), anew._features(rows, mirrored), atol=1e-5
    )
    assert total(cached, rows, mirrored) == pytest.approx(total(anew, rows, mirrored), rel=1e-5)


def test_a_cache_that_is_there_is_read_and_one_that_broke_off_is_not(course, tmp_path):
    file = tmp_path / "taught.features"
    (tmp_path / "taught.partial").write_bytes(b"half" * 10_000)
    first = total(_Lessons.open(course, ROWS, recipe(), file), ALL, PLAIN)
    assert first == pytest.approx(total(_Lessons(course, ROWS, 2), ALL, PLAIN), rel=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["taught.features"]
    others = table([picture(number) for number in range(5, 10)])
    again = _Lessons.open(course, others, recipe(), file)
    assert total(again, ALL, PLAIN) == first
    assert total(_Lessons(course, others, 2), ALL, PLAIN) != pytest.approx(first, rel=1e-3)


@pytest.mark.parametrize("why", ["too large", "the tower learns", "no rows"])
def test_features_are_not_cached_if(course, tmp_path, monkeypatch, why):
    rows = ROWS
    if why == "too large":
        monkeypatch.setattr(_finetuning, "CACHE_BYTES", 2 * 5 * 5 * SIZES.dim * 4 - 1)
    elif why == "the tower learns":
        choose_trained(course.model, "full", seed=0)
    else:
        rows = ROWS.slice(0, 0)
    assert _Lessons.open(course, rows, recipe(), tmp_path / "taught.features").cached is None
    assert list(tmp_path.iterdir()) == []


# Losses


@pytest.mark.parametrize("size", [1, 2, 3])
def test_losses_of_micro_batches_add_up_to_the_loss_of_the_batch(course, size):
    whole = losses(_Lessons(course, ROWS, 5), ALL, MIRRORED)
    split = losses(_Lessons(course, ROWS, size), ALL, MIRRORED)
    assert (len(whole), len(split)) == (1, -(-5 // size))
    assert sum(split) == pytest.approx(whole[0], rel=1e-5)
    assert sum(split) != pytest.approx(total(_Lessons(course, ROWS, 5), ALL, PLAIN), rel=1e-3)


def test_judging_looks_at_every_row_plain_and_learns_nothing(course):
    lessons = _Lessons(course, ROWS, 2)
    expected = total(lessons, ALL, PLAIN)
    course.model.train()
    assert lessons.mean_loss() == pytest.approx(expected, rel=1e-6)
    assert all(parameter.grad is None for parameter in course.model.parameters())


# The whole


def test_fine_tuning_writes_a_checkpoint_that_changed_where_it_should(tmp_path):
    start = tmp_path / "start"
    _blip2.save_parts(start, *build(), Instructions())
    asked = []

    def draw(step):
        asked.append(step)
        return ALL[:4], PLAIN[:4]

    history = finetune(resolve(str(start)), ROWS, ROWS.slice(0, 0), draw, recipe(), tmp_path)
    assert asked == [0, 1, 2]
    assert len(history.losses) == 3
    assert history.judged == []
    made = resolve(str(tmp_path / "weights"))
    before, after = (
        _blip2.load_parts(model, dtype=torch.float32)[0].state_dict()
        for model in (resolve(str(start)), made)
    )
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == BRIDGE
