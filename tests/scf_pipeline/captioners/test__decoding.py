"""Our decoding against transformers' `generate`: the same tokens, in float32, of tiny models."""

import copy

import numpy as np
import pytest
import torch
from transformers import LogitsProcessorList

from scf_pipeline.captioners import _decoding
from scf_pipeline.captioners._blip2 import SeededSampling
from scf_pipeline.captioners._decoding import _best, reader_for, write
from scf_pipeline.captioners._packing import pack
from scf_pipeline.captioners._rules import Rules
from scf_pipeline.captioners._screening import Screen
from scf_pipeline.captioners._seeing import embed, prompt_ids
from scf_pipeline.miniature.models import Blip2Sizes, build_blip2
from scf_pipeline.miniature.tokenizer import learn_opt_tokenizer

SIZES = Blip2Sizes(
    image_px=32, dim=32, vision_layers=1, qformer_layers=1, language_layers=2, queries=4, heads=2
)
TEXTS = ["a photo of a man with red hair in front of a wall", "a woman wearing a blue shirt\n"]
PROMPT = "a photo of"


class Speaker:
    """A tiny model of random weights that are large enough for pictures to matter."""

    def __init__(self, seed, *, packed=False, screened=False):
        self.model, processor = build_blip2(learn_opt_tokenizer(TEXTS), SIZES, seed=seed)
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.mul_(6)
        self.model.eval()
        self.own = copy.deepcopy(self.model.language_model)
        self.screen = Screen(self.own.lm_head.weight) if screened else None
        if packed:
            pack(self.own, least=0)
        self.start = torch.tensor([prompt_ids(processor, PROMPT)])
        self.image = self.model.config.image_token_index
        self.pad = processor.tokenizer.pad_token_id
        rng = np.random.default_rng(seed)
        # Many tokens end a caption, so that captions end early, late and not at all.
        self.ends = rng.choice(np.arange(3, self.image), 12, replace=False).tolist()

    def features(self, count, seed):
        torch.manual_seed(seed)
        with torch.inference_mode():
            return self.model.vision_model(torch.randn(count, 3, 32, 32)).last_hidden_state

    def generated(self, features, rules, sampler=None):
        """What transformers writes."""
        count = len(features)
        ids = self.start.expand(count, -1)
        options = {} if sampler is None else {"logits_processor": LogitsProcessorList([sampler])}
        with torch.inference_mode():
            out = self.model.language_model.generate(
                inputs_embeds=embed(self.model, features, ids),
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                num_beams=rules.num_beams,
                length_penalty=rules.length_penalty,
                min_new_tokens=rules.min_new_tokens,
                max_new_tokens=rules.max_new_tokens,
                repetition_penalty=rules.repetition_penalty,
                suppress_tokens=[rules.suppressed],
                eos_token_id=list(rules.end_tokens),
                pad_token_id=rules.pad_token,
                **options,
            )
        found = torch.full((count, rules.max_new_tokens), rules.pad_token)
        found[:, : out.shape[1] - ids.shape[1]] = out[:, ids.shape[1] :]
        # Beam search takes a padding token of id 0 for none, and fills up with an end.
        return torch.where(is_caption(found, rules), found, rules.pad_token)

    def written(self, features, rules, sampler=None):
        """What we write."""
        ids = self.start.expand(len(features), -1)
        with torch.inference_mode():
            prompt = embed(self.model, features, ids)
            reader = reader_for(self.own, prompt, rules, sampler, self.screen)
            return write(reader, prompt, ids, rules, sampler)

    def rules(self, **changes):
        plain = {"end_tokens": self.ends, "pad_token": self.pad, "suppressed": self.image}
        return Rules(**(plain | {"min_new_tokens": 2, "max_new_tokens": 10} | changes))


def is_caption(tokens, rules):
    """Tell which tokens come before or are the first end."""
    ends = torch.isin(tokens, torch.tensor(list(rules.end_tokens))).cumsum(1)
    return torch.nn.functional.pad(ends, (1, -1)) == 0


@pytest.fixture(scope="module", params=[0, 1, 2, "packed", "screened"])
def speaker(request):
    options = {"packed": {"packed": True}, "screened": {"packed": True, "screened": True}}
    if request.param == "screened":
        request.getfixturevalue("onednn_in_bfloat16")
    if request.param in options:
        return Speaker(0, **options[request.param])
    return Speaker(request.param)


