"""Flows are values: loading one starts nothing, and a plan is the same on any machine."""

import inspect
import json
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from flows import reproduce
from flows.ablations import ABLATIONS, ALPHAS
from flows.baselines import BASELINES
from flows.protocol1 import TARGETS
from flows.reproduce import MINIATURE, MINIATURE_EASY, MINIATURE_FULL, MINIATURE_SMOKE
from flows.scf import scf
from flows.settings import DATASETS, Setting
from ifas_model.protocols import protocol
from ifas_model.results import ErrorRates, Result
from ifas_model.strict import build
from scf_pipeline.config import to_data
from scf_pipeline.report import comparison, paper
from scf_pipeline.report.runs import BASELINES as COLUMNS
from scf_pipeline.report.runs import FULL, PROTOCOL_2, Runs, title
from scf_pipeline.runner import _stage, load_flow
from scf_pipeline.steps import Planned, Step, plan

ROOT = Path(__file__).parents[2]
FLOW = str(ROOT / "flows" / "reproduce.py")
GOLDEN = ROOT / "tests" / "golden" / "reproduce-smoke.plan.json"

EVERY = len(ABLATIONS) + len(BASELINES)
SCALES = {
    "SMOKE": [(MINIATURE_SMOKE, EVERY, 1, 1, 1)],
    "DEFAULT": [(MINIATURE, EVERY, 1, 2, 4)],
    "FULL": [(MINIATURE_FULL, EVERY, 3, len(ALPHAS) - 1, 4), (MINIATURE_EASY, 3 + 2, 0, 0, 0)],
}
"""Of each world: its setting, and how many ablations and baselines, other captioners, other alphas,
and targets of Protocol 1 are tried in it."""


