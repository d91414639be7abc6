import pytest
import torch
import torch.nn.functional as F

from scf_pipeline.miniature.pairs import contrastive_loss

SCALE = torch.tensor(10.0)


def places(seed):
    return torch.randn(5, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_contrastive_loss_of_different_captions_is_clips():
    seen, read = places(0), places(1)
    logits = SCALE * F.normalize(seen, dim=1) @ F.normalize(read, dim=1).T
    own = torch.arange(5)
    wanted = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    found = contrastive_loss(seen, read, SCALE, list("abcde"))
    assert found.item() == pytest.approx(wanted.item())


def test_pictures_of_one_caption_do_not_repel_it():
    seen = places(0)
    read = seen.clone()
    read[1] = read[0]
    seen[1] = seen[0]
    apart = contrastive_loss(seen, read, SCALE * 10, list("abcde"))
    shared = contrastive_loss(seen, read, SCALE * 10, list("aacde"))
    assert shared == pytest.approx(apart.item())  # half of the mass on each of two equal logits
    moved = read.clone()
    moved[1] = -read[1]
    assert contrastive_loss(seen, moved, SCALE, list("aacde")) > contrastive_loss(
        seen, read, SCALE, list("aacde")
    )
