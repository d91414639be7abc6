import pytest
import torch

from scf_pipeline.captioners._muon import Muon, orthogonalize


@pytest.mark.parametrize("shape", [(8, 8), (8, 24), (24, 8)])
def test_singular_values_come_near_one_and_vectors_stay(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = orthogonalize(torch.stack([matrix, 5 * matrix]))
    assert torch.allclose(found[0], found[1])
    found = found[0]
    values = torch.linalg.svdvals(found)
    assert 0.6 < values.min() <= values.max() < 1.3
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    mixed = u.T @ found @ v.T
    assert torch.allclose(mixed, torch.diag(mixed.diagonal()), atol=1e-6)


@pytest.mark.parametrize("shape", [(12, 6), (6, 12), (9, 9)])
def test_updates_are_those_of_pytorchs_own(shape):
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(shape, generator=generator)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    options = {"lr": 0.05, "weight_decay": 0.1}
    first = Muon([ours], dtype=torch.bfloat16, **options)
    second = torch.optim.Muon([theirs], adjust_lr_fn="original", **options)
    for _ in range(4):
        gradient = torch.randn(shape, generator=generator)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        first.step()
        second.step()
    # bfloat16 has 8 bits, and the two add in another order
    assert torch.allclose(ours, theirs, atol=0.02)
    assert not torch.allclose(ours, start, atol=0.05)


def test_a_matrix_without_gradient_stays():
    matrix = torch.nn.Parameter(torch.ones(2, 2))
    Muon([matrix], lr=1.0, weight_decay=0.5).step()
    assert torch.equal(matrix.detach(), torch.ones(2, 2))
