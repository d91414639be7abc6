import math

import pytest
import torch

from ifas_model.baselines import _contrast


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def cosine(first, second):
    return float(first @ second) / float(first.norm() * second.norm())


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def test_every_picture_meets_every_class():
    pictures, texts = random(3, 5), random(2, 5)
    found = _contrast.cosines(pictures, texts)
    for row in range(3):
        for label in range(2):
            expected = cosine(pictures[row], texts[label])
            assert found[row, label].item() == pytest.approx(expected, abs=1e-12)


def test_class_means_are_of_the_classs_own_texts_and_zero_without_any():
    texts = random(3, 4)
    found = _contrast.class_means(texts, torch.tensor([1, 1, 1]))
    assert torch.allclose(found[1], texts.mean(0))
    assert not found[0].any()
    found = _contrast.class_means(texts, torch.tensor([0, 1, 1]))
    assert torch.allclose(found[0], texts[0])
    assert torch.allclose(found[1], texts[1:].mean(0))


def test_a_picture_meets_its_own_text_and_the_mean_of_the_other_class():
    pictures, texts, labels = random(4, 5), random(4, 5), torch.tensor([0, 1, 0, 1])
    found = _contrast.own_cosines(pictures, texts, labels)
    for row, label in enumerate(labels.tolist()):
        own = cosine(pictures[row], texts[row])
        other = cosine(pictures[row], texts[labels != label].mean(0))
        assert found[row, label].item() == pytest.approx(own, abs=1e-12)
        assert found[row, 1 - label].item() == pytest.approx(other, abs=1e-12)


def test_a_class_that_the_batch_lacks_counts_as_cosine_zero():
    found = _contrast.own_cosines(random(2, 5), random(2, 5), torch.tensor([1, 1]))
    assert found[:, 0].tolist() == [0, 0]


def test_text_views_are_means_of_disjoint_templates_of_the_own_class():
    # with one template per axis, a view's numbers are the weights of the templates
    templates = torch.stack([torch.eye(6), 10 * torch.eye(6)])
    labels = torch.tensor([0, 1] * 100)
    first, second = _contrast.draw_text_views(templates, labels)
    scale = torch.tensor([1.0, 10.0])[labels, None]
    first, second = first / scale, second / scale
    assert torch.allclose(first.sum(1), torch.ones(200))
    assert torch.allclose(second.sum(1), torch.ones(200))
    assert not ((first > 0) & (second > 0)).any()
    assert ((first > 0) | (second > 0)).all()
    sizes = (second > 0).sum(1)
    assert set(sizes.tolist()) <= {3, 4, 5}
    assert sizes.unique().numel() > 1  # drawn with replacement
    thirds = first * 3
    assert torch.allclose(thirds, thirds.round(), atol=1e-5)


def test_the_contrast_equals_a_naive_writing():
    first, second = random(3, 4), random(3, 4)
    views = [*first, *second]
    total = 0.0
    for index, view in enumerate(views):
        scores = {
            other: math.exp(cosine(view, views[other]) / 0.1)
            for other in range(6)
            if other != index
        }
        total -= math.log(scores[(index + 3) % 6] / sum(scores.values()))
    found = _contrast.contrast(first, second, 0.1)
    assert found.item() == pytest.approx(total / 6, rel=1e-5)


def test_views_that_agree_contrast_better_than_views_that_do_not():
    views = random(4, 8)
    alike = _contrast.contrast(views, views, 0.1)
    assert alike < _contrast.contrast(views, views.roll(1, 0), 0.1)


def test_disagreement_is_the_mean_squared_difference_of_cosines():
    pictures, texts = (random(3, 4), random(3, 4)), (random(3, 4), random(3, 4))
    expected = sum(
        (cosine(pictures[0][row], texts[0][row]) - cosine(pictures[1][row], texts[1][row])) ** 2
        for row in range(3)
    )
    found = _contrast.disagreement(pictures, texts)
    assert found.item() == pytest.approx(expected / 3, abs=1e-12)


def test_the_projection_has_the_widths_asked_for():
    projection = _contrast.Projection(4, 16, 3)
    assert projection(torch.randn(5, 4)).shape == (5, 3)
    widths = [tuple(weight.shape) for weight in projection.parameters() if weight.dim() == 2]
    assert widths == [(16, 4), (16, 16), (3, 16)]
