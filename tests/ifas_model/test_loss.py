import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ifas_model.loss import Segment, lopsided_lm_loss, standard_lm_loss

WORDS = 6
lengths = st.lists(st.integers(0, 5), min_size=1, max_size=4)
alphas = st.floats(0, 1)
seeds = st.integers(0, 1000)


def batch(lengths, seed=0, *, padding=0):
    """One judgment and so many tokens of interpretation in each row, padded on the right."""
    generator = torch.Generator().manual_seed(seed)
    width = 1 + max(lengths) + padding
    logits = 3 * torch.randn(len(lengths), width, WORDS, generator=generator, dtype=torch.float64)
    targets = torch.randint(WORDS, (len(lengths), width), generator=generator)
    segments = torch.full_like(targets, int(Segment.IGNORED))
    segments[:, 0] = int(Segment.JUDGMENT)
    for row, length in enumerate(lengths):
        segments[row, 1 : 1 + length] = int(Segment.INTERPRETATION)
    return logits, targets, segments


def surprise(logits, target):
    """-log of the softmax, number by number."""
    return math.log(sum(math.exp(z) for z in logits)) - logits[target]


def slow_parts(logits, targets, segments):
    """Of each sample: its judgment's surprise, and those of its interpretation's tokens."""
    for rows in zip(logits.tolist(), targets.tolist(), segments.tolist(), strict=True):
        tokens = list(zip(*rows, strict=True))
        (judgment,) = (surprise(z, t) for z, t, s in tokens if s == Segment.JUDGMENT)
        yield judgment, [surprise(z, t) for z, t, s in tokens if s == Segment.INTERPRETATION]


def mean(values):
    return sum(values) / len(values)


@given(lengths=lengths, alpha=alphas, seed=seeds)
def test_the_lopsided_loss_is_equation_4_number_by_number(lengths, alpha, seed):
    given_batch = batch(lengths, seed, padding=1)
    found = lopsided_lm_loss(*given_batch, alpha=alpha)
    samples = list(slow_parts(*given_batch))
    totals = [alpha * j + (1 - alpha) * mean(told) if told else j for j, told in samples]
    assert found.total.item() == pytest.approx(mean(totals), abs=1e-12)
    assert found.judgment.item() == pytest.approx(mean([j for j, _ in samples]), abs=1e-12)
    told = [mean(told) if told else 0.0 for _, told in samples]
    assert found.interpretation.item() == pytest.approx(mean(told), abs=1e-12)


@given(lengths=lengths, seed=seeds)
def test_the_standard_loss_is_the_mean_over_all_tokens_of_an_answer(lengths, seed):
    given_batch = batch(lengths, seed, padding=2)
    expected = mean([mean([j, *told]) for j, told in slow_parts(*given_batch)])
    assert standard_lm_loss(*given_batch).total.item() == pytest.approx(expected, abs=1e-12)


@given(length=st.integers(0, 8), count=st.integers(1, 3), seed=seeds)
def test_the_losses_agree_where_alpha_is_one_over_the_length_of_the_answer(length, count, seed):
    given_batch = batch([length] * count, seed)
    lopsided = lopsided_lm_loss(*given_batch, alpha=1 / (1 + length))
    standard = standard_lm_loss(*given_batch)
    for mine, theirs in zip(lopsided, standard, strict=True):
        assert mine.item() == pytest.approx(theirs.item(), abs=1e-12)


def test_the_losses_differ_at_any_other_alpha():
    given_batch = batch([3])
    standard = standard_lm_loss(*given_batch).total
    for alpha in (0.0, 0.2, 0.3, 0.7, 1.0):
        total = lopsided_lm_loss(*given_batch, alpha=alpha).total
        assert abs((total - standard).item()) > 1e-3, alpha


@given(lengths=lengths, alpha=alphas, seed=seeds)
def test_the_total_lies_between_its_ends_on_a_straight_line(lengths, alpha, seed):
    given_batch = batch(lengths, seed)
    ends = [lopsided_lm_loss(*given_batch, alpha=a).total.item() for a in (0.0, 1.0)]
    found = lopsided_lm_loss(*given_batch, alpha=alpha).total.item()
    assert found == pytest.approx((1 - alpha) * ends[0] + alpha * ends[1], abs=1e-12)


def test_alpha_1_is_the_judgment_and_alpha_0_the_interpretation_alone():
    given_batch = batch([2, 4])
    for alpha in (1.0, 0.0):
        loss = lopsided_lm_loss(*given_batch, alpha=alpha)
        alone = loss.judgment if alpha else loss.interpretation
        assert loss.total.item() == alone.item() > 0


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_an_answer_without_interpretation_counts_its_judgment_whole(alpha):
    given_batch = batch([0, 0, 0])
    loss = lopsided_lm_loss(*given_batch, alpha=alpha)
    assert loss.total.item() == loss.judgment.item() > 0
    assert loss.interpretation.item() == 0
    assert standard_lm_loss(*given_batch).total.item() == loss.total.item()


