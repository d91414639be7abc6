"""Names of weights in two layouts: every one has a place in the other, and comes back as it was."""

import pytest
import torch
from lavis_cases import small_blip2
from transformers import Blip2Config, Blip2ForConditionalGeneration

from scf_pipeline.captioners._lavis_names import key_biases, to_lavis, to_transformers

FUSED = "vision_model.encoder.layers.{n}.self_attn.qkv.bias"


@pytest.fixture(scope="module")
def weights():
    return small_blip2()[0].state_dict()


def test_weights_come_back_bit_for_bit(weights):
    back = to_transformers(to_lavis(weights))
    assert back.keys() == weights.keys()
    for name, weight in weights.items():
        assert back[name].dtype == weight.dtype
        assert torch.equal(back[name], weight), name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
def test_the_precision_of_published_weights_is_kept(weights, dtype):
    halved = {name: weight.to(dtype) for name, weight in weights.items()}
    found = to_lavis(halved)
    assert {weight.dtype for weight in found.values()} == {dtype}
    back = to_transformers(found)
    assert all(torch.equal(back[name], weight) for name, weight in halved.items())


def test_all_numbers_but_the_biases_of_keys_are_there(weights):
    def total(some):
        return sum(weight.numel() for weight in some.values())

    keys = sum(w.numel() // 3 for name, w in weights.items() if name.endswith("qkv.bias"))
    assert keys == 2 * 32
    assert total(to_lavis(weights)) == total(weights) - keys


def test_every_weight_of_the_published_size_has_a_name_of_its_own():
    with torch.device("meta"):
        model = Blip2ForConditionalGeneration(Blip2Config())
    names = dict.fromkeys(model.state_dict(), torch.zeros(3))
    found = to_lavis(names)
    layers = 39  # of which each has two biases instead of one
    assert len(found) == len(names) + layers
    assert to_transformers(found).keys() == names.keys()


# As they stand in LAVIS: eva_vit.py, Qformer.py, blip2_opt.py.
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("query_tokens", "query_tokens"),
        ("vision_model.embeddings.class_embedding", "visual_encoder.cls_token"),
        (
            "vision_model.embeddings.patch_embedding.weight",
            "visual_encoder.patch_embed.proj.weight",
        ),
        ("vision_model.encoder.layers.38.mlp.fc2.bias", "visual_encoder.blocks.38.mlp.fc2.bias"),
        (
            "vision_model.encoder.layers.3.layer_norm2.weight",
            "visual_encoder.blocks.3.norm2.weight",
        ),
        ("vision_model.post_layernorm.bias", "ln_vision.bias"),
        ("qformer.layernorm.weight", "Qformer.bert.embeddings.LayerNorm.weight"),
        (
            "qformer.encoder.layer.10.crossattention.attention.query.weight",
            "Qformer.bert.encoder.layer.10.crossattention.self.query.weight",
        ),
        (
            "qformer.encoder.layer.10.crossattention.output.LayerNorm.bias",
            "Qformer.bert.encoder.layer.10.crossattention.output.LayerNorm.bias",
        ),
        (
            "qformer.encoder.layer.0.intermediate_query.dense.weight",
            "Qformer.bert.encoder.layer.0.intermediate_query.dense.weight",
        ),
        ("language_projection.weight", "opt_proj.weight"),
        (
            "language_model.model.decoder.embed_tokens.weight",
            "opt_model.model.decoder.embed_tokens.weight",
        ),
    ],
)
def test_a_weight_is_called_what_lavis_calls_it(ours, theirs):
    weight = torch.ones(3)
    assert to_lavis({ours: weight}) == {theirs: weight}
    assert to_transformers({theirs: weight}) == {ours: weight}


def test_one_bias_becomes_those_of_queries_and_of_values():
    bias = torch.tensor([1.0, 2.0, 0.0, 0.0, 5.0, 6.0])
    found = to_lavis({FUSED.format(n=7): bias})
    assert {name: weight.tolist() for name, weight in found.items()} == {
        "visual_encoder.blocks.7.attn.q_bias": [1, 2],
        "visual_encoder.blocks.7.attn.v_bias": [5, 6],
    }


def test_a_bias_of_the_keys_is_told_of_and_changes_nothing_that_is_seen():
    model, _ = small_blip2()
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    before = model.vision_model(pixels).last_hidden_state
    name = FUSED.format(n=1)
    with torch.no_grad():
        model.state_dict()[name].chunk(3)[1].normal_(generator=torch.Generator().manual_seed(0))
    weights = model.state_dict()
    assert list(key_biases(weights)) == [name]
    assert torch.allclose(model.vision_model(pixels).last_hidden_state, before, atol=1e-5)
    model.load_state_dict(to_transformers(to_lavis(weights)))
    assert torch.equal(model.vision_model(pixels).last_hidden_state, before)


@pytest.mark.parametrize(
    "name",
    [
        "lora.weight",
        "qformer.embeddings.word_embeddings.weight",
        "qformer.encoder.layer.0.output.dense.weight",
        "vision_model.encoder.layers.x.layer_norm1.weight",
        "vision_model.encoder.layers.0.layer_norm3.weight",
        "xquery_tokens",
    ],
)
def test_a_weight_that_belongs_to_no_blip2_with_opt_is_refused(name):
    with pytest.raises(ValueError, match="must belong to BLIP-2 with OPT") as caught:
        to_lavis({name: torch.ones(1)})
    assert repr(name) in str(caught.value)
    with pytest.raises(ValueError, match="must belong to BLIP-2 with OPT"):
        to_transformers({name: torch.ones(1)})


@pytest.mark.parametrize("part", ["q", "v"])
def test_a_bias_without_the_other_is_refused(part):
    name = f"visual_encoder.blocks.0.attn.{part}_bias"
    with pytest.raises(ValueError, match="beside it, but has not") as caught:
        to_transformers({name: torch.ones(2)})
    assert name in str(caught.value)
