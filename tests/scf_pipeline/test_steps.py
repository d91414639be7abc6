import json
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic.dataclasses import dataclass

from ifas_model.strict import STRICT
from scf_pipeline.steps import External, Planned, Step, heights, plan, requirements, step


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class MakeConfig:
    stage: ClassVar[str] = "make"
    version: ClassVar[int] = 1

    seed: int = 0
    words: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class AddConfig:
    stage: ClassVar[str] = "add"
    version: ClassVar[int] = 1

    amount: int = 1


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class NewAddConfig:
    stage: ClassVar[str] = "add"
    version: ClassVar[int] = 2

    amount: int = 1


def names(planned: list[Planned]) -> list[str]:
    return [one.step.name for one in planned]


def fingerprint(target: Step) -> str:
    return plan(target)[-1].fingerprint


def test_a_step_is_called_after_its_stage_unless_it_has_a_name() -> None:
    assert step(MakeConfig()).name == "make"
    assert step(MakeConfig(), name="seeds").name == "seeds"


def test_an_input_of_none_is_left_out() -> None:
    assert step(AddConfig(), numbers=step(MakeConfig()), more=None).inputs.keys() == {"numbers"}


@pytest.mark.parametrize(
    "value", ["runs/make", Path("runs/make"), 3, MakeConfig(), [], ("runs/make",), (External("x"),)]
)
def test_an_input_of_another_kind_is_refused(value: object) -> None:
    with pytest.raises(
        TypeError, match="`numbers` must be a step, a tuple of steps or an External"
    ):
        step(AddConfig(), numbers=value)


def test_inputs_come_before_what_they_go_into() -> None:
    made = step(MakeConfig())
    one = step(AddConfig(amount=1), name="one", numbers=made)
    two = step(AddConfig(amount=2), name="two", numbers=one, others=(made,))
    assert names(plan(two)) == ["make", "one", "two"]


def test_a_shared_step_is_planned_once() -> None:
    made = step(MakeConfig())
    one = step(AddConfig(amount=1), name="one", numbers=made)
    two = step(AddConfig(amount=2), name="two", numbers=made)
    both = step(AddConfig(), name="both", numbers=(one, two, one))
    assert names(plan(both, two, made)) == ["make", "one", "two", "both"]


def test_targets_are_planned_in_the_order_given() -> None:
    one, two = step(MakeConfig(seed=1), name="one"), step(MakeConfig(seed=2), name="two")
    assert names(plan(two, one)) == ["two", "one"]
    assert plan() == []


def test_equal_settings_and_inputs_are_one_step_whatever_it_is_called() -> None:
    first = step(AddConfig(), name="first", numbers=step(MakeConfig(), name="numbers"))
    second = step(AddConfig(), name="second", numbers=step(MakeConfig()))
    planned = plan(first, second)
    assert names(planned) == ["numbers", "first"]
    third = step(AddConfig(amount=3), numbers=second)
    assert plan(first, third)[-1].inputs == {"numbers": planned[-1].folder}


def test_the_name_stands_in_the_folder_and_not_in_the_fingerprint() -> None:
    (here,), (there,) = plan(step(MakeConfig(), name="here")), plan(step(MakeConfig()))
    assert here.fingerprint == there.fingerprint
    assert here.folder == f"here-{here.fingerprint[:8]}"
    assert there.folder == f"make-{here.fingerprint[:8]}"


def test_a_changed_setting_changes_every_fingerprint_after_it_and_none_before() -> None:
    def chain(seed: int = 0, amount: int = 1) -> list[str]:
        made = step(MakeConfig(seed=seed))
        added = step(AddConfig(amount=amount), numbers=made)
        several = step(AddConfig(amount=7), numbers=(made, added))
        return [one.fingerprint for one in plan(several)]

    before = chain()
    assert chain() == before
    assert [a == b for a, b in zip(chain(seed=1), before, strict=True)] == [False] * 3
    assert [a == b for a, b in zip(chain(amount=2), before, strict=True)] == [True, False, False]


