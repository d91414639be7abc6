"""Where samples come from: root and adapter of each dataset, and the frames of its media."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ifas_model import plugins
from scf_pipeline import adapters
from scf_pipeline.adapters import Adapter
from scf_pipeline.errors import ArtifactError, StageError
from scf_pipeline.media import FramePreset, MediaError, Picture, read_frames
from scf_pipeline.schema import Reject, is_below
from scf_pipeline.store import Artifact


def find_sources(samples: Artifact) -> tuple[dict[str, Path], dict[str, Adapter]]:
    """Return root and adapter of each dataset.

    Raises:
        ArtifactError: If the samples do not tell a root, or are of a dataset without an adapter.
        StageError: If a root is gone.
    """
    names = sorted(samples.counts.datasets)
    roots = {name: _root(samples, name) for name in names}
    return roots, {name: _adapter(samples, name) for name in names}


def read_upright(
    media_path: str, root: Path, adapter: Adapter, frames: FramePreset, pixel_limit: int
) -> Iterator[Picture]:
    """Yield the frames of one sample, turned as its rotation tag and its dataset say.

    Args:
        media_path: Of the sample, relative to its root.
        root: Folder of its dataset.
        adapter: Of its dataset.
        frames: Which of a video's frames.
        pixel_limit: Largest picture or frame that is opened, in pixels.

    Raises:
        MediaError: If it cannot be read, or lies outside of its root.
    """
    if not is_below(media_path):  # samples may come from elsewhere
        raise MediaError(
            Reject.UNREADABLE,
            f"A media file must lie below its dataset's root, but is {media_path!r}.",
        )
    quarters = adapter.rotation(media_path) // 90
    for number, stored in read_frames(root / media_path, frames, pixel_limit=pixel_limit):
        yield Picture(number, np.ascontiguousarray(np.rot90(stored, quarters)))


def _root(samples: Artifact, name: str) -> Path:
    noted = samples.notes.get("roots", {}).get(name)
    if noted is None:
        raise ArtifactError(
            f"Samples must note the root of {name!r}, but do not.",
            where=str(samples.path),
            fix="Ingest the dataset again.",
        )
    if not Path(noted).is_dir():
        raise StageError(
            f"The root of {name!r} must be a folder, but is not there.",
            where=str(noted),
            fix="Mount the dataset there, or ingest it anew from where it lies now.",
        )
    return Path(noted)


def _adapter(samples: Artifact, name: str) -> Adapter:
    try:
        adapter: Adapter = plugins.load(adapters, "ADAPTER", name)
    except KeyError as error:
        raise ArtifactError(
            f"Samples must be of datasets that an adapter reads, but are of {name!r}.",
            where=str(samples.path),
            fix=f"Add scf_pipeline/adapters/{name}.py, or ingest with this version.",
        ) from error
    return adapter
