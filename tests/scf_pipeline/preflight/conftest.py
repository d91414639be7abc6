"""A flow that wants two datasets and two models, and folders that look like them from afar."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from scf_pipeline.steps import OnSite, Wanted

COMMIT = "59a1ef6c1e5117b3f65523d1c6066825bcf315e3"


@pytest.fixture
def flow() -> OnSite:
    """It makes nothing."""
    return OnSite(
        datasets=("msu_mfsd", "replay_attack"),
        models={
            "captioner": Wanted(published="owner/blip2", terms="MIT"),
            "tower_large": Wanted(published="owner/clip", kind="clip", side=224, terms="MIT"),
        },
        make=lambda _: (),
    )


@pytest.fixture
def write_model(tmp_path: Path):
    """A function that writes what a checkpoint looks like from afar."""

    def write(name: str, kind: str, **settings: object) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model_type": kind, **settings}))
        half = {"one": np.ones((4, 5), np.float16)}
        save_file(half, folder / "model-00001-of-00002.safetensors")
        save_file({"two": np.ones(7, np.float32)}, folder / "model-00002-of-00002.safetensors")
        return folder

    return write


@pytest.fixture
def replay(tmp_path: Path) -> Path:
    """Replay-Attack with three of its samples; adapters never decode."""
    root = tmp_path / "replay"
    for name in (
        "train/real/client001_session01_webcam_authenticate_adverse_1.mov",
        "test/attack/hand/attack_print_client009_session01_highdef_photo_adverse.mov",
        "devel/attack/fixed/attack_highdef_client005_session01_highdef_video_controlled.mov",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root
