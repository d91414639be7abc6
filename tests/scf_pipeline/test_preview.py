from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from upath import UPath

from scf_pipeline import preview
from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.errors import ConfigError
from scf_pipeline.files import hash_files
from scf_pipeline.media import MediaError
from scf_pipeline.preview import COLOURS, EACH, check_place, choose, write
from scf_pipeline.schema import Reject
from scf_pipeline.stages import crop, ingest
from scf_pipeline.stages.crop import CropConfig
from scf_pipeline.store import Artifact
from scf_pipeline.verify import verify

CONFIG = CropConfig(image_size=32, detector="none", max_reject_fraction=0.5)
COUNT = 2 * EACH


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, Artifact]:
    """More pictures than a sheet shows, each of one grey, and one that is none."""
    place = tmp_path_factory.mktemp("cut")
    folder = place / "root/print"
    folder.mkdir(parents=True)
    for number in range(COUNT):
        Image.new("RGB", (80, 60), (100 + number,) * 3).save(folder / f"{number}.png")
    (folder / "broken.png").write_text("no picture")
    config = ingest.IngestConfig(datasets=("image_folder",))
    samples = ingest.run(
        config, roots={"image_folder": place / "root"}, out=place / "samples", engine=LocalEngine()
    )
    faces = crop.run(CONFIG, samples=samples, out=place / "faces", engine=LocalEngine())
    return samples, faces


def draw(cut: tuple[Artifact, Artifact], file: Path, seed: int = 0) -> np.ndarray:
    samples, faces = cut
    write(CONFIG, samples=samples, faces=faces, file=UPath(file), seed=seed)
    with Image.open(file) as image:
        return np.asarray(image)


def test_rows_are_counted_and_some_faces_drawn(cut) -> None:
    (strip,) = choose(cut[1], seed=0).values()
    assert strip.heading("image_folder") == (
        f"image_folder: {COUNT} faces (whole frame {COUNT}); 1 rejected (unreadable 1)"
    )
    assert len({row["face_id"] for row in strip.chosen()}) == EACH


def test_the_lots_depend_on_the_seed_alone(cut) -> None:
    def names(seed: int) -> list[str]:
        return [row["face_id"] for row in choose(cut[1], seed)["image_folder"].chosen()]

    assert names(0) == names(0)
    assert names(0) != names(1)


def test_every_kind_of_box_has_its_turn() -> None:
    strip = preview.Strip()
    for number in range(100):
        source = "whole_frame" if number == 50 else "sidecar" if number % 2 else "detector"
        row = {"reject": None, "box_source": source, "face_id": str(number)}
        strip.take(row, bytes([number]))
    kinds = [row["box_source"] for row in strip.chosen()]
    assert kinds[:3] == ["detector", "sidecar", "whole_frame"]
    assert len(kinds) == EACH
    assert max(map(len, strip.drawn.values())) == EACH  # however many there are


def test_the_sheet_shows_sources_with_their_box_beside_their_crops(cut, tmp_path: Path) -> None:
    sheet = draw(cut, tmp_path / "crops.png")
    greys = {
        100 + int(row["sample_id"].rsplit("/", 1)[1])
        for row in choose(cut[1], seed=0)["image_folder"].chosen()
    }
    flat = sheet.reshape(-1, 3)
    for grey in greys:
        shown = (flat == grey).all(axis=1).sum()
        # The crop is as wide and high as the source is wide; the latter is in part drawn over.
        assert shown > preview.SIDE_PX**2 * 1.5
    assert (flat == rgb(COLOURS["whole_frame"])).all(axis=1).sum() > EACH * preview.SIDE_PX
    assert (flat == 255).all(axis=1).sum() > EACH * preview.SIDE_PX  # the square that was cut


def test_the_artifact_stays_as_it_was_sealed(cut, tmp_path: Path) -> None:
    before = hash_files(cut[1].path)
    draw(cut, tmp_path / "crops.png")
    assert hash_files(cut[1].path) == before
    assert verify(cut[1].path) == []


def test_the_same_seed_draws_the_same_sheet(cut, tmp_path: Path) -> None:
    first, again = (draw(cut, tmp_path / f"{n}.png", seed=3) for n in range(2))
    np.testing.assert_array_equal(first, again)


def test_a_source_that_is_gone_leaves_its_crop(
    cut, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = draw(cut, tmp_path / "whole.png")

    def gone(*_: object) -> Iterator[None]:
        raise MediaError(Reject.MISSING, "gone")

    monkeypatch.setattr(preview, "read_upright", gone)
    sheet = draw(cut, tmp_path / "crops.png")
    assert sheet.shape == whole.shape
    assert (sheet.reshape(-1, 3) == rgb(COLOURS["whole_frame"])).all(axis=1).sum() < (
        whole.reshape(-1, 3) == rgb(COLOURS["whole_frame"])
    ).all(axis=1).sum()


@pytest.mark.parametrize("name", ["crops.jpg", "crops", "faces/crops.png", "faces/data/a.png"])
def test_a_place_in_the_artifact_and_other_formats_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be a PNG outside of its artifact") as caught:
        check_place(UPath(tmp_path / name), UPath(tmp_path / "faces"))
    assert caught.value.where == str(tmp_path / name)


def test_a_name_that_acts_on_nothing_and_a_long_one_keep_their_line() -> None:
    sheet = Image.new("RGB", (100, 100))
    drawer = preview.ImageDraw.Draw(sheet)
    preview._text(drawer, (0, 0), "\x1b[31mred\n" + "long" * 1000, 60, colour="white")
    shown = np.asarray(sheet)
    assert shown[:, 62:].max() == 0
    assert shown[20:].max() == 0
