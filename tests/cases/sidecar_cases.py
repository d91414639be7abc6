"""Text files that datasets ship, where they lie, what official ones say, and what reading promises.

Tests of the adapters and the fuzzer share them.
"""

from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from ifas_model import plugins
from scf_pipeline import adapters
from scf_pipeline.adapters import Frame
from scf_pipeline.schema import SAMPLE_SCHEMA

FRAME = Frame(640, 480)


class Boxes(NamedTuple):
    """A face annotation of one sample."""

    adapter: str
    media_path: str
    path: str
    official: str


class List(NamedTuple):
    """A list of samples."""

    adapter: str
    beside: tuple[str, ...]
    """Files that the dataset must have as well."""
    path: str
    official: str


BOXES = [
    Boxes(
        "celeba_spoof",
        "Data/train/1/live/000003.jpg",
        "Data/train/1/live/000003_BB.txt",
        "55 42 109 141 0.9999",
    ),
    Boxes(
        "msu_mfsd",
        "scene01/real/real_client003_android_SD_scene01.mp4",  # upside down
        "scene01/real/real_client003_android_SD_scene01.face",
        "0,200,100,420,380,260,180,350,182\n1,201,101,421,381,261,300,351,302\n",
    ),
    Boxes(
        "oulu_npu",
        "Train_files/1_1_01_1.avi",
        "Train_files/1_1_01_1.txt",
        "0,250,200,380,201\n1,0,0,0,0\n2,251,201,381,202\n",
    ),
    Boxes(
        "replay_attack",
        "train/real/client001_session01_webcam_authenticate_adverse_1.mov",
        "face-locations/train/real/client001_session01_webcam_authenticate_adverse_1.face",
        "0 120 60 90 90\n1 0 0 0 0\n2 121 61 90 91\n",
    ),
    Boxes(
        "siw",
        "Train/live/003/003-1-1-1-1.mov",
        "Train/live/003/003-1-1-1-1.face",
        "400 200 600 460\n0 0 0 0\n401 201 601 461\n",
    ),
]

LISTS = [
    List(
        "celeba_spoof",
        ("Data/train/1/spoof/000003.jpg",),
        "metas/intra_test/train_label.json",
        '{"Data/train/1/spoof/000003.jpg": [' + "0, " * 40 + "1, 2, 3, 1]}",
    ),
    List(
        "hifi_mask",
        ("Data/1_19_2_1_2_5/0000.png",),
        "protocol/CASIA_HiFiMask@p1_image_train.txt",
        "CASIA_HiFiMask/Data/1_19_2_1_2_5/0000.png 1\nData/1_07_0_1_2_5/0001.png 0\n",
    ),
    List(
        "hifi_mask",
        ("train/1_19_2_1_2_5/0000.png",),
        "train_label.txt",
        "train/1_19_2_1_2_5/0000.png 0\ntrain/1_07_0_1_2_5/0001.png 1\n",
    ),
    List(
        "hifi_mask",
        ("train/1_19_2_1_2_5/0000.png", "train_label.txt", "val/0000/0001.png"),
        "val_label.txt",
        "val/0000/0001.png 1\nval/0000/0002.png 0\n",
    ),
    List("hkbu_mars_v1_plus", (), "scf_list.csv", 'path,is_live,subject\ns1/a.mp4,1,"a, b"\n'),
    List(
        "msu_mfsd",
        (
            "scene01/real/real_client001_android_SD_scene01.mp4",
            "scene01/attack/attack_client002_laptop_SD_printed_photo_scene01.mov",
        ),
        "train_sub_list.txt",
        "02\n03\n 05\n",
    ),
    List(
        "siw_m_v2",
        ("Live/Live_1.mov", "Spoof/Mannequin/Mask_Mann_12.mov"),
        "trainlist_all.txt",
        "Live_1\nMask_Mann_12\n",
    ),
    List(
        "wmca",
        ("preprocessed-face-station_RGB/31.01.18/514_01_035_1_05.hdf5",),
        "PROTOCOL-grandtest.csv",
        "path,label,group\nface-station/31.01.18/514_01_035_1_05,attack,train\n",
    ),
]

SIDECARS: list[Boxes | List] = [*BOXES, *LISTS]


def prepare(case: Boxes | List, root: Path) -> None:
    """Lay out a dataset that holds all but the file itself."""
    for name in (case.path, *(case.beside if isinstance(case, List) else ())):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if name != case.path:
            (root / name).touch()


def read(case: Boxes | List, root: Path, content: bytes) -> int:
    """Write a file and read it as the stages do; return how many boxes or samples it gave.

    Raises:
        AssertionError: If a box lies outside its picture.
        DatasetLayoutError: If a list is refused.
    """
    (root / case.path).write_bytes(content)
    adapter = plugins.load(adapters, "ADAPTER", case.adapter)
    if isinstance(case, Boxes):
        boxes = adapter.boxes(root, case.media_path, FRAME)
        for number, box in boxes.items():
            assert type(number) is int
            assert number >= 0
            assert 0 <= box.x0 < box.x1 <= FRAME.width
            assert 0 <= box.y0 < box.y1 <= FRAME.height
        return len(boxes)
    rows = [asdict(sample) for sample in adapter.scan(root)]
    return pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA).num_rows
