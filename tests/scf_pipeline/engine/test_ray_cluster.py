"""Three nodes that are given our code: same bytes on a disk, in a store, and when a node goes.

Driver and cluster are a process of their own: Ray reads some of its settings when it is imported.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

CLUSTER = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else Ray listens on more than loopback
    "SCF_CPUS_PER_WORKER": "0.5",
    "SCF_LEAST_WORKERS": "3",
}
REPOSITORY = Path(__file__).parents[3]

DRIVER = r"""
import hashlib, json, os, sys, threading, time
from pathlib import Path
from types import SimpleNamespace

import numpy as np, pyarrow as pa, ray
from ray.cluster_utils import Cluster
from upath import UPath

root, removes = Path(sys.argv[1]), sys.argv[2] == "remove"
place = UPath(sys.argv[3])
NODE = {"num_cpus": 1, "num_gpus": 1, "node_ip_address": "127.0.0.1"}  # no card is used
head = NODE | {"num_cpus": 0, "num_gpus": 0, "include_dashboard": False,
    "_system_config": {"health_check_period_ms": 1000, "health_check_failure_threshold": 5}}

# The nodes start where nothing of ours is to be found; this process goes on as it was.
ours = os.environ.pop("PYTHONPATH")
cluster = Cluster(initialize_head=True, head_node_args=head)
nodes = [cluster.add_node(**NODE) for _ in range(3)]
os.environ["PYTHONPATH"] = ours
os.environ["RAY_ADDRESS"] = cluster.address

from scf_pipeline.captioners import Caption, Model
from scf_pipeline.captioners._pictures import encode_png
from scf_pipeline.engine import Resources, choose
from scf_pipeline.files import hash_files
from scf_pipeline.keywords import default_dictionary
from scf_pipeline.schema import FACE_SCHEMA
from scf_pipeline.settings import Settings
from scf_pipeline.stages import caption
from scf_pipeline.stages import filter as keywords
from scf_pipeline.store import ArtifactWriter


class Speaker:
    "Describes a picture by its pixels, and notes where its worker and its code lie."

    def __init__(self, notes):
        self.notes = notes

    def prepare(self, picture):
        return picture

    def caption(self, pictures, seeds, *, insist=False):
        import scf_pipeline, ifas_model

        if self.notes is not None:
            time.sleep(0.4)
            at = ray.get_runtime_context().get_node_id()
            cards = ray.get_runtime_context().get_accelerator_ids()["GPU"]
            note = [at, len(cards), scf_pipeline.__file__, ifas_model.__file__]
            (self.notes / f"{at}-{os.getpid()}").write_text(json.dumps(note))
        return [Caption(text=f"a paper of {int(p[0, 0, 0])} and {seed % 97}", num_tokens=4,
                        mean_log_probability=-1.0) for p, seed in zip(pictures, seeds)]


def load(package, attribute, name):
    return SimpleNamespace(load=lambda model: Speaker(notes), describe=lambda model: {})


def begin(make, notes):
    import sys as _sys
    from scf_pipeline.stages import caption as stage
    stage.plugins = SimpleNamespace(load=lambda *_: SimpleNamespace(
        load=lambda model: Speaker(notes), describe=lambda model: {}))
    return make()


class Listening:
    "The engine, whose workers know the captioner above."

    def __init__(self, engine):
        self.engine = engine

    def map_parts(self, make, parts, write, resources, is_stored=None):
        from functools import partial
        begun = partial(begin, make, notes)
        return self.engine.map_parts(begun, parts, write, resources, is_stored)


def write_faces():
    identity = Settings("crop", 1, {}, {})
    writer = ArtifactWriter(place / "faces", FACE_SCHEMA, settings=identity)
    for part in range(9):
        rows = []
        for n in range(4):
            name = f"siw/{part}-{n}"
            picture = np.full((16, 16, 3), 16 * part + n, np.uint8)
            png = encode_png(picture)
            rows.append({"face_id": f"{name}#0", "sample_id": name, "dataset": "siw",
                "split": "train", "subject_id": "1", "label": "attack", "pai_species": "print",
                "fine_type": "print", "native_label": "2", "frame": 0, "box": [0, 0, 16, 16],
                "box_source": "sidecar", "image": png,
                "sha256": hashlib.sha256(png).hexdigest(), "reject": None})
        writer.write(part, pa.Table.from_pylist(rows, schema=FACE_SCHEMA))
    return writer.seal(rows_in={"siw": 36})


