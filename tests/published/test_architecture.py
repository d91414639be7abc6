"""The published architectures at full size, on the meta device, against literals from elsewhere.

No weight is made. Names, shapes and totals of what transformers builds of the published configs are
compared with tables that are written here by hand, from these sources:

LAVIS     salesforce/LAVIS: ``lavis/models/eva_vit.py`` at 561d8af, `create_eva_vit_g` (39 blocks of
          1,408, 16 heads, MLP ratio 4.3637, patches of 14 px); ``blip2_models/blip2.py`` at
          013dd0f, `init_Qformer` (bert-base-uncased, cross-attention every other block, queries
          768 wide); ``blip2_models/blip2_opt.py`` at 05ca910 (no text branch in the Q-Former, a
          projection to OPT's width); ``configs/models/blip2/blip2_pretrain_opt2.7b.yaml`` at
          f3907ef (224 px) and ``blip2_caption_opt2.7b.yaml`` at cd4db98 (364 px), both with 32
          queries
BERT      BERT-base: 12 layers, 768 wide, 3,072 in the MLP (Devlin et al. 2019, section 3)
NAMES     huggingface/transformers, ``convert_blip_2_original_to_pytorch.py`` at a2d3a28: names
          after conversion
HUB       ``config.json`` of Salesforce/blip2-opt-2.7b, as of transformers 4.47.0.dev0
KERAS     keras-team/keras-hub, ``blip2_presets.py`` at 24ab447: 3,744,737,280 parameters, which
          leaves the query tokens out; "ViT, 985M", "Q-Former (105M)", "language projection (2M)",
          "OPT-2.7B language model (2.65B)"; ``clip_presets.py`` at d7a5c31: 427,616,770 of
          ViT-L/14, the 257 ids of its positions among them (embeddings-benchmark/mteb has
          427,616,513 for openai/clip-vit-large-patch14 at 32bd642)
BLIP-2    Li et al. 2023 (arXiv 2301.12597v3), Table 2: 107M trainable in pre-training; Table 3:
          1.1B in fine-tuning on COCO, "the Q-Former together with the image encoder"
OPT       Zhang et al. 2022 (arXiv 2205.01068), Table 1: 32 layers, 32 heads, 2,560 wide
CLIP      mlfoundations/open_clip, ``model_configs/ViT-L-14.json`` at 7bbd90e: widths, depths,
          words; MLPs are four times as wide (openai/CLIP, ``clip/model.py`` at 0845fc4)

Not compared, for want of a source: the exact total of facebook/opt-2.7b, whose vocabulary is less
padded than BLIP-2's OPT; BLIP-2's "3.8B" of all parameters (Table 2), which counts more than what
captions.
"""

import pytest
import torch
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    CLIPConfig,
    OPTConfig,
    OPTForCausalLM,
)

from ifas_model.config import ConnectorConfig
from ifas_model.vision import Clip
from scf_pipeline.captioners._finetuning import choose_trained

HUB = {
    "architectures": ["Blip2ForConditionalGeneration"],
    "image_text_hidden_size": 256,
    "image_token_index": 50265,
    "initializer_factor": 1.0,
    "initializer_range": 0.02,
    "model_type": "blip-2",
    "num_query_tokens": 32,
    "qformer_config": {"classifier_dropout": None, "model_type": "blip_2_qformer"},
    "text_config": {
        "_name_or_path": "facebook/opt-2.7b",
        "activation_dropout": 0.0,
        "architectures": ["OPTForCausalLM"],
        "eos_token_id": 50118,
        "ffn_dim": 10240,
        "hidden_size": 2560,
        "model_type": "opt",
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "prefix": "</s>",
        "torch_dtype": "float16",
        "vocab_size": 50304,
        "word_embed_proj_dim": 2560,
    },
    "torch_dtype": "float32",
    "use_decoder_only_language_model": True,
    "vision_config": {
        "dropout": 0.0,
        "initializer_factor": 1.0,
        "model_type": "blip_2_vision_model",
        "num_channels": 3,
        "projection_dim": 512,
    },
}
QUERIES = 32 * 768
TOTAL = 3_744_737_280 + QUERIES  # KERAS
POSITIONS = {224: 257, 364: 677}
"""Patches of 14 px and a class token."""


