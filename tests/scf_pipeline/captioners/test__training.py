import pickle
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from scf_pipeline.captioners._training import History, Schedule, _optimizers, fit
from scf_pipeline.errors import StageError

SCHEDULE = Schedule(
    steps=10, learning_rate=0.1, warmup_steps=3, weight_decay=0.1, checkpoint_every=4, judge_every=5
)


class Line(nn.Module):
    """Has dropout, a buffer that training moves, and a part that is frozen."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.drop = nn.Dropout(0.5)
        self.layer = nn.Linear(3, 1)
        self.frozen = nn.Linear(1, 1).requires_grad_(False)

    def forward(self, x):
        return self.frozen(self.layer(self.drop(self.norm(x))))


def build():
    torch.manual_seed(5)
    return Line()


def losses(module, stop_at=None):
    def at(step):
        if step == stop_at:
            raise KeyboardInterrupt
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        yield (module(x) - x.sum(1, keepdim=True)).square().mean() / 2
        yield module(x).square().mean() / 2

    return at


def weights(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_an_interrupted_run_ends_with_the_same_weights_bit_for_bit(tmp_path):
    whole = build()
    wanted = fit(whole, losses(whole), SCHEDULE, checkpoint=tmp_path / "whole.pt")
    first = build()
    with pytest.raises(KeyboardInterrupt):
        fit(first, losses(first, stop_at=6), SCHEDULE, checkpoint=tmp_path / "cut.pt")
    torch.manual_seed(123)
    second = build()
    seen = []

    def recorded(step):
        seen.append(step)
        return losses(second)(step)

    found = fit(second, recorded, SCHEDULE, checkpoint=tmp_path / "cut.pt")
    assert seen == [4, 5, 6, 7, 8, 9]
    assert same(weights(whole), weights(second))
    assert found == wanted


def test_a_finished_run_does_nothing_more(tmp_path):
    module = build()
    fit(module, losses(module), SCHEDULE, checkpoint=tmp_path / "c.pt")
    again = build()
    fit(again, losses(again, stop_at=0), SCHEDULE, checkpoint=tmp_path / "c.pt")
    assert same(weights(module), weights(again))


def test_frozen_parts_stay(tmp_path):
    module = build()
    before = weights(module)
    fit(module, losses(module), SCHEDULE, checkpoint=tmp_path / "c.pt")
    after = weights(module)
    assert torch.equal(before["frozen.weight"], after["frozen.weight"])
    assert not torch.equal(before["layer.weight"], after["layer.weight"])
    assert not torch.equal(before["norm.running_mean"], after["norm.running_mean"])


def test_training_leaves_the_callers_random_numbers_alone(tmp_path):
    module = build()
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    fit(module, losses(module), SCHEDULE, checkpoint=tmp_path / "c.pt")
    assert torch.equal(torch.rand(3), wanted)


def test_the_rate_warms_up_in_a_line_and_falls_in_a_cosine_to_zero():
    rates = [SCHEDULE.share(step) for step in range(11)]
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1])
    assert rates[3] == pytest.approx(1)
    assert all(a >= b for a, b in pairwise(rates[3:]))
    assert rates[10] == pytest.approx(0)


def test_the_judge_is_asked_at_its_interval_and_at_the_end(tmp_path):
    module = build()
    asked = iter(range(100))
    history = fit(
        module,
        losses(module),
        Schedule(steps=7, learning_rate=0.1, warmup_steps=0, weight_decay=0, judge_every=3, seed=1),
        checkpoint=tmp_path / "c.pt",
        judge=lambda: float(next(asked)),
    )
    assert history.judged == [(3, 0.0), (6, 1.0), (7, 2.0)]
    assert len(history.losses) == 7


def test_a_curve_means_the_losses_since_the_point_before():
    history = History(losses=[4.0, 2.0, 1.0], judged=[(2, 5.0)])
    assert history.curve(2) == [
        {"step": 2, "train": 3.0, "held_out": 5.0},
        {"step": 3, "train": 1.0, "held_out": None},
    ]


class Blocks(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))
        self.head = nn.Linear(4, 1)


def test_muon_takes_the_matrices_inside_blocks_and_nothing_else():
    module = Blocks()
    schedule = replace(SCHEDULE, muon_rate=0.02)
    adam, muon = _optimizers(module, schedule)
    taken = [parameter for group in muon.param_groups for parameter in group["params"]]
    assert {id(p) for p in taken} == {id(layer.weight) for layer in module.layers}
    rest = [parameter for group in adam.param_groups for parameter in group["params"]]
    assert len(rest) == 4  # two biases of layers, and the head
    assert [type(one) for one in _optimizers(module, SCHEDULE)] == [torch.optim.AdamW]


def test_muon_resumes_to_the_last_bit_too(tmp_path):
    schedule = replace(SCHEDULE, muon_rate=0.02)

    def build_blocks():
        torch.manual_seed(2)
        return Blocks()

    def losses_of(module, stop_at=None):
        def at(step):
            if step == stop_at:
                raise KeyboardInterrupt
            x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
            yield module.head(module.layers[1](module.layers[0](x).relu())).square().mean()

        return at

    whole, cut, again = build_blocks(), build_blocks(), build_blocks()
    fit(whole, losses_of(whole), schedule, checkpoint=tmp_path / "whole.pt")
    with pytest.raises(KeyboardInterrupt):
        fit(cut, losses_of(cut, stop_at=6), schedule, checkpoint=tmp_path / "cut.pt")
    fit(again, losses_of(again), schedule, checkpoint=tmp_path / "cut.pt")
    assert same(weights(whole), weights(again))


def test_gradients_of_several_losses_add_up(tmp_path):
    class Point(nn.Module):
        def __init__(self):
            super().__init__()
            self.x = nn.Parameter(torch.tensor([1.0]))

    schedule = Schedule(steps=1, learning_rate=0.1, warmup_steps=0, weight_decay=0)
    seen = []
    for number, halves in enumerate((1, 2)):
        point = Point()

        def at(step, point=point, halves=halves):
            for _ in range(halves):
                yield (point.x.square() / halves).sum()

        history = fit(point, at, schedule, checkpoint=tmp_path / f"{number}.pt")
        seen.append((point.x.item(), history.losses))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("is_archive", [True, False], ids=["archive", "bare pickle"])
def test_a_checkpoint_that_is_a_pickle_is_refused_and_never_run(tmp_path, trap, is_archive):
    file = tmp_path / "cut.pt"
    if is_archive:
        torch.save(trap, file)
    else:
        file.write_bytes(pickle.dumps(trap, protocol=2))
    module = build()
    with pytest.raises(StageError, match="must be as it was saved, but is not") as caught:
        fit(module, losses(module), SCHEDULE, checkpoint=file)
    assert caught.value.where == str(file)
    assert not trap.is_sprung


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    torch.save({"weights": {}}, tmp_path / "cut.pt")
    with pytest.raises(StageError, match="must be as it was saved"):
        fit(module := build(), losses(module), SCHEDULE, checkpoint=tmp_path / "cut.pt")
