"""Results by world, protocol, variant, seed and target: what every table and chart asks for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ifas_model.results import CHECKPOINT_POLICIES, Result
from scf_pipeline.errors import ArtifactError
from scf_pipeline.report import paper
from scf_pipeline.report.html import Html, escape, join, tag
from scf_pipeline.report.intervals import Summary, paired, summarize

FULL = "full"
PROTOCOL_1, PROTOCOL_2 = "protocol1", "protocol2"
HEADLINE = "eer_on_test"
"""Threshold policy of the tables; the paper's, as far as its numbers tell."""

WORLDS = ("hard", "easy")
"""Drawn worlds, in the order of columns."""

TITLES = {
    "full": "I-FAS, full",
    "without-scf": "without SCF (judgment only)",
    "without-gac": "without GAC",
    "without-lopsided-loss": "without L-LM",
    "general-captions": "T_F in place of T_S",
    "source-only-captions": "C_S taught by the source alone",
    "vit-base": "ViT-B",
    "vit-large": "ViT-L",
    "vitaf": "ViTAF",
    "flip-template": "FLIP, templates",
    "flip-captions": "FLIP, captions",
}
"""What the page calls the variants that it knows."""

BEYOND = {
    "with-alignment": "I-FAS that learnt to describe faces first",
    "bona-fide-mixed": "C_S taught by bona fide captions as well",
    "balanced-d-s": "C_S taught by all species alike",
}
"""What the page calls the variants that the paper does not have; others go by their names."""

WORDS = TITLES | {
    "full": "the full model",
    "without-scf": "the one without SCF (judgment only)",
    "without-gac": "the one without GAC",
    "without-lopsided-loss": "the one with the standard loss in place of L-LM",
    "general-captions": "the one taught with T_F in place of T_S",
    "flip-template": "FLIP with its templates",
    "flip-captions": "FLIP with SCF's captions",
}
"""The same within a sentence."""

BASELINES = {"vitaf": "ViTAF", "vit-base": "ViT-B", "vit-large": "ViT-L", "flip-template": "FLIP"}
"""Baselines of Table 2, and their columns in the paper."""

Measure: TypeAlias = Callable[[Result], float]
Key: TypeAlias = tuple[str, str, str]
"""World, protocol, variant."""


def auc(result: Result) -> float:
    """Return the AUC."""
    return result.auc


def hter(result: Result) -> float:
    """Return the HTER at the headline policy."""
    return result.rates[HEADLINE].hter


@dataclass(frozen=True, slots=True)
class Place:
    """A world under a protocol: results that may be compared."""

    world: str
    """World, empty for real data."""

    protocol: str
    """Protocol."""

    @property
    def title(self) -> str:
        """What the page calls it."""
        return f"{self.world} world" if self.world else "real data"


