import json
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field
from pydantic.dataclasses import dataclass

from ifas_model.errors import ConfigError, ScfError
from ifas_model.strict import MAX_YAML_BYTES, STRICT, build, read_yaml


class Color(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Inner:
    rate: float = Field(default=0.1, ge=0)
    weights: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Toy:
    stage: ClassVar[str] = "toy"
    version: ClassVar[int] = 1

    name: str
    depth: int = Field(default=2, ge=1)
    color: Color = Color.RED
    inner: Inner = Inner()
    maybe: Inner | None = None
    several: tuple[Inner, ...] = ()
    by_name: dict[Color, Path] = Field(default_factory=dict)
    file: Path | None = None

    def __post_init__(self) -> None:
        if self.name == self.color:
            raise ValueError(f"`name` must not be a color, but is {self.name!r}.")


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Calm:
    kind: Literal["calm"] = "calm"
    inner: Inner = Inner()


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Loud:
    kind: Literal["loud"] = "loud"
    volume: int = 1


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Choir:
    voice: Calm | Loud = Field(default=Calm(), discriminator="kind")
    several: tuple[Inner, ...] = ()


def refusal(data: dict[str, object], where: str | Path = "settings.yaml") -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        build(Toy, data, where=where)
    return caught.value


def unreadable(path: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    return caught.value


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.yaml"


# Strict building


def test_build_returns_the_config() -> None:
    made = build(Toy, {"name": "a", "inner": {"rate": 1}}, where="settings.yaml")
    assert made == Toy(name="a", inner=Inner(rate=1.0))


def test_an_unknown_field_is_answered_with_the_nearest() -> None:
    error = refusal({"name": "a", "dept": 3})
    assert error.what == "A setting must be one of `Toy`'s, but is 'dept'."
    assert error.where == "settings.yaml: dept"
    assert error.fix == "Did you mean depth?"


def test_an_unknown_field_is_told_before_the_required_one_that_it_may_have_been() -> None:
    error = refusal({"nam": "a"})
    assert error.what == "A setting must be one of `Toy`'s, but is 'nam'."
    assert error.fix == "Did you mean name?"


def test_an_unknown_field_like_no_other_is_answered_with_all() -> None:
    fix = refusal({"name": "a", "0123456789": 3}).fix
    assert fix == "Did you mean by_name, color, depth, file, inner, maybe, name, several?"


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"inner": {"rat": 1}}, "inner.rat"),
        ({"maybe": {"rat": 1}}, "maybe.rat"),
        ({"several": [{}, {"rat": 1}]}, "several.1.rat"),
    ],
)
def test_an_unknown_nested_field_is_answered_with_the_nearest_beside_it(data, field: str) -> None:
    error = refusal({"name": "a"} | data)
    assert error.what == f"A setting must be one of `Inner`'s, but is {field!r}."
    assert error.fix == "Did you mean rate?"


@pytest.mark.parametrize(
    ("data", "owner", "field"),
    [
        ({"kind": "loud", "volum": 1}, "Loud", "volume"),
        ({"kind": "calm", "volum": 1}, "Calm", "kind"),
        ({"kind": "calm", "inner": {"rat": 1}}, "Inner", "rate"),
    ],
)
def test_an_unknown_field_of_one_of_several_kinds_is_told_as_the_file_has_it(
    data: dict, owner: str, field: str, file: Path
) -> None:
    file.write_text(json.dumps({"several": [], "voice": data}, indent=1))
    with pytest.raises(ConfigError) as caught:
        build(Choir, read_yaml(file), where=file)
    unknown = "inner.rat" if "inner" in data else "volum"
    line = 5 if unknown == "volum" else 6
    assert caught.value.what == f"A setting must be one of `{owner}`'s, but is 'voice.{unknown}'."
    assert caught.value.where == f"{file}:{line}: voice.{unknown}"
    assert field in caught.value.fix


