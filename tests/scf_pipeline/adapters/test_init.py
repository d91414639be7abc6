import os
from contextlib import suppress
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sidecar_cases import LISTS, SIDECARS, List, prepare
from sidecar_cases import read as read_sidecar

from ifas_model import plugins
from scf_pipeline import adapters
from scf_pipeline.adapters import (
    Box,
    Frame,
    box_from_eyes,
    list_lines,
    media_files,
    no_boxes,
    sidecar_rows,
    text_of,
    upright,
    within,
)
from scf_pipeline.errors import DatasetLayoutError

coordinates = st.floats(-2000, 2000)
points = st.tuples(coordinates, coordinates)


def test_eyes_a_hundred_pixels_apart_imply_a_square_of_220() -> None:
    assert box_from_eyes((100, 200), (200, 200)) == pytest.approx((40, 116.4, 260, 336.4))


@settings(derandomize=True, deadline=None)
@given(points, points)
def test_a_box_from_eyes_is_square_and_holds_both_eyes(
    right: tuple[float, float], left: tuple[float, float]
) -> None:
    box = box_from_eyes(right, left)
    assert box.x1 - box.x0 == pytest.approx(box.y1 - box.y0)
    for x, y in (right, left):
        assert box.x0 < x < box.x1
        assert box.y0 - 1e-6 < y + 0.13 * (box.y1 - box.y0)
        assert y < box.y1


@settings(derandomize=True, deadline=None)
@given(points, points)
def test_a_box_does_not_ask_which_eye_is_which(
    right: tuple[float, float], left: tuple[float, float]
) -> None:
    assert box_from_eyes(right, left) == pytest.approx(box_from_eyes(left, right))


def test_eyes_at_one_point_still_imply_a_box() -> None:
    box = box_from_eyes((50, 50), (50, 50))
    assert box.x1 - box.x0 == pytest.approx(2.2)


@settings(derandomize=True, deadline=None)
@given(points, points, st.integers(1, 500), st.integers(1, 500))
def test_a_box_within_a_frame_is_a_part_of_it_and_of_the_box(
    start: tuple[float, float], end: tuple[float, float], width: int, height: int
) -> None:
    box = Box(*start, *end)
    part = within(box, Frame(width, height))
    if part is None:
        overlap_x = min(width, box.x1) - max(0, box.x0)
        overlap_y = min(height, box.y1) - max(0, box.y0)
        assert min(overlap_x, overlap_y) < 1
    else:
        assert 0 <= part.x0 < part.x1 <= width
        assert 0 <= part.y0 < part.y1 <= height
        assert part.x0 >= box.x0
        assert part.y1 <= box.y1
        assert within(part, Frame(width, height)) == part


FLOATS = st.floats(allow_nan=True, allow_infinity=True)


@given(st.tuples(FLOATS, FLOATS, FLOATS, FLOATS))
def test_no_numbers_whatever_make_a_box_outside_the_frame(numbers) -> None:
    for box in (Box(*numbers), box_from_eyes(numbers[:2], numbers[2:])):
        part = within(box, Frame(64, 48))
        assert part is None or 0 <= part.x0 < part.x1 <= 64
        assert part is None or 0 <= part.y0 < part.y1 <= 48


def test_eyes_further_apart_than_numbers_reach_imply_no_box() -> None:
    assert within(box_from_eyes((1e200, 0), (-1e200, 5)), Frame(64, 48)) == (0, 0, 64, 48)
    assert within(box_from_eyes((1e308, 0), (-1e308, 5)), Frame(64, 48)) is None


@pytest.mark.parametrize("case", SIDECARS, ids=lambda case: f"{case.adapter}:{case.path}")
def test_the_text_files_of_a_dataset_are_read(case, tmp_path: Path) -> None:
    prepare(case, tmp_path)
    assert read_sidecar(case, tmp_path, case.official.encode()) > 0
    assert read_sidecar(case, tmp_path, b"\xef\xbb\xbf" + case.official.encode()) > 0
    assert read_sidecar(case, tmp_path, case.official.replace("\n", "\r\n").encode()) > 0


PIECES = st.sampled_from(
    [b"\n", b"\r", b",", b" ", b"0", b"1", b"-1e308", b"1e308", b"1e200", b"nan", b"inf", b"1_0"]
    + [b"\0", b"\xff", b"\xef\xbb\xbf", b'"', b"../", b"/", b"[", b"]", b"{", b"}", b":", b"9" * 99]
    + [word for case in SIDECARS for word in case.official.encode().split()]
)


@pytest.mark.parametrize("case", SIDECARS, ids=lambda case: f"{case.adapter}:{case.path}")
@settings(max_examples=30)
@given(pieces=st.lists(PIECES | st.binary(max_size=4), max_size=20))
def test_any_bytes_are_read_or_refused_as_the_datasets_own(tmp_path_factory, case, pieces) -> None:
    root = tmp_path_factory.getbasetemp() / f"{case.adapter}-{Path(case.path).stem}"
    prepare(case, root)
    official = case.official.encode()
    refusals = [DatasetLayoutError] if isinstance(case, List) else []
    for content in (b"".join(pieces), b" ".join(pieces), official + b"\n" + b",".join(pieces)):
        with suppress(*refusals):
            read_sidecar(case, root, content)