OPTIONS = {
    "plain": {},
    "no-minimum": {"min_new_tokens": 0},
    "one-token": {"min_new_tokens": 0, "max_new_tokens": 1},
    "only-as-long": {"min_new_tokens": 10},
    "penalty": {"repetition_penalty": 1.2},
}


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_best_tokens_are_those_of_generate(speaker, options, count):
    rules = speaker.rules(**options)
    for seed in range(4):
        features = speaker.features(count, seed)
        found = speaker.written(features, rules).tokens
        assert torch.equal(found, speaker.generated(features, rules))


@pytest.mark.parametrize("top_p", [1.0, 0.8])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_drawn_tokens_are_those_of_generate_with_the_same_seeds(speaker, options, top_p):
    rules = speaker.rules(**options)
    for seed in range(8):
        features = speaker.features(5, seed)
        draws = [
            SeededSampling([seed, 2**63 + seed, 7, 8, 9], temperature=2.0, top_p=top_p)
            for _ in range(2)
        ]
        found = speaker.written(features, rules, draws[0]).tokens
        assert torch.equal(found, speaker.generated(features, rules, draws[1]))


BEAMS = OPTIONS | {
    "short-wins": {"length_penalty": -1.0},
    "long-wins": {"length_penalty": 2.0},
    "penalty-and-length": {"repetition_penalty": 1.5, "length_penalty": 0.0},
}


@pytest.mark.parametrize("num_beams", [2, 5])
@pytest.mark.parametrize("ends", [1, 3])
@pytest.mark.parametrize("options", BEAMS.values(), ids=BEAMS)
def test_beams_find_the_captions_of_generate(speaker, options, ends, num_beams):
    rules = speaker.rules(**options, num_beams=num_beams, end_tokens=speaker.ends[:ends])
    for count, seed in ((1, 0), (6, 1), (6, 2)):
        features = speaker.features(count, seed)
        found = speaker.written(features, rules).tokens
        assert torch.equal(found, speaker.generated(features, rules))


@pytest.mark.parametrize("pictures", [1, 2])
def test_beams_do_not_depend_on_how_many_pictures_are_ranked_together(
    speaker, monkeypatch, pictures
):
    rules = speaker.rules(num_beams=3, repetition_penalty=1.3)
    features = speaker.features(5, 1)
    together = speaker.written(features, rules)
    scores = pictures * rules.num_beams * speaker.model.config.text_config.vocab_size
    monkeypatch.setattr(_decoding, "CACHED_SCORES", scores)
    apart = speaker.written(features, rules)
    assert torch.equal(apart.tokens, together.tokens)
    assert torch.equal(apart.log_probabilities, together.log_probabilities)


@pytest.mark.parametrize("num_beams", [1, 4])
def test_captions_end_at_different_times(speaker, num_beams):
    """Else the tests above would say nothing about those that leave."""
    rules = speaker.rules(num_beams=num_beams, min_new_tokens=1)
    tokens = speaker.written(speaker.features(40, 0), rules).tokens
    assert len(set(is_caption(tokens, rules).sum(1).tolist())) > 1


@pytest.mark.parametrize("num_beams", [1, 4])
def test_log_probabilities_are_the_plain_models(speaker, num_beams):
    """A second writing: one pass over prompt and caption."""
    rules = speaker.rules(num_beams=num_beams, repetition_penalty=1.3)
    features = speaker.features(6, 3)
    written = speaker.written(features, rules)
    ids = torch.cat([speaker.start.expand(6, -1), written.tokens], dim=1)
    with torch.inference_mode():
        inputs = embed(speaker.model, features, ids)
        logits = speaker.model.language_model(inputs_embeds=inputs).logits.log_softmax(-1)
    start = speaker.start.shape[1]
    told = logits[:, start - 1 : -1].gather(2, written.tokens.unsqueeze(-1)).squeeze(-1)
    told = torch.where(is_caption(written.tokens, rules), told, 0)
    assert torch.allclose(written.log_probabilities, told, atol=1e-4)


def test_what_is_suppressed_is_never_written(speaker):
    features = speaker.features(8, 5)
    favourite = int(speaker.written(features, speaker.rules()).tokens[0, 0])
    other = speaker.written(features, speaker.rules(suppressed=favourite)).tokens
    assert favourite not in other


@pytest.mark.parametrize(
    ("width", "count"), [(64 * 32, 8), (64 * 32, 9), (64 * 32 + 1, 8), (40, 8)]
)
def test_the_best_scores_of_long_rows_are_those_of_topk(width, count):
    rows = torch.randn(7, width, generator=torch.Generator().manual_seed(0))
    rows[:, 5:30] = -torch.inf
    found, places = _best(rows, count)
    assert torch.equal(found, rows.topk(count).values)
    assert torch.equal(rows.gather(1, places), found)
