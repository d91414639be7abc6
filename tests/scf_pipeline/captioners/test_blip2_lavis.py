"""LAVIS in a process of its own: what is said when it fails, and that it says what ours says.

Tests that need LAVIS are skipped where `make lavis-env` did not build its environment.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from lavis_cases import GREEDY, write_small_blip2
from safetensors.torch import load_file, save_file

from ifas_model import plugins
from scf_pipeline import captioners
from scf_pipeline.captioners import _blip2, _lavis_child, blip2, blip2_lavis, find
from scf_pipeline.captioners._instructions import Decoding, Instructions, write_instructions
from scf_pipeline.captioners._lavis_convert import convert
from scf_pipeline.captioners._seeing import see
from scf_pipeline.captioners.blip2_lavis import Child, environment, load
from scf_pipeline.errors import CaptionerError

CASES = Path(__file__).parents[2] / "cases"
PYTHON = environment() / "bin" / "python"


def needs_lavis(test):
    """Skip a test where there is no LAVIS; importing it takes its time on a busy machine."""
    reason = f"there is no LAVIS in {environment()}: run `make lavis-env`"
    return pytest.mark.timeout(1200)(pytest.mark.skipif(not PYTHON.is_file(), reason=reason)(test))


BEAMS = Decoding(num_beams=3, min_new_tokens=2, max_new_tokens=12)
SAMPLED = Decoding(num_beams=1, min_new_tokens=0, max_new_tokens=12, temperature=0.7, top_p=0.95)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """In transformers' layout."""
    return write_small_blip2(tmp_path_factory.mktemp("checkpoint") / "transformers")


@pytest.fixture(scope="module")
def converted(checkpoint: Path) -> Path:
    """The same in LAVIS's."""
    return convert(str(checkpoint), checkpoint.with_name("lavis"))


@pytest.fixture
def pictures():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (40, 33, 3), dtype=np.uint8) for _ in range(8)]


ANSWERS = """
import json, os, signal, struct, sys, time
def receive():
    size = struct.unpack("<I", sys.stdin.buffer.read(4))[0]
    return json.loads(sys.stdin.buffer.read(size))
def send(text):
    sys.stdout.buffer.write(struct.pack("<I", len(text)) + text)
    sys.stdout.buffer.flush()
"""


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch):
    """Let a few lines of Python stand where LAVIS's interpreter would."""

    def build(lines: str) -> Path:
        program = tmp_path / "program.py"
        program.write_text(ANSWERS + lines)
        python = tmp_path / "environment" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{program}"\n')
        python.chmod(0o755)
        monkeypatch.setenv("SCF_LAVIS", str(python.parents[1]))
        return python

    return build


def ask(python: Path, patience_s: float = 60.0):
    return Child(python, Path("folder")).ask({"a": 1}, patience_s=patience_s)


def test_the_backend_is_found_by_its_name(converted):
    model = find(f"blip2_lavis:{converted}")
    backend = plugins.load(captioners, "BACKEND", model.backend)
    assert backend is blip2_lavis.BACKEND
    assert backend.describe(model)["prompt"] == backend.prompt == "a photo of"
    assert backend.describe(model)["decoding"]["num_beams"] == 1
    assert set(backend.describe(model)["lavis"]) == {"salesforce-lavis", "torch", "transformers"}


def test_a_missing_environment_is_said_with_the_command_that_builds_it(
    converted, tmp_path, monkeypatch
):
    monkeypatch.setenv("SCF_LAVIS", str(tmp_path / "nowhere"))
    with pytest.raises(CaptionerError) as caught:
        load(find(f"blip2_lavis:{converted}"))
    assert caught.value.what == "LAVIS must have an environment of its own, but there is none."
    assert caught.value.where == str(tmp_path / "nowhere")
    assert "make lavis-env" in caught.value.fix
    assert "SCF_LAVIS" in caught.value.fix


def test_without_the_variable_the_environment_is_that_of_the_repository(monkeypatch):
    monkeypatch.delenv("SCF_LAVIS", raising=False)
    assert environment() == Path(__file__).parents[3] / ".venv-lavis"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("print('no torch here', file=sys.stderr); sys.exit(3)", "ended with status 3; its last"),
        ("print('no torch here', file=sys.stderr); sys.exit(3)", "words: no torch here"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "died of SIGKILL"),
        ("receive(); send(b'{')", "said what is no answer"),
        ("receive(); send(b'[1]')", "said what is no answer"),
        ("sys.stdout.write('Loading weights'); sys.stdout.flush()", "said what is no answer"),
        ("receive(); send(b'{}'[:1] * 9); time.sleep(60)", "said what is no answer"),
        ("receive(); sys.stdout.buffer.write(b'abc'); sys.stdout.flush()", "ended with status 0"),
    ],
)
def test_a_process_that_dies_or_babbles_is_told_of_and_ended(pretend, lines, told):
    python = pretend(lines)
    with pytest.raises(CaptionerError) as caught:
        ask(python)
    assert told in caught.value.what
    assert caught.value.where == f"folder in {python.parents[1]}"
    assert "make lavis-env" in caught.value.fix