def describe(out, engine):
    model = Model(backend="speaker", location="nowhere", revision="0")
    begin(lambda: None, None)
    told = caption.run(caption.CaptionConfig(batch_size=2), faces=faces, model=model,
                       out=out / "t_f", engine=engine, resources=Resources(gpus=0.5))
    words = keywords.FilterConfig(dictionary=default_dictionary())
    d_s = keywords.run(words, captions=told, out=out / "d_s",
                       engine=getattr(engine, "engine", engine))
    return told, d_s


def remove_one():
    end = time.monotonic() + 300
    while not (found := sorted(notes.iterdir())) and time.monotonic() < end:
        time.sleep(0.02)
    victim = found[0].name.split("-")[0]
    cluster.remove_node(next(n for n in nodes if n.node_id == victim), allow_graceful=False)
    done = len(list((root / "cluster/t_f/data").glob("part-*.parquet")))
    (root / "removed").write_text(str(done))


notes = root / "notes"
notes.mkdir()
faces = write_faces()
local = describe(UPath(root / "local"), choose(0))
ray_engine = choose(3, gpus_per_worker=0.5)
ray.cloudpickle.register_pickle_by_value(sys.modules["__main__"])
if removes:
    remover = threading.Thread(target=remove_one)
    remover.start()
made = describe(place / "cluster", Listening(ray_engine))
if removes:
    remover.join()
print(json.dumps({
    "same": [hash_files(a.path) == hash_files(b.path) for a, b in zip(local, made)],
    "rows": [a.counts.live for a in (*local, *made)],
    "notes": [json.loads(note.read_text()) for note in sorted(notes.iterdir())],
    "removed": int((root / "removed").read_text()) if removes else None,
}))
ray.shutdown()
cluster.shutdown()
"""


def caption_on_three_nodes(
    root: Path, *, removes: bool = False, place: str | None = None, **variables: str
) -> dict:
    folder = root / "elsewhere"
    folder.mkdir()
    (folder / "driver.py").write_text(DRIVER)
    bare = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [
            *(sys.executable, folder / "driver.py", root),
            *("remove" if removes else "keep", place or str(root)),
        ],
        cwd=folder,
        env=bare | CLUSTER | {"PYTHONPATH": str(REPOSITORY)} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_three_nodes_without_our_code_give_the_local_bytes(tmp_path: Path) -> None:
    told = caption_on_three_nodes(tmp_path)
    assert told["same"] == [True, True]
    assert told["rows"] == [36] * 4
    assert len({node for node, *_ in told["notes"]}) == 3  # `SCF_LEAST_WORKERS` began with three
    for _, cards, *files in told["notes"]:
        assert cards == 1  # half of one, which two workers may share
        assert all("runtime_resources" in file for file in files)  # what the driver shipped
        assert not any(file.startswith(str(REPOSITORY)) for file in files)


def test_a_node_that_goes_half_way_changes_nothing_but_time(tmp_path: Path) -> None:
    told = caption_on_three_nodes(tmp_path, removes=True)
    assert told["removed"] < 9
    assert told["same"] == [True, True]
    assert told["rows"] == [36] * 4


def test_faces_in_an_object_store_give_the_local_bytes(tmp_path: Path) -> None:
    """Pictures lie in the parts of the faces, which each node fetches by itself."""
    pytest.importorskip("s3fs", reason="fsspec needs it for S3")
    server = pytest.importorskip("moto.server", reason="moto is the object store")
    store = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    store.start()
    try:
        told = caption_on_three_nodes(
            tmp_path,
            place="s3://cluster/run",
            AWS_ENDPOINT_URL="http://{}:{}".format(*store.get_host_and_port()),
            AWS_ACCESS_KEY_ID="any",
            AWS_SECRET_ACCESS_KEY="any",  # noqa: S106 - of a server that asks for none
            AWS_DEFAULT_REGION="us-east-1",
        )
    finally:
        store.stop()
    assert told["same"] == [True, True]
    assert told["rows"] == [36] * 4
    assert len({node for node, *_ in told["notes"]}) == 3
    assert not (tmp_path / "cluster").exists()
