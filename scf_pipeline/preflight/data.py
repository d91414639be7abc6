"""The datasets of a site: whether they are there, and as many samples as were published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from ifas_model import plugins
from ifas_model.vocabulary import Label, Split
from scf_pipeline import adapters
from scf_pipeline.adapters import PICTURES, Adapter
from scf_pipeline.datasets_file import read_roots
from scf_pipeline.errors import ScfError
from scf_pipeline.preflight.findings import Finding, missing, note, of_error, ready, warning

FRAMES = 2
"""Faces of a video, as `CropConfig` takes them unless it is told otherwise."""


@dataclass(slots=True)
class Holdings:
    """What lies at a dataset's root."""

    samples: Counter[tuple[Split, Label]] = field(default_factory=Counter)
    """Samples by split and label."""

    faces: Counter[Label] = field(default_factory=Counter)
    """Faces that they give, by label."""

    def of(self, label: Label) -> int:
        """Return the number of samples of a label."""
        return sum(number for (_, one), number in self.samples.items() if one == label)


def check_datasets(
    file: Path, wanted: tuple[str, ...]
) -> tuple[dict[str, Holdings], list[Finding]]:
    """Return what lies at the root of each wanted dataset that a file names, and what was found."""
    findings: list[Finding] = []
    roots: Mapping[str, Path] = {}
    if not file.is_file():
        fix = "Write a line `name: path/to/its/root` for each dataset that you have."
        findings.append(missing(str(file), "the file that names the roots must exist", fix=fix))
    else:
        try:
            roots = read_roots(file)
        except ScfError as error:
            findings.append(of_error(str(file), error))
    found: dict[str, Holdings] = {}
    for name in wanted:
        adapter: Adapter = plugins.load(adapters, "ADAPTER", name)
        if name not in roots:
            findings.append(_absent(name, adapter, is_needed=not roots))
            continue
        found[name], finding = _look(name, adapter, roots[name])
        findings.append(finding)
    findings += [note(name, "no part of this flow") for name in roots if name not in wanted]
    return found, findings


def _absent(name: str, adapter: Adapter, *, is_needed: bool) -> Finding:
    """Return that a dataset has no root: a need where none has, as any of them will do."""
    if not is_needed:
        return note(name, "left out, as no root is named")
    return missing(name, f"{adapter.title} has no root", fix=adapter.obtain)


def _look(name: str, adapter: Adapter, root: Path) -> tuple[Holdings, Finding]:
    held = Holdings()
    if not root.is_dir():
        text = f"its root must be a folder, but there is none at {root}"
        return held, missing(name, text, fix=f"Correct the path, or: {adapter.obtain}")
    try:
        for sample in adapter.scan(root):
            label = Label(sample.label)
            held.samples[Split(sample.split), label] += 1
            is_picture = PurePath(sample.media_path).suffix.lower() in PICTURES
            held.faces[label] += 1 if is_picture else FRAMES
    except ScfError as error:
        return held, of_error(name, error)
    except OSError as error:
        text = f"its root {root} must be readable, but is not: {error.strerror or error}"
        return held, missing(name, text, fix="Allow reading it.")
    return held, _compare(name, adapter, root, held)


def _compare(name: str, adapter: Adapter, root: Path, held: Holdings) -> Finding:
    """Return how the counts compare with the published ones: partial copies circulate."""
    counts = {label: held.of(label) for label in (Label.BONA_FIDE, Label.ATTACK)}
    told = f"{counts[Label.BONA_FIDE]:,} bona fide and {counts[Label.ATTACK]:,} attack samples"
    if not held.samples:
        fix = f"Point the root at the dataset; `scf datasets {name}` shows its layout."
        return missing(name, f"it must hold samples, but there are none at {root}", fix=fix)
    if counts == {Label.BONA_FIDE: adapter.bona_fide, Label.ATTACK: adapter.attack}:
        return ready(name, told)
    published = f"{adapter.bona_fide:,} and {adapter.attack:,} were published"
    return warning(
        name, f"{told} are here, but {published}: the copy may be partial, or another release"
    )
