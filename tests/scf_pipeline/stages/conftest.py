"""Sealed shards, a tiny tower and a tiny captioner: what the stages of training begin with."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ifas_model.config import (
    ConnectorConfig,
    EvaluateConfig,
    FeaturesConfig,
    IFasConfig,
    PhaseConfig,
    TrainConfig,
)
from ifas_model.prompt import QUESTION
from ifas_model.shards import SHARD_SCHEMA
from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.settings import Settings
from scf_pipeline.store import Artifact, ArtifactWriter

SAID = ("This is a man with a sheet of paper", "This is a man with a beard")
JUDGMENTS = ("No", "Yes")
PARTS = (
    ("celeba_spoof", "train", 6),
    ("celeba_spoof", "test", 4),
    ("siw", "test", 3),
    ("wmca", "test", 3),
)
"""Datasets, splits, and how many pictures of each label they hold."""


def row(dataset, split, number):
    label, sample = number % 2, f"{dataset}/{split}{number}"
    noise = np.random.default_rng(list(sample.encode())).integers(0, 256, (32, 32, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    return dict.fromkeys(SHARD_SCHEMA.names) | {
        "face_id": f"{sample}#0",
        "sample_id": sample,
        "dataset": dataset,
        "frame": 0,
        "split": split,
        "image": {"bytes": buffer.getvalue(), "path": None},
        "label": label,
        "pai_species": None if label else "print",
        "native_label": "x",
        "question": QUESTION,
        "answer": f"{JUDGMENTS[label]}. {SAID[label]}",
        "judgment": JUDGMENTS[label],
        "interpretation": SAID[label],
        "captioner": "blip2@0",
        "keywords": [],
    }


def seal(folder, stage, write) -> Artifact:
    """Seal what a function writes into a folder."""
    writer = ArtifactWriter(folder, None, settings=Settings(stage, 1, {}, {}))
    made = writer.scratch / "made"
    made.mkdir()
    write(made)
    writer.adopt(made)
    return writer.seal()


@pytest.fixture(scope="session")
def vqa_shards(tmp_path_factory) -> Artifact:
    """Shards of the source of Protocol 2, and of two of its eleven targets."""

    def write(folder):
        (folder / "data").mkdir()
        for split in ("train", "test"):
            rows = [row(d, s, n) for d, s, number in PARTS if s == split for n in range(2 * number)]
            table = pa.Table.from_pylist(rows, schema=SHARD_SCHEMA)
            pq.write_table(table, folder / f"data/{split}-00000-of-00001.parquet")

    return seal(tmp_path_factory.mktemp("shards"), "shard", write)


@pytest.fixture(scope="session")
def tower(tmp_path_factory) -> Artifact:
    """CLIP for 32 px pictures."""
    from scf_pipeline.miniature.models import ClipSizes, build_clip
    from scf_pipeline.miniature.tokenizer import learn_clip_tokenizer

    sizes = ClipSizes(
        image_px=32,
        stem_widths=(8, 8, 8),
        vision_dim=16,
        vision_layers=2,
        vision_heads=2,
        text_dim=16,
        text_layers=1,
        shared_dim=8,
    )

    def write(folder):
        for one in build_clip(learn_clip_tokenizer(SAID, max_length=16), sizes, seed=0):
            one.save_pretrained(folder)

    return seal(tmp_path_factory.mktemp("tower"), "tower", write)


@pytest.fixture(scope="session")
def captioner(tmp_path_factory) -> Artifact:
    """A captioner, of which training reads the language model alone."""
    import torch
    from transformers import OPTConfig, OPTForCausalLM

    from scf_pipeline.miniature.tokenizer import learn_opt_tokenizer

    def write(folder):
        tokenizer = learn_opt_tokenizer([*SAID, f"Question: {QUESTION} Answer: Yes. No.\n"])
        torch.manual_seed(0)
        config = OPTConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            word_embed_proj_dim=16,
            ffn_dim=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=64,
            pad_token_id=tokenizer.pad_token_id,
        )
        OPTForCausalLM(config).save_pretrained(folder / "language")
        tokenizer.save_pretrained(folder / "language")
        (folder / "captioner.json").write_text("{}")

    return seal(tmp_path_factory.mktemp("captioner"), "captioner", write)


class CountingEngine(LocalEngine):
    """The engine of this process; counts the tasks that it ran."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def call(self, function, resources, **arguments):
        self.calls.append(function.__name__)
        return super().call(function, resources, **arguments)


@pytest.fixture
def engine() -> CountingEngine:
    return CountingEngine()


@pytest.fixture(scope="session")
def featured(tmp_path_factory, tower, vqa_shards) -> Artifact:
    """The tower's features of the shards' faces."""
    from scf_pipeline.stages import features

    out, config = tmp_path_factory.mktemp("features"), FeaturesConfig()
    return features.run(config, tower=tower, shards=[vqa_shards], out=out, engine=LocalEngine())


TINY = TrainConfig(
    method=IFasConfig(
        connector=ConnectorConfig(dim=16, num_queries=2, num_blocks=1, num_heads=2, mlp_ratio=1),
        max_interpretation_tokens=6,
    ),
    phases=(PhaseConfig(steps=3, batch_size=4, learning_rate=1e-2),),
    log_every=1,
)


@pytest.fixture(scope="session")
def tiny() -> TrainConfig:
    """Settings of a training of three steps."""
    return TINY


@pytest.fixture(scope="session")
def briefly() -> EvaluateConfig:
    """Settings of an evaluation of a few answers."""
    return EvaluateConfig(bootstrap=10, responses=2, batch_size=8, variant="full", world="hard")


@pytest.fixture(scope="session")
def trained(tmp_path_factory, tower, vqa_shards, captioner, featured) -> Artifact:
    """A trained I-FAS."""
    from scf_pipeline.stages import train

    return train.run(
        TINY,
        shards=vqa_shards,
        tower=tower,
        captioner=captioner,
        features=featured,
        out=tmp_path_factory.mktemp("trained"),
        engine=LocalEngine(),
    )


@pytest.fixture
def elsewhere():
    """Return a function that returns an artifact as if it lay in an object store."""
    from upath import UPath

    def move(artifact: Artifact) -> Artifact:
        return Artifact(UPath("memory://bucket/artifact"), artifact.manifest)

    return move


@pytest.fixture
def killed_before_sealing(monkeypatch):
    """Return a function that runs something which is killed when it is about to seal."""

    def run(act) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(ArtifactWriter, "seal", killed)
            with pytest.raises(KeyboardInterrupt):
                act()

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    return run


@pytest.fixture
def manifest():
    """Return a function that reads the manifest of a folder."""

    def read(folder) -> dict:
        return json.loads((folder / "manifest.json").read_bytes())

    return read
