"""Names of BLIP-2's weights in the two layouts: transformers' and LAVIS's.

The numbers are the same. Only the biases of the vision tower's attention are cut differently:
transformers has one for queries, keys and values together, LAVIS has none for keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

PAIRS = (
    ("query_tokens", "query_tokens"),
    ("vision_model.embeddings.class_embedding", "visual_encoder.cls_token"),
    ("vision_model.embeddings.position_embedding", "visual_encoder.pos_embed"),
    ("vision_model.embeddings.patch_embedding.{rest}", "visual_encoder.patch_embed.proj.{rest}"),
    (
        "vision_model.encoder.layers.{n}.layer_norm{k}.{rest}",
        "visual_encoder.blocks.{n}.norm{k}.{rest}",
    ),
    ("vision_model.encoder.layers.{n}.mlp.{rest}", "visual_encoder.blocks.{n}.mlp.{rest}"),
    (
        "vision_model.encoder.layers.{n}.self_attn.qkv.weight",
        "visual_encoder.blocks.{n}.attn.qkv.weight",
    ),
    (
        "vision_model.encoder.layers.{n}.self_attn.projection.{rest}",
        "visual_encoder.blocks.{n}.attn.proj.{rest}",
    ),
    ("vision_model.post_layernorm.{rest}", "ln_vision.{rest}"),
    ("qformer.layernorm.{rest}", "Qformer.bert.embeddings.LayerNorm.{rest}"),
    (
        "qformer.encoder.layer.{n}.{attention}.attention.{rest}",
        "Qformer.bert.encoder.layer.{n}.{attention}.self.{rest}",
    ),
    (
        "qformer.encoder.layer.{n}.{attention}.output.{rest}",
        "Qformer.bert.encoder.layer.{n}.{attention}.output.{rest}",
    ),
    (
        "qformer.encoder.layer.{n}.{dense}_query.{rest}",
        "Qformer.bert.encoder.layer.{n}.{dense}_query.{rest}",
    ),
    ("language_projection.{rest}", "opt_proj.{rest}"),
    ("language_model.{rest}", "opt_model.{rest}"),
)
"""Templates of names in transformers and in LAVIS, each weight in exactly one."""

FIELDS = {
    "n": r"\d+",
    "k": "[12]",
    "attention": "attention|crossattention",
    "dense": "intermediate|output",
    "rest": ".+",
}

FUSED = re.compile(r"vision_model\.encoder\.layers\.(?P<n>\d+)\.self_attn\.qkv\.bias")
QUERY, VALUE = (f"visual_encoder.blocks.{{n}}.attn.{part}_bias" for part in "qv")
IS_QUERY, IS_VALUE = (
    re.compile(rf"visual_encoder\.blocks\.(?P<n>\d+)\.attn\.{part}_bias") for part in "qv"
)


def _patterns(side: int) -> list[tuple[re.Pattern[str], str]]:
    """Return a pattern for each template of one side, and the other side's template."""
    found = []
    for pair in PAIRS:
        literal = re.escape(pair[side]).replace(r"\{", "{").replace(r"\}", "}")
        groups = {name: f"(?P<{name}>{field})" for name, field in FIELDS.items()}
        found.append((re.compile(literal.format(**groups)), pair[1 - side]))
    return found


TO_LAVIS, FROM_LAVIS = _patterns(0), _patterns(1)


def to_lavis(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return transformers' weights under LAVIS's names.

    A bias of the keys is left out. It adds the same to a query's match with every key, and what is
    the same for all keys leaves a softmax as it is.

    Raises:
        ValueError: If a name belongs to no BLIP-2 with OPT.
    """
    found: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if (fused := FUSED.fullmatch(name)) is not None:
            query, _key, value = weight.chunk(3)
            found[QUERY.format(**fused.groupdict())] = query.contiguous()
            found[VALUE.format(**fused.groupdict())] = value.contiguous()
        else:
            found[_rename(name, TO_LAVIS)] = weight
    return found


def to_transformers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return LAVIS's weights under transformers' names; keys get a bias of zeros.

    Raises:
        ValueError: If a name belongs to no BLIP-2 with OPT, or one of two biases is missing.
    """
    found: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if (query := IS_QUERY.fullmatch(name)) is not None:
            other = VALUE.format(**query.groupdict())
            if other not in weights:
                raise ValueError(f"{name!r} must have {other!r} beside it, but has not.")
            fused = f"vision_model.encoder.layers.{query['n']}.self_attn.qkv.bias"
            found[fused] = torch.cat([weight, torch.zeros_like(weight), weights[other]])
        elif (value := IS_VALUE.fullmatch(name)) is not None:
            other = QUERY.format(**value.groupdict())
            if other not in weights:
                raise ValueError(f"{name!r} must have {other!r} beside it, but has not.")
        else:
            found[_rename(name, FROM_LAVIS)] = weight
    return found


def key_biases(weights: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield the names of transformers' fused biases whose keys' third is not zero."""
    for name, weight in weights.items():
        if FUSED.fullmatch(name) and weight.chunk(3)[1].any():
            yield name


def _rename(name: str, patterns: list[tuple[re.Pattern[str], str]]) -> str:
    for pattern, template in patterns:
        if (match := pattern.fullmatch(name)) is not None:
            return template.format(**match.groupdict())
    raise ValueError(f"A weight must belong to BLIP-2 with OPT, but is named {name!r}.")