def test_version_input_name_and_order_of_inputs_enter_the_fingerprint() -> None:
    one, two = step(MakeConfig(seed=1)), step(MakeConfig(seed=2))
    different = [
        step(AddConfig(), numbers=one),
        step(NewAddConfig(), numbers=one),
        step(AddConfig(), others=one),
        step(AddConfig(), numbers=(one,)),
        step(AddConfig(), numbers=(one, two)),
        step(AddConfig(), numbers=(two, one)),
        step(AddConfig()),
    ]
    assert len({fingerprint(target) for target in different}) == len(different)


def test_the_order_in_which_inputs_are_named_does_not_matter() -> None:
    one, two = step(MakeConfig(seed=1)), step(MakeConfig(seed=2))
    ab = step(AddConfig(), a=one, b=two)
    ba = step(AddConfig(), b=two, a=one)
    assert fingerprint(ab) == fingerprint(ba)


def test_the_content_of_a_file_enters_the_fingerprint(tmp_path: Path) -> None:
    file = tmp_path / "words.yaml"
    file.write_text("mask")
    before = fingerprint(step(MakeConfig(words=file)))
    file.write_text("screen")
    assert fingerprint(step(MakeConfig(words=file))) != before


def test_an_external_model_is_named_and_not_planned() -> None:
    def caption(name: str) -> Planned:
        (planned,) = plan(step(AddConfig(), model=External(name)))
        return planned

    planned = caption("hub/model@0123")
    assert planned.inputs == {"model": "hub/model@0123"}
    assert list(requirements(planned)) == []
    assert planned.fingerprint != caption("hub/model@4567").fingerprint


def test_an_external_model_whose_content_is_known_is_the_same_wherever_it_lies() -> None:
    def caption(name: str, content: str | None = None) -> Planned:
        return plan(step(AddConfig(), model=External(name, "clip", content=content)))[-1]

    here, there = caption("/here", "clip@0123"), caption("/there", "clip@0123")
    assert here.fingerprint == there.fingerprint
    assert here.inputs == {"model": "clip@0123"}
    assert here.fingerprint != caption("/here", "clip@4567").fingerprint
    assert here.fingerprint != caption("/here").fingerprint


def test_requirements_are_the_folders_of_the_steps_that_go_in() -> None:
    made, more = step(MakeConfig()), step(MakeConfig(seed=1), name="more")
    target = step(AddConfig(), numbers=made, others=(made, more), model=External("x"))
    planned = plan(target)
    folders = [one.folder for one in planned]
    assert list(requirements(planned[-1])) == [folders[0], folders[0], folders[1]]
    assert planned[-1].inputs == {
        "numbers": folders[0],
        "others": folders[:2],
        "model": "x",
    }


def test_a_planned_step_is_plain_data() -> None:
    planned = plan(step(AddConfig(), name="sum", numbers=(step(MakeConfig()),)))[-1]
    data = planned.to_dict()
    assert json.loads(json.dumps(data)) == data
    assert data == {
        "name": "sum",
        "stage": "add",
        "version": 1,
        "config": {"amount": 1},
        "inputs": {"numbers": [plan(step(MakeConfig()))[0].folder]},
        "fingerprint": planned.fingerprint,
        "folder": f"sum-{planned.fingerprint[:8]}",
    }


def test_planning_a_diamond_of_many_layers_takes_no_time() -> None:
    target = step(MakeConfig())
    for layer in range(60):
        target = step(AddConfig(amount=layer), left=target, right=target)
    assert len(plan(target)) == 61


def test_the_height_of_a_step_is_the_longest_chain_that_waits_for_it() -> None:
    root = step(MakeConfig(), name="root")
    first = step(AddConfig(amount=1), name="first", numbers=root)
    second = step(AddConfig(amount=2), name="second", numbers=first)
    aside = step(AddConfig(amount=3), name="aside", numbers=root)
    steps = plan(aside, second)
    found = {one.step.name: heights(steps)[one.folder] for one in steps}
    assert found == {"root": 2, "first": 1, "second": 0, "aside": 0}