def test_a_process_that_falls_silent_is_not_waited_for_for_ever(pretend):
    child = Child(pretend("receive(); time.sleep(600)"), Path("folder"))
    begun = time.monotonic()
    with pytest.raises(CaptionerError, match=r"took more than 0\.5 s"):
        child.ask({}, patience_s=0.5)
    assert child.process.returncode is not None
    assert time.monotonic() - begun < 300
    with pytest.raises(CaptionerError, match="ended after a failure"):
        child.ask({}, patience_s=60)


def test_the_process_ends_with_the_captioner(pretend):
    child = Child(pretend("receive(); send(b'{}'); time.sleep(600)"), Path("folder"))
    assert child.ask({}, patience_s=60) == {}
    process = child.process
    del child
    assert process.returncode is not None


SPEAKS = """
first = receive()
assert len(first["values"]) == 3 and len(first["values"][0]) == 256
send(json.dumps({"prompt_ids": %s}).encode())
while True:
    request = receive()
    shape = request["shape"]
    data = sys.stdin.buffer.read(shape[0] * shape[1] * shape[2] * shape[3])
    assert shape[1:] == [3, 32, 32]
    texts = [f"a photo of {seed}  {request['repetition_penalty']}." for seed in request["seeds"]]
    %s
    send(json.dumps({"captions": [
        {"text": text, "num_tokens": 3, "mean_log_probability": -0.5} for text in texts
    ]}).encode())
"""


@pytest.fixture
def prompt_ids(checkpoint):
    from transformers import Blip2Processor

    return Blip2Processor.from_pretrained(checkpoint, backend="pil").tokenizer("a photo of")[
        "input_ids"
    ]


def said(speaker, pictures, seeds, **options):
    return speaker.caption([speaker.prepare(picture) for picture in pictures], seeds, **options)


def test_captions_are_tidied_and_the_second_try_insists(pretend, converted, pictures, prompt_ids):
    pretend(SPEAKS % (prompt_ids, "pass"))
    speaker = load(find(f"blip2_lavis:{converted}"))
    assert speaker.caption([], []) == []
    first = said(speaker, pictures[:2], [4, 2**64 - 1])
    assert [caption.text for caption in first] == ["4 1.0", f"{2**64 - 1} 1.0"]
    assert (first[0].num_tokens, first[0].mean_log_probability) == (3, -0.5)
    assert [one.text for one in said(speaker, pictures[:1], [4], insist=True)] == ["5 1.2"]


def test_a_lack_of_memory_there_is_one_here_and_the_next_batch_may_come(
    pretend, converted, pictures, prompt_ids
):
    lines = (
        "if len(texts) > 1:\n        send(json.dumps({'memory': 'CUDA out of memory'}).encode())\n"
        "        continue"
    )
    pretend(SPEAKS % (prompt_ids, lines))
    speaker = load(find(f"blip2_lavis:{converted}"))
    with pytest.raises(MemoryError, match="CUDA out of memory"):
        said(speaker, pictures[:2], [0, 1])
    assert len(said(speaker, pictures[:1], [0])) == 1


def test_a_process_that_dies_at_a_batch_is_told_of(pretend, converted, pictures, prompt_ids):
    pretend(SPEAKS % (prompt_ids, "os.kill(os.getpid(), signal.SIGKILL)"))
    speaker = load(find(f"blip2_lavis:{converted}"))
    with pytest.raises(CaptionerError, match="died of SIGKILL") as caught:
        said(speaker, pictures[:1], [0])
    assert "more memory" in caught.value.fix


def test_a_prompt_that_lavis_reads_otherwise_is_refused(pretend, converted):
    pretend(SPEAKS % ([2, 9], "pass"))
    with pytest.raises(CaptionerError, match=r"the same tokens .* and \[2, 9\]"):
        load(find(f"blip2_lavis:{converted}"))


def test_what_lavis_cannot_load_is_told_in_its_words(pretend, converted):
    pretend("receive(); send(json.dumps({'failure': 'ValueError: lacks a weight'}).encode())")
    with pytest.raises(CaptionerError, match="cannot: ValueError: lacks a weight"):
        load(find(f"blip2_lavis:{converted}"))


def test_a_folder_that_changed_since_it_was_named_is_refused(pretend, checkpoint, tmp_path):
    pretend("")
    model = find(f"blip2_lavis:{convert(str(checkpoint), tmp_path / 'edited')}")
    write_instructions(tmp_path / "edited", Instructions(prompt="a picture of"))
    with pytest.raises(CaptionerError, match="was edited or damaged"):
        load(model)