def linear(name, rows, columns, *, bias=True):
    return {f"{name}.weight": (rows, columns)} | ({f"{name}.bias": (rows,)} if bias else {})


def norm(name, width):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def eva_vit_g(side):
    """LAVIS, NAMES."""
    top = "vision_model.embeddings"
    shapes = {
        f"{top}.class_embedding": (1, 1, 1408),
        f"{top}.position_embedding": (1, POSITIONS[side], 1408),
        f"{top}.patch_embedding.weight": (1408, 3, 14, 14),
        f"{top}.patch_embedding.bias": (1408,),
    }
    for layer in (f"vision_model.encoder.layers.{number}" for number in range(39)):
        shapes |= norm(f"{layer}.layer_norm1", 1408) | norm(f"{layer}.layer_norm2", 1408)
        shapes |= linear(f"{layer}.self_attn.qkv", 3 * 1408, 1408)
        shapes |= linear(f"{layer}.self_attn.projection", 1408, 1408)
        shapes |= linear(f"{layer}.mlp.fc1", 6144, 1408)  # int(1408 * 4.3637)
        shapes |= linear(f"{layer}.mlp.fc2", 1408, 6144)
    return shapes | norm("vision_model.post_layernorm", 1408)


def attention(name, reads):
    shapes = linear(f"{name}.attention.query", 768, 768)
    shapes |= linear(f"{name}.attention.key", 768, reads)
    shapes |= linear(f"{name}.attention.value", 768, reads)
    return shapes | linear(f"{name}.output.dense", 768, 768) | norm(f"{name}.output.LayerNorm", 768)


def qformer():
    """LAVIS, BERT, NAMES."""
    shapes = {"query_tokens": (1, 32, 768)} | norm("qformer.layernorm", 768)
    for number in range(12):
        layer = f"qformer.encoder.layer.{number}"
        shapes |= attention(f"{layer}.attention", 768)
        if number % 2 == 0:
            shapes |= attention(f"{layer}.crossattention", 1408)
        shapes |= linear(f"{layer}.intermediate_query.dense", 3072, 768)
        shapes |= linear(f"{layer}.output_query.dense", 768, 3072)
        shapes |= norm(f"{layer}.output_query.LayerNorm", 768)
    return shapes | linear("language_projection", 2560, 768)


def opt(words, top=""):
    """OPT, HUB: the head is tied to the embedding; two positions are kept free."""
    decoder = f"{top}model.decoder"
    shapes = {f"{decoder}.embed_tokens.weight": (words, 2560)}
    shapes |= {f"{decoder}.embed_positions.weight": (2048 + 2, 2560)}
    for layer in (f"{decoder}.layers.{number}" for number in range(32)):
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            shapes |= linear(f"{layer}.self_attn.{name}", 2560, 2560)
        shapes |= norm(f"{layer}.self_attn_layer_norm", 2560)
        shapes |= linear(f"{layer}.fc1", 10240, 2560) | linear(f"{layer}.fc2", 2560, 10240)
        shapes |= norm(f"{layer}.final_layer_norm", 2560)
    return shapes | norm(f"{decoder}.final_layer_norm", 2560)


def tower(name, width, depth):
    shapes = {}
    for layer in (f"{name}.encoder.layers.{number}" for number in range(depth)):
        for part in ("k_proj", "v_proj", "q_proj", "out_proj"):
            shapes |= linear(f"{layer}.self_attn.{part}", width, width)
        shapes |= norm(f"{layer}.layer_norm1", width) | norm(f"{layer}.layer_norm2", width)
        shapes |= linear(f"{layer}.mlp.fc1", 4 * width, width)
        shapes |= linear(f"{layer}.mlp.fc2", width, 4 * width)
    return shapes


