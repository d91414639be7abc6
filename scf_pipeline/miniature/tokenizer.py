"""Byte-level BPE tokenizers of the miniature's models, learned from its own captions."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

VOCABULARY = 1024
"""Most tokens; learning stops earlier once every word of the captions is one token."""

NEWLINE = "Ċ"
"""The byte-level name of a line break, which ends captions as in published OPT checkpoints."""

PADDING, BOUNDARY = "<pad>", "</s>"
"""Special tokens of OPT, whose texts begin with the boundary."""

START, END = "<|startoftext|>", "<|endoftext|>"
"""Special tokens of CLIP, which pools a text where its end token stands."""


def learn_opt_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Return a tokenizer with OPT's special tokens: a leading ``</s>``, ``<pad>``, no end.

    Args:
        texts: What the models will read and write. Each word becomes one token.
    """
    tokenizer = _learn(texts, special_tokens=[PADDING, BOUNDARY])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOUNDARY} $A", special_tokens=[(BOUNDARY, tokenizer.token_to_id(BOUNDARY))]
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=BOUNDARY,
        eos_token=BOUNDARY,
        pad_token=PADDING,
        padding_side="left",
    )


def learn_clip_tokenizer(texts: Iterable[str], *, max_length: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer with CLIP's special tokens.

    Args:
        texts: What the models will read. Each word becomes one token.
        max_length: Most tokens of a text, start and end included.
    """
    # The end must not be token 2: transformers takes that for the old, faulty CLIP config and
    # pools at the largest id instead.
    tokenizer = _learn(texts, special_tokens=[START, END, PADDING])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in (START, END)],
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=START,
        eos_token=END,
        pad_token=PADDING,
        model_max_length=max_length,
    )


def _learn(texts: Iterable[str], *, special_tokens: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        min_frequency=1,
        special_tokens=special_tokens,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sorted(set(texts)), trainer)
    return tokenizer
