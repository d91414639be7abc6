"""BLIP-2 with a tiny model of random weights, large enough for its captions to depend on pixels."""

import json
import re
import subprocess
import sys
from contextlib import nullcontext, suppress

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from scf_pipeline import weights
from scf_pipeline.captioners import _blip2, _screening, blip2
from scf_pipeline.captioners._checkpoint import resolve
from scf_pipeline.captioners._instructions import Decoding, Instructions
from scf_pipeline.errors import CaptionerError
from scf_pipeline.miniature.models import Blip2Sizes, build_blip2
from scf_pipeline.miniature.tokenizer import learn_opt_tokenizer
from scf_pipeline.stages.caption import _Fitting

GREEDY = Decoding(num_beams=1, min_new_tokens=2, max_new_tokens=8)
BEAMS = Decoding(num_beams=3, min_new_tokens=2, max_new_tokens=8)
SAMPLED = Decoding(num_beams=1, min_new_tokens=0, max_new_tokens=8, temperature=0.7, top_p=0.95)
choose = _screening.Screen.choose
SIZES = Blip2Sizes(
    image_px=32, dim=32, vision_layers=1, qformer_layers=1, language_layers=1, queries=4, heads=2
)
TEXTS = ["a photo of a man with red hair in front of a wall", "a woman wearing a blue shirt\n"]


@pytest.fixture(scope="module")
def parts():
    model, processor = build_blip2(learn_opt_tokenizer(TEXTS), SIZES, seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6)
    return model.eval(), processor


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    sizes = [(40, 40), (32, 32), (50, 30), (64, 64), (33, 47)]
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def captioner(parts, decoding):
    return _blip2.Blip2Captioner(*parts, Instructions(decoding=decoding))


def said(speaker, pictures, seeds, **options):
    return speaker.caption([speaker.prepare(picture) for picture in pictures], seeds, **options)


def texts(captions):
    return [caption.text for caption in captions]


@pytest.mark.parametrize("decoding", [GREEDY, BEAMS, SAMPLED], ids=["greedy", "beams", "sampled"])
def test_a_batch_of_one_and_of_many_give_the_same_captions(parts, pictures, decoding):
    seeds = [3, 1, 4, 2**64 - 1, 5]
    together = said(captioner(parts, decoding), pictures, seeds)
    alone = [
        said(captioner(parts, decoding), [picture], [seed])[0]
        for picture, seed in zip(pictures, seeds, strict=True)
    ]
    assert len(set(texts(together))) > 1
    assert texts(together) == texts(alone)
    assert [c.num_tokens for c in together] == [c.num_tokens for c in alone]
    assert [c.mean_log_probability for c in together] == pytest.approx(
        [c.mean_log_probability for c in alone], abs=1e-4
    )


@pytest.mark.parametrize("decoding", [GREEDY, BEAMS, SAMPLED], ids=["greedy", "beams", "sampled"])
def test_halves_of_a_batch_give_the_same_captions_on_a_cpu(parts, pictures, decoding):
    seeds, speaker = list(range(20)), captioner(parts, decoding)
    fitting = _Fitting(Cramped(speaker, 3), 16, name="cramped")
    prepared = [speaker.prepare(picture) for picture in pictures] * 4
    halves = fitting.caption(prepared, seeds)
    whole = speaker.caption(prepared, seeds)
    assert fitting.cuts == [8, 4, 2]
    assert texts(halves) == texts(whole)
    assert [c.num_tokens for c in halves] == [c.num_tokens for c in whole]
    assert [c.mean_log_probability for c in halves] == pytest.approx(
        [c.mean_log_probability for c in whole], abs=1e-4
    )


class Cramped:
    """A captioner with memory for so many pictures at a time."""

    def __init__(self, speaker, fits):
        self.speaker, self.fits = speaker, fits

    def caption(self, pictures, seeds, *, insist=False):
        captions = self.speaker.caption(pictures, seeds, insist=insist)
        if len(pictures) > self.fits:
            raise MemoryError
        return captions


