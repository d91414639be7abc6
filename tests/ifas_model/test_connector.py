import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from ifas_model.config import ConnectorConfig
from ifas_model.connector import GacBlock, GloballyAwareConnector
from ifas_model.errors import ModelError

SMALL = ConnectorConfig(
    vision_dim=10,
    language_dim=7,
    encoder_layers=3,
    dim=8,
    num_queries=4,
    num_blocks=2,
    num_heads=2,
    mlp_ratio=2,
)
PATCHES = 5


def features(config, *, batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    patches, tokens = (
        torch.randn(batch, n, config.vision_dim, generator=generator, dtype=torch.float64)
        for n in (PATCHES, config.encoder_layers)
    )
    return patches, tokens


def build(config, seed=0):
    """Return a connector in evaluation mode and float64, each of whose weights matters."""
    torch.manual_seed(seed)
    connector = GloballyAwareConnector(config).double().eval()
    for weight in connector.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return connector


# Eq. (2) a second time, number by number: lists of rows, explicit loops, no torch.nn.


def linear(rows, weight, bias):
    lines = list(zip(weight, bias, strict=True))
    return [
        [sum(w * x for w, x in zip(line, row, strict=True)) + b for line, b in lines]
        for row in rows
    ]


def layer_norm(rows, gain, bias):
    found = []
    for row in rows:
        mean = sum(row) / len(row)
        variance = sum((x - mean) ** 2 for x in row) / len(row)
        scaled = [(x - mean) / math.sqrt(variance + 1e-5) for x in row]
        found.append([g * x + b for g, x, b in zip(gain, scaled, bias, strict=True)])
    return found


def softmax(values):
    powers = [math.exp(v) for v in values]
    return [p / sum(powers) for p in powers]


def attend(queries, keys, weights, heads):
    """Let each query read from all keys, head by head."""
    dim = len(queries[0])
    width = dim // heads
    w, b = weights["in_proj_weight"], weights["in_proj_bias"]
    q, k, v = (
        linear(rows, w[n * dim : (n + 1) * dim], b[n * dim : (n + 1) * dim])
        for n, rows in enumerate((queries, keys, keys))
    )
    found = []
    for query in q:
        read = []
        for head in range(heads):
            own = range(head * width, (head + 1) * width)
            scores = [sum(query[i] * key[i] for i in own) / math.sqrt(width) for key in k]
            shares = softmax(scores)
            read += [sum(s * value[i] for s, value in zip(shares, v, strict=True)) for i in own]
        found.append(read)
    return linear(found, weights["out_proj.weight"], weights["out_proj.bias"])


def add(left, right):
    return [[a + b for a, b in zip(x, y, strict=True)] for x, y in zip(left, right, strict=True)]


def gelu(rows):
    return [[x * 0.5 * (1 + math.erf(x / math.sqrt(2))) for x in row] for row in rows]


def slow_block(block, queries, patches, config):
    """Eq. (2) once, for one picture."""
    weights = {name: weight.tolist() for name, weight in block.state_dict().items()}

    def part(prefix):
        size = len(prefix) + 1
        return {n[size:]: w for n, w in weights.items() if n.startswith(prefix + ".")}

    def norm(rows, name):
        return layer_norm(rows, weights[f"{name}.weight"], weights[f"{name}.bias"])

    q = norm(queries, "norm_queries")
    queries = add(queries, attend(q, q, part("self_attention"), config.num_heads))
    attending = len(queries) if config.cross_attend == "all" else config.num_queries
    q, x = norm(queries[:attending], "norm_cross"), norm(patches, "norm_patches")
    seen = attend(q, x, part("cross_attention"), config.num_heads)
    queries = add(queries[:attending], seen) + queries[attending:]
    hidden = linear(norm(queries, "norm_mlp"), weights["mlp.0.weight"], weights["mlp.0.bias"])
    return add(queries, linear(gelu(hidden), weights["mlp.2.weight"], weights["mlp.2.bias"]))


def slow_connector(connector, patches, class_tokens):
    """The whole connector for one picture."""
    config = connector.config
    weights = {name: weight.tolist() for name, weight in connector.state_dict().items()}
    if config.global_queries == "learned":
        q_v = weights["learned"]
    else:
        q_v = []
        for layer, token in enumerate(class_tokens.tolist()):
            maps_differ = config.class_token_projection != "shared"  # noqa: S105 - no secret
            name = f"project_class_tokens.{layer if maps_differ else 0}"
            q_v += linear([token], weights[f"{name}.weight"], weights[f"{name}.bias"])
    if config.level_embedding:
        q_v = add(q_v, weights["level"])
    queries = weights["queries"] + q_v
    x_v = linear(
        patches.tolist(), weights["project_patches.weight"], weights["project_patches.bias"]
    )
    for block in connector.blocks:
        queries = slow_block(block, queries, x_v, config)
    return linear(queries, weights["project_out.weight"], weights["project_out.bias"])


SETTINGS = [
    {},
    {"cross_attend": "learnable"},
    {"global_queries": "learned"},
    {"global_queries": "learned", "cross_attend": "learnable", "level_embedding": True},
    {"class_token_projection": "per_layer"},
    {"class_token_projection": "per_layer", "level_embedding": True, "num_heads": 4},
]


@pytest.mark.parametrize("cross_attend", ["all", "learnable"])
@pytest.mark.parametrize("heads", [1, 2, 8])
def test_a_block_is_equation_2_number_by_number(cross_attend, heads):
    config = replace(SMALL, cross_attend=cross_attend, num_heads=heads)
    torch.manual_seed(heads)
    block = GacBlock(config).double().eval()
    for weight in block.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    queries = torch.randn(2, 7, config.dim, dtype=torch.float64)
    patches = torch.randn(2, PATCHES, config.dim, dtype=torch.float64)
    with torch.no_grad():
        found = block(queries, patches)
    for row in range(2):
        slow = slow_block(block, queries[row].tolist(), patches[row].tolist(), config)
        assert torch.allclose(
            found[row], torch.tensor(slow, dtype=torch.float64), rtol=0, atol=1e-9
        )


@pytest.mark.parametrize("changes", SETTINGS)
def test_the_connector_is_a_second_writing_of_it_number_by_number(changes):
    connector = build(replace(SMALL, **changes))
    patches, class_tokens = features(connector.config)
    with torch.no_grad():
        found = connector(patches, class_tokens)
    for row in range(2):
        slow = slow_connector(connector, patches[row], class_tokens[row])
        assert torch.allclose(
            found[row], torch.tensor(slow, dtype=torch.float64), rtol=0, atol=1e-9
        )


def test_two_tokens_give_what_is_computed_by_hand():
    """One head of width 2, identities as projections, an MLP that says nothing.

    Both queries are normed to (1, -1) and (-1, 1) and see each other with scores +-2 / sqrt(2).
    """
    config = replace(
        SMALL, vision_dim=2, language_dim=2, dim=2, num_queries=1, encoder_layers=1, num_blocks=1
    )
    config = replace(config, num_heads=1)
    connector = GloballyAwareConnector(config).double().eval()
    with torch.no_grad():
        for name, weight in connector.named_parameters():
            if name.endswith("in_proj_weight"):
                weight.copy_(torch.eye(2).repeat(3, 1))
            elif "norm" in name and name.endswith("weight"):
                weight.fill_(1)
            elif weight.ndim == 2 and "mlp" not in name:
                weight.copy_(torch.eye(2)) if weight.shape == (2, 2) else None
            else:
                weight.zero_()
        connector.queries.copy_(torch.tensor([[3.0, 1.0]]))
        found = connector(
            torch.tensor([[[5.0, 1.0]]]).double(), torch.tensor([[[0.0, 2.0]]]).double()
        )[0]
    share = math.exp(math.sqrt(2)) / (math.exp(math.sqrt(2)) + math.exp(-math.sqrt(2)))
    told = 2 * share - 1  # what the first query reads: share * (1, -1) + (1 - share) * (-1, 1)
    # the one patch is (1, -1) to both, whatever they ask
    expected = [[3 + told + 1, 1 - told - 1], [0 - told + 1, 2 + told - 1]]
    assert told == pytest.approx(0.8883856)
    assert torch.allclose(
        found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=2e-5
    )  # norms' eps


@pytest.mark.parametrize("global_queries", ["class_tokens", "learned"])
def test_there_are_as_many_soft_tokens_with_global_awareness_as_without(global_queries):
    connector = build(replace(SMALL, global_queries=global_queries))
    assert connector(*features(SMALL)).shape == (2, 4 + 3, 7)


def test_without_global_awareness_class_tokens_are_not_looked_at():
    patches, class_tokens = features(SMALL)
    seen = build(SMALL)
    blind = build(replace(SMALL, global_queries="learned"))
    with torch.no_grad():
        assert torch.equal(blind(patches, class_tokens), blind(patches, class_tokens + 1))
        assert not torch.allclose(seen(patches, class_tokens), seen(patches, class_tokens + 1))


def test_only_learnable_queries_attend_to_patches_where_the_config_says_so():
    """In one block, what class tokens become depends on patches only by eq. (2)."""
    patches, class_tokens = features(SMALL)
    for cross_attend, is_equal in (("learnable", True), ("all", False)):
        connector = build(replace(SMALL, num_blocks=1, cross_attend=cross_attend))
        with torch.no_grad():
            before, after = (connector(p, class_tokens) for p in (patches, patches + patches**2))
        assert torch.equal(before[:, 4:], after[:, 4:]) == is_equal
        assert not torch.allclose(before[:, :4], after[:, :4])


@pytest.mark.parametrize(
    ("changes", "tells_layers_apart"),
    [
        ({}, False),
        ({"class_token_projection": "per_layer"}, True),
        ({"level_embedding": True}, True),
        ({"class_token_projection": "per_layer", "level_embedding": True}, True),
    ],
)
def test_layers_are_told_apart_only_by_maps_of_their_own_or_levels(changes, tells_layers_apart):
    connector = build(replace(SMALL, **changes))
    patches, class_tokens = features(SMALL)
    with torch.no_grad():
        plain = connector(patches, class_tokens)
        swapped = connector(patches, class_tokens.flip(1))
    same = torch.allclose(plain[:, :4], swapped[:, :4], atol=1e-9)
    assert same is not tells_layers_apart


@given(order=st.permutations(range(PATCHES)), seed=st.integers(0, 5))
def test_the_order_of_patches_does_not_matter(order, seed):
    connector = build(SMALL, seed)
    patches, class_tokens = features(SMALL, seed=seed)
    with torch.no_grad():
        assert torch.allclose(
            connector(patches, class_tokens),
            connector(patches[:, list(order)], class_tokens),
            rtol=0,
            atol=1e-9,
        )


@given(seed=st.integers(0, 20))
def test_pictures_of_a_batch_do_not_see_each_other(seed):
    connector = build(SMALL)
    patches, class_tokens = features(SMALL, batch=3, seed=seed)
    with torch.no_grad():
        together = connector(patches, class_tokens)
        for row in range(3):
            alone = connector(patches[row, None], class_tokens[row, None])
            assert torch.allclose(together[row], alone[0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("changes", SETTINGS)
def test_every_weight_learns(changes):
    connector = build(replace(SMALL, **changes)).train()
    connector(*features(SMALL)).square().sum().backward()
    unmoved = [
        name
        for name, weight in connector.named_parameters()
        if weight.grad is None or not weight.grad.abs().sum() > 0
    ]
    assert unmoved == []


def test_dropout_acts_in_training_only():
    connector = build(replace(SMALL, dropout=0.5))
    patches, class_tokens = features(SMALL)
    with torch.no_grad():
        assert torch.equal(connector(patches, class_tokens), connector(patches, class_tokens))
        connector.train()
        assert not torch.equal(connector(patches, class_tokens), connector(patches, class_tokens))


def test_fresh_queries_have_the_deviation_of_the_config():
    torch.manual_seed(0)
    config = replace(SMALL, num_queries=64, dim=256, initial_std=0.05, level_embedding=True)
    connector = GloballyAwareConnector(config)
    assert connector.queries.std().item() == pytest.approx(0.05, rel=0.02)
    assert connector.level.std().item() == pytest.approx(0.05, rel=0.1)


def test_a_connector_begins_with_weights_of_a_file(tmp_path):
    trained = build(SMALL, seed=1).float()
    save_file(trained.state_dict(), tmp_path / "connector.safetensors")
    begun = GloballyAwareConnector(
        replace(SMALL, initial_weights=tmp_path / "connector.safetensors")
    )
    for name, weight in begun.state_dict().items():
        assert torch.equal(weight, trained.state_dict()[name]), name


@pytest.mark.parametrize("changes", [{"dim": 16}, {"num_blocks": 3}, {"global_queries": "learned"}])
def test_weights_of_another_connector_are_refused(tmp_path, changes):
    save_file(build(SMALL).state_dict(), tmp_path / "connector.safetensors")
    with pytest.raises(ModelError, match="`initial_weights` must be of a connector of these"):
        GloballyAwareConnector(
            replace(SMALL, initial_weights=tmp_path / "connector.safetensors", **changes)
        )


@pytest.mark.parametrize("flaw", ["absent", "cut off", "nan"])
def test_a_file_that_holds_no_sound_weights_is_refused_by_name(tmp_path, flaw):
    file = tmp_path / "connector.safetensors"
    weights = build(SMALL).state_dict()
    weights["queries"][0, 0] = float("nan" if flaw == "nan" else 0)
    save_file(weights, file)
    if flaw == "cut off":
        file.write_bytes(file.read_bytes()[:-9])
    elif flaw == "absent":
        file.unlink()
    with pytest.raises(ModelError, match="`initial_weights` must be") as caught:
        GloballyAwareConnector(replace(SMALL, initial_weights=file))
    assert caught.value.where == str(file)


@pytest.mark.parametrize("layers", [2, 4])
def test_a_class_token_of_each_layer_is_asked_for(layers):
    patches, _ = features(SMALL)
    with pytest.raises(ValueError, match=f"must hold 3 layers, but holds {layers}"):
        build(SMALL)(patches, torch.zeros(2, layers, 10).double())
