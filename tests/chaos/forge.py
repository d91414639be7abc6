"""Artifacts that lie: changed after they were sealed, with hashes and names that agree again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import chain
import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from scf_pipeline.files import MANIFEST, SETTINGS, hash_files
from scf_pipeline.manifest import SEAL, with_seal
from scf_pipeline.settings import Settings
from scf_pipeline.store import Artifact

Change = Callable[[pa.Table], pa.Table]


def rewrite(file: Path, change: Change) -> None:
    """Write a Parquet file anew with changed rows."""
    pq.write_table(change(pq.read_table(file)), file, write_page_checksum=True)


def forge(root: Path) -> None:
    """Let every manifest list the files as they are now, and every artifact name its new inputs."""
    renamed: dict[str, str] = {}
    for name in chain.STAGES:
        folder = root / name
        before = Artifact(UPath(folder), json.loads((folder / MANIFEST).read_bytes()))
        text = (folder / MANIFEST).read_text("utf-8")
        for old, new in renamed.items():
            text = text.replace(old, new)
        manifest = json.loads(text) | {"files": hash_files(UPath(folder))}
        settings = Settings.from_dict(manifest).to_dict()
        manifest = {key: value for key, value in (manifest | settings).items() if key != SEAL}
        (folder / MANIFEST).write_text(json.dumps(with_seal(manifest)), "utf-8")
        (folder / SETTINGS).write_text(json.dumps(settings), "utf-8")
        renamed[before.name] = Artifact.open(folder).name