@given(lengths=lengths, seed=seeds, data=st.data())
def test_the_order_of_samples_does_not_matter(lengths, seed, data):
    given_batch = batch(lengths, seed)
    order = data.draw(st.permutations(range(len(lengths))))
    shuffled = [part[list(order)] for part in given_batch]
    for loss in (standard_lm_loss, lambda *parts: lopsided_lm_loss(*parts, alpha=0.7)):
        assert loss(*shuffled).total.item() == pytest.approx(loss(*given_batch).total.item())


@given(lengths=lengths, padding=st.integers(1, 4), seed=seeds, alpha=alphas)
def test_padding_does_not_matter_whatever_it_holds(lengths, padding, seed, alpha):
    logits, targets, segments = batch(lengths, seed)
    noise, ids, ignored = (part[:, :padding] for part in batch([9] * len(lengths), seed + 1))
    ignored = torch.full_like(ignored, int(Segment.IGNORED))
    wide = [
        torch.cat(pair, dim=1)
        for pair in ((logits, 100 * noise), (targets, ids), (segments, ignored))
    ]
    plain = logits, targets, segments
    assert lopsided_lm_loss(*wide, alpha=alpha).total.item() == pytest.approx(
        lopsided_lm_loss(*plain, alpha=alpha).total.item(), abs=1e-12
    )
    assert standard_lm_loss(*wide).total.item() == pytest.approx(
        standard_lm_loss(*plain).total.item(), abs=1e-12
    )


@given(extra=st.integers(1, 6), seed=seeds)
def test_a_long_caption_weighs_no_more_than_a_short_one(extra, seed):
    """Repeating every token of an interpretation leaves the lopsided loss as it is."""
    logits, targets, segments = batch([2], seed)
    repeated = [
        torch.cat([part[:, :1], *[part[:, 1:]] * (1 + extra)], dim=1)
        for part in (logits, targets, segments)
    ]
    plain = logits, targets, segments
    assert lopsided_lm_loss(*repeated, alpha=0.7).total.item() == pytest.approx(
        lopsided_lm_loss(*plain, alpha=0.7).total.item()
    )
    assert standard_lm_loss(*repeated).total.item() != pytest.approx(
        standard_lm_loss(*plain).total.item(), abs=1e-9
    )


def test_gradients_split_by_alpha_and_leave_padding_alone():
    logits, targets, segments = batch([3, 1], padding=2)
    logits.requires_grad_(True)
    lopsided_lm_loss(logits, targets, segments, alpha=0.7).total.backward()
    surprised = logits.detach().softmax(-1) - torch.nn.functional.one_hot(targets, WORDS)
    weights = torch.tensor(
        [[0.7, 0.1, 0.1, 0.1, 0, 0], [0.7, 0.3, 0, 0, 0, 0]], dtype=torch.float64
    )
    assert torch.allclose(logits.grad, weights[:, :, None] * surprised / 2, rtol=0, atol=1e-12)
    assert not logits.grad[segments == Segment.IGNORED].any()


def test_parts_are_computed_in_float32_even_of_half_logits():
    logits, targets, segments = batch([3, 1])
    half = logits.bfloat16()
    found = lopsided_lm_loss(half, targets, segments, alpha=0.7).total
    exact = lopsided_lm_loss(half.double(), targets, segments, alpha=0.7).total
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(exact.item(), rel=1e-6)


@pytest.mark.parametrize("alpha", [-0.1, 1.5, math.nan])
def test_an_alpha_that_is_no_share_is_refused(alpha):
    with pytest.raises(ValueError, match=rf"`alpha` must be in \[0, 1\], but is {alpha}"):
        lopsided_lm_loss(*batch([1]), alpha=alpha)


def test_one_token_of_each_part_gives_what_is_computed_by_hand():
    logits = torch.tensor([[[0, math.log(3)], [math.log(4), 0]]], dtype=torch.float64)
    targets, segments = torch.tensor([[1, 1]]), torch.tensor([[1, 2]])
    loss = lopsided_lm_loss(logits, targets, segments, alpha=0.75)
    assert loss.judgment.item() == pytest.approx(math.log(4 / 3), abs=1e-12)
    assert loss.interpretation.item() == pytest.approx(math.log(5), abs=1e-12)
    assert loss.total.item() == pytest.approx(0.6181210324, abs=1e-10)
