import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import OPTForCausalLM

from ifas_model.checkpoint import IFasModelConfig, check_vocabulary, load_weights, reading
from ifas_model.errors import ModelError
from ifas_model.language import load_tokenizer


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
    [('{"model_type": "llama"}', "names 'llama'"), ("[]", "is absent, damaged or names none")],
)
def test_a_folder_of_another_kind_of_model_is_refused_with_its_kind(copy, content, told):
    (copy / "config.json").write_text(content)
    with pytest.raises(ModelError, match=f"must name the `model_type` 'opt', but {told}"):
        load_weights(OPTForCausalLM, copy)


def test_a_folder_that_names_code_is_refused_before_anything_is_read(copy):
    (copy / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["a.B", null]}}')
    with pytest.raises(ModelError, match="names code to run"), reading(copy):
        raise AssertionError("read")


def test_a_tokenizer_knows_at_most_the_words_of_its_model(language_folder):
    tokenizer, _ = load_tokenizer(language_folder, "{question}")
    check_vocabulary(tokenizer, len(tokenizer), folder=language_folder)
    with pytest.raises(ModelError, match=f"but knows {len(tokenizer)}") as caught:
        check_vocabulary(tokenizer, len(tokenizer) - 1, folder=language_folder)
    assert caught.value.where == str(language_folder)
