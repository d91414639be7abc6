import hashlib
import io
import pickle
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from ifas_model import plugins
from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline import adapters, sources
from scf_pipeline.adapters import Adapter, Box, Frame
from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.errors import ArtifactError, ConfigError, StageError
from scf_pipeline.media import FramePreset
from scf_pipeline.media.faces import Detector, PixelBox, load_detector
from scf_pipeline.media.frames import Picture
from scf_pipeline.schema import FACE_SCHEMA, SAMPLE_SCHEMA
from scf_pipeline.settings import Settings
from scf_pipeline.stages.crop import CropConfig, crop_samples, make_kernel, run
from scf_pipeline.store import Artifact, ArtifactWriter

CONFIG = CropConfig(image_size=32)
WIDTH, HEIGHT = 160, 120

# Samples


def row(name: str, dataset: str = "image_folder", **changes: Any) -> dict[str, Any]:
    return {
        "sample_id": f"{dataset}/{Path(name).with_suffix('').as_posix()}",
        "dataset": dataset,
        "split": Split.TRAIN.value,
        "subject_id": "007",
        "label": Label.ATTACK.value,
        "pai_species": PaiSpecies.PRINT.value,
        "fine_type": "print",
        "native_label": "print",
        "media_path": name,
        "media_bytes": 1,
    } | changes


def table(*names: str) -> pa.Table:
    return pa.Table.from_pylist([row(name) for name in names], schema=SAMPLE_SCHEMA)


def draw(seed: int = 0, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 10, width // 10, 3), np.uint8)
    return coarse.repeat(10, axis=0).repeat(10, axis=1)


def write_picture(path: Path, pixels: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw() if pixels is None else pixels).save(path)


def write_video(path: Path, count: int, *, width: int = WIDTH, height: int = HEIGHT) -> None:
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(draw(number, width, height), format="rgb24")
            target.mux(stream.encode(frame))
        target.mux(stream.encode())


def write_samples(
    folder: Path, root: Path | None, *parts: list[str], dataset: str = "image_folder"
) -> Artifact:
    settings = Settings("ingest", 1, {}, {"names": [list(part) for part in parts]})
    writer = ArtifactWriter(folder, SAMPLE_SCHEMA, settings=settings)
    for number, names in enumerate(parts):
        rows = [row(name, dataset) for name in names]
        writer.write(number, pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA))
    roots = {} if root is None else {"roots": {dataset: str(root)}}
    return writer.seal(rows_in={dataset: sum(map(len, parts))}, notes=roots)


# One part


def fake(
    boxes: Mapping[int, Box] | None = None, *, degrees: int = 0, is_cropped: bool = False
) -> Adapter:
    """Return an adapter that ships these boxes, whatever the sample."""
    return Adapter(
        title="Fake",
        citation="",
        license="",
        obtain="",
        layout="",
        bona_fide=None,
        attack=None,
        scan=lambda *_: iter(()),
        boxes=lambda *_: boxes or {},
        rotation=lambda *_: degrees,
        is_cropped=is_cropped,
    )


def finds(box: PixelBox | None) -> Detector:
    return lambda *_: box


def crop(
    root: Path,
    *names: str,
    adapter: Adapter | None = None,
    found: PixelBox | None = None,
    config: CropConfig = CONFIG,
) -> list[dict[str, Any]]:
    faces = crop_samples(
        table(*names),
        config=config,
        roots={"image_folder": root},
        known={"image_folder": adapter or fake()},
        detect=finds(found),
    )
    assert faces.schema == FACE_SCHEMA
    return faces.to_pylist()


def pixels(face: Mapping[str, Any]) -> np.ndarray:
    with Image.open(io.BytesIO(face["image"])) as image:
        return np.asarray(image)


BOX = PixelBox(50, 40, 90, 80)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    write_picture(tmp_path / "print/a.png")
    return tmp_path


def test_a_face_carries_its_sample_its_frame_and_its_hash(picture: Path) -> None:
    (face,) = crop(picture, "print/a.png", found=BOX)
    assert face["face_id"] == "image_folder/print/a#0"
    assert face["frame"] == 0
    same = ("dataset", "split", "subject_id", "label", "pai_species", "fine_type", "native_label")
    sample = row("print/a.png")
    assert {name: face[name] for name in same} == {name: sample[name] for name in same}
    assert face["sha256"] == hashlib.sha256(face["image"]).hexdigest()
    assert face["reject"] is None


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/.\0"), min_size=1)


