import json
import subprocess
import sys
import threading
from collections import Counter
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from upath import UPath

from ifas_model.vocabulary import Label
from scf_pipeline import captioners
from scf_pipeline.captioners import Backend, Caption, Model
from scf_pipeline.captioners._pictures import encode_png
from scf_pipeline.engine import Resources
from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.errors import StageError
from scf_pipeline.schema import CAPTION_SCHEMA, FACE_SCHEMA
from scf_pipeline.settings import Settings, settings
from scf_pipeline.stages import caption
from scf_pipeline.stages.caption import CaptionConfig, caption_faces, seed_of
from scf_pipeline.store import Artifact, ArtifactWriter
from scf_pipeline.verify import verify

MODEL = Model(backend="fake", location="nowhere", revision="r1")


class FakeCaptioner:
    """Says a picture's red level and the seed; stammers where it is told to."""

    def __init__(self, *, stammers=(), stammers_twice=()):
        self.stammers, self.stammers_twice = set(stammers), set(stammers_twice)
        self.calls = []

    def prepare(self, picture):
        return picture

    def caption(self, pictures, seeds, *, insist=False):
        self.calls.append((len(pictures), insist))
        reds = [int(picture[0, 0, 0]) for picture in pictures]
        return [
            Caption(
                text=self._say(red, seed, insist), num_tokens=red, mean_log_probability=-red / 10
            )
            for red, seed in zip(reds, seeds, strict=True)
        ]

    def _say(self, red, seed, insist):
        if red in (self.stammers_twice if insist else self.stammers | self.stammers_twice):
            return "" if red % 2 else "a man and a man and a man and a man"
        return f"red {red} of seed {seed}" + (" at last" if insist else "")


class CrampedCaptioner(FakeCaptioner):
    """Has memory for so many pictures at a time."""

    def __init__(self, fits, **stammers):
        super().__init__(**stammers)
        self.fits = fits

    def caption(self, pictures, seeds, *, insist=False):
        captions = super().caption(pictures, seeds, insist=insist)
        if len(pictures) > self.fits:
            raise MemoryError("no more")
        return captions


def face(number, label=Label.ATTACK, dataset="siw", reject=None):
    attack = label is Label.ATTACK
    pixels = np.full((4, 4, 3), number, dtype=np.uint8)
    return {
        "face_id": f"{dataset}/{number}#0",
        "sample_id": f"{dataset}/{number}",
        "dataset": dataset,
        "split": "train",
        "subject_id": None,
        "label": label.value,
        "pai_species": "print" if attack else None,
        "fine_type": "print_flat" if attack else None,
        "native_label": "x",
        "frame": 0,
        "box": [0, 0, 4, 4],
        "box_source": "whole_frame",
        "image": None if reject else encode_png(pixels),
        "sha256": None if reject else "0" * 64,
        "reject": reject,
    }


def table(rows):
    return pa.Table.from_pylist(rows, schema=FACE_SCHEMA)


ROWS = [face(n, Label.ATTACK if n % 3 else Label.BONA_FIDE) for n in range(10)]


def kernel(captioner, rows=None, **config):
    return caption_faces(
        table(ROWS if rows is None else rows),
        captioner=captioner,
        name=MODEL.name,
        config=CaptionConfig(**config),
    )


def test_every_face_gets_the_caption_of_its_own_pixels_and_seed():
    out = kernel(FakeCaptioner(), batch_size=3).to_pylist()
    assert [row["face_id"] for row in out] == [row["face_id"] for row in ROWS]
    assert [row["caption"] for row in out] == [
        f"red {n} of seed {seed_of(f'siw/{n}#0')}" for n in range(10)
    ]
    assert [row["num_tokens"] for row in out] == list(range(10))
    assert {row["captioner"] for row in out} == {"fake@r1"}
    assert {row["reject"] for row in out} == {None}


def test_batches_follow_the_part_and_the_last_may_be_smaller():
    captioner = FakeCaptioner()
    kernel(captioner, batch_size=4)
    assert captioner.calls == [(4, False), (4, False), (2, False)]


class Watched(FakeCaptioner):
    """Captions a batch only once a picture of the next one is being prepared on another thread."""

    def __init__(self):
        super().__init__()
        self.prepared, self.threads = 0, set()
        self.ahead = threading.Condition()

    def prepare(self, picture):
        with self.ahead:
            self.prepared += 1
            self.threads.add(threading.current_thread())
            self.ahead.notify_all()
        return picture[:1, :1]

    def caption(self, pictures, seeds, *, insist=False):
        assert {picture.shape for picture in pictures} == {(1, 1, 3)}
        done = sum(size for size, _ in self.calls) + len(pictures)
        with self.ahead:
            assert self.ahead.wait_for(lambda: self.prepared > min(done, 9), timeout=60)
        return super().caption(pictures, seeds, insist=insist)


def test_the_next_batch_is_prepared_while_one_is_captioned():
    captioner = Watched()
    kernel(captioner, batch_size=3)
    assert captioner.prepared == 10
    assert threading.main_thread() not in captioner.threads


