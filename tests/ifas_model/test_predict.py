"""Judging of picture files by tiny models that were never taught."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import TypeAdapter

from ifas_model import predict as module
from ifas_model.config import SETTINGS, ConnectorConfig, IFasConfig, TrainConfig, VitConfig
from ifas_model.errors import ModelError
from ifas_model.judging import Item
from ifas_model.predict import load_judge, predict
from ifas_model.scoring import make_batch
from ifas_model.train import build

CONNECTOR = ConnectorConfig(dim=16, num_queries=4, num_blocks=1, num_heads=2, initial_std=1.0)
IFAS = TrainConfig(method=IFasConfig(connector=CONNECTOR, max_interpretation_tokens=6), seed=1)
VIT = TrainConfig(method=VitConfig(head_dim=8), seed=1)


@pytest.fixture(scope="module")
def save(tmp_path_factory, tower_folder, language_folder):
    """Return a function that saves a fresh model as `train` does."""

    def write(config):
        folder = tmp_path_factory.mktemp(config.method.method)
        build(config, tower=tower_folder, language=language_folder).save_pretrained(folder)
        plain = TypeAdapter(TrainConfig).dump_python(config, mode="json")
        (folder / SETTINGS).write_text(json.dumps(plain))
        return folder

    return write


@pytest.fixture(scope="module")
def ifas(save):
    return save(IFAS)


@pytest.fixture(scope="module")
def vit(save):
    return save(VIT)


def noise(seed, side=32, top=256):
    return np.random.default_rng(seed).integers(0, top, (side, side, 3), np.uint8)


@pytest.fixture
def pictures(tmp_path):
    """Crops of the tower's size, from dark to light."""
    paths = [tmp_path / f"{number}.png" for number in range(12)]
    for number, path in enumerate(paths):
        Image.fromarray(noise(number, top=20 * number + 20)).save(path)
    return paths


# Answers


def test_every_picture_is_answered_in_its_order(ifas, pictures):
    paths = [pictures[3], pictures[0], pictures[3], pictures[7]]
    told = list(predict(ifas, paths))
    assert [line["path"] for line in told] == [str(path) for path in paths]
    assert told[0] == told[2]
    assert told[0]["p_yes"] != told[1]["p_yes"]
    for line in told:
        assert list(line) == ["path", "p_yes", "judgment", "interpretation"]
        assert 0 < line["p_yes"] < 1
    assert json.loads(json.dumps(told)) == told


@pytest.mark.parametrize("name", ["ifas", "vit"])
def test_the_judgment_is_the_one_that_the_score_implies(name, request, pictures, monkeypatch):
    """Whatever the score: margins are set by hand, to either side of and right at the threshold."""
    model = request.getfixturevalue(name)
    settings, judge = load_judge(model)
    given = iter([-3.0, -1e-9, 0.0, 1e-9, 3.0])
    forward = judge.forward

    def judged(**batch):
        return forward(**batch)._replace(margin=torch.tensor([next(given)]))

    monkeypatch.setattr(judge, "forward", judged)
    monkeypatch.setattr(module, "load_judge", lambda _: (settings, judge))
    told = list(predict(model, pictures[:5]))
    assert [line["judgment"] for line in told] == ["No", "No", "Yes", "Yes", "Yes"]
    for line in told:
        assert line["judgment"] == ("Yes" if line["p_yes"] >= 0.5 else "No")


def test_an_interpretation_goes_on_from_the_judgment_that_is_shown(ifas, pictures):
    _, judge = load_judge(ifas)
    told = list(predict(ifas, pictures))
    assert len({line["interpretation"] for line in told}) > 1
    for line, path in zip(told, pictures, strict=True):
        pixels = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)
        batch = judge.collate([Item(pixels=pixels)])
        accepted = torch.tensor([line["judgment"] == "Yes"])
        assert [line["interpretation"]] == judge.interpret(batch, accepted)


def test_baselines_interpret_nothing(vit, pictures):
    assert {line["interpretation"] for line in predict(vit, pictures)} == {""}


def test_pictures_are_judged_as_they_are_asked_for(vit, pictures):
    lines = predict(vit, [pictures[0], pictures[1]])
    first = next(lines)
    pictures[1].unlink()
    assert "p_yes" in first
    assert "error" in next(lines)


# Pictures of other sizes and kinds