@pytest.mark.parametrize(
    ("voice", "what"),
    [
        ({"kind": "dumb"}, "`voice.kind` must be one of 'calm', 'loud', but is 'dumb'."),
        ({"kind": "loud", "volume": "x"}, "`voice.volume` must be a valid integer, but is 'x'."),
    ],
)
def test_a_wrong_value_of_one_of_several_kinds_is_told_as_the_file_has_it(
    voice: dict, what: str, file: Path
) -> None:
    file.write_text(json.dumps({"voice": voice}, indent=1))
    with pytest.raises(ConfigError) as caught:
        build(Choir, read_yaml(file), where=file)
    assert caught.value.what == what
    line = 3 if len(voice) == 1 else 4
    assert caught.value.where == f"{file}:{line}: {what.split('`')[1]}"


def test_stage_and_version_are_no_settings() -> None:
    assert "is 'stage'" in refusal({"name": "a", "stage": "b"}).what


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ({}, "`name` must be given, but is absent."),
        ({"name": 3}, "`name` must be a valid string, but is 3."),
        ({"name": None}, "`name` must be a valid string, but is None."),
        ({"name": "a", "depth": "x"}, "`depth` must be a valid integer, but is 'x'."),
        ({"name": "a", "depth": 0}, "`depth` must be greater than or equal to 1, but is 0."),
        ({"name": "a", "color": "blue"}, "`color` must be 'red', but is 'blue'."),
        (
            {"name": "a", "inner": {"rate": -1}},
            "`inner.rate` must be greater than or equal to 0, but is -1.",
        ),
        (
            {"name": "a", "inner": 3},
            "`inner` must be a dictionary or an instance of Inner, but is 3.",
        ),
        ({"name": "a", 1: 2}, "`1`: Keys should be strings, but is 1."),
        ({"name": "red"}, "`name` must not be a color, but is 'red'."),
    ],
)
def test_a_wrong_value_is_told_with_its_field_and_rule(data, what: str) -> None:
    assert refusal(data).what == what


def test_a_long_value_is_told_in_short() -> None:
    assert len(refusal({"name": ["x" * 1000]}).what) < 200


def test_a_refused_setting_of_a_file_is_told_with_its_line(file: Path) -> None:
    file.write_text(
        "# toy\nname: a\n\ninner:\n  rate: 1\n  rat: 2\nseveral:\n  - rate: 1\n  - rate: x\n"
    )
    assert refusal(read_yaml(file), file).where == f"{file}:6: inner.rat"
    file.write_text(file.read_text().replace("  rat: 2\n", ""))
    assert refusal(read_yaml(file), file).where == f"{file}:8: several.1.rate"


def test_a_wrong_key_is_told_as_the_file_has_it(file: Path) -> None:
    file.write_text("name: a\nby_name:\n  red: x\n  blue: y\n")
    assert refusal(read_yaml(file), file).where == f"{file}:4: by_name.blue"


def test_a_setting_that_the_file_does_not_hold_has_no_line(file: Path) -> None:
    file.write_text("depth: 3\n")
    assert refusal(read_yaml(file), file).where == f"{file}: name"
    assert refusal(read_yaml(file) | {"name": "red"}, file).where == str(file)


# Settings files