def test_a_folder_without_its_tokenizer_is_refused(pretend, checkpoint, tmp_path):
    pretend("")
    folder = convert(str(checkpoint), tmp_path / "broken")
    (folder / "transformers" / "tokenizer.json").unlink()
    with pytest.raises(CaptionerError, match="must hold tokenizer and image processor"):
        load(find(f"blip2_lavis:{folder}"))


# From here on LAVIS itself.


@pytest.fixture(scope="module")
def parity(checkpoint, converted, tmp_path_factory):
    """What each module makes of the same input, in transformers and in LAVIS."""
    folder = tmp_path_factory.mktemp("parity")
    model = _blip2.load_parts(find(str(checkpoint)), dtype=torch.float32)[0]
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(8, 3, 32, 32, generator=generator)
    ids = torch.randint(2, 100, (8, 9), generator=generator)
    with torch.inference_mode():
        ours = {"seen": see(model, pixels)}
        queries = model.query_tokens.expand(8, -1, -1)
        ours["answers"] = model.qformer(
            query_embeds=queries, encoder_hidden_states=ours["seen"]
        ).last_hidden_state
        ours["projected"] = model.language_projection(ours["answers"])
        words = model.get_input_embeddings()(ids)
        embeddings = torch.cat([ours["projected"], words], dim=1)
        ours["logits"] = model.language_model(inputs_embeds=embeddings).logits
    given, out = folder / "given.npz", folder / "found.npz"
    np.savez(given, pixels=pixels.numpy(), ids=ids.numpy(), seen=ours["seen"].numpy())
    subprocess.run(
        [PYTHON, "-I", CASES / "lavis_parity.py", _lavis_child.__file__, converted, given, out],
        check=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    with np.load(out) as arrays:
        return {name: array.numpy() for name, array in ours.items()}, dict(arrays)


@needs_lavis
@pytest.mark.parametrize("part", ["seen", "answers", "projected", "logits"])
def test_the_same_weights_compute_the_same_in_both(parity, part, capsys):
    ours, theirs = parity
    assert ours[part].shape == theirs[part].shape
    scale = np.abs(ours[part]).max()
    difference = np.abs(ours[part] - theirs[part]).max()
    with capsys.disabled():
        sys.stdout.write(f"\nLAVIS, {part}: {difference:.1e} from transformers' {scale:.2f}\n")
    assert ours[part].std() > 0.1  # else anything would be near
    assert difference < 1e-4 * scale


@needs_lavis
def test_lavis_has_a_place_for_every_weight_and_asks_for_no_other(parity, converted):
    _, theirs = parity
    assert theirs["names"].tolist() == sorted(load_file(converted / "model.safetensors"))


@needs_lavis
@pytest.mark.parametrize(
    "decoding",
    [
        pytest.param(GREEDY, id="greedy"),
        pytest.param(BEAMS, id="beams", marks=pytest.mark.slow),
        pytest.param(SAMPLED, id="sampled", marks=pytest.mark.slow),
    ],
)
def test_lavis_says_what_ours_says_in_any_batch(checkpoint, converted, pictures, decoding):
    write_instructions(checkpoint, Instructions(decoding=decoding))
    write_instructions(converted, Instructions(decoding=decoding))
    theirs = load(find(f"blip2_lavis:{converted}"))
    seeds = list(range(len(pictures)))
    together = said(theirs, pictures, seeds)
    assert len({caption.text for caption in together}) > 1
    assert all(caption.num_tokens <= decoding.max_new_tokens for caption in together)
    alone = [said(theirs, [p], [s])[0] for p, s in zip(pictures, seeds, strict=True)]
    assert [one.text for one in alone] == [one.text for one in together]
    if decoding.temperature is None:
        ours = said(blip2.load(find(str(checkpoint))), pictures, seeds)
        assert [one.text for one in together] == [one.text for one in ours]
        assert [one.num_tokens for one in together] == [one.num_tokens for one in ours]
        assert [one.mean_log_probability for one in together] == pytest.approx(
            [one.mean_log_probability for one in ours], abs=1e-4
        )


@needs_lavis
@pytest.mark.slow
@pytest.mark.parametrize("change", ["lacks", "strange"])
def test_weights_that_are_not_lavis_s_are_refused(checkpoint, tmp_path, change):
    folder = convert(str(checkpoint), tmp_path / "broken")
    weights = load_file(folder / "model.safetensors")
    if change == "lacks":
        del weights["opt_proj.bias"]
    else:
        weights["opt_proj.strange"] = torch.ones(1)
    save_file(weights, folder / "model.safetensors")
    told = {"lacks": "lacks the weight 'opt_proj.bias'", "strange": "no place for the weight"}
    with pytest.raises(CaptionerError, match=told[change]):
        load(find(f"blip2_lavis:{folder}"))
