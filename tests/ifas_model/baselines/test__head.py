import math

import pytest
import torch

from ifas_model.baselines._head import Head, judge


def naive(head, features):
    """FLIP-V's head, number by number."""
    down, classes = head.bottleneck, head.classifier
    logits = []
    for row in features.tolist():
        hidden = []
        for weights, bias in zip(down.weight.tolist(), down.bias.tolist(), strict=True):
            hidden.append(max(0.0, sum(w * x for w, x in zip(weights, row, strict=True)) + bias))
        length = math.sqrt(sum(h * h for h in hidden))
        hidden = [h / math.sqrt(2 * length) for h in hidden]
        first, second = classes.weight.tolist()
        out = list(classes.bias.tolist())
        for index, h in enumerate(hidden):
            column = math.hypot(first[index], second[index])
            out[0] += h * first[index] / column
            out[1] += h * second[index] / column
        logits.append(out)
    return torch.tensor(logits, dtype=torch.float64)


@pytest.fixture
def head():
    torch.manual_seed(0)
    head = Head(6, 5, 0.5).double()
    torch.nn.init.normal_(head.classifier.bias)
    return head


def test_it_equals_a_naive_writing(head):
    features = torch.randn(4, 6, dtype=torch.float64)
    assert torch.allclose(head.eval()(features), naive(head, features), atol=1e-12)


def test_the_length_of_the_classifiers_columns_does_not_matter(head):
    features = torch.randn(4, 6, dtype=torch.float64)
    before = head.eval()(features)
    with torch.no_grad():
        head.classifier.weight *= torch.rand(5, dtype=torch.float64) + 0.1
    assert torch.allclose(head(features), before, atol=1e-12)


def test_dead_features_give_finite_logits_and_gradients(head):
    torch.nn.init.constant_(head.bottleneck.bias, -1e6)
    features = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    logits = head(features)
    logits.sum().backward()
    assert torch.equal(logits, head.classifier.bias.expand(2, 2))
    assert features.grad.isfinite().all()


def test_fresh_weights_are_the_released_codes():
    torch.manual_seed(0)
    head = Head(64, 512, 0.5)
    assert head.bottleneck.weight.std().item() == pytest.approx(0.005, rel=0.05)
    assert (head.bottleneck.bias == 0.1).all()
    assert head.classifier.weight.norm(dim=0).square().mean().item() == pytest.approx(1, rel=0.1)


def test_half_precision_around_it_does_not_coarsen_the_logits(head):
    head = head.float().eval()
    features = torch.randn(4, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(head(features), head(features.clone()))
        found = head(features)
    assert found.dtype == torch.float32
    assert torch.equal(found, head(features))


def test_the_margin_gives_the_softmax_probability_of_bona_fide():
    logits = torch.tensor([[0.3, -1.2], [2.0, 5.0]])
    judged = judge(logits, None)
    assert torch.allclose(judged.margin.sigmoid(), logits.softmax(1)[:, 1])
    assert judged.loss is None


def test_the_loss_is_the_cross_entropy():
    logits = torch.tensor([[0.0, 0.0], [0.0, math.log(3)]])
    judged = judge(logits, torch.tensor([0, 1]))
    assert judged.loss.item() == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)
    assert judged.judgment is judged.loss
