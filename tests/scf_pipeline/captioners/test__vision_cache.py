import logging

import numpy as np
import pytest
import torch
from transformers import BlipImageProcessorPil

from scf_pipeline.captioners import _blip2, _vision_cache
from scf_pipeline.captioners._checkpoint import resolve
from scf_pipeline.captioners._instructions import Decoding, Instructions
from scf_pipeline.captioners._seeing import Eye
from scf_pipeline.captioners._vision_cache import PLACE, VisionCache, identify
from scf_pipeline.miniature.models import Blip2Sizes, build_blip2
from scf_pipeline.miniature.tokenizer import learn_opt_tokenizer

SIZES = Blip2Sizes(
    image_px=32, dim=32, vision_layers=1, qformer_layers=1, language_layers=1, queries=4, heads=2
)
TEXTS = ["a photo of a man with red hair in front of a wall", "a woman wearing a blue shirt\n"]
DECODINGS = {
    "greedy": Decoding(num_beams=1, min_new_tokens=2, max_new_tokens=8),
    "beams": Decoding(num_beams=3, min_new_tokens=2, max_new_tokens=8),
    "sampled": Decoding(num_beams=1, min_new_tokens=0, max_new_tokens=8, temperature=0.7),
}


def build():
    model, processor = build_blip2(learn_opt_tokenizer(TEXTS), SIZES, seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6)
    return model.eval(), processor


def pictures(count=5, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (3, 32, 32), dtype=np.uint8) for _ in range(count)]


def captioner(folder=None, decoding=DECODINGS["greedy"]):
    model, processor = build()
    cache = None if folder is None else VisionCache(folder, model, Eye(processor.image_processor))
    return _blip2.Blip2Captioner(model, processor, Instructions(decoding=decoding), cache)


def count_looks(speaker):
    """Count the pictures that the tower is shown from now on."""
    counted, look = [], speaker.look

    def looking(shown):
        counted.append(len(shown))
        return look(shown)

    speaker.look = looking
    return counted


@pytest.mark.parametrize("decoding", DECODINGS.values(), ids=DECODINGS)
def test_captions_are_the_same_without_a_cache_while_it_fills_and_from_it(tmp_path, decoding):
    plain = captioner(decoding=decoding).caption(pictures(), range(5))
    filling = captioner(tmp_path, decoding).caption(pictures(), range(5))
    filled = captioner(tmp_path, decoding)
    looks = count_looks(filled)
    assert len({caption.text for caption in plain}) > 1
    assert filling == plain
    assert filled.caption(pictures(), range(5)) == plain
    assert looks == []


def test_what_another_model_with_the_same_tower_saw_is_not_looked_at_again(tmp_path):
    captioner(tmp_path).caption(pictures(), range(5))
    tuned = captioner(tmp_path)
    with torch.no_grad():
        for parameter in tuned.model.qformer.parameters():
            parameter.add_(0.1)
    looks = count_looks(tuned)
    tuned.caption(pictures(), range(5))
    assert looks == []


def test_only_new_pictures_are_looked_at(tmp_path):
    captioner(tmp_path).caption(pictures(), range(5))
    later = captioner(tmp_path)
    looks = count_looks(later)
    known, new = pictures(), pictures(2, seed=1)
    mixed = [known[3], new[0], known[0], new[1]]
    found = later.caption(mixed, range(4))
    assert looks == [2]
    plain = captioner().caption(mixed, range(4))
    assert [caption.text for caption in found] == [caption.text for caption in plain]


def test_a_degenerate_caption_is_tried_again_without_another_look(tmp_path):
    speaker = captioner(tmp_path)
    speaker.caption(pictures(), range(5))
    looks = count_looks(speaker)
    speaker.caption(pictures()[1:3], [1, 2], insist=True)
    assert looks == []


def test_another_tower_dtype_or_image_processor_has_a_folder_of_its_own():
    model, processor = build()
    eye = Eye(processor.image_processor)
    plain = identify(model, eye)
    assert plain == identify(build()[0], eye)
    found = {plain}
    darker = BlipImageProcessorPil(size={"height": 32, "width": 32}, image_mean=[0.1, 0.1, 0.1])
    found.add(identify(model, Eye(darker)))
    with torch.no_grad():
        model.vision_model.post_layernorm.bias[3] += 1e-3
    found.add(identify(model, eye))
    found.add(identify(model.bfloat16(), eye))
    assert len(found) == 4


def test_a_damaged_file_is_looked_at_again(tmp_path):
    plain = captioner(tmp_path).caption(pictures(), range(5))
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert len(files) == 5
    files[2].write_bytes(files[2].read_bytes()[:-4])
    again = captioner(tmp_path)
    looks = count_looks(again)
    found = again.caption(pictures(), range(5))
    assert looks == [1]
    assert [caption.text for caption in found] == [caption.text for caption in plain]


def test_bfloat16_comes_back_to_the_last_bit(tmp_path):
    model, processor = build()
    model.bfloat16()
    speaker = _blip2.Blip2Captioner(
        model,
        processor,
        Instructions(),
        VisionCache(tmp_path, model, Eye(processor.image_processor)),
    )
    with torch.inference_mode():
        fresh = speaker.look(pictures())
        first = speaker.cache.features(pictures(), speaker.look)
        second = speaker.cache.features(pictures(), speaker.look)
    assert torch.equal(first, fresh)
    assert torch.equal(second, fresh)


def test_a_full_disk_is_told_once_and_costs_no_caption(tmp_path, monkeypatch, caplog):
    def refuse(_file, _data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_vision_cache, "_write_whole", refuse)
    speaker = captioner(tmp_path)
    with caplog.at_level(logging.WARNING):
        found = [speaker.caption(pictures(2, seed), range(2)) for seed in range(3)]
    assert [len(captions) for captions in found] == [2, 2, 2]
    assert [record.message for record in caplog.records] == [
        f"Nothing more is kept in {speaker.cache.folder}: [Errno 28] No space left on device"
    ]


def test_the_environment_names_the_folder(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    _blip2.save_parts(tmp_path / "model", *build(), Instructions(decoding=DECODINGS["greedy"]))
    found = resolve(str(tmp_path / "model"))
    monkeypatch.delenv(PLACE, raising=False)
    assert _blip2.load(found).cache is None
    monkeypatch.setenv(PLACE, str(tmp_path / "cache"))
    assert _blip2.load(found).cache.folder.parent == tmp_path / "cache"
