import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from scf_pipeline.errors import ConfigError
from scf_pipeline.media.faces import (
    PixelBox,
    clip,
    encode_png,
    load_detector,
    square_around,
    square_crop,
    whole,
)

# Geometry


def blank(width: int, height: int) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


@st.composite
def boxes_in_pictures(draw: st.DrawFn) -> tuple[PixelBox, np.ndarray]:
    width, height = draw(st.integers(1, 400)), draw(st.integers(1, 400))
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    x1, y1 = draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))
    return PixelBox(x0, y0, x1, y1), blank(width, height)


@given(boxes_in_pictures(), st.floats(1, 8))
def test_the_square_is_square_and_inside_and_holds_the_box_if_it_can(
    given_: tuple[PixelBox, np.ndarray], scale: float
) -> None:
    box, picture = given_
    height, width = picture.shape[:2]
    square = square_around(box, picture, scale)
    side = square.x1 - square.x0
    assert side == square.y1 - square.y0 >= 1
    assert square.x0 >= 0
    assert square.y0 >= 0
    assert square.x1 <= width
    assert square.y1 <= height
    longer = max(box.x1 - box.x0, box.y1 - box.y0)
    assert side == min(round(scale * longer), width, height)
    if longer <= min(width, height):
        assert square.x0 <= box.x0
        assert square.y0 <= box.y0
        assert square.x1 >= box.x1
        assert square.y1 >= box.y1


def test_the_square_lies_about_the_centre_where_there_is_room() -> None:
    assert square_around(PixelBox(90, 80, 110, 120), blank(400, 300), 1.5) == (70, 70, 130, 130)


def test_the_square_is_shifted_inwards_at_a_border() -> None:
    assert square_around(PixelBox(0, 0, 40, 40), blank(400, 300), 2) == (0, 0, 80, 80)
    assert square_around(PixelBox(360, 260, 400, 300), blank(400, 300), 2) == (320, 220, 400, 300)


def test_the_square_shrinks_to_the_shorter_side() -> None:
    assert square_around(whole(blank(400, 300)), blank(400, 300), 1.6) == (50, 0, 350, 300)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4),
    st.integers(1, 300),
    st.integers(1, 300),
)
def test_a_clipped_box_lies_in_the_picture_and_in_the_box(
    box: list[float], width: int, height: int
) -> None:
    clipped = clip((box[0], box[1], box[2], box[3]), blank(width, height))
    if clipped is not None:
        assert 0 <= clipped.x0 < clipped.x1 <= width
        assert 0 <= clipped.y0 < clipped.y1 <= height
        assert clipped.x0 > box[0] - 1
        assert clipped.y1 < box[3] + 1


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((10.5, 20.5, 30.5, 40.5), (10, 20, 31, 41)),
        ((-4, 0, 12, 16), (0, 0, 12, 16)),
        ((90, 40, 108, 60), (90, 40, 100, 60)),
    ],
)
def test_boxes_are_rounded_outwards_and_cut_at_the_border(
    box: tuple[float, float, float, float], expected: tuple[int, int, int, int]
) -> None:
    assert clip(box, blank(100, 100)) == expected


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 0, 0),
        (10, 10, 5, 20),
        (10, 10, 20, 5),
        (10, 10, 11, 60),
        (float("nan"), 0, 50, 50),
        (0, 0, float("inf"), 50),
        (100, 0, 150, 50),
        (-30, 10, 20, 60),
        (80, 80, 120, 120),
    ],
)
def test_degenerate_and_outlying_boxes_are_of_no_use(
    box: tuple[float, float, float, float],
) -> None:
    assert clip(box, blank(100, 100)) is None


# Pixels


@pytest.mark.parametrize("size", [16, 50, 64, 224])
def test_a_crop_has_the_size_that_was_asked_for(size: int) -> None:
    crop = square_crop(blank(300, 200), PixelBox(100, 100, 140, 140), scale=1.25, size=size)
    assert crop.shape == (size, size, 3)
    assert crop.dtype == np.uint8


def test_a_crop_at_its_own_size_is_the_picture_itself() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    crop = square_crop(picture, PixelBox(40, 20, 72, 52), scale=1, size=32)
    np.testing.assert_array_equal(crop, picture[20:52, 40:72])


def test_shrinking_averages() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[::2] = 200
    assert set(square_crop(stripes, whole(stripes), scale=1, size=32).ravel()) == {100}


