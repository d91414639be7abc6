"""Broken folders of weights are refused with their name and a way out, and never run code."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ifas_model.config import ConnectorConfig, IFasConfig
from ifas_model.language import load_language
from ifas_model.model import IFas
from ifas_model.prompt import QUESTION
from ifas_model.vision import load_tower
from scf_pipeline.captioners import _blip2, find
from scf_pipeline.captioners._instructions import Instructions
from scf_pipeline.errors import ScfError
from scf_pipeline.miniature.models import Blip2Sizes, ClipSizes, build_blip2, build_clip
from scf_pipeline.miniature.tokenizer import learn_clip_tokenizer, learn_opt_tokenizer
from scf_pipeline.settings import Settings
from scf_pipeline.store import ArtifactWriter

pytestmark = pytest.mark.chaos

GROUP = "broken weight folder"
TEXTS = ["a photo of a man with paper\n", f"Question: {QUESTION} Answer: Yes. No. This is\n"]
BLIP2 = Blip2Sizes(
    image_px=32, dim=16, vision_layers=1, qformer_layers=1, language_layers=1, queries=2, heads=2
)
CLIP = ClipSizes(
    image_px=32, stem_widths=(8, 8), vision_dim=16, vision_layers=1, vision_heads=2, text_dim=16,
    text_layers=1, shared_dim=8,
)  # fmt: skip
SETTINGS = IFasConfig(
    connector=ConnectorConfig(dim=16, num_queries=2, num_blocks=1, num_heads=2, mlp_ratio=1)
)
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A captioner, its language model, a tower, and an I-FAS of both: whole and sound."""
    root = tmp_path_factory.mktemp("folders")
    captioner, processor = build_blip2(learn_opt_tokenizer(TEXTS), BLIP2, seed=0)
    _blip2.save_parts(root / "captioner", captioner, processor, Instructions())
    captioner.language_model.save_pretrained(root / "language")
    processor.tokenizer.save_pretrained(root / "language")
    for part in build_clip(learn_clip_tokenizer(TEXTS, max_length=16), CLIP, seed=0):
        part.save_pretrained(root / "tower")
    language = root / "language"
    IFas.build(SETTINGS, tower=root / "tower", language=language, seed=0).save_pretrained(
        root / "model"
    )
    return root


@pytest.fixture
def root(folders: Path, tmp_path: Path) -> Path:
    shutil.copytree(folders, tmp_path / "root")
    return tmp_path / "root"


def load_captioner(root: Path) -> None:
    _blip2.load_parts(find(str(root / "captioner")), dtype=torch.float32)


def build_model(root: Path) -> None:
    IFas.build(SETTINGS, tower=root / "tower", language=root / "language", seed=0)


def go_on(root: Path) -> None:
    IFas.go_on(root / "model", SETTINGS)


READERS: dict[str, Callable[[Path], Any]] = {
    "captioner": load_captioner,
    "tower": build_model,
    "language": build_model,
    "model": go_on,
}
"""What reads each folder."""


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_bytes()) | changes))


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def first(weights: dict[str, torch.Tensor]) -> str:
    return min(name for name, weight in weights.items() if weight.ndim)


def lose(weights: dict[str, torch.Tensor]) -> None:
    del weights[first(weights)]


def widen(weights: dict[str, torch.Tensor]) -> None:
    weight = weights[first(weights)]
    weights[first(weights)] = torch.zeros(*weight.shape[:-1], weight.shape[-1] + 1)


def spoil(weights: dict[str, torch.Tensor]) -> None:
    weights[first(weights)].view(-1)[0] = float("nan")


