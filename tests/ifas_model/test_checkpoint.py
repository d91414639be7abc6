import json
import shutil
import socket
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import OPTForCausalLM

from ifas_model import checkpoint, layout
from ifas_model.baselines import flip, vit
from ifas_model.checkpoint import IFasModelConfig, check_vocabulary, load_weights, reading
from ifas_model.config import ConnectorConfig, FlipConfig, IFasConfig, VitConfig
from ifas_model.errors import ModelError
from ifas_model.language import load_language, load_tokenizer
from ifas_model.layout import SETTINGS_FILES, check_folder
from ifas_model.model import IFas
from ifas_model.vision import load_pixels, load_tower


@pytest.fixture
def copy(language_folder, tmp_path):
    return shutil.copytree(language_folder, tmp_path / "copy")


def test_a_sound_folder_is_loaded_in_evaluation_mode_and_in_silence(copy, capfd):
    model = load_weights(OPTForCausalLM, copy)
    assert isinstance(model, OPTForCausalLM)
    assert not model.training
    assert capfd.readouterr() == ("", "")


def test_a_folder_that_is_none_is_named_with_what_to_do(tmp_path):
    with pytest.raises(ModelError) as caught:
        load_weights(OPTForCausalLM, tmp_path / "nothing")
    assert caught.value.what == "A checkpoint must be a folder, but is none."
    assert caught.value.where == str(tmp_path / "nothing")
    assert "safetensors" in caught.value.fix


def test_a_folder_without_safetensors_is_refused(copy):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no file named model\.safetensors"):
        load_weights(OPTForCausalLM, copy)


def test_a_missing_weight_is_named(copy):
    file = copy / "model.safetensors"
    weights = load_file(file)
    del weights["model.decoder.layers.1.fc1.bias"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 'model\.decoder\.layers\.1\.fc1\.bias'"):
        load_weights(OPTForCausalLM, copy)


def test_weights_that_end_early_are_refused(copy):
    file = copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(ModelError, match="must be complete and sound, but is not"):
        load_weights(OPTForCausalLM, copy)


@pytest.mark.parametrize(
    ("field", "value"), [("ffn_dim", 64), ("hidden_size", "wide"), (None, None)]
)
def test_settings_that_do_not_fit_the_weights_or_are_none_are_refused(copy, field, value):
    file = copy / "config.json"
    settings = json.loads(file.read_text())
    file.write_text("{" if field is None else json.dumps(settings | {field: value}))
    with pytest.raises(ModelError, match="must be complete and sound, but is not"):
        load_weights(OPTForCausalLM, copy)


def test_a_bug_is_not_taken_for_a_broken_folder(tmp_path):
    with pytest.raises(AttributeError, match=r"^mine$"), reading(tmp_path):
        raise AttributeError("mine")


def test_the_reason_is_kept_for_those_who_look(tmp_path):
    with pytest.raises(ModelError, match="but is not: no such word") as caught, reading(tmp_path):
        raise ValueError("no such word")
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize("name", ["settings", "vision", "text", "words", "pixels"])
def test_a_config_says_which_part_it_lacks(name):
    parts = {"settings": {}, "vision": {}, "text": {}, "words": {}, "pixels": {}}
    config = IFasModelConfig(**(parts | {name: None}))
    with pytest.raises(ValueError, match=f"`config` must hold `{name}`, but does not"):
        config.held(name)
    assert IFasModelConfig(**(parts | {name: {"a": 1}})).held(name) == {"a": 1}


def test_weights_that_are_no_numbers_are_refused_by_name(copy):
    file = copy / "model.safetensors"
    for value in ("nan", "inf"):
        weights = load_file(file)
        weights["model.decoder.layers.1.fc1.bias"][3] = float(value)
        save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(
            ModelError, match=r"'model\.decoder\.layers\.1\.fc1\.bias' holds NaN or"
        ):
            load_weights(OPTForCausalLM, copy)


def test_weights_that_nobody_reads_are_refused_where_we_wrote_the_folder(copy):
    file = copy / "model.safetensors"
    weights = load_file(file) | {"another": torch.zeros(2)}
    save_file(weights, file, metadata={"format": "pt"})
    load_weights(OPTForCausalLM, copy)
    with pytest.raises(ModelError, match="must hold its own weights alone, but holds 'another'"):
        load_weights(OPTForCausalLM, copy, is_ours=True)


@pytest.mark.parametrize(
    ("content", "told"),
    [('{"model_type": "llama"}', "names 'llama'"), ("{}", "is absent, damaged or names none")],
)
def test_a_folder_of_another_kind_of_model_is_refused_with_its_kind(copy, content, told):
    (copy / "config.json").write_text(content)
    with pytest.raises(ModelError, match=f"must name the `model_type` 'opt', but {told}"):
        load_weights(OPTForCausalLM, copy)


def test_a_folder_that_names_code_is_refused_before_anything_is_read(copy):
    (copy / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["a.B", null]}}')
    with pytest.raises(ModelError, match="names code of its own"), reading(copy):
        raise AssertionError("read")


