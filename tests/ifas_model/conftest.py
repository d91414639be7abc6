"""A tiny tower, a tiny language model and a few shards, as folders that people would have."""

import gc
import io

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import OPTConfig, OPTForCausalLM

from ifas_model.language import CAPTION_PROMPT
from ifas_model.prompt import QUESTION
from ifas_model.shards import SHARD_SCHEMA
from ifas_model.train import train
from scf_pipeline.miniature.models import ClipSizes, build_clip
from scf_pipeline.miniature.tokenizer import learn_clip_tokenizer, learn_opt_tokenizer

TOWER = ClipSizes(
    image_px=32,
    stem_widths=(8, 8),
    vision_dim=24,
    vision_layers=3,
    vision_heads=2,
    text_dim=16,
    text_layers=1,
    shared_dim=16,
)
SENTENCES = [
    f"Question: {QUESTION} Answer: Yes. This is a man with a beard\n",
    f"Question: {QUESTION} Answer: No. This is a man holding a sheet of paper\n",
    " Yes. This is a woman in a red shirt\n",
    " No. This is a photo of a woman on a screen with a black frame\n",
    f"{CAPTION_PROMPT} a tree in front of a house\n",
]


@pytest.fixture(scope="session", autouse=True)
def one_thread_each():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tower_folder(tmp_path_factory):
    """CLIP for 32 px pictures: V = 24, N = 16, L = 3."""
    model, processor = build_clip(learn_clip_tokenizer(SENTENCES, max_length=16), TOWER, seed=0)
    torch.nn.init.normal_(model.vision_model.embeddings.position_embedding.weight, std=0.5)
    folder = tmp_path_factory.mktemp("tower")
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def language_folder(tmp_path_factory):
    """OPT and its tokenizer: T = 16; every word of `SENTENCES` is one token."""
    tokenizer = learn_opt_tokenizer(SENTENCES)
    config = OPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        word_embed_proj_dim=16,
        ffn_dim=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=96,
        dropout=0.0,
        init_std=0.3,  # so that what it says depends on what it is told
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.convert_tokens_to_ids("Ċ"),
    )
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("language")
    OPTForCausalLM(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="package", autouse=True)
def fast_collections():
    """Spare the Trainer, which collects garbage in every run, all that the imports made."""
    gc.freeze()
    yield
    gc.unfreeze()


TEXTS = (
    ("This is a man holding a sheet of paper", "This is a photo of a woman on a screen"),
    ("This is a man with a beard", "This is a woman in a red shirt"),
)
"""Interpretations of attacks, and of bona fide faces."""

JUDGMENTS = ("No", "Yes")
PARTS = (
    ("casia_mfsd", "train", 3),
    ("casia_mfsd", "test", 2),
    ("msu_mfsd", "train", 4),
    ("replay_attack", "train", 6),
    ("replay_attack", "dev", 2),
    ("oulu_npu", "test", 3),
)
"""Datasets, splits, and how many videos of each label they hold."""


def encode(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def shard_rows():
    """Yield two faces of each video: 32 px noise, darker where it is an attack."""
    rng = np.random.default_rng(0)
    for dataset, split, videos in PARTS:
        for number in range(2 * videos):
            label, sample = number % 2, f"{dataset}/{split}/{number // 2}-{number % 2}"
            told = TEXTS[label][number // 2 % 2]
            for frame in (7, 3):
                pixels = rng.integers(0, 128 + 127 * label, (32, 32, 3)).astype(np.uint8)
                yield dict.fromkeys(SHARD_SCHEMA.names) | {
                    "face_id": f"{sample}#{frame}",
                    "sample_id": sample,
                    "dataset": dataset,
                    "frame": frame,
                    "split": split,
                    "image": {"bytes": encode(pixels), "path": None},
                    "label": label,
                    "pai_species": None if label else "print",
                    "native_label": "x",
                    "question": QUESTION,
                    "answer": f"{JUDGMENTS[label]}. {told}",
                    "judgment": JUDGMENTS[label],
                    "interpretation": told,
                    "captioner": "blip2@0",
                    "keywords": [],
                }


@pytest.fixture(scope="session")
def shard_folder(tmp_path_factory):
    """Shards with the sources of Protocol 1 onto oulu_npu, in files of several row groups."""
    folder = tmp_path_factory.mktemp("shards of a few faces")
    (folder / "data").mkdir()
    table = pa.Table.from_pylist(list(shard_rows()), schema=SHARD_SCHEMA)
    table = table.take(np.random.default_rng(1).permutation(table.num_rows))
    for split in ("train", "dev", "test"):
        part = table.filter(pc.equal(table["split"], split))
        half = part.num_rows // 2
        for number, piece in enumerate((part.slice(0, half), part.slice(half))):
            file = folder / "data" / f"{split}-{number:05}-of-00002.parquet"
            pq.write_table(piece, file, row_group_size=5)
    return folder


@pytest.fixture
def train_tiny(shard_folder, tower_folder, language_folder, tmp_path):
    """Return a function that trains into folders of a name and returns what came of it."""

    def run(config, name="run", **options):
        inputs = {"shards": shard_folder, "tower": tower_folder, "language": language_folder}
        out, scratch = tmp_path / name / "out", tmp_path / name / "scratch"
        done = train(config, **(inputs | options), out=out, scratch=scratch)
        return done, load_file(out / "model.safetensors")

    return run