def test_only_the_label_that_was_asked_for_is_captioned():
    out = kernel(FakeCaptioner(), label=Label.BONA_FIDE).to_pylist()
    assert [row["num_tokens"] for row in out] == [0, 3, 6, 9]
    assert {row["label"] for row in out} == {"bona_fide"}


def test_a_degenerate_caption_is_retried_once_and_its_neighbours_are_not():
    captioner = FakeCaptioner(stammers=[1, 2])
    out = kernel(captioner, batch_size=5).to_pylist()
    assert captioner.calls == [(5, False), (2, True), (5, False)]
    assert [row["num_tokens"] for row in out if row["caption"].endswith("at last")] == [1, 2]
    assert {row["reject"] for row in out} == {None}


def test_a_caption_that_stays_degenerate_is_rejected_and_its_text_is_kept():
    out = kernel(FakeCaptioner(stammers_twice=[3, 4])).to_pylist()
    rejected = {row["num_tokens"]: row["caption"] for row in out if row["reject"] == "degenerate"}
    assert rejected == {3: "", 4: "a man and a man and a man and a man"}


def test_a_batch_that_does_not_fit_is_halved_and_the_rest_of_the_part_with_it():
    captioner = CrampedCaptioner(3)
    out = kernel(captioner, batch_size=8)
    assert [size for size, _ in captioner.calls] == [8, 4, 2, 2, 2, 2, 2]
    assert out.equals(kernel(FakeCaptioner(), batch_size=8))
    assert json.loads(out.schema.metadata[caption.HALVED.encode()]) == [4, 2]


def test_a_second_try_that_does_not_fit_is_halved_as_well():
    class Cramped(FakeCaptioner):
        def caption(self, pictures, seeds, *, insist=False):
            if insist and len(pictures) > 2:
                raise MemoryError
            return super().caption(pictures, seeds, insist=insist)

    stammers = [1, 2, 4, 5, 7]
    captioner = Cramped(stammers=stammers)
    out = kernel(captioner, batch_size=10)
    assert captioner.calls == [(10, False), (2, True), (2, True), (1, True)]
    assert out.equals(kernel(FakeCaptioner(stammers=stammers), batch_size=10))


def test_a_picture_without_memory_while_others_are_captioned_is_prepared_when_they_are_done():
    class Cramped(FakeCaptioner):
        tries = 0

        def prepare(self, picture):
            self.tries += picture[0, 0, 0] == 4
            if picture[0, 0, 0] == 4 and self.tries == 1:
                raise MemoryError
            return super().prepare(picture)

    captioner = Cramped()
    out = kernel(captioner, batch_size=3)
    assert captioner.tries == 2
    assert out.equals(kernel(FakeCaptioner(), batch_size=3))


def test_what_fits_says_nothing_of_memory():
    assert kernel(CrampedCaptioner(8), batch_size=8).schema.metadata is None


def test_a_picture_that_does_not_fit_alone_ends_the_stage():
    with pytest.raises(StageError, match="one picture at a time, but does not: no more") as caught:
        kernel(CrampedCaptioner(0), batch_size=4)
    assert caught.value.where == "fake@r1"
    assert "Take a worker with more memory" in caught.value.fix


def test_a_part_without_wanted_faces_gives_an_empty_part():
    out = kernel(FakeCaptioner(), rows=[])
    assert (out.num_rows, out.schema) == (0, CAPTION_SCHEMA)


def test_a_seed_has_64_bits_and_depends_on_the_name_alone():
    seeds = [seed_of(f"siw/{n}#0") for n in range(1000)]
    assert seeds == [seed_of(f"siw/{n}#0") for n in range(1000)]
    assert len(set(seeds)) == 1000
    assert 2**63 < max(seeds) < 2**64


@pytest.fixture
def faces(tmp_path):
    """Two parts of two datasets, one row rejected by crop."""
    writer = ArtifactWriter(tmp_path / "faces", FACE_SCHEMA, settings=Settings("crop", 1, {}, {}))
    writer.write(0, table([*ROWS, face(99, reject="unreadable")]))
    writer.write(1, table([face(n, dataset="wmca") for n in range(4)]))
    return writer.seal()


@pytest.fixture
def speaker(monkeypatch):
    """Makes the registry answer with a fake backend, and counts what it loads."""
    captioner = FakeCaptioner(stammers_twice=[4])
    backend = Backend(
        title="",
        prompt="",
        resolve=lambda _text: MODEL,
        describe=lambda _model: {"prompt": "as told"},
        load=lambda _model: captioner,
    )

    def load(package, attribute, name):
        assert (package, attribute, name) == (captioners, "BACKEND", "fake")
        return backend

    monkeypatch.setattr("scf_pipeline.stages.caption.plugins.load", load)
    return captioner


