"""Checkpoint folders in LAVIS's layout, and which one a name means.

LAVIS has no layout of a whole model: it gathers parts from several places and overlays a pickle.
`scf convert` writes one that is whole and holds no pickle::

    config.json          sizes of the parts, in the words of LAVIS's own classes
    *.safetensors        weights, by LAVIS's names
    vocab.json, merges.txt    tokenizer of OPT, as the transformers of LAVIS read it
    captioner.json       prompt and decoding, if the checkpoint brings its own
    transformers/        what else a folder in transformers' layout holds, for the way back
"""

from __future__ import annotations

from pathlib import Path

from upath import UPath

from ifas_model.layout import check_folder
from scf_pipeline.captioners import Model
from scf_pipeline.captioners._checkpoint import read_json
from scf_pipeline.config import digest
from scf_pipeline.errors import CaptionerError
from scf_pipeline.files import hash_files

BACKEND_NAME = "blip2_lavis"
MODEL_TYPE = "blip2_opt"
CONFIG = "config.json"
REST = "transformers"
"""Subfolder for the way back."""

ZOO = {
    "blip2_opt/pretrain_opt2.7b": "Salesforce/blip2-opt-2.7b",
    "blip2_opt/pretrain_opt6.7b": "Salesforce/blip2-opt-6.7b",
    "blip2_opt/caption_coco_opt2.7b": "Salesforce/blip2-opt-2.7b-coco",
    "blip2_opt/caption_coco_opt6.7b": "Salesforce/blip2-opt-6.7b-coco",
}
"""LAVIS's names of published models, and where the hub has the same weights in safetensors."""


def resolve(text: str) -> Model:
    """Return the model that a folder in LAVIS's layout is; nothing is downloaded.

    LAVIS's own names of models work as what they look like: folders, of which `scf convert` makes
    one. LAVIS itself would fetch pickles that no revision pins.

    Raises:
        CaptionerError: If there is no such folder, or it is of another layout.
    """
    folder = UPath(text).expanduser()
    if not isinstance(folder, Path):
        raise CaptionerError(
            "A model of LAVIS must lie on a local disk, but does not.",
            where=text,
            fix="Copy the folder to this machine.",
        )
    if not folder.is_dir():
        raise _no_folder(text)
    check_kind(folder)
    return Model(backend=BACKEND_NAME, location=str(folder), revision=revision(folder))


def revision(folder: Path) -> str:
    """Return the hash of all files of a folder, as a model's revision."""
    files = hash_files(UPath(folder))
    return digest({name: entry["sha256"] for name, entry in files.items()})[:12]


def is_lavis(folder: Path) -> bool:
    """Tell whether a folder says of itself that it is in LAVIS's layout."""
    path = UPath(folder) / CONFIG
    return path.is_file() and read_json(path).get("model_type") == MODEL_TYPE


def check_kind(folder: Path) -> None:
    """Check that a folder is in LAVIS's layout and holds weights.

    Raises:
        CaptionerError: If it does not.
    """
    if not is_lavis(folder):
        raise CaptionerError(
            f"A model of LAVIS must be a folder whose {CONFIG} has `model_type` {MODEL_TYPE!r}, "
            f"but it has not.",
            where=str(folder),
            fix=f"Write one with `scf convert {folder} --out FOLDER`, and name that.",
        )
    if not any(folder.glob("*.safetensors")):
        raise CaptionerError(
            "A model of LAVIS must hold its weights as safetensors, but has no such file.",
            where=str(folder),
            fix="Write the folder again with `scf convert`, which also reads LAVIS's .pth files.",
        )
    try:
        check_folder(UPath(folder) / REST)
    except (OSError, ValueError) as error:
        raise CaptionerError(
            f"A checkpoint must be weights and settings alone, but is not: {error}",
            where=str(folder),
            fix="Write the folder again with `scf convert` from a plain BLIP-2.",
        ) from error


def _no_folder(text: str) -> CaptionerError:
    if (hub_id := ZOO.get(text)) is not None:
        return CaptionerError(
            "A published model of LAVIS must be converted once from the same weights on the hub, "
            "pinned and without pickles, but there is no folder of its name yet.",
            where=text,
            fix=f"Run `scf convert {hub_id}@<commit> --out {text}`, and this again from the same "
            f"folder.",
        )
    return CaptionerError(
        f"A model of LAVIS must be a folder that `scf convert` wrote, or one of {', '.join(ZOO)}, "
        f"but is neither.",
        where=text,
        fix="Correct the name or the path.",
    )
