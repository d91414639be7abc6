"""The words of the domain, after ISO/IEC 30107: label, PAI species, split."""

from __future__ import annotations

from enum import StrEnum


class Label(StrEnum):
    """Whether a presentation is bona fide; the order is that of the shards' ``ClassLabel``."""

    ATTACK = "attack"
    BONA_FIDE = "bona_fide"


class PaiSpecies(StrEnum):
    """Kinds of presentation attack instrument.

    The first four are F of Algorithm 1; `MAKEUP` and `PARTIAL` exist in the datasets but have no
    keywords, so their captions never enter D_S.
    """

    PRINT = "print"
    REPLAY = "replay"
    MASK = "mask"
    MANNEQUIN = "mannequin"
    MAKEUP = "makeup"
    PARTIAL = "partial"


class Split(StrEnum):
    """Part of a dataset, as the dataset itself defines it."""

    TRAIN = "train"
    DEV = "dev"
    TEST = "test"
