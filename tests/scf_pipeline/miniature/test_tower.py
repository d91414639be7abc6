import subprocess
import sys

import pytest
import torch
from transformers import CLIPProcessor

from ifas_model.vision import load_tower
from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.miniature import tower
from scf_pipeline.miniature.tower import TowerConfig

CONFIG = TowerConfig(size="small", steps=6, batch_size=8, checkpoint_every=4)


def run(corpus, out, config=CONFIG):
    return tower.run(config, corpus=corpus, out=out, engine=LocalEngine())


@pytest.fixture(scope="module")
def done(squares, tmp_path_factory):
    return run(squares, tmp_path_factory.mktemp("done"))


def test_the_trainer_loads_it_with_its_text_half(done):
    clip = load_tower(done.path)
    processor = CLIPProcessor.from_pretrained(done.path, backend="pil")
    tokens = processor.tokenizer(["a red shirt"], return_tensors="pt")
    with torch.no_grad():
        seen = clip.vision_model(pixel_values=torch.zeros(1, 3, 32, 32), output_hidden_states=True)
        read = clip.text_model(**tokens).pooler_output
    assert len(seen.hidden_states) == clip.config.vision_config.num_hidden_layers + 1
    assert clip.text_projection(read).shape == clip.visual_projection(seen.pooler_output).shape


def test_an_interrupted_run_ends_with_the_same_weights_bit_for_bit(
    done, squares, tmp_path, monkeypatch
):
    from scf_pipeline.miniature import pairs

    draw = pairs.draw

    def stops(num_rows, batch_size, seed, step):
        if step == 5:
            raise KeyboardInterrupt
        return draw(num_rows, batch_size, seed, step)

    monkeypatch.setattr(pairs, "draw", stops)
    with pytest.raises(KeyboardInterrupt):
        run(squares, tmp_path)
    monkeypatch.setattr(pairs, "draw", draw)
    torch.manual_seed(7)
    resumed = run(squares, tmp_path)
    assert resumed.identity == done.identity
    assert resumed.notes == done.notes


def test_pictures_find_their_captions(squares, tmp_path):
    found = run(squares, tmp_path, TowerConfig(size="small", steps=60, batch_size=16)).notes
    assert found["retrieval"]["right"] == 1
    assert found["retrieval"]["chance"] == pytest.approx(1 / 3)
    assert found["loss"][-1]["train"] < found["loss"][0]["train"] or len(found["loss"]) == 1


def test_importing_the_stage_imports_neither_torch_nor_ray():
    code = "import sys, scf_pipeline.miniature.tower; print({'torch', 'ray'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