CPU_IS_FULL = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 9223372036854775 bytes. Error code 12 (Cannot allocate memory)"
)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total"),
        RuntimeError(CPU_IS_FULL),
        MemoryError("Unable to allocate 2 GiB for an array"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("could not create a primitive"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
    ids=["gpu", "cpu", "numpy", "standard-library", "cpu-libraries", "gpu-driver", "gpu-libraries"],
)
def test_memory_that_does_not_suffice_is_said_so_that_the_stage_understands(
    parts, pictures, monkeypatch, error
):
    def fail(*_):
        raise error

    monkeypatch.setattr(_blip2, "write", fail)
    with pytest.raises(MemoryError, match=re.escape(str(error).splitlines()[0])):
        said(captioner(parts, GREEDY), pictures, range(5))


def test_torch_says_what_is_taken_for_a_lack_of_memory_on_a_cpu(parts, pictures, monkeypatch):
    monkeypatch.setattr(_blip2, "write", lambda *_: torch.empty(2**56))
    with pytest.raises(MemoryError, match="can't allocate memory"):
        said(captioner(parts, GREEDY), pictures, range(5))


def test_another_error_of_torch_is_no_lack_of_memory(parts, pictures, monkeypatch):
    monkeypatch.setattr(_blip2, "write", lambda *_: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        said(captioner(parts, GREEDY), pictures, range(5))


def test_two_pictures_give_different_logits(parts, pictures):
    model, processor = parts
    inputs = processor(
        images=pictures[:2], text=["a photo of"] * 2, return_tensors="pt", padding=True
    )
    with torch.inference_mode():
        logits = model(**inputs).logits
    assert not torch.allclose(logits[0], logits[1], atol=1e-3)


def test_a_sampled_caption_depends_on_its_seed_and_on_nothing_before_it(parts, pictures):
    speaker = captioner(parts, SAMPLED)
    first = texts(said(speaker, [pictures[0]] * 3, [1, 2, 1]))
    assert first[0] == first[2] != first[1]
    assert texts(said(speaker, [pictures[0]], [1])) == first[:1]


@pytest.mark.parametrize("decoding", [GREEDY, BEAMS], ids=["greedy", "beams"])
def test_captions_and_their_log_probabilities_are_those_of_generate(parts, pictures, decoding):
    """A second writing: `generate`, and then one teacher-forced pass over what it wrote."""
    model, processor = parts
    speaker = captioner(parts, decoding)
    inputs = processor(images=pictures[:1], text=["a photo of"], return_tensors="pt")
    start = inputs["input_ids"].shape[1]
    with torch.inference_mode():
        tokens = model.generate(
            **inputs,
            do_sample=False,
            num_beams=decoding.num_beams,
            min_new_tokens=decoding.min_new_tokens,
            max_new_tokens=decoding.max_new_tokens,
            suppress_tokens=[model.config.image_token_index],
            eos_token_id=speaker.end_tokens,
            pad_token_id=processor.tokenizer.pad_token_id,
        )
        inputs["input_ids"], inputs["attention_mask"] = tokens, torch.ones_like(tokens)
        logits = model(**inputs).logits.log_softmax(-1)
    end = tokens.shape[1] - int(tokens[0, -1] in speaker.end_tokens)
    found = said(speaker, pictures[:1], [0])[0]
    words = processor.tokenizer.decode(tokens[0, start:end], skip_special_tokens=True)
    assert found.text == _blip2.tidy(words, prompt="a photo of")
    assert found.num_tokens == end - start
    steps = [float(logits[0, at - 1, tokens[0, at]]) for at in range(start, end)]
    assert found.mean_log_probability == pytest.approx(np.mean(steps), abs=1e-3)


def test_insisting_penalizes_repetition(parts):
    speaker = captioner(parts, GREEDY)
    assert speaker._rules(insist=True).repetition_penalty == 1.2
    assert speaker._rules(insist=False).repetition_penalty == 1.0


def test_insisting_draws_anew(parts, pictures):
    speaker = captioner(parts, SAMPLED)
    assert texts(said(speaker, pictures, range(5))) != texts(
        said(speaker, pictures, range(5), insist=True)
    )


def test_no_pictures_give_no_captions(parts):
    assert captioner(parts, GREEDY).caption([], []) == []


@pytest.fixture
def folder(parts, tmp_path):
    _blip2.save_parts(tmp_path, *parts, Instructions(decoding=SAMPLED))
    return tmp_path


def test_a_saved_checkpoint_says_the_same_after_loading(parts, pictures, folder):
    loaded = blip2.BACKEND.load(blip2.BACKEND.resolve(str(folder)))
    assert loaded.instructions.decoding == SAMPLED
    seeds = list(range(len(pictures)))
    assert said(loaded, pictures, seeds) == said(captioner(parts, SAMPLED), pictures, seeds)


@pytest.mark.usefixtures("onednn_in_bfloat16")
def test_a_loaded_checkpoint_screens_the_best_tokens_and_no_others(
    parts, pictures, tmp_path, monkeypatch
):
    monkeypatch.setattr(_screening, "LEAST_WEIGHTS", 0)
    monkeypatch.setattr(_screening, "has_matrix_units", lambda: True)
    screened = []
    monkeypatch.setattr(
        _screening.Screen, "choose", lambda *args: screened.append(1) or choose(*args)
    )
    _blip2.save_parts(tmp_path, *parts, Instructions(decoding=GREEDY))
    loaded = blip2.BACKEND.load(blip2.BACKEND.resolve(str(tmp_path)))
    found = said(loaded, pictures, range(5))
    assert screened
    expected = said(captioner(parts, GREEDY), pictures, range(5))
    assert texts(found) == texts(expected)
    told = [[one.mean_log_probability for one in some] for some in (found, expected)]
    assert told[0] == pytest.approx(told[1], abs=0.02)
    screened.clear()
    assert texts(said(loaded, pictures, range(5), insist=True)) == texts(
        said(captioner(parts, GREEDY), pictures, range(5), insist=True)
    )
    assert not screened


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_processor_that_places_other_image_tokens_is_refused(folder):
    edit(folder / "processor_config.json", num_query_tokens=3)
    with pytest.raises(CaptionerError, match=r"`num_query_tokens` .* but is 4 and 3"):
        _blip2.load(resolve(str(folder)))


def test_another_image_token_is_refused(folder):
    edit(folder / "config.json", image_token_index=5)
    with pytest.raises(CaptionerError, match=r"`image_token_index` .* but is 5 and "):
        _blip2.load(resolve(str(folder)))


def test_a_checkpoint_that_cannot_be_loaded_is_named(folder):
    (folder / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(CaptionerError, match="loading it failed") as error:
        _blip2.load(resolve(str(folder)))
    assert error.value.where == str(folder)


def test_a_checkpoint_that_lacks_a_weight_is_refused(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["language_projection.bias"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CaptionerError, match=r"lacks 'language_projection\.bias'"):
        _blip2.load(resolve(str(folder)))


def test_a_weight_that_is_no_number_is_refused(folder):
    weights = load_file(folder / "model.safetensors")
    weights["language_projection.bias"][0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CaptionerError, match=r"'language_projection\.bias' holds NaN or"):
        _blip2.load(resolve(str(folder)))


def test_a_tokenizer_that_knows_more_words_than_the_model_is_refused(parts, folder):
    larger = learn_opt_tokenizer([*TEXTS, "a very different sentence about zebras\n"])
    larger.add_special_tokens({"additional_special_tokens": ["<image>"]})
    larger.save_pretrained(folder)
    with pytest.raises(CaptionerError, match=f"must know at most the .* but knows {len(larger)}"):
        _blip2.load(resolve(str(folder)))


@pytest.mark.parametrize("is_named", [False, True], ids=["beside", "named by settings"])
def test_code_in_a_checkpoint_is_never_run(folder, trap, monkeypatch, is_named):
    """Not even where the check before is passed by, and a user says yes to whatever is asked."""
    for name in ("modeling.py", "custom_generate/generate.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(trap.source)
    torch.save(trap, folder / "pytorch_model.bin")
    if is_named:
        names = ("AutoConfig", "AutoModel", "AutoProcessor", "AutoImageProcessor")
        auto_map = dict.fromkeys(names, "modeling.Evil") | {"AutoTokenizer": ["modeling.Evil"] * 2}
        for name in ("config", "processor_config", "tokenizer_config"):
            edit(folder / f"{name}.json", auto_map=auto_map)
        edit(folder / "tokenizer_config.json", tokenizer_class="Evil")
        monkeypatch.setattr(weights, "check_folder", str)
    monkeypatch.setattr("builtins.input", lambda _: "y")
    with suppress(CaptionerError) if is_named else nullcontext():
        _blip2.load(resolve(str(folder)))
    assert not trap.is_sprung


def test_captions_of_published_checkpoints_end_with_their_own_token(parts):
    model, processor = parts
    newline = processor.tokenizer("\n", add_special_tokens=False)["input_ids"]
    assert _blip2.end_tokens(model) == newline


def test_the_backend_is_found_without_ray():
    assert blip2.BACKEND.prompt == "a photo of"
    assert "ray" not in vars(sys.modules["scf_pipeline.captioners._blip2"])


def test_a_checkpoint_is_found_and_hashed_without_torch(folder):
    code = (
        "import sys\nfrom scf_pipeline.captioners import blip2, find\n"
        "model = find(sys.argv[1])\nblip2.BACKEND.describe(model)\n"
        "print(model.revision, {'torch', 'transformers', 'accelerate'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == f"{resolve(str(folder)).revision} set()"
