"""OPT as the model's voice: the prompt, the answers as tokens, and the probability of "Yes".

Shapes in this file:
    B batch, K soft visual tokens, P tokens of the prompt, S tokens of an answer, T language width,
    W words of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, OPTForCausalLM, PreTrainedTokenizerBase

from ifas_model.checkpoint import load_weights, reading
from ifas_model.loss import Segment
from ifas_model.prompt import QUESTION, SEPARATOR

CAPTION_PROMPT = "a photo of"
"""What stands before captions, as BLIP-2's captioners learn them."""

END_OF_ANSWER = "\n"
"""What ends an answer, as it ends the captions of BLIP-2's OPT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Token ids that the model must know; plain data, so that checkpoints can hold it."""

    prompt: tuple[int, ...]
    """The whole prompt, leading boundary included."""

    caption_prompt: tuple[int, ...]
    """What stands before a caption where the model learns to describe pictures."""

    yes: int
    """`` Yes``, the judgment of bona fide faces."""

    no: int
    """`` No``, the judgment of attacks."""

    separator: tuple[int, ...]
    """What stands between judgment and interpretation, less its last space."""

    end: int
    """The end of an answer."""

    pad: int
    """Padding."""


def learn_words(tokenizer: PreTrainedTokenizerBase, prompt: str) -> Words:
    """Return the ids of a tokenizer for prompt, judgments and end.

    Args:
        tokenizer: Of the language model.
        prompt: Text with ``{question}`` in it.

    Raises:
        ValueError: If a judgment or the end is not one token, or the prompt has no question.
    """
    if "{question}" not in prompt:
        raise ValueError(f"`prompt` must hold {{question}}, but is {prompt!r}.")
    yes, no, end = (_one_token(tokenizer, text) for text in (" Yes", " No", END_OF_ANSWER))
    if yes == no:
        raise ValueError(f'" Yes" and " No" must be two tokens, but both are {yes}.')
    text = prompt.replace("{question}", QUESTION)
    return Words(
        prompt=tuple(tokenizer(text).input_ids),
        caption_prompt=tuple(tokenizer(CAPTION_PROMPT).input_ids),
        yes=yes,
        no=no,
        separator=tuple(_ids(tokenizer, SEPARATOR.rstrip())),
        end=end,
        pad=int(tokenizer.pad_token_id),
    )


def load_language(folder: Path) -> OPTForCausalLM:
    """Load OPT from a local folder in the Hugging Face layout, in evaluation mode.

    Raises:
        ModelError: If the folder holds no checkpoint in safetensors, or one that lacks a weight.
    """
    language: OPTForCausalLM = load_weights(OPTForCausalLM, folder)
    return language


def load_tokenizer(folder: Path, prompt: str) -> tuple[PreTrainedTokenizerBase, Words]:
    """Load a tokenizer from a local folder, with the ids that the model must know.

    Args:
        folder: Of a language model or a whole one.
        prompt: As in `learn_words`.

    Raises:
        ModelError: If the folder holds none, or one that does not know the words.
    """
    with reading(folder):
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        return tokenizer, learn_words(tokenizer, prompt)


def write_answers(
    tokenizer: PreTrainedTokenizerBase,
    words: Words,
    labels: Sequence[int],
    interpretations: Sequence[str],
    *,
    max_tokens: int,
) -> tuple[Tensor, Tensor]:
    """Return answers as token ids and their segments, padded on the right: (B, S) each.

    Args:
        tokenizer: Of the language model.
        words: Its known ids.
        labels: 1 bona fide, 0 attack.
        interpretations: ``This is <caption>`` each; empty for the judgment alone, which then has no
            end either.
        max_tokens: Longer interpretations are cut.

    Source: I-FAS, eq. (3).
    """
    rows = []
    for label, ids in zip(labels, _told(tokenizer, interpretations, max_tokens), strict=True):
        rest = [*words.separator, *ids, words.end] if ids else []
        rows.append([words.yes if label else words.no, *rest])
    targets, segments = _padded(rows, words.pad)
    segments[:, 0] = int(Segment.JUDGMENT)
    return targets, segments


def write_captions(
    tokenizer: PreTrainedTokenizerBase, words: Words, captions: Sequence[str], *, max_tokens: int
) -> tuple[Tensor, Tensor]:
    """Return captions as token ids and their segments, padded on the right: (B, S) each.

    Args:
        tokenizer: Of the language model.
        words: Its known ids.
        captions: One of each picture.
        max_tokens: Longer ones are cut.
    """
    told = _told(tokenizer, captions, max_tokens)
    return _padded([[*ids, words.end] for ids in told], words.pad)


