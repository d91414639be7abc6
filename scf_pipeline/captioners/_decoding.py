"""Captions token by token: what transformers' `generate` would write, with less work.

* A prompt is read once for each picture, however many beams continue it. Beams are positions, not
  rows: each sees, by its mask, the prompt and its own words, so no cache is copied or reordered.
* Captions that are done leave the batch.
* Of the logits no more is kept than the log-probability of the token that was chosen.

Shapes in this file:
    B pictures, K beams, S tokens of the prompt, T new tokens, W vocabulary, D width,
    C candidates, R rows: B, or B K.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from scf_pipeline.captioners._reading import Reader, close_ranks
from scf_pipeline.captioners._rules import Rules
from scf_pipeline.captioners._screening import BLOCK, Screen

NEVER = -1e9
"""Score of what may not be chosen; `generate` uses the same."""

FEWEST_BLOCKS = 8
"""Blocks for each score that is asked for, from which it pays to look at the best of each first."""

CACHED_SCORES = 1 << 19
"""Scores of tokens that a core of a CPU keeps at hand, at four bytes each."""


class Sampler(Protocol):
    """Turns the best token of a row into a drawn one."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores whose arg max is the draw, (R, W) -> (R, W)."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Forget all rows but these."""
        ...


@dataclass(frozen=True, slots=True)
class Written:
    """New tokens of a batch."""

    tokens: Tensor
    """The end included, then padding, (B, T)."""

    log_probabilities: Tensor
    """Of each token under the plain model, 0 where there is padding, (B, T)."""


def reader_for(
    language: Any,  # noqa: ANN401 - a causal language model of transformers
    prompt: Tensor,
    rules: Rules,
    sampler: Sampler | None = None,
    screen: Screen | None = None,
) -> Reader:
    """Return what reads the prompts of a batch and all that `write` adds to them.

    Args:
        language: The language model, in evaluation mode.
        prompt: Embeddings, (B, S, D).
        rules: What may be written.
        sampler: As `write` will get it.
        screen: Of the output matrix; used where nothing is asked of a token but to be the best.
    """
    wants_best = sampler is None and rules.num_beams == rules.repetition_penalty == 1
    return Reader(
        language,
        room=prompt.shape[1] + rules.max_new_tokens * rules.num_beams,
        screen=screen if wants_best else None,
    )


def write(
    reader: Reader, prompt: Tensor, prompt_ids: Tensor, rules: Rules, sampler: Sampler | None = None
) -> Written:
    """Continue the prompts of a batch.

    Args:
        reader: Runs the language model; see `reader_for`.
        prompt: Embeddings, pictures included, without padding, (B, S, D).
        prompt_ids: Their ids, (B, S).
        rules: What may be written.
        sampler: Draws tokens where there is one beam; without it the best are taken.
    """
    if rules.num_beams > 1:
        return _write_beams(reader, prompt, prompt_ids, rules)
    return _write_best(reader, prompt, prompt_ids, rules, sampler)


def _write_best(
    reader: Reader, prompt: Tensor, text: Tensor, rules: Rules, sampler: Sampler | None
) -> Written:
    read = reader.read(prompt)  # logits, (R, W), or for a screen hidden states, (R, D)
    ends = torch.tensor(rules.end_tokens, device=text.device)
    shape = (len(text), rules.max_new_tokens)
    written = Written(text.new_full(shape, rules.pad_token), read.new_zeros(shape))
    rows = torch.arange(len(text), device=text.device)
    for step in range(rules.max_new_tokens):
        if reader.screen is not None:
            chosen, told = reader.screen.choose(read, rules.banned(step))
        else:
            chosen, told = _choose(read, text, rules, sampler, step)
        written.tokens[rows, step], written.log_probabilities[rows, step] = chosen, told
        going = torch.isin(chosen, ends, invert=True).nonzero()[:, 0]
        if not len(going) or step + 1 == rules.max_new_tokens:
            break
        chosen = chosen.unsqueeze(1)
        text = torch.cat([text, chosen], dim=1)
        if len(going) < len(rows):
            going = close_ranks(going)
            rows, text, chosen = rows[going], text[going], chosen[going]
            reader.keep(going)
            if sampler is not None:
                sampler.keep(going)
        read = reader.read_tokens(chosen)[:, 0]
    return written


def _choose(
    logits: Tensor, text: Tensor, rules: Rules, sampler: Sampler | None, step: int
) -> tuple[Tensor, Tensor]:
    """Return the next token of each row, and its log-probability under the plain model, (R,)."""
    total = logits.logsumexp(-1)
    scores = rules.discourage(text, logits)
    rules.forbid(scores, step)
    if sampler is not None:
        scores = sampler(text, scores)
    # On a CPU, `argmax` takes three times as long.
    chosen = scores.max(-1, keepdim=True).indices
    return chosen[:, 0], logits.gather(1, chosen)[:, 0] - total


@dataclass(slots=True)
class _Beams:
    """Beams of some pictures, and what they have written."""

    tokens: Tensor
    """(B, K or C, T)"""

    told: Tensor
    """Plain log-probabilities, (B, K or C, T)."""

    scores: Tensor
    """(B, K or C)"""

    def pick(self, at: Tensor, scores: Tensor) -> _Beams:
        """Return some beams of each picture, (B, any), with new scores."""
        wide = at.unsqueeze(-1)
        return _Beams(
            self.tokens.take_along_dim(wide, 1), self.told.take_along_dim(wide, 1), scores
        )

    def of(self, pictures: Tensor) -> _Beams:
        """Return the beams of some pictures."""
        return _Beams(self.tokens[pictures], self.told[pictures], self.scores[pictures])


def _write_beams(reader: Reader, prompt: Tensor, text: Tensor, rules: Rules) -> Written:
    """Search with beams as `generate` does with ``early_stopping=False``."""
    logits = reader.read(prompt).unsqueeze(1)  # (B, 1, W): all beams begin alike
    ends = torch.tensor(rules.end_tokens, device=text.device)
    shape = (len(text), rules.num_beams, rules.max_new_tokens)
    running = _Beams(
        text.new_full(shape, rules.pad_token),
        logits.new_zeros(shape),
        logits.new_full(shape[:2], NEVER),
    )
    running.scores[:, 0] = 0  # so only the first may be continued at first
    done = _Beams(running.tokens, running.told, torch.full_like(running.scores, NEVER))
    seen = torch.ones((*shape[:2], text.shape[1]), dtype=torch.bool, device=text.device)
    own = torch.eye(rules.num_beams, dtype=torch.bool, device=text.device)
    written = Written(running.tokens[:, 0].clone(), running.told[:, 0].clone())
    rows = torch.arange(len(text), device=text.device)
    for step in range(rules.max_new_tokens):
        found, parents = _continue(running, logits, text, rules, step)
        ended = torch.isin(found.tokens[:, :, step], ends)
        if step + 1 == rules.max_new_tokens:
            ended = torch.ones_like(ended)
        divisor = (step + 1) ** rules.length_penalty
        done = _finish(done, found, ended, divisor)
        written.tokens[rows], written.log_probabilities[rows] = done.tokens[:, 0], done.told[:, 0]
        best = (found.scores + ended * NEVER).topk(rules.num_beams)
        running = found.pick(best.indices, best.values)
        # While one of the K places for finished beams is free, its score is NEVER.
        hopeful = running.scores[:, 0] / divisor > done.scores.amin(1)
        going = hopeful.nonzero()[:, 0]
        if not len(going) or step + 1 == rules.max_new_tokens:
            break
        seen = seen.take_along_dim(parents.gather(1, best.indices).unsqueeze(-1), 1)
        seen = torch.cat([seen, own.expand(len(seen), -1, -1)], dim=-1)
        if len(going) < len(rows):
            going = close_ranks(going)
            rows, text, seen = rows[going], text[going], seen[going]
            running, done = running.of(going), done.of(going)
            reader.keep(going)
        logits = reader.read_tokens(running.tokens[:, :, step], seen)
    return written


def _continue(
    running: _Beams, logits: Tensor, text: Tensor, rules: Rules, step: int
) -> tuple[_Beams, Tensor]:
    """Return the best continuations, best first, and the beam that each continues, (B, C)."""
    width, vocabulary = rules.num_beams, logits.shape[-1]
    texts = torch.cat(
        [text.unsqueeze(1).expand(-1, width, -1), running.tokens[:, :, :step]], dim=-1
    )
    ranked = [
        _rank(logits[some], texts[some], running.scores[some], rules, step)
        for some in _slices(logits, width)
    ]
    best, places, told = (torch.cat(one) for one in zip(*ranked, strict=True))
    parents = places // vocabulary
    found = running.pick(parents, best)
    found.tokens[:, :, step] = places % vocabulary
    found.told[:, :, step] = told
    return found, parents


def _slices(logits: Tensor, width: int) -> list[slice]:
    """Return which pictures' scores are ranked together: all of them, but on a CPU few.

    They are read several times over. Few stay in a core's cache, and memory for many is asked of
    the system anew, and cleared by it, every time.
    """
    pictures, _, vocabulary = logits.shape
    on_cpu = logits.device.type == "cpu"
    some = max(1, CACHED_SCORES // (width * vocabulary)) if on_cpu else pictures
    return [slice(start, start + some) for start in range(0, pictures, some)]


def _rank(
    logits: Tensor, texts: Tensor, scores: Tensor, rules: Rules, step: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the best continuations of some pictures' beams, best first.

    Args:
        logits: After each beam, or after the prompt that all share, (B, K or 1, W).
        texts: What each beam has said, the prompt included, (B, K, any).
        scores: Of the beams, (B, K).
        rules: What may be written.
        step: Number of the token.

    Returns:
        Their scores, their places among all tokens of all beams, and the plain log-probabilities
        of the tokens, (B, C) each.
    """
    width = rules.num_beams
    plain = logits.log_softmax(-1).expand(-1, width, -1)  # (B, K, W)
    total = rules.discourage(texts, plain) + scores.unsqueeze(-1)
    rules.forbid(total, step)
    # So many that K remain to go on with, should the best tokens of every beam be ends.
    count = max(2, 1 + len(rules.end_tokens)) * width
    best, places = _best(total.flatten(1), count)
    return best, places, plain.flatten(1).gather(1, places)


