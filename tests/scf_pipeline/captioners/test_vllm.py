"""What can be told of vLLM without it: the requests, the answers, and when it is refused."""

import base64
import importlib.util
import io
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from scf_pipeline.captioners import Caption, find, vllm
from scf_pipeline.captioners._instructions import Decoding, Instructions
from scf_pipeline.errors import CaptionerError

SAMPLED = Decoding(num_beams=1, min_new_tokens=2, max_new_tokens=9, temperature=0.7, top_p=0.9)
GREEDY = Decoding(num_beams=1, min_new_tokens=2, max_new_tokens=9, repetition_penalty=1.1)
REVISION = "0123456789abcdef0123456789abcdef01234567"
is_here = importlib.util.find_spec("vllm") is not None


def answer(text, log_probabilities, finish_reason):
    """What `vllm.LLM.chat` returns of one picture, by its manual."""
    steps = [{n: SimpleNamespace(logprob=p), 999: None} for n, p in enumerate(log_probabilities)]
    return SimpleNamespace(
        text=text, token_ids=list(range(len(steps))), logprobs=steps, finish_reason=finish_reason
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2_vl"}))
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    return tmp_path


@pytest.fixture
def installed(monkeypatch):
    """As if the package were there; nothing is loaded."""
    monkeypatch.setattr(vllm, "find_spec", lambda _: object())


@pytest.mark.skipif(is_here, reason="vLLM is installed, so nothing is refused")
def test_where_vllm_is_not_installed_it_is_refused_with_two_ways_out(folder):
    with pytest.raises(CaptionerError, match="vLLM must be installed") as caught:
        find(f"vllm:{folder}")
    assert caught.value.where == f"vllm:{folder}"
    assert "`pip install vllm`" in caught.value.fix
    assert f"`image_text_to_text:{folder}`" in caught.value.fix


def test_a_checkpoint_of_any_kind_is_named_by_its_content(folder, installed):
    model = find(f"vllm:{folder}")
    assert (model.backend, model.location) == ("vllm", str(folder))
    assert find(f"vllm:owner/name@{REVISION}").name == f"vllm@{REVISION}"
    assert vllm.BACKEND.describe(model)["decoding"]["num_beams"] == 1


def test_beams_are_refused_before_anything_is_loaded(folder, installed):
    (folder / "captioner.json").write_text(json.dumps({"decoding": {"num_beams": 5}}))
    with pytest.raises(CaptionerError, match=r"`decoding\.num_beams` must be 1, but is 5") as error:
        find(f"vllm:{folder}")
    assert error.value.where == str(folder)


def test_a_request_is_plain_data_that_holds_the_very_pixels():
    picture = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    said = json.loads(json.dumps(vllm.turn("Who is it?", picture)))
    image, words = said[0]["content"]
    assert (said[0]["role"], len(said), words) == (
        "user",
        1,
        {"type": "text", "text": "Who is it?"},
    )
    head, _, data = image["image_url"]["url"].partition(",")
    assert (image["type"], head) == ("image_url", "data:image/png;base64")
    seen = Image.open(io.BytesIO(base64.b64decode(data)), formats=["PNG"])
    assert np.array_equal(np.asarray(seen), picture)


def test_decoding_is_what_the_checkpoint_says():
    drawn = vllm.options(SAMPLED, 5, insist=False)
    assert drawn == {
        "temperature": 0.7, "top_p": 0.9, "min_tokens": 2, "max_tokens": 9,
        "repetition_penalty": 1.0, "seed": 5, "logprobs": 1,
    }  # fmt: skip
    best = vllm.options(GREEDY, 5, insist=False)
    assert (best["temperature"], best["repetition_penalty"]) == (0.0, 1.1)


def test_insisting_draws_anew_and_penalizes_repetition():
    first, second = (vllm.options(SAMPLED, 5, insist=insist) for insist in (False, True))
    assert first["seed"] != second["seed"]
    assert second["repetition_penalty"] == 1.2


def test_every_seed_of_ours_is_one_of_vllms():
    found = [vllm.options(SAMPLED, seed, insist=False)["seed"] for seed in (0, 2**63, 2**64 - 1)]
    assert all(0 <= seed < 2**63 for seed in found)


def test_an_answer_is_counted_and_judged_without_its_end():
    found = vllm.read_answer(answer(" A man. ", [-1.0, -2.0, -9.0], "stop"), "Who is it?")
    assert found == Caption(text="A man", num_tokens=2, mean_log_probability=-1.5)
    cut = vllm.read_answer(answer("A man in a", [-1.0, -2.0, -3.0], "length"), "Who is it?")
    assert (cut.num_tokens, cut.mean_log_probability) == (3, -2.0)
    assert vllm.read_answer(answer("", [-1.0], "stop"), "").num_tokens == 0


def test_captions_come_in_the_order_of_the_pictures():
    asked = []

    class Engine:
        def chat(self, turns, sampling, *, use_tqdm):
            assert not use_tqdm
            asked.extend(zip(turns, sampling, strict=True))
            return [
                SimpleNamespace(outputs=[answer(f"seed {one['seed']}", [-1.0], "length")])
                for one in sampling
            ]

    told = Instructions(prompt="Who is it?", decoding=SAMPLED)
    captioner = vllm.VllmCaptioner(Engine(), dict, told)
    pictures = [captioner.prepare(np.full((4, 4, 3), n, dtype=np.uint8)) for n in range(3)]
    found = captioner.caption(pictures, [8, 6, 7])
    assert [caption.text for caption in found] == ["seed 8", "seed 6", "seed 7"]
    assert [one for one, _ in asked] == [vllm.turn("Who is it?", picture) for picture in pictures]
    assert captioner.caption([], []) == []


def test_finding_it_loads_neither_torch_nor_vllm():
    code = (
        "import sys\nfrom scf_pipeline.captioners import find\nfrom scf_pipeline.errors import "
        "CaptionerError\ntry:\n    find('vllm:owner/name@v1')\nexcept CaptionerError:\n    pass\n"
        "print({'torch', 'vllm', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