def answer_logits(
    language: OPTForCausalLM,
    soft: Tensor,
    prompt: Sequence[int],
    answers: Tensor | None = None,
) -> Tensor:
    """Return the logits that predict each token of an answer.

    The sequence is ``[X_T][prompt][answer]`` with causal attention; nothing but answers differs in
    length, so answers are padded on the right and no mask is needed: what follows a token is never
    seen by it.

    Args:
        language: OPT.
        soft: X_T, (B, K, T).
        prompt: Token ids of the prompt.
        answers: Token ids, (B, S); ``None`` asks for the first token alone.

    Returns:
        Logits, (B, S, W); (B, 1, W) without answers. The first predicts the judgment.

    Source: I-FAS, eq. (3) and the section "Inference".
    """
    embed = language.get_input_embeddings()  # type: ignore[no-untyped-call]
    asked = embed(torch.tensor(prompt, device=soft.device)).expand(len(soft), -1, -1)
    parts = [soft.to(asked.dtype), asked]
    if answers is not None:
        parts.append(embed(answers[:, :-1]))
    hidden = language.model(inputs_embeds=torch.cat(parts, dim=1)).last_hidden_state
    first = soft.shape[1] + len(prompt) - 1
    return language.lm_head(hidden[:, first:])


def margin_of(logits: Tensor, words: Words) -> Tensor:
    """Return z_yes - z_no at the first answer token in float32: (B, S, W) -> (B,).

    `p_yes`, its sigmoid, is the softmax over the two judgments alone. PAPER: says "the probability
    of Yes"; over two words it ranks as the whole vocabulary's does, but for mass on other words.

    Source: I-FAS, section "Inference".
    """
    first = logits[:, 0].float()
    return first[:, words.yes] - first[:, words.no]


@torch.no_grad()
def interpret(
    language: OPTForCausalLM, soft: Tensor, words: Words, judgments: Tensor, *, max_tokens: int
) -> list[list[int]]:
    """Continue given judgments greedily and return the ids after them, without the end.

    Args:
        language: OPT.
        soft: X_T, (B, K, T).
        words: Known ids.
        judgments: `words.yes` or `words.no` of each picture, (B,). The judgment that is shown is
            the one that the score implies, so that the two never disagree.
        max_tokens: Most tokens of an interpretation.
    """
    embed = language.get_input_embeddings()  # type: ignore[no-untyped-call]
    ids = torch.tensor(words.prompt, device=soft.device).expand(len(soft), -1)
    begun = embed(torch.cat([ids, judgments[:, None]], dim=1))
    sequence = torch.cat([soft.to(begun.dtype), begun], dim=1)
    writer: Any = language
    told = writer.generate(
        inputs_embeds=sequence,
        attention_mask=torch.ones(sequence.shape[:2], dtype=torch.long, device=soft.device),
        max_new_tokens=len(words.separator) + max_tokens,
        do_sample=False,
        eos_token_id=words.end,
        pad_token_id=words.pad,
    )
    rows: list[list[int]] = told.tolist()
    return [row[: row.index(words.end)] if words.end in row else row for row in rows]


def adapt(language: OPTForCausalLM, *, rank: int, alpha: int) -> None:
    """Put LoRA adapters into the query and value projections, in place.

    Args:
        language: OPT.
        rank: Of the adapters.
        alpha: Their scale, over the rank.
    """
    from peft import LoraConfig, inject_adapter_in_model  # slow to import, and seldom wanted

    config = LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=["q_proj", "v_proj"], lora_dropout=0.0
    )
    inject_adapter_in_model(config, language)


def copy_weights(trained: OPTForCausalLM, language: OPTForCausalLM) -> None:
    """Copy weights into a model of the same sizes, adapted or not.

    Args:
        trained: OPT without adapters.
        language: OPT; fresh adapters stay as they are.
    """
    state = {name.replace(".base_layer.", "."): name for name in language.state_dict()}
    weights = {state[name]: tensor for name, tensor in trained.state_dict().items()}
    language.load_state_dict(weights, strict=False)


def _told(tokenizer: Any, texts: Sequence[str], max_tokens: int) -> list[list[int]]:  # noqa: ANN401
    """Return the ids of texts as they follow another word; none of an empty text."""
    ids = tokenizer([f" {text}" if text else "" for text in texts], add_special_tokens=False)
    return [row[:max_tokens] for row in ids.input_ids]


def _padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    length = max(map(len, rows))
    targets = torch.full((len(rows), length), pad)
    segments = torch.full((len(rows), length), int(Segment.IGNORED))
    for place, row in enumerate(rows):
        targets[place, : len(row)] = torch.tensor(row)
        segments[place, : len(row)] = int(Segment.INTERPRETATION)
    return targets, segments


def _ids(tokenizer: Any, text: str) -> list[int]:  # noqa: ANN401 - tokenizers are untyped
    found: list[int] = tokenizer(text, add_special_tokens=False).input_ids
    return found


def _one_token(tokenizer: Any, text: str) -> int:  # noqa: ANN401 - tokenizers are untyped
    ids = _ids(tokenizer, text)
    if len(ids) != 1 or ids[0] == tokenizer.unk_token_id:
        raise ValueError(
            f"{text!r} must be one token of the language model's tokenizer, but is {ids}."
        )
    return ids[0]