@given(
    st.lists(NAMES.map("print/{}.png".format), unique=True, max_size=4),
    st.lists(st.integers(0, 2**31 - 1), unique=True, max_size=4).map(sorted),
)
def test_a_faces_id_is_its_own_and_leads_back_to_its_sample(names, numbers) -> None:
    frames = [Picture(number, draw(0, 10, 10)) for number in numbers]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "read_frames", lambda *_, **__: iter(frames))
        faces = crop(Path("nowhere"), *names)
    assert len({face["face_id"] for face in faces}) == len(faces) == len(names) * len(frames)
    for face in faces:
        sample_id, _, number = face["face_id"].rpartition("#")
        assert (sample_id, int(number)) == (face["sample_id"], face["frame"])


def test_a_crop_is_the_square_of_the_source_without_loss(picture: Path) -> None:
    (face,) = crop(picture, "print/a.png", found=BOX, config=CropConfig(image_size=64, scale=1.6))
    np.testing.assert_array_equal(pixels(face), draw()[28:92, 38:102])


def test_the_datasets_own_box_comes_before_the_detectors(picture: Path) -> None:
    (face,) = crop(picture, "print/a.png", adapter=fake({0: Box(10.4, 20, 30, 40)}), found=BOX)
    assert face["box_source"] == "sidecar"
    assert face["box"] == [10, 20, 30, 40]


def test_of_two_faces_the_annotated_one_counts_and_without_a_note_the_largest(
    tmp_path: Path,
) -> None:
    data = pytest.importorskip("skimage.data", reason="scikit-image ships the portrait")
    portrait = data.astronaut()
    both = np.full((512, 768, 3), 128, np.uint8)
    both[:256, :256] = portrait[::2, ::2]
    both[:, 256:] = portrait
    write_picture(tmp_path / "print/a.png", both)
    small, large = (88, 32, 136, 81), (431, 65, 528, 162)
    detect = load_detector("cascade")
    for boxes, source, expected in (({0: Box(*small)}, "sidecar", small), ({}, "detector", large)):
        (face,) = crop_samples(
            table("print/a.png"),
            config=CONFIG,
            roots={"image_folder": tmp_path},
            known={"image_folder": fake(boxes)},
            detect=detect,
        ).to_pylist()
        assert face["box_source"] == source
        assert face["box"] == pytest.approx(expected, abs=20)


@pytest.mark.parametrize(
    "box",
    [Box(0, 0, 0, 0), Box(30, 30, 20, 40), Box(500, 500, 600, 600), Box(140, 100, 200, 200)],
)
def test_a_box_of_no_use_gives_way_to_the_detector(picture: Path, box: Box) -> None:
    (face,) = crop(picture, "print/a.png", adapter=fake({0: box}), found=BOX)
    assert (face["box_source"], face["box"]) == ("detector", list(BOX))


def test_where_nobody_finds_a_face_the_whole_frame_is_taken(picture: Path) -> None:
    (face,) = crop(picture, "print/a.png")
    assert (face["box_source"], face["box"]) == ("whole_frame", [0, 0, WIDTH, HEIGHT])
    assert face["reject"] is None
    assert pixels(face).shape == (32, 32, 3)


def test_face_crops_of_a_dataset_are_taken_whole_and_not_searched(picture: Path) -> None:
    (face,) = crop(picture, "print/a.png", adapter=fake(is_cropped=True), found=BOX)
    assert (face["box_source"], face["box"]) == ("cropped", [0, 0, WIDTH, HEIGHT])


def test_a_frame_takes_the_nearest_box_of_at_most_five_frames_away(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 30)  # flip2 takes frames 6 and 21
    boxes = {1: Box(0, 0, 20, 20), 8: Box(0, 0, 0, 0), 9: Box(10, 10, 30, 30)}
    first, second = crop(tmp_path, "a.mp4", adapter=fake(boxes | {27: Box(5, 5, 40, 40)}))
    assert (first["face_id"], second["face_id"]) == ("image_folder/a#6", "image_folder/a#21")
    assert (first["box_source"], first["box"]) == ("sidecar", [10, 10, 30, 30])
    assert second["box_source"] == "whole_frame"
    _, second = crop(tmp_path, "a.mp4", adapter=fake({26: Box(5, 5, 40, 40)}))
    assert (second["box_source"], second["box"]) == ("sidecar", [5, 5, 40, 40])