@pytest.mark.parametrize("name", ["celeba_spoof", "msu_mfsd", "wmca"])
def test_a_folder_above_the_dataset_whose_name_is_no_text_is_refused(name, tmp_path: Path) -> None:
    case = next(case for case in LISTS if case.adapter == name)
    above = tmp_path / os.fsdecode(b"\xff")
    try:
        prepare(case, above)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (above / case.path).write_text(case.official)
    (above / "test_sub_list.txt").write_text("1")
    with pytest.raises(DatasetLayoutError, match="must be UTF-8 text") as caught:
        list(plugins.load(adapters, "ADAPTER", name).scan(tmp_path))
    assert caught.value.where.startswith(r"'\udcff/")


def test_a_box_of_one_pixel_is_kept_and_a_thinner_one_is_not() -> None:
    assert within(Box(5, 5, 6, 6), Frame(9, 9)) == (5, 5, 6, 6)
    assert within(Box(5, 5, 5.9, 9), Frame(9, 9)) is None
    assert within(Box(8.5, 5, 20, 9), Frame(9, 9)) is None


def test_rows_keep_their_place_whatever_a_line_holds(tmp_path: Path) -> None:
    path = tmp_path / "clip.face"
    path.write_bytes(b"1 2.5\r\n\n\xff\xfe\nx 1\n-3 1e2\n1 inf")
    assert list(sidecar_rows(path)) == [[1, 2.5], [], [], [], [-3, 100], []]


def test_an_empty_column_is_no_number(tmp_path: Path) -> None:
    path = tmp_path / "clip.face"
    path.write_text("1,,3\n1, 2 ,3\n")
    assert list(sidecar_rows(path, ",")) == [[], [1, 2, 3]]


def test_an_absent_sidecar_and_a_folder_have_no_rows(tmp_path: Path) -> None:
    assert list(sidecar_rows(tmp_path / "absent.face")) == []
    assert list(sidecar_rows(tmp_path)) == []


def test_a_sidecar_or_list_that_may_not_be_read_is_as_absent_or_refused(tmp_path: Path) -> None:
    name = "x" * 300  # longer than file systems take
    assert list(sidecar_rows(tmp_path / name)) == []
    with pytest.raises(DatasetLayoutError, match="must be readable, but is not: File name too"):
        list_lines(tmp_path, tmp_path / name)
    (tmp_path / "list.txt").mkdir()
    with pytest.raises(DatasetLayoutError, match="must be readable") as caught:
        list_lines(tmp_path, tmp_path / "list.txt")
    assert caught.value.where == "list.txt"


def test_a_path_that_is_no_text_is_refused() -> None:
    assert text_of(PurePosixPath("a/\u00e9.jpg")) == "a/\u00e9.jpg"
    with pytest.raises(DatasetLayoutError, match="must be UTF-8 text") as caught:
        text_of(PurePosixPath("a/\udcff.jpg"))
    assert caught.value.where == r"'a/\udcff.jpg'"


def test_a_sidecar_above_the_bound_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clip.face"
    path.write_text("1 2 3 4\n")
    monkeypatch.setattr(adapters, "MAX_SIDECAR_BYTES", 8)
    assert list(sidecar_rows(path)) == [[1, 2, 3, 4]]
    monkeypatch.setattr(adapters, "MAX_SIDECAR_BYTES", 7)
    assert list(sidecar_rows(path)) == []


def test_a_list_comes_without_byte_order_mark_and_line_ends(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo")
    assert list_lines(tmp_path, tmp_path / "list.txt") == ["one", "two"]


def test_a_list_that_is_too_long_or_no_text_is_refused_by_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "list.txt").write_bytes(b"one\xff")
    with pytest.raises(DatasetLayoutError, match="not at byte 3") as caught:
        list_lines(tmp_path, tmp_path / "list.txt")
    assert caught.value.where == "list.txt"
    monkeypatch.setattr(adapters, "MAX_LIST_BYTES", 3)
    with pytest.raises(DatasetLayoutError, match="at most 3 bytes, but holds 4"):
        list_lines(tmp_path, tmp_path / "list.txt")


def test_media_are_found_at_any_depth_sorted_and_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b/2.MOV", "b/10.png", "a.jpg", "c.txt", "._a.jpg", ".hidden/d.jpg", "b/c/e.webp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in media_files(tmp_path)]
    assert found == ["a.jpg", "b/10.png", "b/2.MOV", "b/c/e.webp"]


def test_the_walk_takes_other_suffixes_when_asked(tmp_path: Path) -> None:
    for name in ("a.hdf5", "b.jpg"):
        (tmp_path / name).touch()
    assert [path.name for path in media_files(tmp_path, {".hdf5"})] == ["a.hdf5"]


def test_linked_folders_are_followed_but_never_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "root/a").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x.jpg").touch()
    (tmp_path / "root/a/up").symlink_to(tmp_path / "root")
    (tmp_path / "root/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "root/a")
    found = [
        path.relative_to(tmp_path / "root").as_posix() for path in media_files(tmp_path / "root")
    ]
    assert found == ["linked/x.jpg"]


def test_by_default_a_dataset_ships_no_boxes_and_is_upright(tmp_path: Path) -> None:
    assert no_boxes(tmp_path, "a.jpg", Frame(10, 10)) == {}
    assert upright("a.jpg") == 0
