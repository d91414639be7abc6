"""BLIP-2, CLIP and OPT in their published layouts, at toy width: weights are random."""

from pathlib import Path

import torch
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    BlipImageProcessorPil,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    CLIPTextConfig,
    CLIPVisionConfig,
    OPTConfig,
    OPTForCausalLM,
)

from ifas_model.prompt import QUESTION
from scf_pipeline.miniature.tokenizer import learn_clip_tokenizer, learn_opt_tokenizer

MEDIA = "paper poster cardboard newspaper screen tablet monitor laptop mask silicone doll statue"
SENTENCES = [
    f"Question: {QUESTION} Answer: Yes. This is a man with a beard\n",
    " No. This is a photo of a woman\n",
    f"a photo of {MEDIA}\n",
]
SHARD = "200KB"
"""Largest file of weights, so that there are several and an index, as of large models."""

LOUD = 4.0
"""Deviation of the embeddings of places: what is said changes from word to word."""

TALKER = 6
"""A seed with which the captions of random weights do not loop."""


def opt_config(tokenizer) -> OPTConfig:
    return OPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        word_embed_proj_dim=32,
        ffn_dim=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=256,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.convert_tokens_to_ids("Ċ"),
    )


def talkative(language: OPTForCausalLM, tokenizer) -> None:
    """Make a language model of random weights say words of `MEDIA`, other ones at every place."""
    words = {tokenizer.convert_tokens_to_ids(f"Ġ{word}") for word in MEDIA.split()}
    embedded = language.get_input_embeddings().weight.data
    torch.nn.init.normal_(embedded, std=1.0)
    silent = [token for token in range(len(tokenizer)) if token not in words]
    embedded[silent] *= 0.1
    torch.nn.init.normal_(language.model.decoder.embed_positions.weight, std=LOUD)


def write_opt(folder: Path) -> Path:
    tokenizer = learn_opt_tokenizer(SENTENCES)
    torch.manual_seed(0)
    model = OPTForCausalLM(opt_config(tokenizer)).eval()
    model.save_pretrained(folder, max_shard_size=SHARD)
    tokenizer.save_pretrained(folder)
    return folder


def write_blip2(folder: Path, *, side: int = 364) -> Path:
    """Write BLIP-2 OPT; the COCO checkpoint sees 364 px, the plain one 224."""
    tokenizer = learn_opt_tokenizer(SENTENCES)
    size = {"height": side, "width": side}
    processor = Blip2Processor(BlipImageProcessorPil(size=size), tokenizer, num_query_tokens=32)
    config = Blip2Config(
        vision_config=Blip2VisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=side,
            patch_size=14,
            initializer_range=0.02,
        ),
        qformer_config=Blip2QFormerConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            encoder_hidden_size=32,
        ),
        text_config=opt_config(tokenizer),
        num_query_tokens=32,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    torch.manual_seed(0)
    model = Blip2ForConditionalGeneration(config).eval()
    torch.nn.init.normal_(model.query_tokens, std=0.5)
    torch.manual_seed(TALKER)
    talkative(model.language_model, tokenizer)
    model.save_pretrained(folder, max_shard_size=SHARD)
    processor.save_pretrained(folder)
    return folder


def write_clip(folder: Path, *, patch: int, width: int = 32, side: int = 224) -> Path:
    """Write CLIP; ViT-L has patches of 14 px, ViT-B of 16."""
    tokenizer = learn_clip_tokenizer(SENTENCES, max_length=77)
    vision = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=side,
        patch_size=patch,
        projection_dim=16,
    )
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=77,
        projection_dim=16,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    config = CLIPConfig(
        vision_config=vision.to_dict(), text_config=text.to_dict(), projection_dim=16
    )
    CLIPModel(config).eval().save_pretrained(folder, max_shard_size=SHARD)
    images = CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    )
    CLIPProcessor(images, tokenizer).save_pretrained(folder)
    return folder


def write_all(folder: Path) -> dict[str, str]:
    """Write every model of `flows.paper` and return the folders by their names."""
    return {
        "captioner": str(write_blip2(folder / "blip2")),
        "tower_large": str(write_clip(folder / "clip-large", patch=14)),
        "tower_base": str(write_clip(folder / "clip-base", patch=16)),
        "language": str(write_opt(folder / "opt")),
    }
