"""Captioners: one file per backend turns pictures into sentences.

An entry is a module with ``BACKEND``. Importing this package imports neither torch nor Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ifas_model import plugins
from scf_pipeline.errors import CaptionerError

DEFAULT_BACKEND = "blip2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Which weights to caption with."""

    backend: str
    """Entry of this package, e.g. ``blip2``."""

    location: str
    """Checkpoint folder, or hub id."""

    revision: str
    """Hash of the folder's weights, or the pinned revision of a hub id."""

    @property
    def name(self) -> str:
        """``<backend>@<revision>``, as the `captioner` column holds it."""
        return f"{self.backend}@{self.revision}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """One caption and how sure the model was of it."""

    text: str
    """Post-processed: no prompt echo, single spaces, no final full stop."""

    num_tokens: int
    """Tokens generated, the end token excluded."""

    mean_log_probability: float
    """Mean over the generated tokens, in nats, under the model's own distribution."""


class Captioner(Protocol):
    """A loaded captioner. One instance lives in each worker."""

    def prepare(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Bring a picture to the size that the model sees; called on threads while it captions.

        Args:
            picture: RGB, (H, W, 3).

        Returns:
            What `caption` takes, still in 8 bits: floats are made where the model is.
        """
        ...

    def caption(
        self, pictures: Sequence[NDArray[np.uint8]], seeds: Sequence[int], *, insist: bool = False
    ) -> list[Caption]:
        """Caption one batch.

        Args:
            pictures: As `prepare` returned them.
            seeds: One for each picture, 64 bits, so that sampling depends on neither batch nor
                worker. Unused where decoding is deterministic.
            insist: Whether to decode with a repetition penalty of 1.2, after a degenerate caption.

        Returns:
            One caption for each picture, in order.

        Raises:
            MemoryError: If memory does not suffice; a smaller batch is tried then.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A way to run captioning checkpoints."""

    title: str
    """What it is, in a few words."""

    prompt: str
    """Prompt of checkpoints that bring none of their own."""

    resolve: Callable[[str], Model]
    """Turn a folder or ``hub-id@revision`` into a `Model`; raise `CaptionerError` if it cannot."""

    describe: Callable[[Model], dict[str, Any]]
    """Return prompt and decoding as plain data, for the record."""

    load: Callable[[Model], Captioner]
    """Load the weights; called once in each worker."""


def find(name: str) -> Model:
    """Return the model of a name as ``--model`` takes it.

    Args:
        name: A checkpoint folder (a path or fsspec URL) or ``hub-id@revision`` for the default
            backend ``blip2``; others stand before a colon, e.g. ``blip2_lavis:<model>``.

    Raises:
        CaptionerError: If there is no such backend, or the backend cannot resolve the model.
    """
    from scf_pipeline import captioners

    prefix, colon, rest = name.partition(":")
    known = plugins.names(captioners)
    is_url = rest.startswith("//")
    if colon and not is_url and "/" not in prefix and prefix not in known:
        raise CaptionerError(
            f"A captioner must be one of {', '.join(known)}, but is {prefix!r}.",
            where=name,
            fix="Correct the name before the colon, or leave both out for blip2.",
        )
    backend, location = (prefix, rest) if colon and prefix in known else (DEFAULT_BACKEND, name)
    entry: Backend = plugins.load(captioners, "BACKEND", backend)
    return entry.resolve(location)


def is_degenerate(text: str) -> bool:
    """Tell whether a caption says nothing or loops: holds some three words in a row three times."""
    words = text.lower().split()
    if not any(map(str.isalnum, text)):
        return True
    triples = list(zip(words, words[1:], words[2:], strict=False))
    return any(triples.count(triple) >= 3 for triple in set(triples))
