import json
import subprocess
import sys

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Blip2ForConditionalGeneration,
    Blip2Processor,
)

from scf_pipeline.captioners import _blip2
from scf_pipeline.captioners._checkpoint import resolve
from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.miniature import captioner
from scf_pipeline.miniature.captioner import CaptionerConfig

CONFIG = CaptionerConfig(
    word_steps=6, word_batch_size=8, caption_steps=6, caption_batch_size=8, checkpoint_every=4
)


def run(corpus, out, config=CONFIG):
    return captioner.run(config, corpus=corpus, out=out, engine=LocalEngine())


@pytest.fixture(scope="module")
def done(squares, tmp_path_factory):
    return run(squares, tmp_path_factory.mktemp("done"))


def test_the_result_loads_as_any_checkpoint_does(done):
    model, report = Blip2ForConditionalGeneration.from_pretrained(
        done.path, output_loading_info=True
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    processor = Blip2Processor.from_pretrained(done.path, backend="pil")
    _blip2.check_agreement(model, processor, where="here")


def test_its_language_model_stands_beside_it_as_an_opt_of_its_own(done):
    folder = done.path / "language"
    opt = AutoModelForCausalLM.from_pretrained(folder)
    whole = Blip2ForConditionalGeneration.from_pretrained(done.path).language_model
    tokens = AutoTokenizer.from_pretrained(folder)(" Yes. This is a man", return_tensors="pt")
    with torch.no_grad():
        ours, theirs = (model.eval()(tokens["input_ids"]).logits for model in (opt, whole))
    assert opt.config.model_type == "opt"
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_it_samples_its_captions(done):
    decoding = _blip2.load(resolve(str(done.path))).instructions.decoding
    assert (decoding.temperature, decoding.top_p, decoding.num_beams) == (0.7, 0.95, 1)


@pytest.mark.parametrize(("place", "cut"), [("words", 5), ("sentences", 3)])
def test_an_interrupted_run_ends_with_the_same_weights_bit_for_bit(
    done, squares, tmp_path, monkeypatch, place, cut
):
    target = f"scf_pipeline.miniature.{place}.draw"
    from scf_pipeline.miniature import words

    draw = words.draw

    def stops(num_rows, batch_size, seed, step):
        if step == cut:
            raise KeyboardInterrupt
        return draw(num_rows, batch_size, seed, step)

    monkeypatch.setattr(target, stops)
    with pytest.raises(KeyboardInterrupt):
        run(squares, tmp_path)
    monkeypatch.setattr(target, draw)
    torch.manual_seed(7)
    resumed = run(squares, tmp_path)
    assert resumed.identity == done.identity
    assert resumed.notes == done.notes


def test_the_manifest_says_how_right_the_captions_are(done):
    assert set(done.notes) == {
        "word_loss",
        "caption_loss",
        "accuracy",
        "accuracy_without_medium",
        "samples",
    }
    assert [point["step"] for point in done.notes["caption_loss"]] == [4, 6]
    for found in done.notes["accuracy"].values():
        assert set(found) == {"named", "right", "blind"}
    assert len(done.notes["samples"]) == 12


def test_it_learns_to_name_what_it_sees(squares, tmp_path):
    config = CaptionerConfig(
        word_steps=15, word_batch_size=16, caption_steps=40, caption_batch_size=16
    )
    found = run(squares, tmp_path, config).notes["accuracy"]["shirt_colour"]
    assert found["named"] >= 10
    assert found["right"] == 1
    assert found["blind"] < 0.6


def test_the_trainers_words_are_single_tokens(done):
    tokenizer = Blip2Processor.from_pretrained(done.path, backend="pil").tokenizer
    for word in (" Yes", " No", " shirt", "Question"):
        assert len(tokenizer.tokenize(word)) == 1


def test_other_settings_are_another_captioner(done):
    config = json.loads((done.path / "settings.json").read_text())["config"]
    assert config["temperature"] == 0.7
    assert "checkpoint_every" in config


def test_importing_the_stage_imports_neither_torch_nor_ray():
    code = (
        "import sys, scf_pipeline.miniature.captioner; print({'torch', 'ray'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
