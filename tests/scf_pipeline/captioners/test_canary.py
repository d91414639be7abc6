"""The canary: captions of fixed pictures, which a library's upgrade must not change unseen.

Weights and pictures are hashes of names, so that no random generator has a say in them. The small
model says nothing sensible; but what it says hangs on every pixel, as its captions differ, and on
no last bit, as they stand when every weight is moved.
"""

import hashlib
import json
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from scf_pipeline.captioners import _blip2
from scf_pipeline.captioners._checkpoint import resolve
from scf_pipeline.captioners._instructions import Decoding, Instructions
from scf_pipeline.captioners._pictures import encode_png
from scf_pipeline.miniature.models import Blip2Sizes, build_blip2
from scf_pipeline.miniature.tokenizer import learn_opt_tokenizer
from scf_pipeline.provenance import packages
from scf_pipeline.schema import FACE_SCHEMA
from scf_pipeline.stages.caption import CaptionConfig, caption_faces

GOLDEN = Path(__file__).parents[2] / "golden/captions.json"
NUM_PICTURES, BATCH_SIZES = 32, (1, 8, 32)
DECODINGS = {
    "greedy": Decoding(num_beams=1, min_new_tokens=2, max_new_tokens=8),
    "beams": Decoding(num_beams=3, min_new_tokens=2, max_new_tokens=8),
    "sampled": Decoding(
        num_beams=1, min_new_tokens=0, max_new_tokens=8, temperature=0.7, top_p=0.95
    ),
}
SIZES = Blip2Sizes(
    image_px=32, dim=32, vision_layers=1, qformer_layers=1, language_layers=1, queries=4, heads=2
)
TEXTS = (
    "a photo of a man with red hair in front of a wall",
    "a woman wearing a blue shirt and glasses",
    "a sheet of paper on a tablet near the window",
    "one green mask over two old faces\n",
)
GAIN = 1.5
"""Of the matrices: large enough for captions to differ from picture to picture."""

END = 0.05
"""Of the row that ends a caption: large enough for some to end early."""

MOVE = 1e-4
"""By what share of itself each weight is moved: some hundred times what CPUs differ by."""


def noise(name: str, like: torch.Tensor) -> torch.Tensor:
    """Return numbers in [-1, 1) that depend on a name alone."""
    raw = hashlib.shake_256(name.encode()).digest(4 * like.numel())
    values = np.frombuffer(raw, "<u4").astype(np.float64) / 2**31 - 1
    return torch.from_numpy(values).view_as(like).float()


@torch.no_grad()
def build():
    """Return a small BLIP-2 whose weights are hashes of their names, and which speaks in words."""
    model, processor = build_blip2(learn_opt_tokenizer(TEXTS), SIZES, seed=0)
    for name, weight in model.named_parameters():
        if name.split(".")[-1] in ("query_tokens", "class_embedding", "position_embedding"):
            weight.copy_(noise(name, weight))
        elif weight.ndim > 1:
            weight.copy_(GAIN * (3 / weight[0].numel()) ** 0.5 * noise(name, weight))
        else:
            weight.fill_(float(name.endswith("weight")))
    # The last norm points to where words and the end of a caption lie, away from pieces of words.
    model.language_model.model.decoder.final_layer_norm.bias.fill_(1)
    words = model.language_model.get_input_embeddings().weight
    for text, number in processor.tokenizer.get_vocab().items():
        if text == "Ċ":
            words[number] += END
        elif not (text.startswith("Ġ") and len(text) > 2):
            words[number] = -0.5
    return model.eval(), processor


def face(number: int) -> dict:
    """Return a face of 6 x 6 coloured squares."""
    raw = hashlib.shake_256(f"picture {number}".encode()).digest(6 * 6 * 3)
    squares = np.frombuffer(raw, np.uint8).reshape(6, 6, 3)
    return dict.fromkeys(FACE_SCHEMA.names) | {
        "face_id": f"canary/{number}#0",
        "sample_id": f"canary/{number}",
        "dataset": "canary",
        "split": "test",
        "label": "bona_fide",
        "native_label": "x",
        "frame": 0,
        "image": encode_png(squares.repeat(8, axis=0).repeat(8, axis=1)),
        "sha256": "0",
    }


FACES = pa.Table.from_pylist([face(number) for number in range(NUM_PICTURES)], schema=FACE_SCHEMA)