def test_enlarging_keeps_a_ramp_monotonous() -> None:
    ramp = np.repeat(np.arange(0, 160, 10, dtype=np.uint8)[None, :, None], 16, 0).repeat(3, 2)
    row = square_crop(ramp, whole(ramp), scale=1, size=64)[32, :, 0].astype(int)
    assert (np.diff(row[4:-4]) >= 0).all()
    assert len(set(row.tolist())) > 40


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1), (2, 3)])
def test_slivers_make_crops_too(size: tuple[int, int]) -> None:
    picture = blank(*size)
    assert square_crop(picture, whole(picture), scale=1.6, size=224).shape == (224, 224, 3)
    assert load_detector("cascade")(picture) is None


def test_png_keeps_every_pixel_and_its_bytes_are_the_same_each_time() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (33, 21, 3), dtype=np.uint8)
    png = encode_png(picture)
    with Image.open(io.BytesIO(png)) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        assert not image.info
        np.testing.assert_array_equal(np.asarray(image), picture)
    assert encode_png(picture.copy()) == png
    assert encode_png(np.rot90(np.rot90(picture, 1), -1)) == png


# Detectors


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    """The public-domain portrait of Eileen Collins that scikit-image ships."""
    data = pytest.importorskip("skimage.data", reason="scikit-image, which ships it, is absent")
    return data.astronaut()


FACE = (175, 65, 272, 162)  # read off the picture by eye, hence the tolerance


@pytest.mark.parametrize("side", [96, 200, 512, 1400])
def test_the_cascade_finds_the_face_of_a_portrait_at_any_size(
    portrait: np.ndarray, side: int
) -> None:
    picture = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA)
    box = load_detector("cascade")(picture)
    assert box is not None
    assert np.array(box) * 512 / side == pytest.approx(FACE, abs=20)


def test_the_largest_of_several_faces_counts(portrait: np.ndarray) -> None:
    small = cv2.resize(portrait, (256, 256), interpolation=cv2.INTER_AREA)
    both = np.zeros((512, 768, 3), np.uint8)
    both[:256, :256], both[:, 256:] = small, portrait
    box = load_detector("cascade")(both)
    assert box is not None
    assert box == pytest.approx(np.add(FACE, (256, 0, 256, 0)), abs=20)


def on_a_wide_canvas(portrait: np.ndarray, share: float) -> np.ndarray:
    """Paste the portrait so that its face takes a share of the longer side."""
    side = round(512 * share * 1920 / 97)
    small = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA)
    canvas = np.full((1080, 1920, 3), 128, np.uint8)
    canvas[300 : 300 + side, 700 : 700 + side] = small[: 1080 - 300, : 1920 - 700]
    return canvas


def test_faces_down_to_a_twelfth_of_the_longer_side_are_found(portrait: np.ndarray) -> None:
    detect = load_detector("cascade")
    for share in (0.15, 0.12, 0.1):
        box = detect(on_a_wide_canvas(portrait, share))
        assert box is not None
        place = np.add(np.array(FACE) * share * 1920 / 97, (700, 300, 700, 300))
        assert box == pytest.approx(place, abs=0.3 * share * 1920)
    assert detect(on_a_wide_canvas(portrait, 0.05)) is None


def test_a_face_that_fills_the_picture_is_found(portrait: np.ndarray) -> None:
    box = load_detector("cascade")(np.ascontiguousarray(portrait[58:170, 168:280]))
    assert box is not None
    assert box == pytest.approx((7, 7, 104, 104), abs=16)


def test_a_tilted_head_is_found_and_a_picture_on_its_side_is_not(portrait: np.ndarray) -> None:
    """How a dataset's frames are turned is its adapter's to tell, or the file's rotation tag."""
    detect = load_detector("cascade")
    for degrees in (-10, 10):
        turn = cv2.getRotationMatrix2D((223, 113), degrees, 1)
        tilted = cv2.warpAffine(portrait, turn, (512, 512), borderMode=cv2.BORDER_REPLICATE)
        assert detect(tilted) == pytest.approx(FACE, abs=25)
    for quarters in (1, 3):
        assert detect(np.ascontiguousarray(np.rot90(portrait, quarters))) is None


@pytest.mark.parametrize("name", ["coffee", "chelsea", "rocket", "brick", "coins"])
def test_photographs_without_a_face_show_none(name: str, portrait: np.ndarray) -> None:
    from skimage import data

    picture = getattr(data, name)()
    rgb = picture if picture.ndim == 3 else picture[..., None].repeat(3, 2)
    assert load_detector("cascade")(np.ascontiguousarray(rgb)) is None


def test_the_cascade_finds_nothing_in_noise() -> None:
    detect = load_detector("cascade")
    rng = np.random.default_rng(0)
    for smoothing in (0, 2, 5):
        noise = rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
        assert detect(cv2.GaussianBlur(noise, (0, 0), smoothing) if smoothing else noise) is None


