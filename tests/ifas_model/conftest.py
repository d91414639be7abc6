"""A tiny tower and a tiny language model, as folders that people would have."""

import pytest
import torch
from transformers import OPTConfig, OPTForCausalLM

from ifas_model.language import CAPTION_PROMPT
from ifas_model.prompt import QUESTION
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