def test_of_two_boxes_as_near_the_earlier_counts(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 7)
    boxes = {8: Box(0, 0, 20, 20), 4: Box(10, 10, 30, 30)}
    (face,) = crop(tmp_path, "a.mp4", adapter=fake(boxes))
    assert face["box"] == [10, 10, 30, 30]


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_frames_are_turned_counter_clockwise_before_boxes_are_read(
    picture: Path, degrees: int
) -> None:
    asked: list[Frame] = []

    def boxes(root: Path, media_path: str, frame: Frame) -> Mapping[int, Box]:
        asked.append(frame)
        return {0: Box(0, 0, 32, 32)}

    plain = fake(degrees=degrees)
    adapter = Adapter(**{name: getattr(plain, name) for name in plain.__slots__} | {"boxes": boxes})
    config = CropConfig(image_size=32, scale=1)
    (face,) = crop(picture, "print/a.png", adapter=adapter, config=config)
    turned = np.rot90(draw(), degrees // 90)
    assert asked == [Frame(turned.shape[1], turned.shape[0])]
    np.testing.assert_array_equal(pixels(face), turned[:32, :32])


def test_boxes_are_read_once_for_a_sample(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 12)
    calls: list[str] = []

    def boxes(root: Path, media_path: str, frame: Frame) -> Mapping[int, Box]:
        calls.append(media_path)
        return {}

    plain = fake()
    adapter = Adapter(**{name: getattr(plain, name) for name in plain.__slots__} | {"boxes": boxes})
    config = CropConfig(frames=FramePreset.ALL, image_size=16)
    assert len(crop(tmp_path, "a.mp4", adapter=adapter, config=config)) == 12
    assert calls == ["a.mp4"]


def test_a_sample_that_cannot_be_read_stays_as_one_row(picture: Path) -> None:
    (picture / "print/words.png").write_text("no picture")
    (picture / "print/empty.mp4").touch()
    (picture / "print/folder").mkdir()
    names = ("print/words.png", "print/a.png", "print/gone.png", "print/empty.mp4", "print/folder")
    faces = crop(picture, *names)
    assert [face["reject"] for face in faces] == [
        "unreadable",
        None,
        "missing",
        "unreadable",
        "no_frame",
    ]
    for name, face in zip(names, faces, strict=True):
        assert face["face_id"] == f"{row(name)['sample_id']}#0"
        assert face["frame"] == 0
        if face["reject"]:
            assert {face[c] for c in ("image", "sha256", "box_source")} == {None}
            assert face["box"] is None
            assert face["label"] == "attack"


@pytest.mark.parametrize(
    "place", ["../private/a.png", "{}/private/a.png", "print/../../private/a.png"]
)
def test_samples_from_elsewhere_do_not_lead_out_of_the_root(tmp_path: Path, place: str) -> None:
    write_picture(tmp_path / "private/a.png")
    write_picture(tmp_path / "root/print/a.png")
    name = place.format(tmp_path)
    faces = crop(tmp_path / "root", name, "print/a.png")
    assert [face["reject"] for face in faces] == ["unreadable", None]
    assert faces[0]["image"] is None


def test_a_name_that_no_disk_can_hold_is_a_rejected_row(picture: Path) -> None:
    faces = crop(picture, "a" * 5_000 + ".png", "print/" * 2_000 + "a.png")
    assert {face["reject"] for face in faces} <= {"missing", "unreadable"}


def test_a_video_that_fails_after_good_frames_leaves_one_rejected_row(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "a.avi"), "w") as target:
        stream = target.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        for number, factor in enumerate([1, 1, 2]):  # the last frame is beyond the limit
            jpeg = io.BytesIO()
            Image.fromarray(draw(0, factor * WIDTH, factor * HEIGHT)).save(jpeg, "JPEG")
            packet = av.Packet(jpeg.getvalue())
            packet.stream, packet.pts, packet.dts = stream, number, number
            target.mux(packet)
    config = CropConfig(frames=FramePreset.ALL, image_size=16)
    assert len(crop(tmp_path, "a.avi", config=config)) == 3
    config = CropConfig(frames=FramePreset.ALL, pixel_limit=WIDTH * HEIGHT)
    (face,) = crop(tmp_path, "a.avi", config=config)
    assert (face["face_id"], face["reject"]) == ("image_folder/a#0", "unreadable")


def test_the_pixel_limit_is_the_configs(picture: Path) -> None:
    config = CropConfig(pixel_limit=WIDTH * HEIGHT - 1)
    (face,) = crop(picture, "print/a.png", config=config)
    assert face["reject"] == "unreadable"


