"""Fine-tuning on coloured squares, with a tiny BLIP-2 of random weights."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from ifas_model.vocabulary import Split
from scf_pipeline.captioners import _blip2
from scf_pipeline.captioners._checkpoint import resolve
from scf_pipeline.captioners._instructions import Decoding, Instructions
from scf_pipeline.captioners._pictures import encode_png
from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.errors import ArtifactError, CaptionerError, StageError
from scf_pipeline.miniature.models import Blip2Sizes, build_blip2
from scf_pipeline.miniature.tokenizer import learn_opt_tokenizer
from scf_pipeline.schema import CAPTION_SCHEMA, FACE_SCHEMA, FILTER_SCHEMA, is_held_out
from scf_pipeline.settings import Settings
from scf_pipeline.settings import settings as identify
from scf_pipeline.stages import finetune
from scf_pipeline.stages.finetune import Draw, FinetuneConfig, balance
from scf_pipeline.store import Artifact, ArtifactWriter

COLOURS = {
    "a red sheet of paper": (220, 30, 30),
    "a green phone screen": (30, 200, 30),
    "a blue mask": (30, 30, 220),
}
SPECIES = ["print", "replay", "mask"]
INSTRUCTIONS = Instructions(
    prompt="a photo of", decoding=Decoding(num_beams=1, min_new_tokens=1, max_new_tokens=8)
)
SIZES = Blip2Sizes(
    image_px=16, patch_px=8, dim=32, vision_layers=1, qformer_layers=1, language_layers=1,
    queries=4, heads=2,
)  # fmt: skip
CONFIG = FinetuneConfig(
    learning_rate=3e-3,
    steps=9,
    batch_size=8,
    micro_batch_size=4,
    hold_out_fraction=0.2,
    checkpoint_every=4,
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    texts = [f"a photo of {caption}" for caption in COLOURS]
    _blip2.save_parts(folder, *build_blip2(learn_opt_tokenizer(texts), SIZES, seed=0), INSTRUCTIONS)
    return resolve(str(folder))


def row(number):
    kind = number % 3
    return {
        "face_id": f"siw/{number}#0",
        "sample_id": f"siw/{number}",
        "dataset": "siw" if number % 4 else "wmca",
        "split": "train",
        "subject_id": f"{number % 20}" if number % 2 else None,
        "label": "attack",
        "pai_species": SPECIES[kind],
        "fine_type": "x",
        "native_label": "x",
        "frame": 0,
        "box": [0, 0, 16, 16],
        "box_source": "whole_frame",
        "sha256": "0",
        "caption": list(COLOURS)[kind],
        "num_tokens": 5,
        "mean_log_probability": -1.0,
        "captioner": "blip2@0",
        "keywords": ["x"],
        "other_keywords": [],
        "reject": "no_keyword" if number % 5 == 4 else None,
    }


def face(number):
    rng = np.random.default_rng(number)
    pixels = np.array(list(COLOURS.values())[number % 3]) + rng.integers(-25, 26, (16, 16, 3))
    return row(number) | {
        "image": encode_png(np.clip(pixels, 0, 255).astype(np.uint8)),
        "reject": None,
    }


def write(path, stage, schema, *parts):
    writer = ArtifactWriter(path, schema, settings=Settings(stage, 1, {}, {}))
    for number, rows in enumerate(parts):
        columns = [{name: row[name] for name in schema.names} for row in rows]
        writer.write(number, pa.Table.from_pylist(columns, schema=schema))
    return writer.seal()


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    path = tmp_path_factory.mktemp("faces")
    numbers = range(60)
    return write(
        path, "crop", FACE_SCHEMA, *([face(n) for n in numbers[k : k + 20]] for k in (0, 20, 40))
    )


@pytest.fixture(scope="module")
def captions(tmp_path_factory):
    path = tmp_path_factory.mktemp("captions")
    return write(path, "filter", FILTER_SCHEMA, [row(n) for n in range(60)])


def run(out, faces, captions, model, config=CONFIG, **more):
    return finetune.run(
        config, faces=faces, captions=captions, model=model, out=out, engine=LocalEngine(), **more
    )


def weights(artifact):
    return load_file(artifact.path / "model.safetensors")


def changed(model, artifact):
    before = load_file(f"{model.location}/model.safetensors")
    return {name for name, tensor in weights(artifact).items() if not tensor.equal(before[name])}


@pytest.fixture(scope="module")
def done(tmp_path_factory, faces, captions, model):
    return run(tmp_path_factory.mktemp("done"), faces, captions, model)


@pytest.mark.parametrize("cut", [2, 6])
def test_an_interrupted_run_ends_with_the_same_weights_bit_for_bit(
    done, faces, captions, model, tmp_path, monkeypatch, cut
):
    draw = Draw.__call__

    def stops(self, step):
        if step == cut:
            raise KeyboardInterrupt
        return draw(self, step)

    monkeypatch.setattr(Draw, "__call__", stops)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, faces, captions, model)
    with pytest.raises(CaptionerError, match="must be finished"):
        resolve(str(tmp_path))
    monkeypatch.setattr(Draw, "__call__", draw)
    resumed = run(tmp_path, faces, captions, model)
    assert resumed.identity == done.identity
    assert resumed.notes == done.notes


def test_the_result_is_a_captioner_with_the_same_prompt_and_decoding(done, faces):
    found = resolve(str(done.path))
    loaded = _blip2.load(found)
    assert loaded.instructions == INSTRUCTIONS
    assert len(loaded.caption([loaded.prepare(np.zeros((16, 16, 3), np.uint8))], [0])) == 1


def test_it_learns_what_the_captions_say(faces, captions, model, tmp_path):
    config = FinetuneConfig(trained_parts="full", learning_rate=3e-3, steps=100, batch_size=16)
    taught = _blip2.load(resolve(str(run(tmp_path, faces, captions, model, config).path)))
    squares = [
        taught.prepare(np.full((16, 16, 3), colour, np.uint8)) for colour in COLOURS.values()
    ]
    said = [caption.text for caption in taught.caption(squares, [0] * 3)]
    assert said == list(COLOURS)


QFORMER = {"qformer", "query_tokens", "language_projection"}


@pytest.mark.parametrize(
    ("parts", "prefixes"),
    [
        ("qformer", QFORMER),
        ("qformer_and_language", QFORMER | {"language_model"}),
        ("full", QFORMER | {"language_model", "vision_model"}),
    ],
)
def test_only_the_chosen_parts_change(faces, captions, model, tmp_path, parts, prefixes):
    config = FinetuneConfig(trained_parts=parts, learning_rate=1e-3, steps=2, batch_size=4)
    found = changed(model, run(tmp_path, faces, captions, model, config))
    assert {name.split(".")[0] for name in found} == prefixes


def test_adapters_are_merged_into_queries_and_keys_of_the_language_model(
    faces, captions, model, tmp_path
):
    config = FinetuneConfig(trained_parts="lora", learning_rate=1e-2, steps=3, batch_size=4)
    found = changed(model, run(tmp_path, faces, captions, model, config))
    assert {name.split(".self_attn.")[1] for name in found} == {"q_proj.weight", "k_proj.weight"}
    assert all(name.startswith("language_model.") for name in found)


def test_cached_features_teach_the_same(done, faces, captions, model, tmp_path, monkeypatch):
    monkeypatch.setattr("scf_pipeline.captioners._finetuning.CACHE_BYTES", 0)
    slow = weights(run(tmp_path, faces, captions, model))
    for name, tensor in weights(done).items():
        assert tensor.allclose(slow[name], atol=2e-3), name


def test_rejected_captions_and_held_out_subjects_do_not_teach(done):
    live = [row(n) for n in range(60) if row(n)["reject"] is None]
    apart = [r for r in live if is_held_out(r["dataset"], r["subject_id"] or r["sample_id"], 0.2)]
    species = Counter(r["pai_species"] for r in live)
    held_out = Counter(r["pai_species"] for r in apart)
    assert 0 < held_out.total() < 30
    assert done.notes["held_out"] == held_out
    assert done.notes["taught"] == species - held_out


def test_the_manifest_holds_the_loss_of_both_parts(done):
    curve = done.notes["loss"]
    assert [point["step"] for point in curve] == [4, 8, 9]
    assert all(point["train"] > 0 and point["held_out"] > 0 for point in curve)


def test_more_captions_can_be_mixed_in(faces, captions, model, tmp_path):
    bona_fide = {"label": "bona_fide", "pai_species": None, "fine_type": None}
    numbers = [n for n in range(60) if n % 5 == 4]
    rows = [row(n) | bona_fide | {"caption": "a man", "reject": None} for n in numbers]
    extra = write(tmp_path / "extra", "caption", CAPTION_SCHEMA, rows)
    config = FinetuneConfig(steps=1, batch_size=4, hold_out_fraction=0)
    mixed = run(tmp_path / "out", faces, captions, model, config, extra=extra)
    assert mixed.notes["taught"] == {"bona_fide": 12, "mask": 16, "print": 16, "replay": 16}
    assert "extra" in mixed.manifest["inputs"]


@pytest.fixture
def mixed(tmp_path):
    """Captions of two datasets and two splits, and how many of each."""
    rows = [row(n) | {"split": "test" if n % 2 else "train", "reject": None} for n in range(60)]
    counts = Counter((r["dataset"], r["split"], r["pai_species"]) for r in rows)
    return write(tmp_path / "captions", "filter", FILTER_SCHEMA, rows), counts


BRIEFLY = FinetuneConfig(steps=1, batch_size=4, hold_out_fraction=0)


@pytest.mark.parametrize(
    ("limits", "datasets", "splits"),
    [
        ({}, {"siw", "wmca"}, {"train", "test"}),
        ({"datasets": ("wmca",)}, {"wmca"}, {"train", "test"}),
        ({"datasets": ("siw", "wmca", "absent")}, {"siw", "wmca"}, {"train", "test"}),
        ({"splits": (Split.TRAIN,)}, {"siw", "wmca"}, {"train"}),
        ({"splits": (Split.DEV, Split.TEST)}, {"siw", "wmca"}, {"test"}),
        ({"datasets": ("siw",), "splits": (Split.TEST,)}, {"siw"}, {"test"}),
    ],
)
def test_only_the_captions_asked_for_teach(faces, mixed, model, tmp_path, limits, datasets, splits):
    captions, counts = mixed
    made = run(tmp_path / "out", faces, captions, model, replace(BRIEFLY, **limits))
    wanted = Counter()
    for (dataset, split, species), number in counts.items():
        if dataset in datasets and split in splits:
            wanted[species] += number
    assert 0 < wanted.total() <= 60
    assert made.notes["taught"] == wanted
    assert made.notes["held_out"] == {}


def test_captions_that_are_not_asked_for_are_not_held_out_either(faces, mixed, model, tmp_path):
    captions, counts = mixed
    config = replace(BRIEFLY, hold_out_fraction=0.3, datasets=("siw",), splits=(Split.TRAIN,))
    notes = run(tmp_path / "out", faces, captions, model, config).notes
    both = Counter(notes["taught"]) + Counter(notes["held_out"])
    number = sum(
        n for (dataset, split, _), n in counts.items() if (dataset, split) == ("siw", "train")
    )
    assert both.total() == number
    assert sum(notes["held_out"].values()) > 0


@pytest.mark.parametrize("limits", [{"datasets": ("oulu_npu",)}, {"splits": (Split.DEV,)}])
def test_a_choice_that_leaves_nothing_to_learn_from_is_refused(
    faces, mixed, model, tmp_path, limits
):
    with pytest.raises(StageError, match="There must be captions to learn from, but there are no"):
        run(tmp_path / "out", faces, mixed[0], model, replace(BRIEFLY, **limits))


@pytest.mark.parametrize(
    "change", [{"datasets": ("siw",)}, {"splits": (Split.TRAIN,)}, {"groups": "species"}]
)
def test_what_teaches_is_part_of_the_identity(change):
    assert identify(replace(BRIEFLY, **change)).fingerprint != identify(BRIEFLY).fingerprint


LOPSIDED = [
    *(("siw", "print") for _ in range(12)),
    *(("wmca", "print") for _ in range(4)),
    *(("siw", "mask") for _ in range(4)),
]
"""Dataset and species of captions: one species in two datasets, the other in one."""


@pytest.mark.parametrize(
    ("groups", "shares"),
    [
        ("species", {("siw", "print"): 3 / 8, ("wmca", "print"): 1 / 8, ("siw", "mask"): 1 / 2}),
        ("dataset_and_species", dict.fromkeys(LOPSIDED, 1 / 3)),
    ],
)
def test_what_is_balanced_is_drawn_evenly(faces, model, tmp_path, monkeypatch, groups, shares):
    rows = [
        row(n) | {"dataset": dataset, "pai_species": species, "reject": None}
        for n, (dataset, species) in enumerate(LOPSIDED)
    ]
    captions = write(tmp_path / "captions", "filter", FILTER_SCHEMA, rows)
    drawn = []
    draw = Draw.__call__
    monkeypatch.setattr(
        Draw, "__call__", lambda self, step: (drawn.append(self.odds), draw(self, step))[1]
    )
    run(tmp_path / "out", faces, captions, model, replace(BRIEFLY, groups=groups))
    found = Counter()
    for odds, kind in zip(drawn[0], LOPSIDED, strict=True):  # in the order of the faces
        found[kind] += odds
    assert dict(found) == pytest.approx(shares)


def test_captions_of_other_faces_are_refused(faces, model, tmp_path):
    captions = write(tmp_path / "captions", "filter", FILTER_SCHEMA, [row(n) for n in (0, 60, 61)])
    with pytest.raises(ArtifactError, match="there are 1 such faces"):
        run(tmp_path / "out", faces, captions, model)


def test_a_face_with_two_captions_is_refused(faces, model, tmp_path):
    some = [[row(n) for n in numbers] for numbers in ((0, 1), (1, 2, 3))]
    captions = write(tmp_path / "captions", "filter", FILTER_SCHEMA, *some)
    with pytest.raises(ArtifactError, match="but 1 captions are of a face that has another"):
        run(tmp_path / "out", faces, captions, model)


def test_a_face_that_is_there_twice_is_refused(model, tmp_path):
    parts = [[face(n) for n in numbers] for numbers in ((0, 1), (1, 2))]
    faces = write(tmp_path / "faces", "crop", FACE_SCHEMA, *parts)
    captions = write(tmp_path / "captions", "filter", FILTER_SCHEMA, [row(n) for n in (0, 1, 2)])
    with pytest.raises(ArtifactError, match="but there are 4 such faces"):
        run(tmp_path / "out", faces, captions, model)


def test_nothing_to_learn_from_is_an_error_that_says_so(faces, model, tmp_path):
    captions = write(tmp_path / "captions", "filter", FILTER_SCHEMA, [row(4)])
    with pytest.raises(StageError, match="there are none"):
        run(tmp_path / "out", faces, captions, model)


def test_the_steps_follow_from_epochs(faces, captions, model, tmp_path):
    config = FinetuneConfig(epochs=2, batch_size=32, hold_out_fraction=0)
    assert run(tmp_path, faces, captions, model, config).notes["steps"] == 3


def test_scratch_files_are_gone_and_the_folder_opens(done):
    names = {path.name for path in done.path.iterdir()}
    assert "scratch" not in names
    assert {"model.safetensors", "config.json", "tokenizer.json", "captioner.json"} <= names
    assert json.loads((done.path / "captioner.json").read_text())["prompt"] == "a photo of"
    assert Artifact.open(done.path).stage == "finetune"


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=200), st.floats(1, 20))
def test_rare_groups_are_drawn_more_often_but_never_beyond_the_cap(groups, cap):
    odds = balance(groups, max_imbalance=cap)
    assert odds.sum() == pytest.approx(1)
    assert odds.max() / odds.min() <= cap * (1 + 1e-9)
    sizes = Counter(groups)
    for a, first in zip(groups, odds, strict=True):
        for b, second in zip(groups, odds, strict=True):
            assert (sizes[a] <= sizes[b]) <= (first >= second)


def test_without_a_binding_cap_every_group_weighs_the_same():
    odds = balance(["a"] * 9 + ["b"] * 3, max_imbalance=10)
    assert odds[:9].sum() == pytest.approx(odds[9:].sum())


def test_a_draw_depends_on_seed_and_step_alone():
    def draw(seed, flip=True):
        return Draw(odds=np.full(50, 0.02), batch_size=200, flip=flip, seed=seed)

    rows, mirrored = draw(1)(7)
    again, _ = draw(1)(7)
    assert np.array_equal(rows, again)
    assert not np.array_equal(rows, draw(2)(7)[0])
    assert not np.array_equal(rows, draw(1)(8)[0])
    assert 60 < mirrored.sum() < 140
    assert not draw(1, flip=False)(7)[1].any()


def test_a_captioner_of_another_backend_is_refused_before_anything_is_written(
    faces, captions, model, tmp_path
):
    other = replace(model, backend="blip2_lavis")
    with pytest.raises(
        CaptionerError, match="must be one of blip2, but is of blip2_lavis"
    ) as caught:
        run(tmp_path / "c_s", faces, captions, other)
    assert "scf convert" in caught.value.fix
    assert not (tmp_path / "c_s").exists()