def test_detection_runs_in_one_thread_and_repeats(portrait: np.ndarray) -> None:
    detect = load_detector("cascade")
    assert cv2.getNumThreads() == 1
    assert detect(portrait) == detect(portrait.copy())


def test_a_detector_may_be_left_out(portrait: np.ndarray) -> None:
    assert load_detector("none")(portrait) is None


def test_unknown_detectors_and_absent_files_are_refused() -> None:
    with pytest.raises(ValueError, match="must be cascade, yunet or none, but is 'dlib'"):
        load_detector("dlib")
    with pytest.raises(ValueError, match="must name YuNet's ONNX file, but is None"):
        load_detector("yunet")


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "yunet.onnx").write_bytes(b"no network")
    with pytest.raises(ConfigError, match="must hold YuNet as ONNX") as caught:
        load_detector("yunet", tmp_path / "yunet.onnx")
    assert caught.value.where == str(tmp_path / "yunet.onnx")


# A network of YuNet's form, written by hand: a "face" is a cell that is red all over. Its box is
# twice as wide and high as the cell. Only the few fields of ONNX that OpenCV reads are set.


def field(number: int, value: int | bytes) -> bytes:
    """Encode one protobuf field."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def tensor(name: str, values: np.ndarray) -> bytes:
    dims = b"".join(field(1, size) for size in values.shape)
    return dims + field(2, 1) + field(8, name.encode()) + field(9, values.astype("<f4").tobytes())


def node(kind: str, inputs: list[str], output: str, ints: dict[str, list[int]]) -> bytes:
    body = b"".join(field(1, name.encode()) for name in inputs)
    body += field(2, output.encode()) + field(3, output.encode()) + field(4, kind.encode())
    for name, values in ints.items():
        attribute = field(1, name.encode()) + b"".join(field(8, v) for v in values)
        body += field(5, attribute + field(20, 7))
    return field(1, body)


def value_info(name: str, shape: list[int]) -> bytes:
    dims = b"".join(field(1, field(1, size)) for size in shape)
    return field(1, name.encode()) + field(2, field(1, field(1, 1) + field(2, dims)))


def write_network(path: Path) -> Path:
    nodes, tensors, outputs = b"", b"", b""
    for stride in (8, 16, 32):
        red = np.zeros((1, 3, stride, stride))
        red[:, 2] = 1 / (255 * stride**2)  # the third of blue, green, red
        heads = {
            "cls": (red, np.zeros(1)),
            "obj": (red, np.zeros(1)),
            "bbox": (np.zeros((4, *red.shape[1:])), np.array([0.5, 0.5, np.log(2), np.log(2)])),
            "kps": (np.zeros((10, *red.shape[1:])), np.zeros(10)),
        }
        for head, (weight, bias) in heads.items():
            name = f"{head}_{stride}"
            tensors += field(5, tensor(f"{name}.w", weight)) + field(5, tensor(f"{name}.b", bias))
            window = {"kernel_shape": [stride, stride], "strides": [stride, stride]}
            nodes += node("Conv", ["input", f"{name}.w", f"{name}.b"], f"{name}.map", window)
            nodes += node("Transpose", [f"{name}.map"], name, {"perm": [0, 2, 3, 1]})
            outputs += field(12, value_info(name, [1, 1, 1, len(bias)]))
    graph = nodes + field(2, b"g") + tensors + field(11, value_info("input", [1, 3, 320, 384]))
    path.write_bytes(field(1, 6) + field(8, field(2, 11)) + field(7, graph + outputs))
    return path


@pytest.mark.parametrize(("scale", "tolerance"), [(1, 0.1), (2, 12)])
def test_yunet_gives_the_largest_box_at_the_pictures_own_scale(
    tmp_path: Path, scale: int, tolerance: float
) -> None:
    """The larger picture is scaled down for detection, so its cells lie elsewhere."""
    detect = load_detector("yunet", write_network(tmp_path / "yunet.onnx"))
    picture = np.zeros((320 * scale, 384 * scale, 3), np.uint8)
    picture[128 * scale : 160 * scale, 256 * scale : 288 * scale, 0] = 255  # red
    picture[32 * scale : 96 * scale, 32 * scale : 96 * scale, 2] = 255  # blue, no face
    box = detect(picture)
    assert box is not None
    assert np.array(box) / scale == pytest.approx([240, 112, 304, 176], abs=tolerance)
    assert detect(np.zeros_like(picture)) is None
