import json
from enum import StrEnum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field
from pydantic.dataclasses import dataclass

from ifas_model.strict import STRICT
from scf_pipeline.config import canonical, digest, to_data
from scf_pipeline.errors import ConfigError

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


class Color(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Inner:
    rate: float = 0.1
    weights: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Toy:
    name: str
    depth: int = 2
    color: Color = Color.RED
    inner: Inner = Inner()
    maybe: Inner | None = None
    several: tuple[Inner, ...] = ()
    by_name: dict[Color, Path] = Field(default_factory=dict)
    file: Path | None = None


@given(st.dictionaries(st.text(), plain, min_size=2), st.randoms(use_true_random=False))
def test_digest_does_not_depend_on_the_order_of_keys(data: dict, random: object) -> None:
    keys = list(data)
    random.shuffle(keys)
    assert digest({key: data[key] for key in keys}) == digest(data)


@given(plain, plain)
def test_digests_are_equal_exactly_where_the_canonical_text_is(a: object, b: object) -> None:
    assert (digest(a) == digest(b)) is (canonical(a) == canonical(b))


@given(plain)
def test_the_canonical_text_is_the_data_as_json(data: object) -> None:
    assert json.loads(canonical(data)) == data


def test_a_digest_is_the_same_on_every_machine() -> None:
    known = "3d92f6368f93f3cb36a4e7a721098054dfbfd705e31fa50409f2d99e0727a08c"
    assert digest({"b": [1, None], "a": "é"}) == known


def test_a_text_that_is_no_unicode_has_a_digest() -> None:
    assert digest("\udc80") != digest("\udc81")


def test_plain_data_of_a_config_is_json_of_all_its_fields() -> None:
    data = to_data(Toy(name="a", several=(Inner(rate=1),)))
    assert json.loads(json.dumps(data)) == data
    assert data == {
        "name": "a",
        "depth": 2,
        "color": "red",
        "inner": {"rate": 0.1, "weights": None},
        "maybe": None,
        "several": [{"rate": 1.0, "weights": None}],
        "by_name": {},
        "file": None,
    }


@pytest.mark.parametrize(
    "make",
    [
        lambda path: Toy(name="a", file=path),
        lambda path: Toy(name="a", inner=Inner(weights=path)),
        lambda path: Toy(name="a", maybe=Inner(weights=path)),
        lambda path: Toy(name="a", several=(Inner(), Inner(weights=path))),
        lambda path: Toy(name="a", by_name={Color.RED: path}),
    ],
)
def test_a_path_stands_for_the_content_of_its_file_however_deep(make, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.write_text("same")
    there.write_text("same")
    data = to_data(make(here))
    assert data == to_data(make(there))
    assert str(tmp_path) not in canonical(data)
    there.write_text("other")
    assert data != to_data(make(there))


def test_a_path_to_no_file_is_refused_with_its_field(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`inner\.weights` must name a readable file") as caught:
        to_data(Toy(name="a", inner=Inner(weights=tmp_path / "absent")))
    assert caught.value.where == str(tmp_path / "absent")
