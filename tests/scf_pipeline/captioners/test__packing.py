import weakref

import pytest
import torch
from torch import nn

from scf_pipeline.captioners._packing import ALIKE, LEAST_WEIGHTS, Packed, Part, pack


class Model(nn.Module):
    def __init__(self, outputs=LEAST_WEIGHTS // 64):
        super().__init__()
        torch.manual_seed(0)
        self.parts = nn.ModuleList([nn.Linear(64, outputs), nn.Linear(64, 8)])
        self.head = nn.Linear(64, outputs, bias=False)

    def forward(self, rows):
        return torch.cat([*(part(rows) for part in self.parts), self.head(rows)], dim=-1)


@pytest.mark.parametrize("shape", [(1, 64), (5, 64), (40, 64), (3, 7, 64)])
def test_packed_layers_say_what_plain_ones_say(shape):
    model = Model()
    rows = torch.randn(shape)
    with torch.inference_mode():
        plain = model(rows)
        pack(model)
        assert torch.allclose(model(rows), plain, atol=1e-5)


def test_layers_at_any_depth_are_packed_if_they_are_large():
    model = Model()
    pack(model)
    kinds = [type(part) for part in (*model.parts, model.head)]
    assert kinds == [Packed, nn.Linear, Packed]
    smaller = Model(outputs=LEAST_WEIGHTS // 64 - 1)
    pack(smaller)
    assert not any(isinstance(part, Packed) for part in smaller.modules())


def test_a_tied_matrix_stays_with_the_embedding():
    model = Model()
    model.embedding = nn.Embedding(LEAST_WEIGHTS // 64, 64)
    model.head.weight = model.embedding.weight
    before = model.embedding.weight.clone()
    pack(model)
    assert isinstance(model.head, Packed)
    assert torch.equal(model.embedding.weight, before)


def test_other_precisions_are_left_alone():
    model = Model().to(torch.bfloat16)
    pack(model)
    assert not any(isinstance(part, Packed) for part in model.modules())


def test_without_onednn_nothing_is_done(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    model = Model()
    pack(model)
    assert not any(isinstance(part, Packed) for part in model.modules())


class Attention(nn.Module):
    def __init__(self, biases=(True, True, True)):
        super().__init__()
        torch.manual_seed(1)
        outputs = LEAST_WEIGHTS // 64
        for name, bias in zip(ALIKE, biases, strict=True):
            setattr(self, name, nn.Linear(64, outputs, bias=bias))

    def forward(self, rows, order=ALIKE):
        return {name: getattr(self, name)(rows) for name in order}


@pytest.mark.parametrize("biases", [(True, True, True), (False, False, False), (True, False, True)])
def test_layers_of_an_attention_say_the_same_together(biases):
    attention = Attention(biases)
    first, second = torch.randn(3, 1, 64), torch.randn(5, 4, 64)
    with torch.inference_mode():
        plain = [attention(rows) for rows in (first, second)]
        pack(attention)
        found = [attention(rows) for rows in (first, second)]
        again = attention(first, [*ALIKE, "k_proj"])
        backwards = attention(second, ALIKE[::-1])
    for mine, theirs in zip([*found, again, backwards], [*plain, *plain], strict=True):
        for name in ALIKE:
            assert torch.allclose(mine[name], theirs[name], atol=1e-5)
    kinds = {type(getattr(attention, name)) for name in ALIKE}
    assert kinds == ({Part} if len(set(biases)) == 1 else {Packed})


def test_layers_that_are_multiplied_together_keep_no_rows():
    attention = Attention()
    pack(attention)
    rows = torch.randn(3, 64)
    with torch.inference_mode():
        attention(rows)
    watch = weakref.ref(rows)
    del rows
    assert watch() is None
