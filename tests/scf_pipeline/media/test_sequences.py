from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from scf_pipeline.media.frames import FramePreset, MediaError, Pixels
from scf_pipeline.media.pictures import read_picture
from scf_pipeline.media.sequences import numbered, read_hdf5, read_numbered
from scf_pipeline.schema import Reject

LIMIT = 10_000
RGB = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)  # one row, two columns


def write_hdf5(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_group(name).create_dataset("array", data=array)
    return path


def shade(value: int) -> np.ndarray:
    return np.full((3, 4, 4), value, np.uint8)


def numbers(path: Path, preset: FramePreset) -> list[tuple[int, int]]:
    return [(n, int(pixels[0, 0, 0])) for n, pixels in read_hdf5(path, preset, LIMIT)]


def test_frame_10_follows_frame_2(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.hdf5", {f"Frame_{n}": shade(n) for n in (10, 2, 0)})
    assert numbers(path, FramePreset.ALL) == [(0, 0), (2, 2), (10, 10)]


def test_flip2_of_fifty_frames(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.hdf5", {f"Frame_{n}": shade(n) for n in range(50)})
    assert numbers(path, FramePreset.FLIP2) == [(6, 6), (31, 31)]


def test_arrays_are_channel_first_in_red_green_blue(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.hdf5", {"Frame_0": np.moveaxis(RGB, 2, 0)})
    (picture,) = read_hdf5(path, FramePreset.FIRST, LIMIT)
    np.testing.assert_array_equal(picture.pixels, RGB)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 5, 5), np.uint8),  # the CDIT pack: grey, depth, infrared, thermal
        np.zeros((5, 5), np.uint8),
        np.zeros((3, 5, 5), np.float32),
        np.zeros((3, 0, 5), np.uint8),
        np.zeros((3, 101, 100), np.uint8),
    ],
)
def test_arrays_of_another_kind_are_no_frames(tmp_path: Path, array: np.ndarray) -> None:
    path = write_hdf5(tmp_path / "a.hdf5", {"Frame_0": array})
    with pytest.raises(MediaError, match=r"in frame 0: .* must ") as caught:
        list(read_hdf5(path, FramePreset.ALL, LIMIT))
    assert caught.value.reject is Reject.NO_FRAME


def test_a_broken_frame_is_passed_over(tmp_path: Path) -> None:
    arrays = {"Frame_0": shade(0), "Frame_1": np.zeros((4, 4, 4), np.uint8), "Frame_2": shade(2)}
    path = write_hdf5(tmp_path / "a.hdf5", arrays)
    assert numbers(path, FramePreset.ALL) == [(0, 0), (2, 2)]


def test_where_no_wanted_frame_loads_others_are_chosen(tmp_path: Path) -> None:
    arrays = {"Frame_0": np.zeros((2, 2), np.uint8), "Frame_3": shade(3), "Frame_4": shade(4)}
    path = write_hdf5(tmp_path / "a.hdf5", arrays)
    assert numbers(path, FramePreset.FIRST) == [(3, 3)]


@pytest.mark.parametrize("name", ["Other_0", "Frame_", "Frame_x"])
def test_a_file_without_frames_has_no_frame(tmp_path: Path, name: str) -> None:
    path = write_hdf5(tmp_path / "a.hdf5", {name: shade(1)})
    with pytest.raises(MediaError, match="but holds none") as caught:
        list(read_hdf5(path, FramePreset.ALL, LIMIT))
    assert caught.value.reject is Reject.NO_FRAME


