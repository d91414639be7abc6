"""What a run learns from: which faces, in which views, in which order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from ifas_model.config import TrainConfig
from ifas_model.data import Faces
from ifas_model.features import FeatureStore
from ifas_model.judging import Item

LEAD = "This is "
"""What stands before the caption in an interpretation."""


def choose(faces: Faces, config: TrainConfig) -> Faces:
    """Return the faces to learn from: the first of each sample, at most so many samples.

    Of fewer samples than there are, each dataset and label keeps its share.
    """
    firsts: dict[str, int] = {}
    frames = faces.column("frame")
    for place, sample in enumerate(faces.column("sample_id")):
        if sample not in firsts or frames[place] < frames[firsts[sample]]:
            firsts[sample] = place
    places = np.array(sorted(firsts.values()))
    if config.max_samples is not None and len(places) > config.max_samples:
        groups = np.array(group_names(faces))[places]
        rng = np.random.default_rng([config.seed, 0])
        # a random order in which every prefix holds the groups in their shares
        ranks = np.empty(len(places))
        for group in np.unique(groups):
            members = rng.permutation(np.flatnonzero(groups == group))
            ranks[members] = (np.arange(len(members)) + rng.random()) / len(members)
        places = np.sort(places[np.argsort(ranks, kind="stable")[: config.max_samples]])
    return faces.select(places)


def group_names(faces: Faces) -> list[str]:
    """Return dataset and label of each face: what balanced sampling balances."""
    pairs = zip(faces.column("dataset"), faces.column("label"), strict=True)
    return [f"{dataset}/{label}" for dataset, label in pairs]


class Lesson(Dataset[Item]):
    """The training faces in both views: place 2 i is face i, 2 i + 1 its mirror image.

    Args:
        faces: The faces.
        config: Whether answers hold an interpretation.
        store: Features that stand in for pixels.
        phase: In ``align`` a face has a caption, and neither label nor answer.
    """

    def __init__(
        self, faces: Faces, config: TrainConfig, store: FeatureStore | None, phase: str = "main"
    ) -> None:
        self.faces, self.store = faces, store
        self.is_alignment = phase == "align"
        self.has_texts = self.is_alignment or config.answer == "judgment+interpretation"
        self.ids = faces.column("face_id")
        self.labels = faces.column("label")
        self.texts = faces.column("interpretation") if self.has_texts else [""] * len(faces)

    def __len__(self) -> int:
        """Return the number of views."""
        return 2 * len(self.faces)

    def __getitem__(self, view: int) -> Item:
        """Return one view of one face."""
        place, is_mirrored = divmod(view, 2)
        item = self.text(place)
        if self.store is None:
            pixels = self.faces.pixels(place)
            item["pixels"] = pixels.flip(-1) if is_mirrored else pixels
        else:
            found = self.store.at(self.ids[place], is_mirrored=bool(is_mirrored))
            item["patches"], item["class_tokens"] = found
        return item

    def text(self, place: int) -> Item:
        """Return what is said of a face, without its picture."""
        if self.is_alignment:
            return Item(caption=self.texts[place].removeprefix(LEAD))
        return Item(label=int(self.labels[place]), interpretation=self.texts[place])


class Draw(Sampler[int]):
    """Every view of a phase in the order in which it is learnt from.

    Args:
        groups: Group of each face.
        size: How many views to draw.
        seed: Of the order.
        is_balanced: Whether groups are drawn evenly; each group is gone through whole before a
            face of it comes again.
        flip: Whether half of the views are mirrored.
    """

    def __init__(
        self,
        groups: Sequence[str],
        size: int,
        seed: Sequence[int],
        *,
        is_balanced: bool,
        flip: bool,
    ) -> None:
        rng = np.random.default_rng(list(seed))
        names = np.array(groups if is_balanced else [""] * len(groups))
        kinds = np.unique(names)
        order = _endless(rng, np.arange(len(kinds)), size)
        faces = np.empty(size, dtype=np.int64)
        for number, kind in enumerate(kinds):
            turns = np.flatnonzero(order == number)
            faces[turns] = _endless(rng, np.flatnonzero(names == kind), len(turns))
        self.views = 2 * faces + ((rng.random(size) < 0.5) & flip)

    def __len__(self) -> int:
        """Return how many views are drawn."""
        return len(self.views)

    def __iter__(self) -> Iterator[int]:
        """Yield the views."""
        return iter(self.views.tolist())


def _endless(rng: np.random.Generator, values: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return so many values: all of them in a random order, then in another, and so on."""
    rounds = -(-size // max(1, len(values)))
    return rng.permuted(np.tile(values, (rounds, 1)), axis=1).ravel()[:size]