class Runs:
    """Results of one checkpoint policy, each by what it is a result of.

    Args:
        results: All results.

    Raises:
        ArtifactError: If two results differ in nothing that the tables tell apart.
    """

    def __init__(self, results: Iterable[Result]) -> None:
        every = list(results)
        policies = Counter(result.checkpoint_policy for result in every)
        self.policy = next((name for name in CHECKPOINT_POLICIES if name in policies), "last")
        """Checkpoint policy of all that is shown."""
        self.left_out = {name: n for name, n in sorted(policies.items()) if name != self.policy}
        """Results of other checkpoint policies, which no table mixes in."""
        kept = [result for result in every if result.checkpoint_policy == self.policy]
        self.targets_of = _index(result for result in kept if result.role == "target")
        """Results on unseen datasets: by key, seed and target."""
        self.sources_of = _index(result for result in kept if result.role == "source")
        """Results on the sources' own parts."""

    @property
    def note(self) -> str:
        """Both policies, for the caption of every table."""
        is_single = all(len(seeds) == 1 for seeds in self.targets_of.values())
        one = " One seed, so no interval over seeds." if is_single and self.targets_of else ""
        return f"Threshold: {HEADLINE}; checkpoint: {self.policy}.{one}"

    def protocols(self) -> list[str]:
        """Return the names of all protocols."""
        return sorted({key[1] for key in self.targets_of})

    def places(self, protocol: str) -> list[Place]:
        """Return the worlds of a protocol, the hard one first."""
        worlds = {key[0] for key in self.targets_of if key[1] == protocol}
        order = [world for world in WORLDS if world in worlds] + sorted(worlds - set(WORLDS))
        return [Place(world, protocol) for world in order]

    def variants(self, place: Place) -> list[str]:
        """Return the variants of a place: the known ones first, in the order of `TITLES`."""
        found = {key[2] for key in self.targets_of if key[:2] == (place.world, place.protocol)}
        return [name for name in TITLES if name in found] + sorted(found - TITLES.keys())

    def targets(self, place: Place) -> list[str]:
        """Return all targets of a place, in the paper's order."""
        found = {
            target
            for key, seeds in self.targets_of.items()
            if key[:2] == (place.world, place.protocol)
            for targets in seeds.values()
            for target in targets
        }
        known = [name for name in paper.datasets() if name in found]
        return known + sorted(found - set(known))

    def seeds(self, place: Place, variant: str) -> list[int]:
        """Return the seeds of a variant."""
        return sorted(self.targets_of.get((place.world, place.protocol, variant), {}))

    def results(self, place: Place, variant: str, target: str | None = None) -> list[Result]:
        """Return a variant's results by seed and target; on one target if asked."""
        seeds = self.targets_of.get((place.world, place.protocol, variant), {})
        return [
            result
            for seed in sorted(seeds)
            for name, result in sorted(seeds[seed].items())
            if target in (None, name)
        ]

    def source_results(self, place: Place, variant: str) -> list[Result]:
        """Return a variant's results on the sources' own parts."""
        seeds = self.sources_of.get((place.world, place.protocol, variant), {})
        return [result for seed in sorted(seeds) for _, result in sorted(seeds[seed].items())]

    def by_seed(
        self, place: Place, variant: str, measure: Measure, targets: Collection[str] | None = None
    ) -> dict[int, float]:
        """Return the unweighted mean over targets for each seed.

        Args:
            place: World and protocol.
            variant: Variant.
            measure: What of a result.
            targets: Which; all of the place by default. A seed without one of them is left out:
                means over different targets do not compare.
        """
        wanted = list(self.targets(place) if targets is None else targets)
        seeds = self.targets_of.get((place.world, place.protocol, variant), {})
        return {
            seed: summarize([measure(found[target]) for target in wanted]).mean
            for seed, found in sorted(seeds.items())
            if wanted and found.keys() >= set(wanted)
        }

    def summary(
        self, place: Place, variant: str, measure: Measure, targets: Collection[str] | None = None
    ) -> Summary | None:
        """Return mean and interval over seeds, if any seed has all targets."""
        values = self.by_seed(place, variant, measure, targets)
        return summarize(list(values.values())) if values else None

    def difference(self, place: Place, one: str, other: str, measure: Measure) -> Summary | None:
        """Return ``one - other``, paired by seed."""
        return paired(self.by_seed(place, one, measure), self.by_seed(place, other, measure))

    def alphas(self, place: Place) -> dict[float, str]:
        """Return the variants that differ from the full model in alpha alone, itself included."""
        full = self.results(place, FULL)
        if not full or full[0].method != "ifas":
            return {}
        wanted = _without_alpha(full[0].settings)[0]
        found: dict[float, str] = {}
        for variant in self.variants(place):
            result = self.results(place, variant)[0]
            rest, alpha = _without_alpha(result.settings)
            is_same = (
                result.method == "ifas" and rest == wanted and _taught(result) == _taught(full[0])
            )
            if is_same and alpha is not None and (variant == FULL or alpha not in found):
                found[alpha] = variant
        return dict(sorted(found.items()))


def title(variant: str) -> str:
    """Return what the page calls a variant: its own name if the page knows none."""
    return (TITLES | BEYOND).get(variant, variant)


def row_title(variant: str) -> Html:
    """Return a variant's title and, where it differs, its name."""
    told = title(variant)
    return escape(told) if told == variant else join([told, " ", tag("small", variant)])


def extras(variants: Sequence[str], sweep: Collection[str]) -> list[str]:
    """Return the variants beyond the paper: neither in its tables nor of the alpha sweep."""
    return [name for name in variants if name not in TITLES and name not in sweep]


def _index(results: Iterable[Result]) -> dict[Key, dict[int, dict[str, Result]]]:
    found: dict[Key, dict[int, dict[str, Result]]] = {}
    for result in results:
        key = (result.world, result.protocol, result.variant)
        targets = found.setdefault(key, {}).setdefault(result.seed, {})
        # a model that leaves another dataset out has the same source: any of them will do
        if result.target in targets and result.role == "target":
            raise ArtifactError(
                "Results must differ in world, protocol, variant, seed or target, but two are of "
                f"{', '.join(filter(None, key))}, seed {result.seed}, {result.target}.",
                where="the evaluations of the report",
                fix="Give each evaluation a variant or a world of its own.",
            )
        targets.setdefault(result.target, result)
    return found


def _without_alpha(settings: dict[str, Any]) -> tuple[dict[str, Any], float | None]:
    """Return settings without seed and alpha, and alpha."""
    rest = {key: value for key, value in settings.items() if key != "seed"}
    method = dict(rest.get("method") or {})
    loss = dict(method.get("loss") or {})
    alpha = loss.pop("alpha", None)
    return rest | {"method": method | {"loss": loss}}, alpha


def _taught(result: Result) -> str | None:
    """Return which shards taught the model; every model of a place is judged on the same."""
    return result.inputs.get("taught")