def test_an_empty_part_gives_an_empty_part(tmp_path: Path) -> None:
    assert crop(tmp_path) == []


# The stage


@pytest.fixture
def samples(tmp_path: Path) -> Artifact:
    """Two parts: pictures, and a video of 20 frames."""
    root = tmp_path / "root"
    for number in range(3):
        write_picture(root / f"print/{number}.png", draw(number))
    write_video(root / "print/clip.mp4", 20)
    names = [f"print/{number}.png" for number in range(3)]
    return write_samples(tmp_path / "samples", root, names, ["print/clip.mp4"])


def test_the_stage_counts_samples_in_and_faces_out(samples: Artifact, tmp_path: Path) -> None:
    faces = run(CONFIG, samples=samples, out=tmp_path / "faces", engine=LocalEngine())
    assert [part.read().num_rows for part in faces.parts()] == [3, 2]
    assert faces.counts.live == 5
    assert faces.counts.inputs is not None
    assert faces.counts.inputs.live == 4
    assert faces.read(["face_id"])["face_id"].to_pylist() == [
        "image_folder/print/0#0",
        "image_folder/print/1#0",
        "image_folder/print/2#0",
        "image_folder/print/clip#6",
        "image_folder/print/clip#16",
    ]


def test_the_same_samples_give_the_same_bytes(samples: Artifact, tmp_path: Path) -> None:
    first = run(CONFIG, samples=samples, out=tmp_path / "a", engine=LocalEngine())
    second = run(CONFIG, samples=samples, out=tmp_path / "b", engine=LocalEngine())
    assert first.identity == second.identity


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray's own, of its own settings
def test_ray_and_local_write_the_same_bytes(samples: Artifact, tmp_path: Path) -> None:
    from scf_pipeline.engine.ray import RayEngine

    local = run(CONFIG, samples=samples, out=tmp_path / "local", engine=LocalEngine())
    ray = run(CONFIG, samples=samples, out=tmp_path / "ray", engine=RayEngine(workers=2))
    for a, b in zip(local.parts(), ray.parts(), strict=True):
        assert a.path.read_bytes() == b.path.read_bytes()


def test_parts_of_an_interrupted_run_are_kept(samples: Artifact, tmp_path: Path) -> None:
    whole = run(CONFIG, samples=samples, out=tmp_path / "faces", engine=LocalEngine())
    kept = tmp_path / "faces/data/part-00000.parquet"
    before = kept.stat().st_mtime_ns
    (tmp_path / "faces/manifest.json").unlink()
    (tmp_path / "faces/data/part-00001.parquet").unlink()
    again = run(CONFIG, samples=samples, out=tmp_path / "faces", engine=LocalEngine())
    assert kept.stat().st_mtime_ns == before
    assert again.identity == whole.identity


def write_damaged(tmp_path: Path, bad: int, good: int) -> Artifact:
    root = tmp_path / "root"
    for number in range(good):
        write_picture(root / f"good/{number}.png")
    names = [f"bad/{number}.png" for number in range(bad)]
    return write_samples(
        tmp_path / "samples", root, names, [f"good/{number}.png" for number in range(good)]
    )


def test_failures_up_to_the_limit_are_counted_by_reason(tmp_path: Path) -> None:
    samples = write_damaged(tmp_path, bad=1, good=3)
    config = CropConfig(image_size=16, max_reject_fraction=0.25)
    faces = run(config, samples=samples, out=tmp_path / "faces", engine=LocalEngine())
    assert faces.counts.live == 3
    assert dict(faces.counts.rejected) == {"missing": 1}


def test_more_failures_stop_the_stage_and_the_first_five_are_named(tmp_path: Path) -> None:
    samples = write_damaged(tmp_path, bad=7, good=2)
    with pytest.raises(StageError) as caught:
        run(CONFIG, samples=samples, out=tmp_path / "faces", engine=LocalEngine())
    words = "Failures must be at most 1.00% of the samples, but are 7 of 9: image_folder/bad/0"
    assert caught.value.what.startswith(words)
    for number in range(5):
        assert f"image_folder/bad/{number} (missing)" in caught.value.what
    assert "bad/5" not in caught.value.what
    with pytest.raises(ArtifactError, match="did not finish"):
        Artifact.open(tmp_path / "faces")