def run(faces, out, **config):
    return caption.run(
        CaptionConfig(**config),
        faces=faces,
        model=MODEL,
        out=out,
        engine=LocalEngine(),
        resources=Resources(cpus=1),
    )


def test_counts_balance_by_dataset(faces, speaker, tmp_path):
    done = run(faces, tmp_path / "out", label=Label.ATTACK)
    siw, wmca = done.counts.datasets["siw"], done.counts.datasets["wmca"]
    assert (siw.rows_in, siw.live, siw.rejected, siw.passed_over) == (
        10,
        5,
        Counter(degenerate=1),
        4,
    )
    assert (wmca.rows_in, wmca.live, wmca.passed_over) == (4, 4, 0)


def test_parts_are_one_to_one(faces, speaker, tmp_path):
    done = run(faces, tmp_path / "out")
    assert [part.read_all().num_rows for part in done.parts()] == [10, 4]


def test_halves_are_noted_and_change_no_byte(faces, speaker, tmp_path, monkeypatch, caplog):
    whole = run(faces, tmp_path / "whole", batch_size=8)
    cramped = CrampedCaptioner(4, stammers_twice=[4])
    monkeypatch.setattr(speaker, "caption", cramped.caption)
    halved = run(faces, tmp_path / "halved", batch_size=8)
    assert halved.identity == whole.identity
    assert halved.notes == whole.notes | {caption.HALVED: {"part-00000.parquet": [4]}}
    assert "memory did not suffice for the batches of 1 parts" in caplog.text
    assert sorted(path.name for path in (tmp_path / "halved").iterdir()) == [
        "data",
        "manifest.json",
        "settings.json",
    ]
    assert verify(UPath(tmp_path / "halved")) == []


def test_what_an_interrupted_run_noted_of_memory_is_kept(faces, speaker, tmp_path, monkeypatch):
    class Interrupted(CrampedCaptioner):
        def caption(self, pictures, seeds, *, insist=False):
            if len(self.calls) == 3:
                raise KeyboardInterrupt  # in the second part
            return super().caption(pictures, seeds, insist=insist)

    with monkeypatch.context() as patch:
        patch.setattr(speaker, "caption", Interrupted(5).caption)
        with pytest.raises(KeyboardInterrupt):
            run(faces, tmp_path / "out", batch_size=10)
    assert (tmp_path / "out/remarks").is_dir()
    resumed = run(faces, tmp_path / "out", batch_size=10)
    assert resumed.notes[caption.HALVED] == {"part-00000.parquet": [5]}


def test_a_part_that_was_written_meanwhile_is_not_captioned_again(faces, speaker, tmp_path):
    class Forgetful(LocalEngine):
        """Sends every part twice, as Ray does where a worker died before it told of a part."""

        def map_parts(self, make_kernel, parts, *rest):
            return super().map_parts(make_kernel, [part for part in parts for _ in "ab"], *rest)

    caption.run(
        CaptionConfig(),
        faces=faces,
        model=MODEL,
        out=tmp_path / "out",
        engine=Forgetful(),
    )
    assert [call for call in speaker.calls if not call[1]] == [(10, False), (4, False)]


def test_an_interrupted_run_goes_on_with_the_missing_parts(faces, speaker, tmp_path):
    whole = run(faces, tmp_path / "whole")
    writer = ArtifactWriter(
        tmp_path / "out",
        CAPTION_SCHEMA,
        settings=settings(CaptionConfig(), faces=faces, model=MODEL),
    )
    writer.write(0, caption.make_kernel(CaptionConfig(), MODEL)(faces.parts()[0].read()))
    speaker.calls.clear()
    resumed = run(faces, tmp_path / "out")
    assert speaker.calls == [(4, False)]
    assert resumed.identity == whole.identity


@pytest.mark.parametrize(
    "change",
    [
        partial(settings, CaptionConfig(batch_size=65), model=MODEL),
        partial(settings, CaptionConfig(label=Label.ATTACK), model=MODEL),
        partial(settings, CaptionConfig(), model=Model(backend="fake", location="", revision="2")),
    ],
    ids=["batch_size", "label", "revision"],
)
def test_what_changes_captions_changes_the_identity(faces, change):
    plain = settings(CaptionConfig(), faces=faces, model=MODEL)
    assert change(faces=faces).fingerprint != plain.fingerprint


def test_where_the_weights_lie_does_not_change_the_identity(faces):
    moved = Model(backend="fake", location="elsewhere", revision="r1")
    plain = settings(CaptionConfig(), faces=faces, model=MODEL)
    assert settings(CaptionConfig(), faces=faces, model=moved).fingerprint == plain.fingerprint


def test_the_result_opens_as_an_artifact(faces, speaker, tmp_path):
    run(faces, tmp_path / "out")
    found = Artifact.open(tmp_path / "out")
    assert found.stage == "caption"
    assert found.read(["caption"]).num_rows == 13


def test_importing_the_stage_imports_neither_torch_nor_ray():
    code = "import sys, scf_pipeline.stages.caption; print({'torch', 'ray'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
