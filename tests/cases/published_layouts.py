"""Folders laid out as the hub publishes checkpoints, at toy width and with random weights.

Which files there are, what they hold and how they are odd follows from these (2026-11):

* huggingface/transformers, ``convert_blip_2_original_to_pytorch.py`` at a2d3a28, which made the
  first version of the BLIP-2 repositories: a processor that knows no ``num_query_tokens``, a config
  without ``image_token_index``, OPT's vocabulary of 50,272 for 50,265 words, newline (50,118) as
  the end, 364 px for COCO.
* the ``config.json`` of Salesforce/blip2-opt-2.7b as of transformers 4.47.0.dev0, and
  huggingface/transformers, pull request 34876: ``image_token_index`` 50,265, ``num_query_tokens``
  32, a vocabulary of 50,304, sub-configs without what is default.
* Salesforce/blip2-opt-2.7b-coco is listed with 3.87 billion parameters, 3.74 and OPT's head once
  more: so its weights are taken to hold the head, tied to the embedding, a second time.
* openai/clip-vit-large-patch14: sub-configs twice, ``size`` and ``crop_size`` as numbers,
  ``feature_extractor_type``, and position ids among the weights, as transformers wrote in 2022.
* facebook/opt-2.7b: float16 as ``pytorch_model.bin`` alone, and no ``tokenizer.json``.
"""

import json

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    CLIPConfig,
    CLIPModel,
    OPTConfig,
    OPTForCausalLM,
)

TEXTS = [
    "a photo of a man with red hair in front of a wall\n",
    "Question: Is this photo of a real person? Answer: Yes. This is a man\n",
    " No. This is a woman holding a sheet of paper\n",
]
MEAN = [0.48145466, 0.4578275, 0.40821073]
STD = [0.26862954, 0.26130258, 0.27577711]
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
OPT = {"hidden_size": 32, "ffn_dim": 64, "num_attention_heads": 2, "num_hidden_layers": 2}
OPT |= {"word_embed_proj_dim": 32, "max_position_embeddings": 128}


def write_json(path, data):
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def added_token(content, *, is_special=False):
    flags = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    special = {"special": True} if is_special else {}
    return {"__type": "AddedToken", "content": content, **flags, **special}


def learn_bpe():
    """Return OPT's tokenizer in small: GPT-2's bytes, and four special tokens first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        min_frequency=1,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="</s> $A", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    return tokenizer


def write_opt_tokenizer(folder, tokenizer, **more):
    """Write the files of facebook/opt-2.7b's tokenizer."""
    tokenizer.model.save(str(folder))  # vocab.json and merges.txt
    ends = {name: added_token("</s>") for name in ("bos_token", "eos_token", "unk_token")}
    special = {**ends, "pad_token": added_token("<pad>")}
    plain = {"errors": "replace", "add_prefix_space": False, "add_bos_token": True}
    plain |= {"special_tokens_map_file": None, "name_or_path": "patrickvonplaten/opt-30b"}
    settings = {**plain, **special, "tokenizer_class": "GPT2Tokenizer", **more}
    write_json(folder / "tokenizer_config.json", settings)
    write_json(folder / "special_tokens_map.json", special)


