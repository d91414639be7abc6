"""Two tiny towers, one with the miniature's stem and one with CLIP's own patches, and faces."""

import pytest
import torch
from transformers import CLIPModel

from ifas_model.baselines.flip import read_templates
from ifas_model.config import FlipConfig, VitafConfig, VitConfig
from scf_pipeline.miniature.models import ClipSizes, build_clip
from scf_pipeline.miniature.tokenizer import learn_clip_tokenizer

SIZES = ClipSizes(
    image_px=32,
    stem_widths=(8, 8, 8),
    vision_dim=32,
    vision_layers=2,
    vision_heads=2,
    text_dim=32,
    text_layers=1,
    shared_dim=16,
)
CAPTIONS = ["This is a man holding a sheet of paper", "This is a man in a red shirt"]
CONFIGS = {
    "vit": VitConfig(head_dim=16, dropout=0),
    "vitaf": VitafConfig(
        head_dim=16, dropout=0, adapter_dim=4, initial_scale=0.02, initial_shift=0.02
    ),
    "flip": FlipConfig(hidden_dim=32, view_dim=8),
}


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def towers(tmp_path_factory):
    """Folders of checkpoints as people have them: ``stem`` and ``plain``."""
    sentences = [text for texts in read_templates().values() for text in texts]
    tokenizer = learn_clip_tokenizer([*sentences, *CAPTIONS, "Yes. No."], max_length=24)
    stem, processor = build_clip(tokenizer, SIZES, seed=0)
    config = stem.config.to_dict()
    del config["vision_config"]["stem_widths"]
    torch.manual_seed(0)
    plain = CLIPModel(type(stem.config).from_dict(config))
    found = {}
    for name, model in (("stem", stem), ("plain", plain)):
        found[name] = tmp_path_factory.mktemp(name)
        model.save_pretrained(found[name])
        processor.save_pretrained(found[name])
    return found


@pytest.fixture(scope="session")
def tower(towers):
    return towers["stem"]


@pytest.fixture(scope="session")
def configs():
    """A small config of each baseline."""
    return CONFIGS


@pytest.fixture(scope="session")
def items():
    """Eight faces: attacks are dark and bluish, bona fide ones bright and reddish."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for number in range(8):
        label = number % 2
        colour = torch.tensor([180, 90, 80] if label else [70, 80, 130])[:, None, None]
        noise = torch.randint(-40, 41, (3, 32, 32), generator=generator)
        pixels = (colour + noise).to(torch.uint8)
        found.append({"pixels": pixels, "label": label, "interpretation": CAPTIONS[label]})
    return found


@pytest.fixture(scope="session")
def learn():
    """Take a few steps on one batch and return the losses."""

    def learn(model, items, steps=20, rate=3e-3):
        model.train()
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(weights, lr=rate, weight_decay=0.0)
        losses = []
        for _ in range(steps):
            loss = model(**model.collate(items)).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    return learn


@pytest.fixture(scope="session")
def margins():
    """Margins of faces whose labels the model is not told."""

    def margins(model, items):
        with torch.no_grad():
            return model(**model.collate([{"pixels": item["pixels"]} for item in items])).margin

    return margins