def clip_vit_l_14():
    """CLIP; the names are those of the published weights, misspelling included."""
    eye, text = "vision_model", "text_model"
    shapes = {
        "logit_scale": (),
        f"{eye}.embeddings.class_embedding": (1024,),
        f"{eye}.embeddings.patch_embedding.weight": (1024, 3, 14, 14),
        f"{eye}.embeddings.position_embedding.weight": (257, 1024),
        f"{text}.embeddings.token_embedding.weight": (49408, 768),
        f"{text}.embeddings.position_embedding.weight": (77, 768),
        "visual_projection.weight": (768, 1024),
        "text_projection.weight": (768, 768),
    }
    shapes |= norm(f"{eye}.pre_layrnorm", 1024) | norm(f"{eye}.post_layernorm", 1024)
    shapes |= norm(f"{text}.final_layer_norm", 768)
    return shapes | tower(eye, 1024, 24) | tower(text, 768, 12)


def shapes_of(model):
    return {name: tuple(weight.shape) for name, weight in model.named_parameters()}


def count(model, *prefixes):
    return sum(
        weight.numel() for name, weight in model.named_parameters() if name.startswith(prefixes)
    )


@pytest.fixture(scope="module", params=[224, 364])
def blip2(request):
    """The side of the picture, and BLIP-2 for it."""
    config = HUB | {"vision_config": {**HUB["vision_config"], "image_size": request.param}}
    with torch.device("meta"):
        return request.param, Blip2ForConditionalGeneration(Blip2Config.from_dict(config))


def test_blip2_has_the_weights_that_lavis_and_opt_have(blip2):
    side, model = blip2
    assert shapes_of(model) == eva_vit_g(side) | qformer() | opt(50304, "language_model.")


def test_blip2_has_as_many_parameters_as_published(blip2):
    side, model = blip2
    more = (POSITIONS[side] - 257) * 1408
    assert count(model, "") == TOTAL + more
    assert count(model, "vision_model.") - more == pytest.approx(985e6, rel=0.002)
    assert count(model, "qformer.") == pytest.approx(105e6, rel=0.002)
    assert count(model, "language_projection.") == pytest.approx(2e6, rel=0.02)
    assert count(model, "language_model.") == pytest.approx(2.65e9, rel=0.002)


def test_fine_tuning_trains_what_the_paper_trained(blip2):
    """Ours by default the parts of pre-training; the paper tuned the image encoder as well."""
    model = blip2[1]
    choose_trained(model, "qformer", seed=0)
    learns = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert round(learns / 1e6) == 107
    assert round((learns + count(model, "vision_model.")) / 1e9, 1) == 1.1


def test_clip_has_the_weights_and_parameters_that_are_published():
    config = CLIPConfig(
        vision_config={
            "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
            "num_attention_heads": 16, "image_size": 224, "patch_size": 14,
        },
        text_config={
            "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
            "num_attention_heads": 12, "vocab_size": 49408, "max_position_embeddings": 77,
        },
        projection_dim=768,
    )  # fmt: skip
    with torch.device("meta"):
        model = Clip(config)
    assert shapes_of(model) == clip_vit_l_14()
    assert count(model, "") == 427_616_770 - 257  # KERAS


def test_opt_has_the_weights_that_are_published():
    sizes = {name: HUB["text_config"][name] for name in ("ffn_dim", "hidden_size", "model_type")}
    sizes |= {"num_attention_heads": 32, "num_hidden_layers": 32, "word_embed_proj_dim": 2560}
    with torch.device("meta"):
        model = OPTForCausalLM(OPTConfig(**sizes, vocab_size=50272))
    assert shapes_of(model) == opt(50272)


def test_the_connectors_defaults_are_clips_and_opts_sizes():
    config = ConnectorConfig()
    assert (config.vision_dim, config.encoder_layers) == (1024, 24)
    assert config.language_dim == 2560