def test_after_a_repair_the_parts_that_failed_are_done_anew(tmp_path: Path) -> None:
    samples = write_damaged(tmp_path, bad=1, good=1)
    out = tmp_path / "faces"
    with pytest.raises(StageError):
        run(CONFIG, samples=samples, out=out, engine=LocalEngine())
    assert [file.name for file in (out / "data").iterdir()] == ["part-00001.parquet"]
    write_picture(tmp_path / "root/bad/0.png")
    faces = run(CONFIG, samples=samples, out=out, engine=LocalEngine())
    assert faces.counts.live == 2


def test_samples_that_do_not_say_where_they_lie_are_refused(tmp_path: Path) -> None:
    samples = write_samples(tmp_path / "samples", None, ["a.png"])
    with pytest.raises(ArtifactError, match="must note the root of 'image_folder'"):
        run(CONFIG, samples=samples, out=tmp_path / "faces", engine=LocalEngine())
    assert not (tmp_path / "faces").exists()


def test_a_root_that_is_gone_is_named(tmp_path: Path) -> None:
    samples = write_samples(tmp_path / "samples", tmp_path / "unmounted", ["a.png"])
    with pytest.raises(StageError, match="must be a folder, but is not there") as caught:
        run(CONFIG, samples=samples, out=tmp_path / "faces", engine=LocalEngine())
    assert caught.value.where == str(tmp_path / "unmounted")


def test_a_dataset_without_an_adapter_is_named(tmp_path: Path) -> None:
    samples = write_samples(tmp_path / "samples", tmp_path, ["a.png"], dataset="unheard_of")
    with pytest.raises(ArtifactError, match="that an adapter reads, but are of 'unheard_of'"):
        run(CONFIG, samples=samples, out=tmp_path / "faces", engine=LocalEngine())


def test_roots_are_no_part_of_the_identity(tmp_path: Path) -> None:
    results = []
    for place in ("here", "there"):
        root = tmp_path / place / "root"
        write_picture(root / "print/a.png")
        samples = write_samples(tmp_path / place / "samples", root, ["print/a.png"])
        out = tmp_path / place / "faces"
        results.append(run(CONFIG, samples=samples, out=out, engine=LocalEngine()))
    assert results[0].identity == results[1].identity
    settings = (tmp_path / "here/faces/settings.json").read_text()
    assert str(tmp_path) not in settings


def test_the_kernel_travels_to_a_worker(picture: Path) -> None:
    known = {"image_folder": plugins.load(adapters, "ADAPTER", "image_folder")}
    make = partial(make_kernel, CONFIG, {"image_folder": picture}, known)
    kernel = pickle.loads(pickle.dumps(make))()
    assert kernel(table("print/a.png")).num_rows == 1


def test_the_detector_that_the_config_names_is_used(tmp_path: Path) -> None:
    data = pytest.importorskip("skimage.data", reason="scikit-image ships the portrait")
    write_picture(tmp_path / "root/bona_fide/a.png", data.astronaut())
    samples = write_samples(tmp_path / "samples", tmp_path / "root", ["bona_fide/a.png"])
    sources = []
    for detector in ("cascade", "none"):
        config = CropConfig(detector=detector)
        faces = run(config, samples=samples, out=tmp_path / detector, engine=LocalEngine()).read()
        sources += faces["box_source"].to_pylist()
        assert pixels(faces.to_pylist()[0]).shape == (224, 224, 3)
    assert sources == ["detector", "whole_frame"]


def test_a_detector_that_does_not_load_stops_the_stage(samples: Artifact, tmp_path: Path) -> None:
    (tmp_path / "yunet.onnx").write_bytes(b"no network")
    config = CropConfig(detector="yunet", detector_file=tmp_path / "yunet.onnx")
    with pytest.raises(ConfigError, match="must hold YuNet as ONNX"):
        run(config, samples=samples, out=tmp_path / "faces", engine=LocalEngine())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"detector": "yunet"}, "must be given exactly for yunet, but is None for yunet"),
        ({"detector_file": "a.onnx"}, "must be given exactly for yunet, but is a.onnx for cascade"),
        ({"frames": "flip3"}, "Input should be 'flip2', 'every5', 'all' or 'first'"),
        ({"scale": 0.9}, "greater than or equal to 1"),
        ({"scale": float("nan")}, "finite number"),
        ({"image_size": 0}, "greater than or equal to 16"),
        ({"max_reject_fraction": 1.1}, "less than or equal to 1"),
        ({"pixel_limit": 10**9}, "less than or equal to 89000000"),
        ({"margin": 2}, "Unexpected keyword argument"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        CropConfig(**settings)


def test_frames_may_be_named_in_plain_data() -> None:
    assert CropConfig(frames="every5").frames is FramePreset.EVERY5
