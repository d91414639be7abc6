import numpy as np
import pytest
import torch
from torch import nn

from scf_pipeline.captioners._training import Schedule
from scf_pipeline.miniature.corpus import Corpus
from scf_pipeline.miniature.words import (
    Augmentation,
    augment,
    draw,
    normalize,
    teach_words,
    word_head,
    word_loss,
)


@pytest.fixture
def pictures():
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_without_change_augmented_pictures_are_the_normalized_ones_or_their_mirror(pictures):
    found = augment(pictures, Augmentation(shift_px=0, jitter=0), generator())
    plain = normalize(pictures)
    mirrored = 0
    for ours, theirs in zip(found, plain, strict=True):
        is_plain = torch.allclose(ours, theirs, atol=1e-5)
        mirrored += not is_plain
        assert is_plain or torch.allclose(ours, theirs.flip(-1), atol=1e-5)
    assert 10 < mirrored < 30


def test_a_shift_moves_pixels_and_repeats_the_border(pictures):
    how = Augmentation(shift_px=3, jitter=0)
    found = augment(pictures, how, generator())
    plain = torch.nn.functional.pad(normalize(pictures), (3, 3, 3, 3), mode="replicate")
    for ours, theirs in zip(found, plain, strict=True):
        windows = [
            view[:, y : y + 16, x : x + 16]
            for view in (theirs, theirs.flip(-1))
            for y in range(7)
            for x in range(7)
        ]
        assert any(torch.allclose(ours, window, atol=1e-5) for window in windows)


def test_jitter_tints_a_picture_as_a_whole():
    grey = torch.full((20, 8, 8, 3), 128, dtype=torch.uint8)
    found = augment(grey, Augmentation(shift_px=3, jitter=0.1), generator())
    assert torch.allclose(found, found[:, :, :1, :1].expand_as(found), atol=1e-6)
    assert (found[:, :, 0, 0].std(0) > 0.05).all()


def test_augmentation_follows_from_the_generator(pictures):
    first, same, other = (augment(pictures, Augmentation(), generator(s)) for s in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_a_draw_follows_from_seed_and_step_and_repeats_no_row():
    rows, source = draw(50, 20, seed=1, step=2)
    again, _ = draw(50, 20, seed=1, step=2)
    assert np.array_equal(rows, again)
    assert len(set(rows.tolist())) == 20
    assert not np.array_equal(rows, draw(50, 20, seed=1, step=3)[0])
    assert source.initial_seed() != draw(50, 20, seed=2, step=2)[1].initial_seed()
    assert len(draw(5, 20, seed=1, step=2)[0]) == 5


def test_a_fresh_head_knows_how_frequent_each_phrase_is():
    shares = torch.tensor([0.1, 0.5, 0.9])
    head = word_head(4, shares)
    assert torch.allclose(head(torch.zeros(1, 4)).sigmoid()[0], shares, atol=1e-4)


def test_the_word_loss_sums_over_phrases_and_averages_over_pictures():
    loss = word_loss(torch.zeros(5, 7), torch.ones(5, 7))
    assert loss.item() == pytest.approx(7 * np.log(2), rel=1e-6)


class Colours(nn.Module):
    def __init__(self):
        super().__init__()
        self.map = nn.Linear(3, 8)

    def forward(self, pixels):
        return self.map(pixels.mean((2, 3))).tanh()


def test_words_are_learnt(tmp_path):
    red, blue = np.array([220, 20, 20], np.uint8), np.array([20, 20, 220], np.uint8)
    shown = np.stack([np.broadcast_to(c, (8, 8, 3)) for c in (red, blue)] * 20)
    corpus = Corpus(
        pictures=shown, captions=[["a red square"], ["a blue square"]] * 20, attributes=[{}] * 40
    )
    schedule = Schedule(steps=60, learning_rate=0.05, warmup_steps=5, weight_decay=0)
    torch.manual_seed(0)
    history = teach_words(
        Colours(), 8, corpus, schedule, batch_size=16, checkpoint=tmp_path / "words.pt"
    )
    # "square" goes with every picture, so the head's first guess is sure of it
    assert history.losses[0] > 2
    assert history.losses[-1] < 0.3