@pytest.mark.parametrize("name", ["ifas", "vit"])
@pytest.mark.parametrize("shape", [(64, 64), (16, 16), (48, 20), (32, 45)])
def test_pictures_of_other_sizes_are_resized(name, shape, request, tmp_path):
    _, judge = load_judge(request.getfixturevalue(name))
    plain = torch.tensor([200, 40, 90], dtype=torch.uint8)[:, None, None].expand(3, 32, 32)
    with torch.no_grad():
        wanted = judge(**make_batch(judge, [Item(pixels=plain)])).margin
    Image.new("RGB", shape, (200, 40, 90)).save(tmp_path / "plain.png")
    (line,) = predict(request.getfixturevalue(name), [tmp_path / "plain.png"])
    assert line["p_yes"] == pytest.approx(float(torch.sigmoid(wanted)), abs=1e-5)


def test_gray_and_transparent_pictures_are_judged_by_their_colours(vit, tmp_path):
    Image.new("L", (32, 32), 90).save(tmp_path / "gray.png")
    Image.new("RGB", (32, 32), (90, 90, 90)).save(tmp_path / "rgb.png")
    Image.new("RGBA", (32, 32), (90, 90, 90, 255)).save(tmp_path / "rgba.png")
    paths = [tmp_path / f"{name}.png" for name in ("gray", "rgb", "rgba")]
    assert len({line["p_yes"] for line in predict(vit, paths)}) == 1


# What cannot be read


def test_unreadable_pictures_are_told_and_the_rest_is_judged(vit, pictures, tmp_path, monkeypatch):
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    whole = pictures[1].read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (400, 400)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 70_000)
    broken = [tmp_path / f"{name}.png" for name in ("absent", "text", "empty", "half", "bomb")]
    paths = [pictures[0], *broken, tmp_path, pictures[1]]
    told = list(predict(vit, paths))
    assert [line["path"] for line in told] == [str(path) for path in paths]
    assert ["error" in line for line in told] == [False, *[True] * 6, False]
    unknown = "A picture must be of a known format, but is of none."
    errors = [line["error"] for line in told[1:-1]]
    assert errors[:3] == ["No such file or directory", unknown, unknown]
    assert "truncated" in errors[3]
    assert "decompression bomb" in errors[4]
    assert errors[5] == "Is a directory"
    for line in told[1:-1]:
        assert list(line) == ["path", "error"]
        assert " at 0x" not in line["error"]
        assert "\n" not in line["error"]


# Models


def test_a_trained_model_is_loaded_with_the_settings_of_its_training(ifas, vit):
    for folder, config in ((ifas, IFAS), (vit, VIT)):
        settings, judge = load_judge(folder)
        assert settings == config
        assert not judge.training


def refusal(folder):
    with pytest.raises(ModelError) as caught:
        next(predict(folder, []), None)
    return caught.value


def test_a_folder_without_settings_is_no_model(vit, tmp_path):
    for file in vit.iterdir():
        if file.name != SETTINGS:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    error = refusal(tmp_path)
    assert error.what == (
        "A model folder must hold the train.json of its training, but reading it failed: "
        "No such file or directory."
    )
    assert error.where == str(tmp_path)
    assert error.fix == "Name a folder that `ifas train` wrote."


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "Invalid JSON"),
        ('{"seed": "one"}', "seed: Input should be a valid integer"),
        ('{"sed": 1}', "sed: Unexpected keyword argument"),
    ],
)
def test_damaged_settings_are_told_in_one_line(tmp_path, text, problem):
    (tmp_path / SETTINGS).write_text(text)
    error = refusal(tmp_path)
    assert f"but reading it failed: {problem}" in error.what
    assert "\n" not in error.what


def test_settings_without_weights_are_no_model(tmp_path):
    plain = TypeAdapter(TrainConfig).dump_python(IFAS, mode="json")
    (tmp_path / SETTINGS).write_text(json.dumps(plain))
    assert refusal(tmp_path).what.startswith("A checkpoint must be complete and sound, but is not")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"seed": ' + "9" * 5_000 + "}", '{"protocol": "\\ud800"}']
)
def test_settings_that_no_training_wrote_are_refused(vit, tmp_path, text):
    folder = shutil.copytree(vit, tmp_path / "copy")
    (folder / SETTINGS).write_text(text)
    with pytest.raises(ModelError, match=r"must hold the train\.json of its training"):
        load_judge(folder)