def randomize(model, std=0.3):
    """Make weights of a size with which what comes out depends on what goes in."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(std=std)
    return model.eval()


def padded(words):
    return -(-words // 64) * 64


def blip2_config(tokenizer, *, image_px, is_old):
    words = tokenizer.get_vocab_size()
    text = {
        **OPT,
        "_name_or_path": "facebook/opt-2.7b",
        "activation_dropout": 0.0,
        "architectures": ["OPTForCausalLM"],
        "eos_token_id": tokenizer.token_to_id("Ċ"),
        "model_type": "opt",
        "prefix": "</s>",
        "torch_dtype": "float16",
        "vocab_size": padded(words + 1),
    }
    vision = {"dropout": 0.0, "initializer_factor": 1.0, "model_type": "blip_2_vision_model"}
    vision |= {"num_channels": 3, "projection_dim": 512, "image_size": image_px}
    told = {
        "architectures": ["Blip2ForConditionalGeneration"],
        "initializer_factor": 1.0,
        "initializer_range": 0.02,
        "model_type": "blip-2",
        "qformer_config": {
            **SIZES, "num_hidden_layers": 2, "classifier_dropout": None, "vocab_size": 64,
            "encoder_hidden_size": 32, "model_type": "blip_2_qformer",
        },
        "text_config": text,
        "torch_dtype": "float32",
        "transformers_version": "4.27.0.dev0" if is_old else "4.47.0.dev0",
        "use_decoder_only_language_model": True,
        "vision_config": {**vision, **SIZES, "num_hidden_layers": 2},
    }  # fmt: skip
    if not is_old:
        told |= {"image_text_hidden_size": 256, "image_token_index": words, "num_query_tokens": 32}
    return told


def write_blip2(folder, *, image_px, is_old):
    """Write Salesforce/blip2-opt-2.7b (224 px) or -coco (364 px), before or after its update."""
    tokenizer = learn_bpe()
    config = blip2_config(tokenizer, image_px=image_px, is_old=is_old)
    model = randomize(Blip2ForConditionalGeneration(Blip2Config.from_dict(config)))
    model.save_pretrained(folder, max_shard_size="60KB")
    if image_px == 364:
        repeat_head(folder, model)
    write_json(folder / "config.json", config)
    generation = {"_from_model_config": True, "bos_token_id": 2, "pad_token_id": 1}
    generation |= {"eos_token_id": config["text_config"]["eos_token_id"]}
    write_json(folder / "generation_config.json", generation)
    write_opt_tokenizer(folder, tokenizer, processor_class="Blip2Processor")
    if not is_old:
        tokenizer.add_special_tokens(["<image>"])
        write_json(folder / "added_tokens.json", {"<image>": tokenizer.token_to_id("<image>")})
        token = added_token("<image>", is_special=True)
        told = {"image_token": token, "num_query_tokens": 32, "processor_class": "Blip2Processor"}
        write_json(folder / "processor_config.json", told)
    tokenizer.save(str(folder / "tokenizer.json"))
    pixels = {"do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True}
    pixels |= {"image_mean": MEAN, "image_std": STD, "image_processor_type": "BlipImageProcessor"}
    pixels |= {"resample": 3, "rescale_factor": 0.00392156862745098}
    pixels |= {"size": {"height": image_px, "width": image_px}}
    write_json(folder / "preprocessor_config.json", {**pixels, "processor_class": "Blip2Processor"})
    return folder


def repeat_head(folder, model):
    """Put the head, tied to the embedding, among the weights a second time."""
    index_file = folder / "model.safetensors.index.json"
    index = json.loads(index_file.read_text())
    shard = index["weight_map"]["language_model.model.decoder.embed_tokens.weight"]
    weights = load_file(folder / shard)
    weights["language_model.lm_head.weight"] = model.language_model.lm_head.weight.detach().clone()
    save_file(weights, folder / shard, metadata={"format": "pt"})
    index["weight_map"]["language_model.lm_head.weight"] = shard
    write_json(index_file, index)


def write_clip(folder):
    """Write openai/clip-vit-large-patch14: 224 px and patches of 14, as published."""
    vision = {**SIZES, "num_hidden_layers": 3, "image_size": 224, "patch_size": 14}
    text = {**SIZES, "num_hidden_layers": 2, "vocab_size": 600, "max_position_embeddings": 77}
    legacy = {"_name_or_path": "", "add_cross_attention": False, "bad_words_ids": None}
    legacy |= {"output_hidden_states": False, "torchscript": False, "use_bfloat16": False}
    ids = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    config = {
        "_name_or_path": "clip-vit-large-patch14/",
        "architectures": ["CLIPModel"],
        "initializer_factor": 1.0,
        "logit_scale_init_value": 2.6592,
        "model_type": "clip",
        "projection_dim": 16,
        "text_config": {**legacy, **ids, **text, "model_type": "clip_text_model"},
        "text_config_dict": {**text, "projection_dim": 16},
        "torch_dtype": "float32",
        "transformers_version": None,
        "vision_config": {**legacy, **vision, "model_type": "clip_vision_model"},
        "vision_config_dict": {**vision, "projection_dim": 16},
    }
    model = randomize(CLIPModel(CLIPConfig(**config)))
    model.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    for name, length in (("text_model", 77), ("vision_model", 257)):
        weights[f"{name}.embeddings.position_ids"] = torch.arange(length).unsqueeze(0)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", config)
    pixels = {"crop_size": 224, "do_center_crop": True, "do_normalize": True, "do_resize": True}
    pixels |= {"feature_extractor_type": "CLIPFeatureExtractor", "image_mean": MEAN}
    pixels |= {"image_std": STD, "resample": 3, "size": 224}
    write_json(folder / "preprocessor_config.json", pixels)
    write_clip_tokenizer(folder)
    return folder


def write_clip_tokenizer(folder):
    start, end = "<|startoftext|>", "<|endoftext|>"
    tokenizer = Tokenizer(models.BPE(unk_token=end, end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=590,
        special_tokens=[start, end],
        end_of_word_suffix="</w>",
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text.lower() for text in TEXTS], trainer)
    tokenizer.model.save(str(folder))
    special = {"bos_token": added_token(start), "eos_token": added_token(end)}
    special |= {"unk_token": added_token(end), "pad_token": end}
    settings = {"errors": "replace", "do_lower_case": True, "model_max_length": 77}
    settings |= {"name_or_path": "openai/clip-vit-base-patch32", "tokenizer_class": "CLIPTokenizer"}
    write_json(folder / "tokenizer_config.json", settings | special)
    write_json(folder / "special_tokens_map.json", special)


def write_opt(folder):
    """Write facebook/opt-2.7b."""
    tokenizer = learn_bpe()
    config = {
        **OPT,
        "_name_or_path": "opt-2.7b",
        "_remove_final_layer_norm": False,
        "activation_dropout": 0.0,
        "activation_function": "relu",
        "architectures": ["OPTForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": 2,
        "do_layer_norm_before": True,
        "dropout": 0.1,
        "eos_token_id": 2,
        "init_std": 0.02,
        "layerdrop": 0.0,
        "model_type": "opt",
        "pad_token_id": 1,
        "prefix": "</s>",
        "torch_dtype": "float16",
        "transformers_version": "4.21.0.dev0",
        "use_cache": True,
        "vocab_size": padded(tokenizer.get_vocab_size()),
    }
    model = randomize(OPTForCausalLM(OPTConfig(**config))).half()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    write_json(folder / "config.json", config)
    generation = {"_from_model_config": True, "bos_token_id": 2, "eos_token_id": 2}
    write_json(folder / "generation_config.json", {**generation, "pad_token_id": 1})
    write_opt_tokenizer(folder, tokenizer)
    return folder