def test_a_settings_file_is_read(file: Path) -> None:
    file.write_text(
        "name: é\nsizes: [1, 2.5, true, null, 'x']\ninner: {rate: 1}\n", encoding="utf-8"
    )
    data = {"name": "é", "sizes": [1, 2.5, True, None, "x"], "inner": {"rate": 1}}
    assert read_yaml(file) == data


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "key 'a' occurs twice"),
        ("a:\n  b: 1\n  b: 2\n", 3, "key 'b' occurs twice"),
        ("? [a]\n: b\n", 1, "key ['a'] is no single value"),
        ("a: 1\nb: &x 1\n", 2, "anchors and aliases are not allowed here"),
        ("a: 1\nb: *x\n", 2, "anchors and aliases are not allowed here"),
        ("a: 1\nb: !!python/object/apply:os.getcwd []\n", 2, "tags are not allowed here"),
        ("a: !!int ''\n", 1, "tags are not allowed here"),
        ("a: !!timestamp x\n", 1, "tags are not allowed here"),
        ("<<: {a: 1}\n", 1, "merge keys (<<) are not allowed here"),
        ("a: =\n", 1, "could not determine a constructor"),
        ("a: 1\n---\nb: 1\n", 2, "found another document"),
        ("a: 1\n b: 2\n", 2, "mapping values are not allowed here"),
        ("a: [1,\n", 2, "expected"),
        ("a:\n\t- b\n", 2, r"found character '\t'"),
        ("a:\n- 2024-13-45\n", 2, "month must be in 1..12."),
        ("a: 0x_\n", 1, "invalid literal for int()"),
        ("a: " + "9" * 5000, 1, "a number is longer than 100 signs"),
        ("a: 0x" + "f" * 5000, 1, "a number is longer than 100 signs"),
        ("0x" + "f" * 120 + ": a\n", 1, "a number is longer than 100 signs"),
        ("a: 1" + ":1" * 200 + ".5\n", 1, "a number is longer than 100 signs"),
        ('a: b\nc: "\\ud800"\n', 2, "lone surrogates are no text"),
        ('a: b\n"\\ud800": c\n', 2, "lone surrogates are no text"),
    ],
)
def test_a_file_that_is_no_strict_yaml_is_refused_with_its_line(
    text: str, line: int, problem: str, file: Path
) -> None:
    file.write_text(text)
    error = unreadable(file)
    assert error.what.startswith("A settings file must be YAML, but ")
    assert problem in error.what
    assert error.where == f"{file}:{line}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: \0", "special characters are not allowed"),
        ('a: "\\U00110000"', "chr() arg not in range"),
        ('a: "\\Uffffffff"', "too large to convert"),
    ],
)
def test_what_python_cannot_hold_is_refused(text: str, problem: str, file: Path) -> None:
    file.write_text(text)
    assert problem in unreadable(file).what
    assert unreadable(file).where == str(file)


@pytest.mark.parametrize("opening", ["[", "{", "a: [", "? ", "- "])
def test_a_file_of_deep_nesting_is_refused(opening: str, file: Path) -> None:
    file.write_text(opening * 20_000)
    assert "it nests deeper than 50 levels" in unreadable(file).what
    assert unreadable(file).where == f"{file}:1"


def test_nesting_up_to_the_limit_is_read_and_refused_by_its_place(file: Path) -> None:
    file.write_text("name: " + "[" * 49 + "x" + "]" * 49 + "\n")
    assert "nests deeper" in unreadable(file).what
    file.write_text("name: " + "[" * 48 + "x" + "]" * 48 + "\n")
    assert refusal(read_yaml(file), file).where == f"{file}:1: name"


@pytest.mark.parametrize(
    ("text", "found"),
    [("", "nothing"), ("# only words\n", "nothing"), ("- 1\n", "a list"), ("word\n", "a str")],
)
def test_a_file_that_is_no_mapping_is_refused(text: str, found: str, file: Path) -> None:
    file.write_text(text)
    what = f"A settings file must hold `key: value` lines, but holds {found}."
    assert unreadable(file).what == what


def test_a_file_that_is_not_utf_8_is_refused(file: Path) -> None:
    file.write_bytes("name: é\n".encode("latin-1"))
    assert "'utf-8' codec can't decode byte 0xe9" in unreadable(file).what


def test_a_file_that_is_too_large_is_refused_before_it_is_parsed(file: Path) -> None:
    file.write_bytes(b"[" * (MAX_YAML_BYTES + 1))
    assert unreadable(file).what == "A settings file must be at most 1000000 bytes, but is larger."


def test_an_absent_file_and_a_folder_are_refused(file: Path) -> None:
    assert "No such file" in unreadable(file).what
    file.mkdir()
    assert "Is a directory" in unreadable(file).what
    assert unreadable(file).where == str(file)


@given(st.text(alphabet=st.sampled_from("ab01:-_.[]{},&*!|>'\"%@#?~=<x\n \t"), max_size=40))
def test_any_text_is_a_mapping_or_an_expected_error(tmp_path_factory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(text)
    try:
        data = read_yaml(file)
    except ScfError:
        return
    assert isinstance(data, dict)
    try:
        build(Toy, data, where=file)
    except ScfError as error:
        assert error.where.startswith(str(file))  # noqa: PT017 - most texts are refused
