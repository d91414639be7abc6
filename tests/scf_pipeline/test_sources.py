from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from ifas_model import plugins
from scf_pipeline import adapters
from scf_pipeline.errors import ArtifactError, StageError
from scf_pipeline.media import FramePreset, MediaError
from scf_pipeline.schema import SAMPLE_SCHEMA
from scf_pipeline.settings import Settings
from scf_pipeline.sources import find_sources, read_upright
from scf_pipeline.store import Artifact, ArtifactWriter

FOLDER = plugins.load(adapters, "ADAPTER", "image_folder")


def write_samples(folder: Path, dataset: str, roots: dict[str, str]) -> Artifact:
    writer = ArtifactWriter(folder, SAMPLE_SCHEMA, settings=Settings("ingest", 1, {}, {}))
    row = dict.fromkeys(SAMPLE_SCHEMA.names) | {
        "sample_id": f"{dataset}/a", "dataset": dataset, "media_path": "a.png", "media_bytes": 1,
        "split": "train", "label": "bona_fide", "native_label": "x",
    }  # fmt: skip
    writer.write(0, pa.Table.from_pylist([row], schema=SAMPLE_SCHEMA))
    return writer.seal(rows_in={dataset: 1}, notes={"roots": roots})


def test_each_dataset_has_its_root_and_its_adapter(tmp_path: Path) -> None:
    samples = write_samples(tmp_path / "s", "image_folder", {"image_folder": str(tmp_path)})
    assert find_sources(samples) == ({"image_folder": tmp_path}, {"image_folder": FOLDER})


def test_a_root_that_is_not_told_or_gone_and_an_unknown_dataset_are_refused(tmp_path) -> None:
    with pytest.raises(ArtifactError, match="must note the root of 'image_folder'"):
        find_sources(write_samples(tmp_path / "a", "image_folder", {}))
    gone = {"image_folder": str(tmp_path / "gone")}
    with pytest.raises(StageError, match="must be a folder, but is not there"):
        find_sources(write_samples(tmp_path / "b", "image_folder", gone))
    with pytest.raises(ArtifactError, match="but are of 'unheard_of'"):
        find_sources(write_samples(tmp_path / "c", "unheard_of", {"unheard_of": str(tmp_path)}))


def test_frames_of_a_file_outside_of_the_root_are_not_read(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "root").mkdir()
    (picture,) = read_upright("a.png", tmp_path, FOLDER, FramePreset.FIRST, 100)
    assert (picture.number, picture.pixels.shape) == (0, (4, 6, 3))
    with pytest.raises(MediaError, match="must lie below its dataset's root"):
        list(read_upright("../a.png", tmp_path / "root", FOLDER, FramePreset.FIRST, 100))