def pickle(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def truncate(folder: Path) -> None:
    raw = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(raw[: len(raw) // 2])


def lie(folder: Path) -> None:
    """Let the head tell of more bytes than the file has."""
    raw = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", 2**40) + raw[8:])


def split(folder: Path, other: str) -> None:
    """Part the weights into two files of an index, the second of which is named as told."""
    weights = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = sorted(weights)
    halves = {"model-00001-of-00002.safetensors": names[::2], other: names[1::2]}
    for file, some in halves.items():
        save_file({n: weights[n] for n in some}, folder / file, metadata={"format": "pt"})
    place = {name: file for file, some in halves.items() for name in some}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": place}))


def lose_a_half(folder: Path) -> None:
    split(folder, "model-00002-of-00002.safetensors")
    (folder / "model-00002-of-00002.safetensors").unlink()


def lose_the_tokenizer(folder: Path) -> None:
    for file in (*folder.glob("*token*"), *folder.glob("vocab*"), *folder.glob("merges*")):
        file.unlink()


def adapt(folder: Path) -> None:
    adapter = {"peft_type": "LORA", "base_model_name_or_path": str(folder)}
    (folder / "adapter_config.json").write_text(json.dumps(adapter))


CHANGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no config": (lambda folder: (folder / "config.json").unlink(), "config.json"),
    "config is no JSON": (lambda folder: (folder / "config.json").write_text("{"), ""),
    "config is a list": (lambda folder: (folder / "config.json").write_text("[]"), ""),
    "another model": (
        lambda folder: edit(folder / "config.json", model_type="llama"),
        "`model_type`",
    ),
    "pickled weights": (pickle, "safetensors"),
    "truncated weights": (truncate, ""),
    "a head that lies": (lie, ""),
    "half of the weights": (lose_a_half, "are there, but names 'model-00002-of-00002.safetensors'"),
    "a file elsewhere": (
        lambda folder: split(folder, "../elsewhere.safetensors"),
        "must keep to the folder, but names '../elsewhere.safetensors'",
    ),
    "a weight of another shape": (lambda folder: change_weights(folder, widen), ""),
    "a weight less": (lambda folder: change_weights(folder, lose), "lacks '"),
    "NaN": (lambda folder: change_weights(folder, spoil), "holds NaN or infinity"),
    "an adapter": (adapt, "adapters must be merged into its weights"),
}


@pytest.mark.parametrize("folder", READERS)
@pytest.mark.parametrize("change", CHANGES)
def test_a_broken_folder_is_refused_by_name(change: str, folder: str, root: Path, tried) -> None:
    act, problem = CHANGES[change]
    act(root / folder)
    with pytest.raises(ScfError) as caught:
        READERS[folder](root)
    assert problem in caught.value.what
    assert caught.value.where.startswith(str(root / folder))
    assert len(caught.value.fix.split()) > 3
    tried(GROUP)


@pytest.mark.parametrize("folder", ["captioner", "language", "model"])
def test_a_folder_without_its_tokenizer_is_refused(folder: str, root: Path, tried) -> None:
    lose_the_tokenizer(root / folder)
    with pytest.raises(ScfError) as caught:
        READERS[folder](root)
    assert caught.value.where == str(root / folder)
    tried(GROUP)


@pytest.mark.parametrize("folder", ["captioner", "language"])
def test_a_tokenizer_that_knows_more_words_than_the_model_is_refused(
    folder: str, root: Path, tried
) -> None:
    larger = learn_opt_tokenizer([*TEXTS, "wonderful moustaches everywhere, quite unheard of\n"])
    if folder == "captioner":
        larger.add_special_tokens({"additional_special_tokens": ["<image>"]})
    larger.save_pretrained(root / folder)
    with pytest.raises(ScfError, match=r"must know at most the \d+ words of its model") as caught:
        READERS[folder](root)
    assert caught.value.where == str(root / folder)
    tried(GROUP)


def test_a_model_with_another_tokenizer_is_refused(root: Path, tried) -> None:
    learn_opt_tokenizer([*TEXTS[::-1], "zebra\n"]).save_pretrained(root / "model")
    with pytest.raises(ScfError, match="must be the one that the model learnt with") as caught:
        go_on(root)
    assert caught.value.where == str(root / "model")
    tried(GROUP)


def test_weights_that_were_edited_after_they_were_sealed_are_refused(root: Path, tried) -> None:
    writer = ArtifactWriter(root / "sealed", None, settings=Settings("finetune", 1, {}, {}))
    shutil.copytree(root / "captioner", writer.scratch / "weights")
    writer.adopt(writer.scratch / "weights")
    writer.seal()
    change_weights(root / "sealed", lambda weights: weights[first(weights)].add_(1))
    with pytest.raises(ScfError, match="it was edited or damaged") as caught:
        _blip2.load_parts(find(str(root / "sealed")), dtype=torch.float32)
    assert caught.value.where == str(root / "sealed")
    tried(GROUP)


def test_weights_too_many_are_refused_in_our_own_folders_alone(root: Path, tried) -> None:
    """Published checkpoints hold some that their class has no use for."""
    for folder in READERS:
        change_weights(root / folder, lambda weights: weights.update(extra=torch.zeros(1)))
    load_captioner(root)
    build_model(root)
    with pytest.raises(ScfError, match="its own weights alone, but holds 'extra'") as caught:
        go_on(root)
    assert caught.value.where == str(root / "model")
    tried(GROUP)


# Code


def plant(folder: Path, file: str, trap: Path) -> None:
    """Let a file of settings name a module of the folder for every class, which leaves a trace."""
    (folder / "mine.py").write_text(f"open({str(trap)!r}, 'w').close()\nclass Mine: pass\n")
    names = ("AutoConfig", "AutoModel", "AutoTokenizer", "AutoProcessor", "AutoImageProcessor")
    own = dict.fromkeys(names, "mine.Mine")
    edit(folder / file, auto_map=own | {"AutoTokenizer": ["mine.Mine", None]})


@pytest.mark.parametrize(
    ("folder", "file"),
    [
        ("captioner", "config.json"),
        ("captioner", "tokenizer_config.json"),
        ("captioner", "processor_config.json"),
        ("tower", "config.json"),
        ("language", "config.json"),
        ("language", "tokenizer_config.json"),
        ("model", "config.json"),
        ("model", "tokenizer_config.json"),
    ],
)
def test_a_folder_that_names_code_is_refused_and_the_code_never_run(
    folder: str, file: str, root: Path, tmp_path: Path, tried
) -> None:
    plant(root / folder, file, tmp_path / "trap")
    with pytest.raises(ScfError, match="names code of its own") as caught:
        READERS[folder](root)
    assert caught.value.where == str(root / folder)
    assert not (tmp_path / "trap").exists()
    tried(GROUP)


@pytest.mark.parametrize("folder", READERS)
def test_a_decoding_that_a_folder_brings_as_code_is_never_run(
    folder: str, root: Path, tmp_path: Path, tried
) -> None:
    place = root / folder / "custom_generate"
    place.mkdir()
    (place / "generate.py").write_text(f"open({str(tmp_path / 'trap')!r}, 'w').close()\n")
    READERS[folder](root)
    assert not (tmp_path / "trap").exists()
    tried(GROUP)


@pytest.mark.parametrize("folder", READERS)
def test_attention_that_a_folder_would_fetch_as_code_is_refused(
    folder: str, root: Path, monkeypatch: pytest.MonkeyPatch, tried
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    name = {"captioner": "text_config", "tower": "vision_config"}.get(folder)
    own = {"attn_implementation": "owner/kernel"}
    data = json.loads((root / folder / "config.json").read_bytes())
    part = own if name is None else {name: data[name] | own}
    edit(root / folder / "config.json", **part)
    with pytest.raises(ScfError, match="names a kernel, 'owner/kernel'") as caught:
        READERS[folder](root)
    assert caught.value.where == str(root / folder)
    tried(GROUP)


def test_sound_folders_are_read(root: Path) -> None:
    for act in READERS.values():
        act(root)
    split(root / "captioner", "model-00002-of-00002.safetensors")
    load_captioner(root)
    assert load_tower(root / "tower").config.model_type == "clip"
    assert load_language(root / "language").config.model_type == "opt"