def test_a_tokenizer_knows_at_most_the_words_of_its_model(language_folder):
    tokenizer, _ = load_tokenizer(language_folder, "{question}")
    check_vocabulary(tokenizer, len(tokenizer), folder=language_folder)
    with pytest.raises(ModelError, match=f"but knows {len(tokenizer)}") as caught:
        check_vocabulary(tokenizer, len(tokenizer) - 1, folder=language_folder)
    assert caught.value.where == str(language_folder)


# Checkpoints that lead elsewhere

PROMPT = "Question: {question} Answer:"
SMALL = ConnectorConfig(dim=16, num_queries=2, num_blocks=1, num_heads=2)
LOADERS = {
    "tower": load_tower,
    "pixels": load_pixels,
    "language": load_language,
    "tokenizer": lambda folder: load_tokenizer(folder, PROMPT),
    "ifas": IFas.load,
    "vit": vit.load,
    "flip": flip.load,
}
"""All that this package loads of a checkpoint folder."""


@pytest.fixture(scope="module")
def saved(tower_folder, language_folder, tmp_path_factory):
    """Folders that the loaders read, by the loader's name."""
    made = {
        "ifas": IFas.build(
            IFasConfig(connector=SMALL), tower=tower_folder, language=language_folder, seed=0
        ),
        "vit": vit.build(VitConfig(head_dim=8), tower_folder, seed=0),
        "flip": flip.build(FlipConfig(hidden_dim=16, view_dim=8), tower_folder, seed=0),
    }
    folders = {name: tmp_path_factory.mktemp(name) for name in made}
    for name, model in made.items():
        model.save_pretrained(folders[name])
    folders |= dict.fromkeys(("tower", "pixels"), tower_folder)
    return folders | dict.fromkeys(("language", "tokenizer"), language_folder)


@pytest.fixture(params=LOADERS)
def one(request, saved, tmp_path):
    """A loader and a copy of a folder that it loads."""
    return LOADERS[request.param], shutil.copytree(saved[request.param], tmp_path / "mine")


@pytest.fixture
def offline(monkeypatch):
    """Let no connection be made, and nobody be asked."""

    def refuse(*_, **__):
        raise AssertionError("loading must neither reach for the network nor ask")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("builtins.input", refuse)


def edit(folder, name, **changes):
    file = folder / name
    held = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps(held | changes))


def plant(folder, trap):
    """Lay code wherever transformers looks for some, and pickles beside the weights."""
    (folder / "custom_generate").mkdir()
    for name in ("modeling.py", "__init__.py", "custom_generate/generate.py"):
        (folder / name).write_text(trap.source)
    for name in ("pytorch_model.bin", "adapter_model.bin", "training_args.bin", "optimizer.pt"):
        torch.save(trap, folder / name)


def test_what_lies_beside_a_checkpoint_is_never_run(one, trap, offline):
    load, folder = one
    plant(folder, trap)
    load(folder)
    assert not trap.is_sprung
    assert not [name for name in sys.modules if name.startswith("transformers_modules")]


EVIL = "modeling.Evil"
CLASSES = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoImageProcessor")
AUTO = dict.fromkeys(CLASSES, EVIL) | {"AutoTokenizer": [EVIL, EVIL]}


@pytest.mark.parametrize("name", SETTINGS_FILES)
def test_settings_that_name_code_are_refused_and_it_is_never_run(one, trap, offline, name):
    load, folder = one
    plant(folder, trap)
    edit(folder, name, auto_map=AUTO)
    with pytest.raises(ModelError, match="but names code of its own \\(`auto_map`\\)") as caught:
        load(folder)
    assert caught.value.where == str(folder)
    assert not trap.is_sprung


