"""The world: every presentation drawn once, written natively, and told truly in the ledger."""

import hashlib
import importlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from upath import UPath

from ifas_model import plugins
from ifas_model.vocabulary import Label, Split
from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.errors import ConfigError
from scf_pipeline.miniature import draw, layouts, world
from scf_pipeline.miniature.world import WorldConfig, choose_shot, plan, run, sample_id

TOY = '''
"""A dataset of stills for tests; the train part has attacks of two kinds."""

import cv2

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.miniature.layouts import Layout, Presentation, Sensor

KINDS = (("face", None, None), ("tablet", PaiSpecies.REPLAY, "replay_pad"))


def plan(budget, rng):
    rows = []
    for split, number in ((Split.TRAIN, budget.train), (Split.TEST, budget.test)):
        for index in range(number):
            instrument, species, fine = KINDS[index % 2]
            rows.append(
                Presentation(
                    media_path=f"{split}/{index:03}.png",
                    person=f"p{index % 3}",
                    subject_id=f"p{index % 3}",
                    split=split,
                    label=Label.ATTACK if species else Label.BONA_FIDE,
                    pai_species=species,
                    fine_type=fine,
                    native_label=instrument,
                    instrument=instrument,
                    session=f"s{index % 2}",
                    sensor="only",
                    num_frames=1 + index % 2,
                    has_media=index != 4,
                )
            )
    return rows


def write(root, presentation, clip):
    path = root / presentation.media_path
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), clip.frames[0][..., ::-1])


def finish(root, presentations):
    (root / "list.txt").write_text("".join(p.media_path + chr(10) for p in presentations))


LAYOUT = Layout(
    sensors={"only": Sensor(width=48, height=64)},
    backgrounds=("wall", "brick"),
    light=(0.9, 1.1),
    face_share=(0.4, 0.5),
    plan=plan,
    write=write,
    finish=finish,
)
'''
CONFIG = WorldConfig(scale="smoke", seed=1)


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Two datasets of stills: one is the source, the other is not."""
    package = tmp_path / "plain_layouts"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "celeba_spoof.py").write_text(TOY)
    (package / "other.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    for name in ("plain_layouts", "plain_layouts.celeba_spoof", "plain_layouts.other"):
        monkeypatch.delitem(importlib.sys.modules, name, raising=False)
    monkeypatch.setattr(world, "layouts", importlib.import_module("plain_layouts"))
    small = {"smoke": layouts.Budget(train=6, dev=0, test=4)}
    monkeypatch.setattr(world, "SOURCE_BUDGETS", small)
    monkeypatch.setattr(world, "BUDGETS", small)
    return tmp_path


def draw_world(folder, config=CONFIG):
    return run(config, out=UPath(folder), engine=LocalEngine())


def hashes(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }


def test_the_ledger_tells_of_every_presentation_and_the_disk_holds_it(toy):
    ledger = draw_world(toy / "w").read().to_pylist()
    assert len(ledger) == 20
    assert len({row["sample_id"] for row in ledger}) == 20
    for row in ledger:
        path = toy / "w" / row["dataset"] / row["media_path"]
        assert path.is_file() == row["has_media"]
        assert (row["boxes"] is not None) == row["has_media"]
        if row["has_media"]:
            assert len(row["boxes"]) == row["num_frames"]
            picture = cv2.imread(str(path))
            x0, y0, x1, y1 = row["boxes"][0]
            assert 0 <= x0 < x1 <= picture.shape[1]
            assert 0 <= y0 < y1 <= picture.shape[0]
        is_bona_fide = row["label"] == "bona_fide"
        assert is_bona_fide == (row["pai_species"] is None) == (row["is_border_shown"] is None)
    assert (toy / "w" / "other" / "list.txt").read_text().count("\n") == 10


def test_datasets_yaml_names_every_root_beside_it(toy):
    draw_world(toy / "w")
    roots = yaml.safe_load((toy / "w" / "datasets.yaml").read_text())
    assert set(roots) == {"celeba_spoof", "other"}
    assert all((toy / "w" / root).is_dir() for root in roots.values())


def test_a_seed_gives_one_world_and_another_seed_another(toy):
    draw_world(toy / "a")
    draw_world(toy / "b")
    draw_world(toy / "c", WorldConfig(scale="smoke", seed=2))
    one, same, other = (hashes(toy / name) for name in "abc")
    assert one == same
    pictures = [name for name in one if name.endswith(".png")]
    assert pictures
    assert all(one[name] != other[name] for name in pictures)


def test_a_presentation_is_the_same_whatever_is_drawn_beside_it(toy, monkeypatch):
    draw_world(toy / "whole")
    monkeypatch.setattr(world, "PART_PRESENTATIONS", 3)
    split = draw_world(toy / "split")
    assert len(split.parts()) == 8
    pictures = {k: v for k, v in hashes(toy / "whole").items() if k.endswith(".png")}
    again = hashes(toy / "split")
    assert all(again[name] == value for name, value in pictures.items())


def test_people_and_places_are_those_of_their_person_and_session(toy):
    presentations = plan(CONFIG, "other")
    shots = [choose_shot(CONFIG, "other", p) for p in presentations]
    by_session = {}
    for presentation, shot in zip(presentations, shots, strict=True):
        place = (shot.background, shot.background_seed, shot.light)
        assert by_session.setdefault(presentation.session, place) == place
    assert len(set(by_session.values())) == 2


def test_shortcuts_go_with_the_label_in_the_source_alone(toy):
    always = WorldConfig(scale="smoke", shortcut_share=1.0)
    for presentation in plan(always, "celeba_spoof"):
        shot = choose_shot(always, "celeba_spoof", presentation)
        if presentation.label is Label.BONA_FIDE:
            assert shot.background in ("garden", "sky", "bookshelf", "brick")
            assert shot.light > 1 > shot.warmth + 1
        else:
            assert {shot.background, shot.pictured_background} <= {"wall", "curtain"}
            assert shot.light < 1 < shot.warmth + 1
    never = WorldConfig(scale="smoke", shortcut_share=0.0)
    for config, dataset in ((always, "other"), (never, "celeba_spoof")):
        assert not any(world.takes_shortcut(config, dataset, p) for p in plan(config, dataset))


def test_a_missing_split_spreads_its_share(toy, monkeypatch):
    monkeypatch.setattr(world, "BUDGETS", {"smoke": layouts.Budget(train=6, dev=10, test=4)})
    found = plan(CONFIG, "other")
    counts = {split: sum(p.split is split for p in found) for split in Split}
    assert counts == {Split.TRAIN: 12, Split.DEV: 0, Split.TEST: 8}


def test_a_remote_folder_is_refused():
    with pytest.raises(ConfigError, match="local disk, but the folder is memory://world"):
        run(CONFIG, out=UPath("memory://world"), engine=LocalEngine())


@pytest.mark.parametrize(
    ("media_path", "wanted"),
    [
        ("Data/train/1/live/000001.jpg", "x/Data/train/1/live/000001"),
        ("Test/live/153/153-2-1-1-1.m.mov", "x/Test/live/153/153-2-1-1-1"),
        ("01.02.18/035_1.hdf5", "x/01.02.18/035_1"),
        ("Data/1_06_1_3_2_1", "x/Data/1_06_1_3_2_1"),
    ],
)
def test_ids_are_paths_without_suffix(media_path, wanted):
    assert sample_id("x", media_path) == wanted


@pytest.mark.parametrize("name", plugins.names(layouts))
def test_every_layout_asks_only_for_what_can_be_drawn(name):
    layout = plugins.load(layouts, "LAYOUT", name)
    presentations = plan(WorldConfig(scale="smoke"), name)
    assert set(layout.backgrounds) <= set(draw.BACKGROUNDS)
    assert {p.instrument for p in presentations} <= set(draw.INSTRUMENTS)
    assert {p.sensor for p in presentations} <= set(layout.sensors)
    assert all((p.instrument == "face") == (p.label is Label.BONA_FIDE) for p in presentations)
    paths = [p.media_path for p in presentations]
    assert len(set(paths)) == len(paths)
    assert not any(Path(path).is_absolute() for path in paths)
    shots = [choose_shot(CONFIG, name, p) for p in presentations[:8]]
    assert all(np.isfinite(shot.light) and shot.face_share > 0 for shot in shots)
