"""A trained model and face crops -> judgments and interpretations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import UnidentifiedImageError
from pydantic import TypeAdapter, ValidationError

from ifas_model import baselines, json_data, plugins
from ifas_model.config import SETTINGS, IFasConfig, TrainConfig
from ifas_model.data import BROKEN_PICTURE, decode
from ifas_model.errors import ModelError
from ifas_model.judging import Item
from ifas_model.model import IFas
from ifas_model.prompt import JUDGMENTS
from ifas_model.scoring import make_batch
from ifas_model.vocabulary import Label

_TRAIN: TypeAdapter[TrainConfig] = TypeAdapter(TrainConfig)


def predict(model: Path, images: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Judge face crops, one after the other.

    Args:
        model: Folder that `train` wrote.
        images: Pictures, as `scf crop` makes them; of another size they are resized.

    Yields:
        ``path``, ``p_yes``, ``judgment`` and ``interpretation`` of each, in order; the judgment is
        "Yes" exactly where `p_yes` is at least 0.5, and baselines interpret nothing. ``path`` and
        ``error`` of one that cannot be read.

    Raises:
        ModelError: If the folder is not one that `train` wrote.
    """
    _, judge = load_judge(model)
    for path in images:
        try:
            pixels = decode(path.read_bytes())
        except BROKEN_PICTURE as error:
            yield {"path": str(path), "error": _explain(error)}
            continue
        batch = make_batch(judge, [Item(pixels=pixels)])
        with torch.no_grad():
            p_yes = float(torch.sigmoid(judge(**batch).margin.double())[0])
        is_bona_fide = p_yes >= 0.5
        told = ""
        if isinstance(judge, IFas):
            told = judge.interpret(batch, torch.tensor([is_bona_fide]))[0]
        yield {
            "path": str(path),
            "p_yes": p_yes,
            "judgment": JUDGMENTS[Label.BONA_FIDE if is_bona_fide else Label.ATTACK],
            "interpretation": told,
        }


def load_judge(folder: Path) -> tuple[TrainConfig, Any]:
    """Load a trained model, onto the GPU if there is one, and the settings of its training.

    Raises:
        ModelError: If the folder is not one that `train` wrote.
    """
    settings = read_settings(folder)
    if isinstance(settings.method, IFasConfig):
        judge: Any = IFas.load(folder)
    else:
        judge = plugins.load(baselines, "METHOD", settings.method.method).load(folder)
    return settings, judge.to("cuda" if torch.cuda.is_available() else "cpu")


def read_settings(folder: Path) -> TrainConfig:
    """Return the settings of the training that a model folder came of.

    Raises:
        ModelError: If the folder is not one that `train` wrote.
    """
    try:
        return _TRAIN.validate_json(json_data.read_bytes(folder / SETTINGS))
    except (OSError, ValueError) as error:
        problem = _explain(error)
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            problem = ": ".join([*map(str, first["loc"][-1:]), first["msg"]])
        raise ModelError(
            f"A model folder must hold the {SETTINGS} of its training, but reading it failed: "
            f"{problem}.",
            where=str(folder),
            fix="Name a folder that `ifas train` wrote.",
        ) from error


def _explain(error: Exception) -> str:
    """Return what is wrong with a file in one line, without the name of the file."""
    if isinstance(error, UnidentifiedImageError):
        return "A picture must be of a known format, but is of none."
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())