def test_code_is_not_run_even_if_nobody_looks_for_it_first(one, trap, offline, monkeypatch):
    """The second door: transformers is told never to, where it would ask, and a user says yes."""
    load, folder = one
    plant(folder, trap)
    for name in SETTINGS_FILES:
        edit(folder, name, auto_map=AUTO)
    edit(folder, "tokenizer_config.json", tokenizer_class="Evil")
    monkeypatch.setattr(checkpoint, "check_folder", Path)
    monkeypatch.setattr("builtins.input", lambda _: "y")
    with suppress(ModelError):
        load(folder)
    assert not trap.is_sprung


ADAPTER = {
    "base_model_name_or_path": "somebody/else", "peft_type": "LORA", "r": 2, "lora_alpha": 2,
    "target_modules": ["q_proj"], "task_type": None, "auto_mapping": None,
}  # fmt: skip


@pytest.mark.parametrize("is_alone", [False, True], ids=["beside weights", "alone"])
def test_adapters_are_neither_followed_nor_put_in(one, trap, offline, is_alone):
    load, folder = one
    plant(folder, trap)
    edit(folder, "adapter_config.json", **ADAPTER)
    if is_alone:
        (folder / "config.json").unlink()
    with pytest.raises(ModelError, match="its adapters must be merged into its weights"):
        load(folder)
    assert not trap.is_sprung


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("attn_implementation", "somebody/kernel", "a kernel, 'somebody/kernel'"),
        ("_attn_implementation", "somebody/kernel@main:fast", "a kernel"),
        ("_attn_implementation_internal", {"vision_config": "flash|a/b"}, "a kernel, 'flash|a/b'"),
        ("experts_implementation", ["sdpa", "somebody/kernel"], "a kernel"),
        ("quantization_config", {"quant_method": "bitsandbytes"}, "a quantization"),
        ("fusion_config", {"rope": True}, "a fusion"),
        ("transformers_weights", "../other.safetensors", "other weights"),
        ("initial_weights", "/home/me/other.safetensors", "other weights"),
        ("auto_map", {}, "code of its own"),
    ],
)
@pytest.mark.parametrize("is_nested", [False, True], ids=["on top", "within"])
def test_a_setting_that_leads_elsewhere_is_refused_by_name(copy, setting, value, words, is_nested):
    led = {setting: value}
    edit(copy, "config.json", **({"vision_config": [{"deeper": led}]} if is_nested else led))
    with pytest.raises(
        ValueError, match=r"config\.json must keep to the folder, but names"
    ) as caught:
        check_folder(copy)
    assert words in str(caught.value)
    assert f"`{setting}`" in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"auto_map": None, "quantization_config": None},
        {"attn_implementation": "sdpa", "_attn_implementation": {"vision_config": "eager"}},
        {"_name_or_path": "openai/clip-vit-large-patch14", "architectures": ["a/b"]},
    ],
)
def test_settings_that_lead_nowhere_pass(copy, settings):
    edit(copy, "config.json", **settings)
    check_folder(copy)
    load_language(copy)


@pytest.mark.parametrize("name", SETTINGS_FILES)
@pytest.mark.parametrize(
    "text", ["[]", "{", '{"a": ' * 900 + "1" + "}" * 900, '{"a": ' + "1" * 5000 + "}"],
    ids=["a list", "half", "too deep", "a long number"],
)  # fmt: skip
def test_settings_that_are_none_are_refused_by_name(copy, name, text):
    (copy / name).write_text(text)
    with pytest.raises(ModelError, match=f"but is not: {name} must") as caught:
        load_language(copy)
    assert caught.value.where == str(copy)


def test_settings_without_end_are_not_read(copy, monkeypatch):
    monkeypatch.setattr(layout, "MAX_SETTINGS_BYTES", 20)
    with pytest.raises(
        ModelError, match=r"config\.json must be JSON: it must hold at most 20 bytes"
    ):
        load_language(copy)


def test_the_hub_is_never_asked_for_a_folder_that_is_not_there(offline):
    for load in LOADERS.values():
        with pytest.raises(ModelError, match="A checkpoint must be a folder, but is none"):
            load(Path("openai/clip-vit-large-patch14"))
