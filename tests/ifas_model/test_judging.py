import ast
import inspect
from typing import get_type_hints

import pytest
import torch

from ifas_model import baselines, judging, plugins
from ifas_model.judging import Item, Judge, Judged
from ifas_model.model import IFas

VERBS = [name for name in vars(Judge) if inspect.isfunction(vars(Judge)[name]) and name[0] != "_"]


def test_a_judge_can_do_five_things():
    assert VERBS == ["begin", "collate", "forward", "conclude", "save_pretrained"]


@pytest.mark.parametrize("name", ["ifas", *plugins.names(baselines)])
def test_every_method_is_a_judge(name):
    """What each takes is what the protocol says, so that training need not know which it has."""
    if name == "ifas":
        kind = IFas
    else:
        method = plugins.load(baselines, "METHOD", name)
        kind = get_type_hints(method.load)["return"]
    assert isinstance(kind.needs_features, bool)
    for verb in VERBS:
        wanted = list(inspect.signature(getattr(Judge, verb)).parameters)
        found = list(inspect.signature(getattr(kind, verb)).parameters)
        assert found[: len(wanted)] == wanted, verb


def test_only_the_margin_is_always_there():
    margin = torch.zeros(2)
    assert Judged(margin) == (margin, None, None, None)
    assert Item.__required_keys__ == frozenset()


def test_every_field_is_described_below_itself():
    tree = ast.parse(inspect.getsource(judging))
    for kind in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for field, below in zip(kind.body, [*kind.body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign) and kind.name != "Judge":
                assert isinstance(below, ast.Expr), (kind.name, ast.unparse(field))
