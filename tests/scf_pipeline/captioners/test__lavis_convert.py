"""Checkpoints from transformers' layout to LAVIS's and back, without LAVIS."""

import json
from pathlib import Path

import pytest
import torch
from lavis_cases import TEXTS, write_small_blip2
from safetensors.torch import load_file, save_file
from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2Processor

from scf_pipeline.captioners import _checkpoint, _lavis_folder
from scf_pipeline.captioners._lavis_convert import convert, end_token, lavis_config
from scf_pipeline.errors import CaptionerError
from scf_pipeline.miniature.tokenizer import learn_opt_tokenizer

POSITIONS = "Qformer.bert.embeddings.position_ids"
LEARNT = ("query_tokens", "Qformer.bert.encoder.layer.0.attention.self.query.weight")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """In transformers' layout."""
    return write_small_blip2(tmp_path_factory.mktemp("checkpoint") / "transformers")


@pytest.fixture(scope="module")
def converted(checkpoint: Path) -> Path:
    """The same in LAVIS's."""
    return convert(str(checkpoint), checkpoint.with_name("lavis"))


def write_pth(path: Path, weights: dict) -> Path:
    """Write what LAVIS writes after an epoch: weights that learnt, and a constant."""
    constant = {POSITIONS: torch.arange(512).unsqueeze(0)}
    torch.save({"model": weights | constant, "epoch": 4, "config": {"lr": 1e-5}}, path)
    return path


def test_a_checkpoint_comes_back_byte_for_byte(checkpoint, converted, tmp_path):
    back = convert(str(converted), tmp_path / "back")
    files = sorted(file.name for file in checkpoint.iterdir())
    assert sorted(file.name for file in back.iterdir()) == files
    assert "captioner.json" in files
    for name in files:
        assert (back / name).read_bytes() == (checkpoint / name).read_bytes(), name
    found = _checkpoint.resolve(str(back)).revision
    assert found == _checkpoint.resolve(str(checkpoint)).revision


def test_either_backend_takes_its_own_layout_only(checkpoint, converted):
    assert _lavis_folder.resolve(str(converted)).backend == "blip2_lavis"
    assert _checkpoint.resolve(str(checkpoint)).backend == "blip2"
    with pytest.raises(CaptionerError):
        _lavis_folder.resolve(str(checkpoint))
    with pytest.raises(CaptionerError, match="has 'blip2_opt'"):
        _checkpoint.resolve(str(converted))


def test_weights_in_several_files_stay_so_and_come_back(checkpoint, tmp_path):
    source = tmp_path / "sharded"
    model = Blip2ForConditionalGeneration.from_pretrained(checkpoint)
    model.save_pretrained(source, max_shard_size="100KB")
    Blip2Processor.from_pretrained(checkpoint, backend="pil").save_pretrained(source)
    shards = sorted(file.name for file in source.glob("*.safetensors"))
    assert len(shards) > 1
    middle = convert(str(source), tmp_path / "lavis")
    assert sorted(file.name for file in middle.glob("*.safetensors")) == shards
    _lavis_folder.resolve(str(middle))
    back = convert(str(middle), tmp_path / "back")
    assert _checkpoint.resolve(str(back)).revision == _checkpoint.resolve(str(source)).revision


def test_the_tokenizer_is_written_as_lavis_reads_it(checkpoint, converted):
    words = json.loads((converted / "vocab.json").read_text())
    held = json.loads((checkpoint / "tokenizer.json").read_text())["model"]
    assert words == held["vocab"]
    pairs = (converted / "merges.txt").read_text().splitlines()[1:]
    assert pairs == [" ".join(pair) for pair in held["merges"]]


def test_sizes_of_the_published_architecture_are_those_of_lavis():
    """LAVIS has them in eva_vit.py, `create_eva_vit_g`, and in the configs of BERT and OPT-2.7B."""
    tokenizer = learn_opt_tokenizer(TEXTS)
    config = Blip2Config(image_token_index=50265)
    config.text_config.bos_token_id = tokenizer.bos_token_id
    found = lavis_config(config, tokenizer, 50118)
    eye = found["visual_encoder"]
    assert {name: eye[name] for name in ("patch_size", "embed_dim", "depth", "num_heads")} == {
        "patch_size": 14,
        "embed_dim": 1408,
        "depth": 39,
        "num_heads": 16,
    }
    assert int(eye["embed_dim"] * eye["mlp_ratio"]) == int(1408 * 4.3637) == 6144
    assert found["Qformer"]["encoder_width"] == 1408
    assert found["Qformer"]["hidden_size"] == 768
    assert found["Qformer"]["cross_attention_freq"] == 2
    assert found["Qformer"]["query_length"] == 32
    assert found["eos_token_id"] == 50118


