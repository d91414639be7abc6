"""Protocols: which parts of which datasets teach, choose a threshold, and are judged.

Splits are the datasets' own; what comes without any counts as test. Thresholds and checkpoints are
chosen by the policies that `ifas_model.results` names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ifas_model.config import CUSTOM, TrainConfig
from ifas_model.vocabulary import Split

Parts = Mapping[str, tuple[Split, ...]]
"""Splits by dataset."""

# PAPER: no parts are named. The lists of FLIP's release hold, by their counts, train and test of
# M, C, I and O, both to teach and to be judged; so the dev parts are free to choose thresholds.
_TRAIN_AND_TEST = (Split.TRAIN, Split.TEST)

LETTERS = {"M": "msu_mfsd", "C": "casia_mfsd", "I": "replay_attack", "O": "oulu_npu"}
"""Datasets of Protocol 1, by the letter that its titles use."""

_LEFT_OUT = {"M": "OCI", "C": "OMI", "I": "OCM", "O": "ICM"}
"""Sources of each target of Protocol 1, in the order of the paper's titles."""

_WITH_DEV = ("replay_attack", "oulu_npu")
"""Datasets of Protocol 1 that have a dev part; at least one is always a source."""

CELEBA = "celeba_spoof"

# PAPER: Protocol 2 names datasets, not parts. M, C, I and O as in Protocol 1; the official test
# part of what has one that others report on; the whole of what is small or split in many ways.
ELEVEN: Parts = {
    "casia_mfsd": _TRAIN_AND_TEST,
    "casia_surf_3dmask": tuple(Split),
    "hkbu_mars_v1_plus": tuple(Split),
    "hifi_mask": (Split.TEST,),
    "msu_mfsd": _TRAIN_AND_TEST,
    "oulu_npu": _TRAIN_AND_TEST,
    "replay_attack": _TRAIN_AND_TEST,
    "rose_youtu": (Split.TEST,),
    "siw": (Split.TEST,),
    "siw_m_v2": tuple(Split),
    "wmca": (Split.TEST,),
}
"""Targets of Protocol 2, in the order of the paper's Table 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What teaches, what chooses, what is judged."""

    name: str
    """As settings name it, e.g. ``protocol1``."""

    title: str
    """As tables name it, e.g. ``O&C&I to M``."""

    sources: Parts
    """What the model learns from."""

    dev: Parts
    """Parts of the sources that teach nothing: for thresholds, model choice and polarity."""

    targets: Parts
    """What the model is judged on; datasets that are no source, unless users say otherwise."""

    def __post_init__(self) -> None:
        for name in ("sources", "dev", "targets"):
            self._check_parts(name, getattr(self, name))
        if self.name != CUSTOM:  # whose parts `OwnDatasets` holds apart
            self._check_datasets()

    def _check_datasets(self) -> None:
        seen = sorted(self.sources.keys() & self.targets.keys())
        if seen:
            raise ValueError(f"`targets` must be no sources, but {', '.join(seen)} is both.")
        for dataset, splits in self.dev.items():
            if dataset not in self.sources:
                raise ValueError(f"`dev` must be parts of sources, but {dataset} is none.")
            taught = [split.value for split in splits if split in self.sources[dataset]]
            if taught:
                raise ValueError(f"`dev` must teach nothing, but {dataset} {taught[0]} does.")

    @staticmethod
    def _check_parts(name: str, parts: Parts) -> None:
        empty = [dataset for dataset, splits in parts.items() if not splits]
        if not parts or empty:
            found = f"{empty[0]} has none" if empty else "is empty"
            raise ValueError(f"`{name}` must name splits of datasets, but {found}.")


def protocol_of(config: TrainConfig) -> Protocol:
    """Return the protocol of a training.

    Raises:
        ValueError: If there is no such protocol, or the target does not fit it.
    """
    if config.own is None:
        return protocol(config.protocol, config.target)
    if config.target is not None:
        raise ValueError(
            f"`target` must be None, as `own` names what is judged, but is {config.target!r}."
        )
    return Protocol(
        name=CUSTOM,
        title=f"{'&'.join(config.own.train)} to {'&'.join(config.own.test)}",
        sources=config.own.train,
        dev=config.own.dev,
        targets=config.own.test,
    )


def parts_of(config: TrainConfig) -> list[Parts]:
    """Return what a training looks at: its sources, and what its weights are chosen by."""
    rules = protocol_of(config)
    chosen_by: dict[str, list[Parts]] = {
        "last": [],
        "best_on_dev": [rules.dev],
        "best_on_test": [rules.targets],
    }
    return [rules.sources, *chosen_by[config.select]]


def protocol(name: str, target: str | None = None) -> Protocol:
    """Return a protocol by its name.

    Args:
        name: One of `PROTOCOLS`.
        target: The dataset that is left out, where the protocol leaves one out; else ``None``.

    Raises:
        ValueError: If there is no such protocol, or the target does not fit it.
    """
    if name not in PROTOCOLS:
        known = ", ".join([*PROTOCOLS, CUSTOM])
        raise ValueError(f"`protocol` must be one of {known}, but is {name!r}.")
    return PROTOCOLS[name](target)


def protocol1(target: str | None) -> Protocol:
    """Leave one of M, C, I and O out, and learn from the other three."""
    letter = _letter(target)
    sources = [LETTERS[one] for one in _LEFT_OUT[letter]]
    return Protocol(
        name="protocol1",
        title=f"{'&'.join(_LEFT_OUT[letter])} to {letter}",
        sources=dict.fromkeys(sources, _TRAIN_AND_TEST),
        dev={dataset: (Split.DEV,) for dataset in sources if dataset in _WITH_DEV},
        targets={LETTERS[letter]: _TRAIN_AND_TEST},
    )


def protocol1_with_celeba(target: str | None) -> Protocol:
    """Learn from CelebA-Spoof as well.

    The released code of FLIP and ViTAF does so, and FLIP's row in Table 1 carries that advantage;
    theirs is a list of 40,000 bona fide and 40,000 attack pictures, here it is the train part.
    """
    # PAPER: whether I-FAS does the same is not stated. The dev part stays that of `protocol1`, so
    # that the two differ in what teaches alone.
    plain = protocol1(target)
    sources, _, left_out = plain.title.partition(" to ")
    return Protocol(
        name="protocol1_with_celeba",
        title=f"{sources}&CelebA-Spoof to {left_out}",
        sources={**plain.sources, CELEBA: (Split.TRAIN,)},
        dev=plain.dev,
        targets=plain.targets,
    )


def protocol2(target: str | None) -> Protocol:
    """Learn from CelebA-Spoof alone, and judge on the other eleven."""
    if target is not None:
        raise ValueError(f"`target` must be None, as protocol2 has eleven, but is {target!r}.")
    return Protocol(
        name="protocol2",
        title="CelebA-Spoof to eleven",
        sources={CELEBA: (Split.TRAIN,)},
        dev={CELEBA: (Split.TEST,)},
        targets=ELEVEN,
    )


PROTOCOLS: Mapping[str, Callable[[str | None], Protocol]] = {
    "protocol1": protocol1,
    "protocol1_with_celeba": protocol1_with_celeba,
    "protocol2": protocol2,
}
"""All named protocols: a function of the target, by name."""


def _letter(target: str | None) -> str:
    for letter, dataset in LETTERS.items():
        if target == dataset:
            return letter
    raise ValueError(f"`target` must be one of {', '.join(LETTERS.values())}, but is {target!r}.")