@pytest.fixture(scope="module", params=SCALES)
def scale(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def planned(scale: str) -> list[Planned]:
    return plan(*getattr(reproduce, scale))


def of_stage(planned: list[Planned], stage: str) -> list[Step]:
    return [one.step for one in planned if one.step.config.stage == stage]


def test_the_plan_of_the_smoke_reproduction_is_the_golden_one(
    request: pytest.FixtureRequest,
) -> None:
    found = [planned.to_dict() for planned in plan(*load_flow(f"{FLOW}:SMOKE")[1])]
    text = json.dumps(found, indent=2, sort_keys=True) + "\n"
    if request.config.getoption("--update-golden"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_a_flow_that_is_loaded_from_its_file_is_the_one_that_is_imported(scale: str) -> None:
    loaded = plan(*load_flow(f"{FLOW}:{scale}")[1])
    known = plan(*getattr(reproduce, scale))
    assert [one.folder for one in loaded] == [one.folder for one in known]


def test_every_scale_ends_with_the_report_and_shares_no_folder(planned) -> None:
    assert planned[-1].step.config.stage == "report"
    assert len(of_stage(planned, "report")) == 1
    assert len({one.folder for one in planned}) == len(planned)


def test_a_plan_has_as_many_steps_as_its_scope_says(scale: str, planned) -> None:
    worlds = SCALES[scale]
    trials = sum(
        len(setting.seeds) * (2 + methods + captioners + alphas + targets)  # full and T_F always
        for setting, methods, captioners, alphas, targets in worlds
    )
    tuned = sum(1 + captioners for _, _, captioners, _, _ in worlds)
    found = Counter(one.step.config.stage for one in planned)
    assert found == {
        **dict.fromkeys(("generic", "captioner", "report"), 1),
        "tower": 2,
        **dict.fromkeys(("world", "ingest", "crop", "filter", "features"), len(worlds)),
        **dict.fromkeys(("finetune", "stats"), tuned),
        "shard": len(worlds) + tuned,  # T_F's
        "caption": 2 * len(worlds) + 2 * tuned,
        **dict.fromkeys(("train", "evaluate"), trials),
    }


def test_every_stage_runs_with_the_inputs_that_its_steps_give(planned) -> None:
    for one in planned:
        config = one.step.config
        known = inspect.signature(_stage(config).run).parameters
        given = {"config", "out", "engine", *one.step.inputs}
        needed = {name for name, p in known.items() if p.default is inspect.Parameter.empty}
        assert needed <= given <= known.keys(), one.folder


def test_an_input_is_a_tuple_where_its_stage_takes_several(planned) -> None:
    for one in planned:
        known = inspect.signature(_stage(one.step.config).run).parameters
        for name, value in one.step.inputs.items():
            takes_several = "Sequence" in str(known[name].annotation)
            assert isinstance(value, tuple) is takes_several, f"{one.folder}: {name}"


def test_every_config_is_built_again_from_its_plain_data(planned) -> None:
    for config in {one.step.config for one in planned}:
        kind = type(config)
        data = json.loads(json.dumps(TypeAdapter(kind).dump_python(config, mode="json")))
        again = build(kind, data, where="a test")
        assert again == config
        assert to_data(again) == to_data(config)


@pytest.mark.parametrize(
    ("setting", "seeds"),
    [(MINIATURE_SMOKE, 1), (MINIATURE, 3), (MINIATURE_FULL, 5), (MINIATURE_EASY, 5)],
)
def test_claims_rest_on_five_seeds_and_first_results_on_three(setting: Setting, seeds: int) -> None:
    assert len(set(setting.seeds)) == len(setting.seeds) == seeds


def test_every_variant_is_trained_on_every_seed_of_its_world(scale: str, planned) -> None:
    seeds = {setting.seeds for setting, *_ in SCALES[scale]}
    assert len(seeds) == 1
    wanted = Counter(*seeds)
    found: dict[tuple, Counter] = {}
    for step in of_stage(planned, "evaluate"):
        judge = step.inputs["judge"].config
        key = (step.config.world, judge.protocol, judge.target, step.config.variant)
        found.setdefault(key, Counter())[judge.seed] += 1
    assert [key for key, counted in found.items() if counted != wanted] == []


def test_worlds_of_claims_are_never_those_that_choices_were_made_on() -> None:
    def seeds(*names: str) -> set[int]:
        steps = plan(*(one for name in names for one in getattr(reproduce, name)))
        return {step.config.seed for step in of_stage(steps, "world")}

    assert seeds("FULL").isdisjoint(seeds("SMOKE", "DEFAULT"))


def test_the_worlds_of_claims_differ_in_cues_and_shortcuts_alone(changes) -> None:
    worlds = MINIATURE_FULL.world, MINIATURE_EASY.world
    assert None not in worlds
    hard, easy = (world.config for world in worlds)
    assert changes(hard, easy) == {"difficulty": ("hard", "easy"), "shortcut_share": (0.5, 0.1)}
    for field in fields(Setting):
        if field.name != "world":
            assert getattr(MINIATURE_EASY, field.name) is getattr(MINIATURE_FULL, field.name)


def test_each_difficulty_goes_by_its_name(scale: str, planned) -> None:
    found = set()
    for step in of_stage(planned, "evaluate"):
        (world,) = of_stage(plan(step), "world")
        assert step.config.world == world.config.difficulty
        found.add(step.config.world)
    assert found == {setting.world.config.difficulty for setting, *_ in SCALES[scale]}


def test_the_report_reads_every_audit_and_every_evaluation_but_no_weights(
    planned, identity
) -> None:
    (page,) = of_stage(planned, "report")
    read = {name: set(identity(value)) for name, value in page.inputs.items()}
    for stage in ("world", "ingest", "crop", "caption", "filter", "finetune", "stats", "shard"):
        wanted = {one.fingerprint for one in planned if one.step.config.stage == stage}
        assert wanted <= read["curation"], stage
    evaluations = {one.fingerprint for one in planned if one.step.config.stage == "evaluate"}
    assert read["evaluations"] == evaluations
    assert len(page.inputs["evaluations"]) == len(evaluations)
    stages = {step.config.stage for step in page.inputs["curation"]}
    assert stages.isdisjoint({"train", "evaluate", "features", "tower"})


def test_c_s_of_the_source_alone_is_taught_by_what_protocol_2_teaches_with() -> None:
    made = scf(MINIATURE, *DATASETS)
    name = "source-only-captions"
    other = reproduce.other_captioners(MINIATURE, made, name)[name]
    sources = protocol("protocol2").sources
    assert dict.fromkeys(other.c_s.config.datasets, other.c_s.config.splits) == sources


def test_other_captioners_change_what_their_name_says(changes, identity) -> None:
    made = scf(MINIATURE, *DATASETS)
    names = ("bona-fide-mixed", "balanced-d-s", "source-only-captions")
    found = reproduce.other_captioners(MINIATURE, made, *names)
    assert list(found) == list(names)
    changed = {name: set(changes(made.c_s.config, one.c_s.config)) for name, one in found.items()}
    assert changed == {
        "bona-fide-mixed": set(),
        "balanced-d-s": {"groups", "max_imbalance"},
        "source-only-captions": {"datasets", "splits"},
    }
    extra = {name: one.c_s.inputs.get("extra") for name, one in found.items()}
    assert extra == dict.fromkeys(names) | {"bona-fide-mixed": made.t_r}
    shards = [made.shards, made.shards_t_f, *(one.shards for one in found.values())]
    assert len({identity(one) for one in shards}) == len(shards)


def test_towers_differ_in_size_as_their_names_say() -> None:
    for setting in (MINIATURE_SMOKE, MINIATURE, MINIATURE_FULL):
        sizes = {name: tower.config.size for name, tower in setting.towers.items()}
        assert sizes == {"large": "base", "base": "small"}


def test_protocol_1_is_tried_on_all_four_wherever_claims_are_made(scale: str, planned) -> None:
    found = {
        step.inputs["judge"].config.target
        for step in of_stage(planned, "evaluate")
        if step.inputs["judge"].config.protocol == "protocol1"
    }
    assert found == set(TARGETS[:1] if scale == "SMOKE" else TARGETS)


def result(step: Step) -> Result:
    """Return a result as the evaluation of a plan would name it; its figures say nothing."""
    config, judge = step.config, step.inputs["judge"].config
    one = protocol(judge.protocol, judge.target)
    rates = ErrorRates(threshold=0.5, far=0.2, bpcer=0.2, hter=0.2, apcer={"print": 0.2}, acer=0.2)
    counts = {"samples": 20, "faces": 20, "bona_fide": 10, "attack": 10, "print": 10}
    return Result(
        method=judge.method.method,
        variant=config.variant,
        world=config.world,
        protocol=judge.protocol,
        target=min(one.targets),
        role="target",
        sources=tuple(one.sources),
        seed=judge.seed,
        checkpoint_policy="last",
        **dict.fromkeys(("auc", "tpr_at_fpr_1", "tpr_at_fpr_01", "frame_auc"), 0.5),
        **dict.fromkeys(("eer", "ece", "frame_hter"), 0.2),
        rates=dict.fromkeys(("eer_on_test", "eer_on_dev", "fixed"), rates),
        intervals={},
        counts=counts,
        roc=((0.0, 0.0), (1.0, 1.0)),
        is_inverted=False,
        settings=TypeAdapter(type(judge)).dump_python(judge, mode="json"),
        inputs={"model": "a model", "shards": plan(step.inputs["shards"])[-1].folder},
    )


@pytest.fixture(scope="module")
def runs(planned) -> Runs:
    """What the tables would be made of."""
    return Runs([result(step) for step in of_stage(planned, "evaluate")])


def test_every_variant_has_a_row_or_a_column_in_the_report(scale: str, runs: Runs) -> None:
    tables = {
        "Table 2": comparison.table2(runs),
        "Table 3": comparison.averages(runs, "table3", comparison.ABLATIONS, "Table 3."),
        "Table 4": comparison.averages(runs, "table4", comparison.TEXTS, "Table 4."),
        "beyond": comparison.beyond(runs),
    }
    known = {
        "Table 2": COLUMNS,
        "Table 3": comparison.ABLATIONS,
        "Table 4": comparison.TEXTS,
        "beyond": ("with-alignment", "source-only-captions", "bona-fide-mixed", "balanced-d-s"),
    }
    for place in runs.places(PROTOCOL_2):
        sweep = set(runs.alphas(place).values())
        for variant in runs.variants(place):
            places = [name for name, variants in known.items() if variant in variants]
            assert places or variant in sweep, f"{variant} is nowhere in the report of {scale}"
            assert all(title(variant) in tables[name] for name in places), variant


def test_every_row_that_the_papers_tables_have_is_tried_in_the_hard_world(runs: Runs) -> None:
    rows = {*paper.averages("table3"), *paper.averages("table4"), *COLUMNS}
    assert rows == {*comparison.ABLATIONS, *comparison.TEXTS, *COLUMNS}
    (hard,) = (place for place in runs.places(PROTOCOL_2) if place.world == "hard")
    assert rows <= set(runs.variants(hard))


def test_every_row_of_table_3_is_tried_in_every_world(runs: Runs) -> None:
    for place in runs.places(PROTOCOL_2):
        assert set(paper.averages("table3")) <= set(runs.variants(place))


def test_the_sweep_of_the_report_is_the_sweep_of_the_flow(scale: str, runs: Runs) -> None:
    for place, (setting, _, _, alphas, _) in zip(
        runs.places(PROTOCOL_2), SCALES[scale], strict=True
    ):
        found = runs.alphas(place)
        own = setting.full.method.loss.alpha
        assert found[own] == FULL
        others = {alpha: name for alpha, name in found.items() if alpha != own}
        assert others == {alpha: f"alpha-{alpha:g}" for alpha in others}
        assert len(others) == alphas


def test_the_smoke_world_is_the_default_one_in_small() -> None:
    assert MINIATURE_SMOKE.world.config == replace(MINIATURE.world.config, scale="smoke")
