import json
import shutil

import pytest
from safetensors.torch import load_file, save_file
from transformers import OPTForCausalLM

from ifas_model.checkpoint import IFasModelConfig, load_weights, reading
from ifas_model.errors import ModelError


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
