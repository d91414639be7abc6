"""Any image-to-text model, shown with Idefics3, the architecture of SmolVLM, at toy size.

Its weights are random: the path is shown, and that what is said depends on what is seen.
"""

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
)
from typer.testing import CliRunner

from scf_pipeline import cli
from scf_pipeline.captioners import find, image_text_to_text
from scf_pipeline.captioners._instructions import Decoding, Instructions, write_instructions
from scf_pipeline.captioners._pictures import encode_png
from scf_pipeline.errors import CaptionerError
from scf_pipeline.miniature.tokenizer import learn_opt_tokenizer
from scf_pipeline.schema import CAPTION_SCHEMA, FACE_SCHEMA
from scf_pipeline.settings import Settings
from scf_pipeline.store import Artifact, ArtifactWriter

GREEDY = Decoding(num_beams=1, min_new_tokens=2, max_new_tokens=8)
BEAMS = Decoding(num_beams=3, min_new_tokens=2, max_new_tokens=8)
SAMPLED = Decoding(num_beams=1, min_new_tokens=0, max_new_tokens=8, temperature=0.7, top_p=0.95)
DECODINGS = {"greedy": GREEDY, "beams": BEAMS, "sampled": SAMPLED}
TEXTS = ["User: Describe what you see in one sentence. Assistant: a man in a red shirt\n"]
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | capitalize }}: "
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""As the one that SmolVLM's processor brings."""


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A checkpoint as it is published: no captioner.json, and sampling of its own in mind."""
    tokenizer = learn_opt_tokenizer(TEXTS)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<row_1_col_1>", "<global-img>"]})
    side = {"longest_edge": 32}
    pixels = Idefics3ImageProcessorPil(size=side, max_image_size=side, do_image_splitting=False)
    processor = Idefics3Processor(pixels, tokenizer, image_seq_len=4, chat_template=TEMPLATE)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    sizes["num_attention_heads"] = 2
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "pad")}
    config = Idefics3Config(
        vision_config={**sizes, "image_size": 32, "patch_size": 8},
        text_config={
            **sizes,
            **ids,
            "model_type": "llama",
            "num_key_value_heads": 2,
            "vocab_size": len(tokenizer),
            "eos_token_id": tokenizer.convert_tokens_to_ids("<end_of_utterance>"),
        },
        scale_factor=2,
        image_token_id=processor.image_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    model = Idefics3ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8)
    folder = tmp_path_factory.mktemp("plain")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    edit(folder / "generation_config.json", do_sample=True, temperature=0.01, top_k=1, max_length=9)
    return folder


@pytest.fixture
def folder(plain, tmp_path):
    return shutil.copytree(plain, tmp_path / "checkpoint")


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (40, 40, 3), dtype=np.uint8) for _ in range(5)]


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def load(folder, decoding=None):
    if decoding is not None:
        write_instructions(
            folder, Instructions(prompt=image_text_to_text.INSTRUCTIONS.prompt, decoding=decoding)
        )
    model = find(f"image_text_to_text:{folder}")
    return image_text_to_text.BACKEND.load(model)


def texts(captions):
    return [caption.text for caption in captions]


@pytest.mark.parametrize("decoding", DECODINGS.values(), ids=DECODINGS)
def test_a_batch_of_one_and_of_many_give_the_same_captions(folder, pictures, decoding):
    captioner = load(folder, decoding)
    seeds = [3, 1, 4, 2**64 - 1, 5]
    together = captioner.caption(pictures, seeds)
    alone = [
        captioner.caption([picture], [seed])[0]
        for picture, seed in zip(pictures, seeds, strict=True)
    ]
    assert len(set(texts(together))) > 1
    assert texts(together) == texts(alone)
    assert [c.num_tokens for c in together] == [c.num_tokens for c in alone]
    assert [c.mean_log_probability for c in together] == pytest.approx(
        [c.mean_log_probability for c in alone], abs=1e-4
    )


@pytest.mark.parametrize("decoding", DECODINGS.values(), ids=DECODINGS)
def test_log_probabilities_are_the_plain_models_own(folder, pictures, decoding):
    """A second writing: one teacher-forced pass over what was written."""
    captioner = load(folder, decoding)
    found = captioner.caption(pictures[:1], [7], insist=True)[0]
    seen = {}
    write = captioner.model.generate

    def watch(**options):
        seen["out"] = write(**options)
        return seen["out"]

    captioner.model.generate = watch
    assert captioner.caption(pictures[:1], [7], insist=True)[0] == found
    captioner.model.generate = write
    prompt = captioner.instructions.prompt
    inputs = image_text_to_text.ask(captioner.processor, prompt, pictures[:1])
    start = inputs["input_ids"].shape[1]
    ids = seen["out"].sequences[:, : start + found.num_tokens]
    inputs["input_ids"], inputs["attention_mask"] = ids, torch.ones_like(ids)
    with torch.inference_mode():
        plain = captioner.model(**inputs).logits.log_softmax(-1)
    steps = [float(plain[0, at - 1, ids[0, at]]) for at in range(start, ids.shape[1])]
    assert found.mean_log_probability == pytest.approx(np.mean(steps), abs=1e-3)


def test_a_sampled_caption_depends_on_its_seed_and_insisting_draws_anew(folder, pictures):
    captioner = load(folder, SAMPLED)
    first = texts(captioner.caption([pictures[0]] * 3, [1, 2, 1]))
    assert first[0] == first[2] != first[1]
    again = texts(captioner.caption([pictures[0]] * 3, [1, 2, 1], insist=True))
    assert again != first


def test_the_folder_says_how_to_decode_and_not_its_generation_config(folder, pictures):
    captioner = load(folder, GREEDY)
    told = captioner.model.generation_config
    assert (told.do_sample, told.temperature, told.max_length) == (None, None, None)
    assert told.eos_token_id == captioner.end_tokens
    longest = max(c.num_tokens for c in captioner.caption(pictures, range(5)))
    assert 2 <= longest <= 8
    assert captioner.caption(pictures, range(5)) == captioner.caption(pictures, range(5, 10))


def test_a_folder_without_instructions_is_asked_in_the_backends_own_words(folder):
    model = find(f"image_text_to_text:{folder}")
    told = image_text_to_text.BACKEND.describe(model)
    assert told["prompt"] == image_text_to_text.BACKEND.prompt
    assert (told["decoding"]["num_beams"], told["decoding"]["max_new_tokens"]) == (1, 64)
    assert load(folder).instructions == image_text_to_text.INSTRUCTIONS


def test_the_prompt_is_a_users_turn_beside_the_picture(folder, pictures):
    captioner = load(folder)
    inputs = image_text_to_text.ask(captioner.processor, "Who is it?", pictures[:2])
    told = captioner.processor.tokenizer.batch_decode(inputs["input_ids"])
    image = "<fake_token_around_image><global-img>" + "<image>" * 4 + "<fake_token_around_image>"
    assert [text.removeprefix("</s>") for text in told] == [
        f"User: {image}Who is it?<end_of_utterance>\nAssistant:"
    ] * 2


def test_a_prompt_that_leaves_the_picture_out_is_refused_with_the_way_out(folder):
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(CaptionerError, match="must look at its picture, but does not: ") as caught:
        load(folder)
    assert "`<image>`, into the prompt" in caught.value.fix


def test_a_model_to_which_all_pictures_are_the_same_is_refused(folder):
    weights = load_file(folder / "model.safetensors")
    weights["model.connector.modality_projection.proj.weight"].zero_()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CaptionerError, match="a black and a white one are the same to it"):
        load(folder)


def test_without_a_template_the_prompt_stands_as_it_is(folder, pictures):
    (folder / "chat_template.jinja").unlink()
    write_instructions(folder, Instructions(prompt="<image>a", decoding=GREEDY))
    captioner = image_text_to_text.load(find(f"image_text_to_text:{folder}"))
    assert len(set(texts(captioner.caption(pictures, range(5))))) > 1


@pytest.mark.parametrize(
    "name", ["config.json", "chat_template.jinja", "model.safetensors", "tokenizer.json"]
)
def test_another_content_of_a_file_that_is_read_is_another_model(folder, name):
    before = find(f"image_text_to_text:{folder}")
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    after = find(f"image_text_to_text:{folder}")
    assert before.backend == after.backend == "image_text_to_text"
    assert before.revision != after.revision


def test_pickled_weights_are_refused(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CaptionerError, match="weights as safetensors") as caught:
        find(f"image_text_to_text:{folder}")
    assert "`from_pretrained` and `save_pretrained`" in caught.value.fix


def test_code_in_a_folder_is_never_run(folder, trap):
    (folder / "modeling.py").write_text(trap.source)
    load(folder)
    edit(folder / "config.json", auto_map={"AutoModelForImageTextToText": "modeling.Evil"})
    with pytest.raises(CaptionerError, match="code of its own"):
        load(folder)
    assert not trap.is_sprung


def test_a_folder_of_a_model_that_says_nothing_of_pictures_is_refused(folder):
    edit(folder / "config.json", model_type="opt")
    with pytest.raises(CaptionerError, match="must be a sound image-to-text checkpoint"):
        load(folder)


def test_a_checkpoint_that_lacks_a_weight_is_refused(folder):
    weights = load_file(folder / "model.safetensors")
    weights.pop("model.connector.modality_projection.proj.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CaptionerError, match=r"lacks 'model\.connector"):
        load(folder)


def test_the_default_backend_tells_of_this_one(folder):
    with pytest.raises(CaptionerError, match="but has 'idefics3'") as caught:
        find(str(folder))
    assert "`image_text_to_text:`" in caught.value.fix


def test_a_pinned_hub_id_is_of_this_backend():
    model = find("image_text_to_text:owner/name@v1.0")
    assert model.name == "image_text_to_text@v1.0"


def test_scf_caption_runs_it_from_end_to_end(folder, pictures, tmp_path):
    writer = ArtifactWriter(tmp_path / "faces", FACE_SCHEMA, settings=Settings("crop", 1, {}, {}))
    rows = [
        dict.fromkeys(FACE_SCHEMA.names)
        | {"face_id": f"siw/{n}#0", "sample_id": f"siw/{n}", "dataset": "siw", "split": "train"}
        | {"label": "attack", "pai_species": "print", "fine_type": "x", "native_label": "x"}
        | {"frame": 0, "box": [0, 0, 40, 40], "box_source": "whole_frame", "sha256": "0" * 64}
        | {"image": encode_png(picture)}
        for n, picture in enumerate(pictures)
    ]
    writer.write(0, pa.Table.from_pylist(rows, schema=FACE_SCHEMA))
    writer.seal()
    (folder / "captioner.json").write_text(json.dumps({"decoding": {"max_new_tokens": 7}}))
    model = f"image_text_to_text:{folder}"
    arguments = ["caption", tmp_path / "faces", "--out", tmp_path / "captions", "--model", model]
    done = CliRunner().invoke(cli.app, [str(one) for one in arguments], catch_exceptions=False)
    assert (done.exit_code, done.stdout.strip()) == (0, str(tmp_path / "captions")), done.stderr
    made = Artifact.open(tmp_path / "captions")
    table = made.read(CAPTION_SCHEMA.names)
    assert set(table["captioner"].to_pylist()) == {find(model).name}
    assert len(set(table["caption"].to_pylist())) > 1
    told = made.manifest["notes"]["instructions"]
    assert told["prompt"] == image_text_to_text.BACKEND.prompt
    assert (told["decoding"]["num_beams"], told["decoding"]["max_new_tokens"]) == (1, 7)
    assert max(table["num_tokens"].to_pylist()) <= 7
