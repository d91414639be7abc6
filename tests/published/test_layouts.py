"""Checkpoints as the hub publishes them are found, loaded and used as they are."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from published_layouts import write_blip2, write_clip, write_opt
from safetensors.torch import load_file

from ifas_model.config import IFasConfig
from ifas_model.errors import ModelError
from ifas_model.language import load_language, load_tokenizer
from ifas_model.model import IFas
from ifas_model.vision import load_pixels, load_tower, look
from scf_pipeline.captioners import _blip2, find
from scf_pipeline.captioners._instructions import Instructions
from scf_pipeline.errors import CaptionerError

README = Path(__file__).parents[2] / "README.md"
SIDES = {"pretrained": 224, "coco": 364}
AGES = {"updated": False, "old": True}


@pytest.fixture(scope="module")
def captioners(tmp_path_factory):
    """Folders of both sizes, before and after the hub's update."""
    return {
        (side, age): write_blip2(
            tmp_path_factory.mktemp(f"{side}-{age}"), image_px=SIDES[side], is_old=AGES[age]
        )
        for side in SIDES
        for age in AGES
    }


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def opt(tmp_path_factory):
    return write_opt(tmp_path_factory.mktemp("opt"))


@pytest.fixture(scope="module")
def converted(clip, opt, tmp_path_factory):
    """What the README's download makes of CLIP and OPT, the hub's ids replaced by folders."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (code,) = (block for block in blocks if '"facebook/opt-2.7b"' in block)
    models = tmp_path_factory.mktemp("models")
    places = {"openai/clip-vit-large-patch14": clip, "facebook/opt-2.7b": opt}
    places |= {"models/clip": models / "clip", "models/opt": models / "opt"}
    for name, place in places.items():
        assert f'"{name}"' in code
        code = code.replace(f'"{name}"', repr(str(place)))
    exec(code, {})  # noqa: S102 - the README's own
    return models


def pictures():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (80, 60, 3), dtype=np.uint8) for _ in range(2)]


def said(captioner):
    return captioner.caption([captioner.prepare(picture) for picture in pictures()], [0, 1])


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_blip2_folder_holds_what_the_hub_does(captioners):
    names = {file.name for file in captioners["coco", "updated"].iterdir()}
    shards = {name for name in names if re.fullmatch(r"model-\d{5}-of-\d{5}\.safetensors", name)}
    assert len(shards) > 1
    assert names - shards == {
        "added_tokens.json", "config.json", "generation_config.json", "merges.txt",
        "model.safetensors.index.json", "preprocessor_config.json", "processor_config.json",
        "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.json",
    }  # fmt: skip
    old = {file.name for file in captioners["coco", "old"].iterdir()}
    assert not old & {"added_tokens.json", "processor_config.json", "captioner.json"}


@pytest.mark.parametrize("age", AGES)
@pytest.mark.parametrize(("side", "patches"), [("pretrained", 256), ("coco", 676)])
def test_blip2_of_both_sizes_captions_as_lavis_would_be_asked_to(captioners, side, age, patches):
    folder = captioners[side, age]
    captioner = _blip2.load(find(str(folder)))
    prepared = [captioner.prepare(picture) for picture in pictures()]
    assert {picture.shape for picture in prepared} == {(3, SIDES[side], SIDES[side])}
    assert captioner.look(prepared).shape == (2, patches + 1, 32)
    assert captioner.instructions == Instructions()
    assert captioner.instructions.decoding.num_beams == 5
    tokenizer = captioner.processor.tokenizer
    assert tokenizer.batch_decode([captioner.end_tokens]) == ["\n"]
    prompt = captioner.prompt_ids[0].tolist()
    assert tokenizer.convert_ids_to_tokens(prompt[:33]) == ["<image>"] * 32 + ["</s>"]
    assert tokenizer.decode(prompt[33:]) == "a photo of"
    first, second = said(captioner)
    assert 8 <= first.num_tokens <= 30
    assert first.mean_log_probability != second.mean_log_probability


@pytest.mark.parametrize("side", SIDES)
def test_a_folder_from_before_image_tokens_says_what_its_update_says(captioners, side):
    old, new = (said(_blip2.load(find(str(captioners[side, age])))) for age in AGES)
    assert old == new


def test_an_old_folder_saved_again_is_up_to_date(captioners, tmp_path):
    folder = captioners["coco", "old"]
    parts = _blip2.load_parts(find(str(folder)), dtype=torch.float32)
    _blip2.save_parts(tmp_path, *parts)
    told = json.loads((tmp_path / "config.json").read_text())
    assert told["image_token_index"] == parts[0].config.image_token_index is not None
    assert json.loads((tmp_path / "processor_config.json").read_text())["num_query_tokens"] == 32
    assert said(_blip2.load(find(str(tmp_path)))) == said(_blip2.load(find(str(folder))))


def test_an_old_folder_without_a_row_for_image_tokens_is_refused(captioners, tmp_path):
    folder = write_blip2(tmp_path, image_px=224, is_old=True)
    spare = json.loads((folder / "config.json").read_text())["text_config"]["vocab_size"]
    words = [f"<spare-{number}>" for number in range(spare)]
    added = {word: spare + number for number, word in enumerate(words)}
    (folder / "tokenizer.json").unlink()
    (folder / "added_tokens.json").write_text(json.dumps(added))
    edit(folder / "tokenizer_config.json", extra_special_tokens=words)
    with pytest.raises(CaptionerError, match="must know at most"):
        _blip2.load(find(str(folder)))


def test_a_blip2_folder_of_pickles_alone_says_how_to_convert_it(captioners, tmp_path):
    weights = {}
    for file in captioners["pretrained", "updated"].iterdir():
        if file.suffix == ".safetensors":
            weights |= load_file(file)
        elif file.suffix == ".json" and "index" not in file.name:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save(weights, tmp_path / "pytorch_model.bin")
    with pytest.raises(CaptionerError, match="as safetensors, but has no such file") as caught:
        find(str(tmp_path))
    assert "Convert them once" in caught.value.fix


def test_clip_is_used_as_it_is_published(clip):
    tower = load_tower(clip)
    pixels = load_pixels(clip)
    assert pixels.side == 224
    assert pixels.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))
    batch = torch.from_numpy(np.stack(pictures())).permute(0, 3, 1, 2)
    with torch.no_grad():
        seen = look(
            tower.vision_model, pixels.normalize(batch), local_layer=-2, keep_class_token=False
        )
    assert (seen.patches.shape, seen.class_tokens.shape) == ((2, 256, 32), (2, 3, 32))
    assert not torch.allclose(seen.patches[0], seen.patches[1])


def test_opt_as_published_is_refused_with_the_way_to_convert_it(opt):
    with pytest.raises(ModelError) as caught:
        load_language(opt)
    assert caught.value.where == str(opt)
    assert "save_pretrained" in caught.value.fix
    assert "README" in caught.value.fix


def test_opts_tokenizer_without_a_tokenizer_json_begins_texts_with_its_boundary(opt):
    tokenizer, words = load_tokenizer(opt, "Question: {question} Answer:")
    assert not (opt / "tokenizer.json").exists()
    assert words.prompt[0] == tokenizer.convert_tokens_to_ids("</s>") == 2
    assert words.pad == 1
    assert tokenizer.convert_ids_to_tokens([words.yes, words.no]) == ["ĠYes", "ĠNo"]


def test_the_readmes_download_makes_folders_that_ifas_trains_on(converted, clip, opt):
    assert (converted / "opt/model.safetensors").is_file()
    assert not list(converted.rglob("*.bin"))
    assert load_pixels(converted / "clip") == load_pixels(clip)
    language, state = load_language(converted / "opt"), torch.load(opt / "pytorch_model.bin")
    embedding = language.model.decoder.embed_tokens.weight
    assert torch.equal(embedding.half(), state["model.decoder.embed_tokens.weight"])
    _, words = load_tokenizer(converted / "opt", "Question: {question} Answer:")
    assert words == load_tokenizer(opt, "Question: {question} Answer:")[1]
    settings = IFasConfig()
    model = IFas.build(settings, tower=converted / "clip", language=converted / "opt", seed=0)
    sizes = model.settings.connector
    assert (sizes.vision_dim, sizes.encoder_layers, sizes.language_dim) == (32, 3, 32)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    faces = torch.randint(256, (3, 3, 224, 224), generator=torch.Generator().manual_seed(0))
    batch = model.collate([{"pixels": face.to(torch.uint8)} for face in faces])
    with torch.no_grad():
        margin = model(**batch).margin
    assert margin.shape == (3,)
    assert torch.isfinite(margin).all()
