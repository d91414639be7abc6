"""BLIP-2 checkpoints from transformers' layout to LAVIS's, and back; LAVIS is not needed for it."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers.models import BPE
from torch import Tensor
from transformers import Blip2Config, Blip2Processor
from upath import UPath

from ifas_model.checkpoint import BROKEN
from ifas_model.layout import INDEX
from scf_pipeline.captioners._checkpoint import checkpoint_folder, read_json, resolve
from scf_pipeline.captioners._instructions import INSTRUCTIONS
from scf_pipeline.captioners._lavis_folder import CONFIG, MODEL_TYPE, REST, check_kind, is_lavis
from scf_pipeline.captioners._lavis_names import key_biases, to_lavis, to_transformers
from scf_pipeline.config import canonical
from scf_pipeline.errors import CaptionerError
from scf_pipeline.files import MANIFEST, SETTINGS
from scf_pipeline.weights import WANTED

PICKLES = (".pth", ".pt")
PARTIAL = ".partial"
KEPT_INDEX = "index.json"
"""Name of transformers' index of weights where no weights lie beside it."""

CONSTANT = "Qformer.bert.embeddings.position_ids"
"""What LAVIS's pickles hold besides weights: the numbers from 0 on."""

logger = logging.getLogger(__name__)

Rename = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def convert(source: str, out: Path, *, base: str | None = None) -> Path:
    """Write a checkpoint in the other layout.

    Args:
        source: What to convert: a checkpoint as ``--model`` takes it, to LAVIS's layout; a folder
            in LAVIS's layout, to transformers'; or a ``.pth`` of LAVIS, to LAVIS's layout.
        out: Folder to write, which must not be there yet.
        base: For a ``.pth``, the checkpoint it was trained from, in either layout: it gives the
            weights that were frozen, and everything that is no weight.

    Returns:
        The folder.

    Raises:
        CaptionerError: If the source is unsound or no BLIP-2 with OPT, or the folder is there.
    """
    if out.exists():
        raise CaptionerError(
            "A converted checkpoint must get a new folder, but this one is there.",
            where=str(out),
            fix="Name another folder, or remove this one.",
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        _convert_into(partial, source, base)
        partial.rename(out)
    except (*BROKEN, EOFError) as error:
        raise CaptionerError(
            f"A checkpoint to convert must be a sound BLIP-2 with OPT, but is not: {error}",
            where=source,
            fix="Name another checkpoint, or fetch this one again.",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def _convert_into(out: Path, source: str, base: str | None) -> None:
    path = Path(source).expanduser()
    if path.is_file():
        if path.suffix not in PICKLES or base is None:
            raise CaptionerError(
                "A file to convert must be a .pth of LAVIS with the checkpoint it began from, but "
                "there is no such checkpoint given.",
                where=source,
                fix="Give the checkpoint as `--base`: a folder, or hub id with revision.",
            )
        _write_either_as_lavis(base, out)
        _overlay(out, path)
    elif is_lavis(path):
        check_kind(path)
        _write_transformers(path, out)
    else:
        _write_lavis(source, out)


def _write_either_as_lavis(source: str, out: Path) -> None:
    folder = Path(source).expanduser()
    if is_lavis(folder):
        check_kind(folder)
        shutil.copytree(folder, out, dirs_exist_ok=True)
    else:
        _write_lavis(source, out)


def _write_lavis(source: str, out: Path) -> None:
    model = resolve(source)
    with checkpoint_folder(model) as folder:
        config = Blip2Config.from_dict(read_json(UPath(folder) / CONFIG))
        processor: Any = Blip2Processor.from_pretrained(
            folder, backend="pil", local_files_only=True, trust_remote_code=False
        )
        told = lavis_config(config, processor.tokenizer, end_token(folder, config))
        rest = out / REST
        rest.mkdir()
        for file in _settings_files(folder):
            name = KEPT_INDEX if file.name == INDEX else file.name
            shutil.copyfile(file, (out if name == INSTRUCTIONS else rest) / name)
        biased = _rewrite(folder, out, to_lavis)
    if biased:
        logger.info("%s: biases of keys, which change no attention, are left out", out)
    processor.tokenizer.backend_tokenizer.model.save(str(out))
    (out / CONFIG).write_text(canonical(told) + "\n", encoding="utf-8")


def _write_transformers(folder: Path, out: Path) -> None:
    for file in sorted((folder / REST).iterdir()):
        shutil.copyfile(file, out / (INDEX if file.name == KEPT_INDEX else file.name))
    if (folder / INSTRUCTIONS).is_file():
        shutil.copyfile(folder / INSTRUCTIONS, out / INSTRUCTIONS)
    _rewrite(folder, out, to_transformers)


def _settings_files(folder: Path) -> list[Path]:
    """Return the files of a checkpoint that are no weights."""
    found = {file for pattern in WANTED for file in folder.glob(pattern)}
    return sorted(
        file
        for file in found
        if file.suffix != ".safetensors" and file.name not in (MANIFEST, SETTINGS)
    )


def _rewrite(folder: Path, out: Path, rename: Rename) -> bool:
    """Write each file of weights under other names; tell whether biases of keys were left out."""
    biased = False
    for file in _weight_files(folder):
        with safe_open(file, framework="pt") as held:
            metadata: dict[str, str] | None = held.metadata()
            weights = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118 - no mapping
        biased |= rename is to_lavis and any(key_biases(weights))
        save_file(rename(weights), out / file.name, metadata=metadata)
    return biased


def _weight_files(folder: Path) -> list[Path]:
    """Return the files that hold the weights: those of the index, where there is one."""
    if (folder / INDEX).is_file():
        names = read_json(UPath(folder) / INDEX)["weight_map"].values()
        return [folder / name for name in sorted(set(names))]
    return sorted(folder.glob("*.safetensors"))


def _overlay(folder: Path, pickle: Path) -> None:
    """Put the weights of a ``.pth`` into a folder in LAVIS's layout.

    Torch's own unpickler reads it, which makes tensors and plain data and refuses all else.
    """
    held = torch.load(pickle, map_location="cpu", weights_only=True)
    given: dict[str, Tensor] = dict(held.get("model", held))
    given.pop(CONSTANT, None)
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as stored:
            metadata: dict[str, str] | None = stored.metadata()
            weights = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        for name in weights.keys() & given.keys():
            weight, place = given.pop(name), weights[name]
            if weight.shape != place.shape:
                raise ValueError(
                    f"{name!r} must have the shape {tuple(place.shape)} of its base, but has "
                    f"{tuple(weight.shape)}."
                )
            weights[name] = weight.contiguous()
        save_file(weights, file, metadata=metadata)
    if given:
        raise ValueError(f"its base must have a place for {min(given)!r}, but has none.")


def end_token(folder: Path, config: Blip2Config) -> int:
    """Return the one token that ends a caption.

    Raises:
        ValueError: If there are several: LAVIS knows one.
    """
    path = UPath(folder) / "generation_config.json"
    told = read_json(path).get("eos_token_id") if path.is_file() else None
    text: Any = config.text_config
    ends = text.eos_token_id if told is None else told
    ends = [ends] if isinstance(ends, int) else list(ends)
    if len(ends) != 1:
        raise ValueError(f"a caption must have one end token, but has {ends}.")
    found: int = ends[0]
    return found


def lavis_config(config: Blip2Config, tokenizer: Any, end: int) -> dict[str, Any]:  # noqa: ANN401
    """Return what ``config.json`` of LAVIS's layout holds.

    Args:
        config: Of the checkpoint in transformers' layout.
        tokenizer: Of the same.
        end: Token that ends a caption.

    Raises:
        ValueError: If LAVIS's classes cannot do what the config says.
    """
    vision: Any = config.vision_config
    qformer: Any = config.qformer_config
    text: Any = config.text_config
    _check(config, tokenizer)
    names = (
        *("vocab_size", "hidden_size", "word_embed_proj_dim", "ffn_dim", "num_hidden_layers"),
        *("num_attention_heads", "max_position_embeddings", "activation_function"),
        *("do_layer_norm_before", "pad_token_id", "bos_token_id", "eos_token_id"),
    )
    return {
        "model_type": MODEL_TYPE,
        "visual_encoder": {
            "img_size": vision.image_size,
            "patch_size": vision.patch_size,
            "embed_dim": vision.hidden_size,
            "depth": vision.num_hidden_layers,
            "num_heads": vision.num_attention_heads,
            # LAVIS cuts the product off: the half keeps rounding from taking one away.
            "mlp_ratio": (vision.intermediate_size + 0.5) / vision.hidden_size,
            "layer_norm_eps": vision.layer_norm_eps,
        },
        "Qformer": {
            "vocab_size": 1,  # it reads no text
            "hidden_size": qformer.hidden_size,
            "num_hidden_layers": qformer.num_hidden_layers,
            "num_attention_heads": qformer.num_attention_heads,
            "intermediate_size": qformer.intermediate_size,
            "hidden_act": qformer.hidden_act,
            "layer_norm_eps": qformer.layer_norm_eps,
            "encoder_width": qformer.encoder_hidden_size,
            "cross_attention_freq": qformer.cross_attention_frequency,
            "query_length": config.num_query_tokens,
        },
        "opt_model": {name: getattr(text, name) for name in names},
        "opt_tokenizer": {
            "bos_token": tokenizer.bos_token,
            "eos_token": tokenizer.eos_token,
            "unk_token": tokenizer.unk_token or tokenizer.eos_token,
            "pad_token": tokenizer.pad_token,
        },
        "eos_token_id": end,
        "image_token_id": config.image_token_index,
    }


def _check(config: Blip2Config, tokenizer: Any) -> None:  # noqa: ANN401
    """Refuse what LAVIS's classes have no word for."""
    vision: Any = config.vision_config
    qformer: Any = config.qformer_config
    text: Any = config.text_config
    if text.model_type != "opt":
        raise ValueError(f"its language model must be 'opt', but is {text.model_type!r}.")
    facts = {
        "`enable_bias` of OPT": (text.enable_bias, True),
        "`tie_word_embeddings` of OPT": (text.tie_word_embeddings, True),
        "`hidden_act` of the vision tower": (vision.hidden_act, "gelu"),
        "`qkv_bias` of the vision tower": (vision.qkv_bias, True),
        "`use_qformer_text_input`": (qformer.use_qformer_text_input, False),
        "`image_token_index` as a type": (type(config.image_token_index), int),
        "the tokenizer as a type": (type(tokenizer.backend_tokenizer.model), BPE),
        "the first token of a text": (tokenizer("a")["input_ids"][0], text.bos_token_id),
    }
    for name, (found, wanted) in facts.items():
        if found != wanted:
            raise ValueError(f"{name} must be {wanted!r} for LAVIS, but is {found!r}.")
