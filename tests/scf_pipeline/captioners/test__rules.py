import pytest
import torch

from scf_pipeline.captioners._rules import Rules


def rules(**changes):
    plain = {"end_tokens": [4, 5], "pad_token": 1, "suppressed": 7, "max_new_tokens": 10}
    return Rules(**(plain | changes))


@pytest.mark.parametrize(("step", "banned"), [(0, {4, 5, 7}), (1, {4, 5, 7}), (2, {7}), (9, {7})])
def test_ends_are_banned_until_the_least_length(step, banned):
    some = rules(min_new_tokens=2)
    assert set(some.banned(step)) == banned
    scores = torch.zeros(2, 3, 9)
    some.forbid(scores, step)
    assert set(torch.isinf(scores[1, 2]).nonzero()[:, 0].tolist()) == banned
    assert scores.isinf().sum() == 6 * len(banned)


def test_what_was_said_is_discouraged_whatever_its_sign():
    scores = torch.tensor([[2.0, -2.0, 3.0], [2.0, -2.0, 3.0]])
    found = rules(repetition_penalty=2.0).discourage(torch.tensor([[0, 1], [2, 2]]), scores)
    assert found.tolist() == [[1.0, -4.0, 3.0], [2.0, -2.0, 1.5]]


def test_without_a_penalty_scores_stay_as_they_are():
    scores = torch.randn(2, 9)
    assert rules().discourage(torch.tensor([[0], [1]]), scores) is scores