def _best(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the best scores of each row, best first, and their places, (B, any) -> (B, count).

    On a CPU, `topk` takes long for rows that are much longer than what it finds: so blocks are
    ranked by the best of each, and then what is in the best ones.
    """
    blocks, rest = divmod(scores.shape[1], BLOCK)
    if scores.device.type != "cpu" or rest or blocks < FEWEST_BLOCKS * count:
        found = scores.topk(count)
        return found.values, found.indices
    parts = scores.reshape(len(scores), blocks, BLOCK)
    chosen = parts.amax(-1).topk(count).indices
    found = parts.take_along_dim(chosen.unsqueeze(-1), 1).flatten(1).topk(count)
    first = chosen.gather(1, found.indices // BLOCK) * BLOCK
    return found.values, first + found.indices % BLOCK


def _finish(done: _Beams, found: _Beams, ended: Tensor, divisor: float) -> _Beams:
    """Return the best finished beams, old and new; only the first K continuations may finish."""
    width = done.scores.shape[1]
    may_finish = ended & (torch.arange(ended.shape[1], device=ended.device) < width)
    scores = torch.cat([done.scores, found.scores / divisor + ~may_finish * NEVER], dim=1)
    best = scores.topk(width)
    both = _Beams(
        torch.cat([done.tokens, found.tokens], dim=1),
        torch.cat([done.told, found.told], dim=1),
        scores,
    )
    return both.pick(best.indices, best.values)