def test_a_frame_without_its_array_is_told(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.hdf5", {})
    with h5py.File(path, "a") as file:
        file.create_group("Frame_0")
    with pytest.raises(MediaError, match="must hold 'array', but does not"):
        list(read_hdf5(path, FramePreset.ALL, LIMIT))


def test_a_frame_that_is_no_group_is_passed_over(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.hdf5", {"Frame_1": shade(1)})
    with h5py.File(path, "a") as file:
        file["Frame_0"] = 5
    assert numbers(path, FramePreset.ALL) == [(1, 1)]


def elsewhere(way: str, path: Path) -> Path:
    """Write a file whose frame 0 lies in another one, and whose frame 1 is its own."""
    write_hdf5(path.with_name("other.hdf5"), {"Frame_0": shade(7)})
    shade(7).tofile(path.with_name("other.raw"))
    with h5py.File(write_hdf5(path, {"Frame_1": shade(1), "spare": shade(7)}), "a") as file:
        if way == "link to an array":
            file.create_group("Frame_0")["array"] = h5py.ExternalLink("other.hdf5", "Frame_0/array")
        elif way == "link to a group":
            file["Frame_0"] = h5py.ExternalLink("other.hdf5", "Frame_0")
        elif way == "soft link over another":
            file["door"] = h5py.ExternalLink("other.hdf5", "/")
            file["Frame_0"] = h5py.SoftLink("/door/Frame_0")
        elif way == "virtual array":
            layout = h5py.VirtualLayout((3, 4, 4), np.uint8)
            layout[:] = h5py.VirtualSource("other.hdf5", "Frame_0/array", (3, 4, 4))
            file.create_group("Frame_0").create_virtual_dataset("array", layout)
        else:
            storage = [(str(path.with_name("other.raw")), 0, 48)]
            file.create_dataset("Frame_0/array", (3, 4, 4), np.uint8, external=storage)
    return path


WAYS = ["link to an array", "link to a group", "soft link over another", "virtual array", "storage"]


@pytest.mark.parametrize("way", WAYS)
def test_no_other_file_is_shown(tmp_path: Path, way: str) -> None:
    path = elsewhere(way, tmp_path / "a.hdf5")
    with h5py.File(path) as file:
        assert (file["Frame_0/array"][()] == 7).all(), "HDF5 itself follows"
    assert numbers(path, FramePreset.ALL) == [(1, 1)]
    with h5py.File(path, "a") as file:
        del file["Frame_1"]
    with pytest.raises(MediaError, match="must lie in its file, but") as caught:
        list(read_hdf5(path, FramePreset.ALL, LIMIT))
    assert caught.value.reject is Reject.NO_FRAME


@pytest.mark.parametrize("digits", ["2147483648", "1" + 12 * "0", 5000 * "1"])
def test_numbers_that_no_table_holds_are_passed_over(tmp_path: Path, digits: str) -> None:
    path = write_hdf5(tmp_path / "a.hdf5", {f"Frame_{digits}": shade(1), "Frame_2": shade(2)})
    assert numbers(path, FramePreset.ALL) == [(2, 2)]
    if len(digits) < 200:  # longer names are no file's
        folder = write_pictures(tmp_path / "unit", "2.png")
        (folder / "2.png").rename(folder / f"{digits}.png")
        assert numbered(folder, {".png"}) == {}


def write_pictures(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        digits = "".join(c for c in name if c.isdigit())
        Image.new("RGB", (3, 2), (int(digits or 0), 0, 0)).save(folder / name)
    return folder


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "unit", "0010.png", "0002.png", "frame_7.jpg")
    files = numbered(folder, {".png", ".jpg"})
    assert [(n, file.name) for n, file in sorted(files.items())] == [
        (2, "0002.png"),
        (7, "frame_7.jpg"),
        (10, "0010.png"),
    ]


def test_junk_in_a_folder_is_passed_over(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "unit", "0001.png", "cover.png")
    (folder / "._0002.png").write_bytes(b"resource fork")
    (folder / "Thumbs5.db").write_bytes(b"")
    assert list(numbered(folder, {".png"})) == [1]


def test_one_number_counts_once(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "unit", "0001.png", "1.png")
    assert numbered(folder, {".png"}) == {1: folder / "0001.png"}


def test_broken_files_of_a_folder_are_passed_over(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "unit", *(f"{n:04d}.png" for n in range(10)))
    (folder / "0006.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    files = numbered(folder, {".png"})
    assert [p.number for p in read_numbered(files, read_picture, FramePreset.FLIP2)] == [9]
    (folder / "0009.png").write_bytes(b"")
    assert [p.number for p in read_numbered(files, read_picture, FramePreset.FLIP2)] == [7, 8]


def test_a_folder_of_broken_files_has_no_frame(tmp_path: Path) -> None:
    def load(path: Path) -> Pixels:
        raise OSError(path.name)

    with pytest.raises(MediaError, match=r"in frame 1: OSError: b\.png") as caught:
        list(read_numbered({0: Path("a.png"), 1: Path("b.png")}, load, FramePreset.ALL))
    assert caught.value.reject is Reject.NO_FRAME