def say(model, processor, decoding: Decoding, batch_size: int = NUM_PICTURES) -> list[dict]:
    """Caption the faces as the stage does."""
    captioner = _blip2.Blip2Captioner(model, processor, Instructions(decoding=decoding))
    config = CaptionConfig(batch_size=batch_size)
    table = caption_faces(FACES, captioner=captioner, name="canary", config=config)
    return table.select(["caption", "num_tokens", "mean_log_probability"]).to_pylist()


@pytest.fixture(scope="module")
def speak(tmp_path_factory):
    """Return a function that captions the faces, from weights that were saved and loaded."""
    folder = tmp_path_factory.mktemp("canary")
    _blip2.save_parts(folder, *build(), Instructions())
    loaded = _blip2.load_parts(resolve(str(folder)), dtype=torch.float32)
    return partial(say, *loaded[:2])


def rounded(rows: list[dict]) -> list[dict]:
    return [row | {"mean_log_probability": round(row["mean_log_probability"], 3)} for row in rows]


def differences(found: dict, golden: dict) -> list[str]:
    return [
        f"{name}, picture {number}: {before['caption']!r} ({before['num_tokens']} tokens, "
        f"{before['mean_log_probability']}) became {now['caption']!r} ({now['num_tokens']} "
        f"tokens, {now['mean_log_probability']:.4f})"
        for name in DECODINGS
        for number, (now, before) in enumerate(zip(found[name], golden[name], strict=True))
        if (now["caption"], now["num_tokens"]) != (before["caption"], before["num_tokens"])
        or abs(now["mean_log_probability"] - before["mean_log_probability"]) > 2e-3
    ]


def test_captions_are_those_of_the_golden_file(speak, request) -> None:
    found = {name: speak(decoding) for name, decoding in DECODINGS.items()}
    if request.config.getoption("--update-golden"):
        told = {name: rounded(rows) for name, rows in found.items()} | {"packages": packages()}
        text = json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False)
        GOLDEN.write_text(text + "\n", "utf-8")
    golden = json.loads(GOLDEN.read_bytes())
    if changed := differences(found, golden):
        then, now = golden["packages"], packages()
        others = [
            f"{name} {then.get(name)} -> {now[name]}" for name in now if now[name] != then.get(name)
        ]
        pytest.fail(
            f"{len(changed)} captions of the canary changed, though the settings did not:\n  "
            + "\n  ".join(changed[:10])
            + f"\nOther packages than the golden file's: {', '.join(others) or 'none'}.\n"
            "The same settings would now caption real faces in another way. If that is meant: "
            "raise `CaptionConfig.version`, run this file with --update-golden, and read the diff.",
            pytrace=False,
        )


@pytest.mark.parametrize("decoding", DECODINGS)
def test_captions_do_not_depend_on_the_size_of_the_batch(speak, decoding: str) -> None:
    first, *others = [speak(DECODINGS[decoding], size) for size in BATCH_SIZES]
    for rows in others:
        for name in ("caption", "num_tokens"):
            assert [row[name] for row in rows] == [row[name] for row in first]
        assert [row["mean_log_probability"] for row in rows] == pytest.approx(
            [row["mean_log_probability"] for row in first], abs=1e-4
        )


@pytest.mark.parametrize("decoding", DECODINGS)
def test_the_canary_says_something_else_of_nearly_every_picture(speak, decoding: str) -> None:
    captions = [row["caption"] for row in speak(DECODINGS[decoding])]
    assert len(set(captions)) > 0.8 * NUM_PICTURES
    assert all(caption.isascii() and caption.isprintable() for caption in captions)
    assert len({word for caption in captions for word in caption.split()}) > 10
    assert len({len(caption.split()) for caption in captions}) > 2


@pytest.mark.parametrize("decoding", DECODINGS)
def test_no_caption_of_the_canary_hangs_on_a_last_bit(speak, decoding: str) -> None:
    """Else another CPU would say something else, and nobody would know why."""
    model, processor = build()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.mul_(1 + MOVE * noise(f"{name} moved", weight))
    moved = say(model, processor, DECODINGS[decoding])
    settled = speak(DECODINGS[decoding])
    assert [row["caption"] for row in moved] == [row["caption"] for row in settled]
    assert moved != settled