@pytest.mark.parametrize(
    ("part", "changes", "told"),
    [
        ("text_config", {"enable_bias": False}, "`enable_bias` of OPT must be True"),
        (
            "vision_config",
            {"hidden_act": "relu"},
            "`hidden_act` of the vision tower must be 'gelu'",
        ),
        ("vision_config", {"qkv_bias": False}, "`qkv_bias` of the vision tower must be True"),
        ("text_config", {"bos_token_id": 9}, "the first token of a text must be 9"),
    ],
)
def test_what_lavis_has_no_word_for_is_refused(checkpoint, tmp_path, part, changes, told):
    config = Blip2Config.from_pretrained(checkpoint)
    for name, value in changes.items():
        setattr(getattr(config, part), name, value)
    tokenizer = Blip2Processor.from_pretrained(checkpoint, backend="pil").tokenizer
    with pytest.raises(ValueError, match=told):
        lavis_config(config, tokenizer, 1)


def test_a_caption_has_one_end(checkpoint, tmp_path):
    config = Blip2Config.from_pretrained(checkpoint)
    of_text = config.text_config.eos_token_id
    assert end_token(tmp_path, config) == of_text
    told = tmp_path / "generation_config.json"
    told.write_text(json.dumps({"eos_token_id": 7}))
    assert end_token(tmp_path, config) == 7
    told.write_text(json.dumps({"eos_token_id": [7, 8]}))
    with pytest.raises(ValueError, match=r"one end token, but has \[7, 8\]"):
        end_token(tmp_path, config)


@pytest.mark.parametrize("layout", ["transformers", "lavis"])
def test_what_lavis_trained_is_laid_over_what_it_began_from(
    checkpoint, converted, tmp_path, layout
):
    before = load_file(converted / "model.safetensors")
    learnt = {name: before[name] + 1 for name in LEARNT}
    pth = write_pth(tmp_path / "checkpoint_4.pth", learnt)
    base = {"transformers": checkpoint, "lavis": converted}[layout]
    made = convert(str(pth), tmp_path / "made", base=str(base))
    after = load_file(made / "model.safetensors")
    assert after.keys() == before.keys()
    for name, weight in after.items():
        assert torch.equal(weight, learnt.get(name, before[name])), name
    back = convert(str(made), tmp_path / "back")
    found = load_file(back / "model.safetensors")
    assert torch.equal(found["query_tokens"], learnt["query_tokens"])


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ({"query_tokens": torch.ones(1, 5, 32)}, "must have the shape (1, 4, 32)"),
        ({"t5_proj.weight": torch.ones(1)}, "must have a place for 't5_proj.weight'"),
    ],
    ids=["shape", "name"],
)
def test_a_pth_of_another_model_is_refused(converted, tmp_path, weights, told):
    pth = write_pth(tmp_path / "other.pth", weights)
    with pytest.raises(CaptionerError) as caught:
        convert(str(pth), tmp_path / "made", base=str(converted))
    assert told in caught.value.what
    assert [path.name for path in tmp_path.iterdir()] == ["other.pth"]


def test_a_pth_that_would_run_code_is_refused_and_runs_none(converted, tmp_path, trap):
    torch.save({"model": trap}, tmp_path / "hostile.pth")
    with pytest.raises(CaptionerError, match="sound BLIP-2") as caught:
        convert(str(tmp_path / "hostile.pth"), tmp_path / "made", base=str(converted))
    assert caught.value.where.endswith("hostile.pth")
    assert not trap.is_sprung
    assert not (tmp_path / "made").exists()


def test_a_pth_needs_what_it_began_from(tmp_path):
    pth = write_pth(tmp_path / "checkpoint.pth", {})
    with pytest.raises(CaptionerError, match="with the checkpoint it began from") as caught:
        convert(str(pth), tmp_path / "made")
    assert "--base" in caught.value.fix


def test_nothing_is_written_over_what_is_there(checkpoint, tmp_path):
    (tmp_path / "kept").write_text("mine")
    with pytest.raises(CaptionerError, match="must get a new folder"):
        convert(str(checkpoint), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_weight_that_belongs_to_no_blip2_leaves_nothing_behind(checkpoint, tmp_path):
    source = write_small_blip2(tmp_path / "source")
    weights = load_file(source / "model.safetensors")
    save_file(weights | {"strange": torch.ones(1)}, source / "model.safetensors")
    with pytest.raises(CaptionerError, match="is named 'strange'"):
        convert(str(source), tmp_path / "made")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_bookkeeping_of_an_artifact_is_no_part_of_the_checkpoint(checkpoint, tmp_path):
    """C_S is a sealed artifact: its manifest would make another folder look unfinished."""
    from upath import UPath

    from scf_pipeline.settings import Settings
    from scf_pipeline.store import ArtifactWriter

    settings = Settings("finetune", 1, {}, {})
    writer = ArtifactWriter(UPath(tmp_path / "c_s"), None, settings=settings)
    weights = write_small_blip2(Path(writer.scratch) / "weights")
    writer.adopt(weights)
    writer.seal(notes={})
    middle = convert(str(tmp_path / "c_s"), tmp_path / "lavis")
    names = {file.name for file in middle.rglob("*.json")}
    assert names.isdisjoint({"manifest.json", "settings.json"})
    back = convert(str(middle), tmp_path / "back")
    assert _checkpoint.resolve(str(back)).revision == _checkpoint.resolve(str(checkpoint)).revision
