"""A release of any layout, with plain gradients for pictures: what layouts write is not drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from scf_pipeline.miniature.layouts import Budget, Clip, Layout, Picture, Presentation, Sensor


@dataclass(frozen=True)
class Release:
    root: Path
    presentations: list[Presentation]
    clips: dict[str, Clip]


def gradients(sensor: Sensor, num_frames: int) -> Clip:
    """Bright towards the bottom, red towards the right, so that no turn goes unseen."""
    y, x = np.mgrid[0 : sensor.height, 0 : sensor.width]
    red, green = 40 + 150 * x / sensor.width, 20 + 200 * y / sensor.height
    picture = np.stack([red, green, np.full(red.shape, 90.0)], axis=-1)
    frames: list[Picture] = [(picture + n).astype(np.uint8) for n in range(num_frames)]
    x0, y0 = sensor.width // 4, sensor.height // 5
    return Clip(
        frames=frames,
        boxes=[(x0 + n, y0 + n, x0 + n + 60, y0 + n + 80) for n in range(num_frames)],
        eyes=[((x0 + n + 18, y0 + n + 30), (x0 + n + 42, y0 + n + 31)) for n in range(num_frames)],
    )


@pytest.fixture(scope="session")
def release(tmp_path_factory) -> Callable[..., Release]:
    def build(layout: Layout, *, train: int, test: int, dev: int = 0) -> Release:
        root = tmp_path_factory.mktemp("root")
        budget = Budget(train=train, dev=dev, test=test)
        planned = layout.plan(budget, np.random.default_rng(0))
        clips: dict[str, Clip] = {}
        for presentation in planned:
            if presentation.has_media:
                clip = gradients(layout.sensors[presentation.sensor], presentation.num_frames)
                layout.write(root, presentation, clip)
                clips[presentation.media_path] = clip
        layout.finish(root, planned)
        return Release(root, planned, clips)

    return build


@pytest.fixture(scope="session")
def decode() -> Callable[[Path], tuple[list[Picture], int, str]]:
    """Read a video as stored: its frames, its rotation tag, its codec."""
    import av

    def read(path: Path) -> tuple[list[Picture], int, str]:
        with av.open(str(path)) as container:
            frames = list(container.decode(video=0))
            codec = container.streams.video[0].codec_context.name
        return [f.to_ndarray(format="rgb24") for f in frames], int(frames[0].rotation), codec

    return read


@pytest.fixture(scope="session")
def difference() -> Callable[[Picture, Picture], float]:
    """Mean absolute difference of two pictures, in grey levels."""

    def measure(a: Picture, b: Picture) -> float:
        assert a.shape == b.shape
        return float(np.abs(a.astype(float) - b.astype(float)).mean())

    return measure
