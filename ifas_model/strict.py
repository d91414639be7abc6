"""Strict building of configs from plain data and YAML files: what is unknown is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from ifas_model.errors import ConfigError

STRICT = ConfigDict(extra="forbid")
"""Setting of every config dataclass: an unknown field is an error."""

MAX_YAML_BYTES = 1_000_000
"""Largest settings file that is read; the project's own are a few kilobytes."""

MAX_YAML_DEPTH = 50
"""Deepest nesting that is read; the project's own files nest four deep."""

MAX_NUMBER_SIGNS = 100
"""Longest number that is read, in characters; of longer ones Python can neither print all nor
compute some in reasonable time."""

T = TypeVar("T")


def build(kind: type[T], data: Mapping[str, Any], *, where: str | Path) -> T:
    """Build a config dataclass from plain data, strictly.

    Args:
        kind: The config dataclass.
        data: Field values by name.
        where: Source of the data, for the message; the path of a settings file, whose lines it
            then names.

    Raises:
        ConfigError: If a field is unknown, missing, or of a wrong type or value; the message names
            the dotted field, and for an unknown one the nearest known field.
    """
    try:
        return TypeAdapter(kind).validate_python(dict(data))
    except ValidationError as error:
        raise _explain(kind, error, where) from error


def _explain(kind: type, error: ValidationError, where: str | Path) -> ConfigError:
    """Return the error in our words; an unknown field comes first, since others may follow."""
    found = error.errors()
    unknown = [one for one in found if one["type"] == "unexpected_keyword_argument"]
    first = (unknown or found)[0]
    location, owner = _place(kind, first["loc"])
    field = ".".join(str(step) for step in location)
    fix = f"Correct this field of `{kind.__name__}`."
    if unknown:
        known = sorted(f.name for f in dataclasses.fields(owner))
        near = get_close_matches(str(location[-1]), known, n=1) or known
        what = f"A setting must be one of `{owner.__name__}`'s, but is {field!r}."
        fix = f"Did you mean {', '.join(near)}?"
    elif first["type"] == "missing":
        what = f"`{field}` must be given, but is absent."
    elif first["type"] == "union_tag_invalid":
        context = first["ctx"]
        location = (*location, tag := context["discriminator"].strip("'"))
        what = (
            f"`{field}.{tag}` must be one of {context['expected_tags']}, but is {context['tag']!r}."
        )
    elif first["type"] == "union_tag_not_found":
        tag = first["ctx"]["discriminator"].strip("'")
        words = ", ".join(repr(name) for name in _tags(owner, str(location[-1]), tag))
        what = f"`{field}.{tag}` must be one of {words}, but is absent."
        fix = f"Name the `{tag}` among the settings of `{field}`."
    elif first["type"] == "value_error":
        what = str(first["ctx"]["error"])
    else:
        rule = first["msg"].split(", unable to parse")[0]
        rule = f" must {rule[13:]}" if rule.startswith("Input should ") else f": {rule}"
        what = f"`{field}`{rule}, but is {_shorten(first['input'])}."
    return ConfigError(what, where=locate(where, location), fix=fix)


def _place(kind: Any, location: tuple[str | int, ...]) -> tuple[tuple[str | int, ...], Any]:  # noqa: ANN401 - a dataclass
    """Return a location as the file has it, and the config dataclass of its last field.

    Where a field may be one of several dataclasses, pydantic tells by one more step which was
    meant, and where a key is wrong, it ends in ``[key]``; no file has these steps.
    """
    if location[-1:] == ("[key]",):
        location = location[:-1]
    steps: list[str | int] = []
    choices: list[Any] = []
    for step in location:
        if len(choices) > 1:
            kind = next((choice for choice in choices if _is_meant(choice, step)), kind)
            choices = []
            continue
        if len(choices) == 1 and isinstance(step, str):
            kind = choices[0]
        steps.append(step)
        if isinstance(step, str):
            hint = get_type_hints(kind).get(step)
            choices = [k for k in (hint, *get_args(hint)) if dataclasses.is_dataclass(k)]
    return tuple(steps), kind


def _tags(owner: Any, field: str, tag: str) -> list[str]:  # noqa: ANN401 - a dataclass
    """Return the words by which the dataclasses that a field may hold are known."""
    choices = get_args(get_type_hints(owner)[field])
    return [word for choice in choices for word in get_args(get_type_hints(choice)[tag])]


def _is_meant(choice: Any, tag: str | int) -> bool:  # noqa: ANN401 - a dataclass
    """Tell whether a dataclass is the one that bears a tag in its field of one allowed word."""
    return any(get_args(hint) == (tag,) for hint in get_type_hints(choice).values())


def locate(where: str | Path, location: Sequence[str | int]) -> str:
    """Return ``source:line: dotted.field``; the line only where the source is a file that has it.

    Args:
        where: Name of the source, or the path of a file that `read_yaml` reads.
        location: Keys, and numbers of list items, from the top.
    """
    line = _line_of(where, location) if isinstance(where, Path) else None
    source = str(where) if line is None else f"{where}:{line}"
    return ": ".join([source, ".".join(str(step) for step in location)] if location else [source])


def _line_of(path: Path, location: Sequence[str | int]) -> int | None:
    """Return the line, from 1, of the innermost step of a location that the file has."""
    line, node = None, yaml.compose(path.read_text(encoding="utf-8"), Loader=_StrictLoader)
    for step in location:
        if isinstance(node, yaml.MappingNode):
            found = [pair for pair in node.value if pair[0].value == str(step)]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            found = [(item, item) for item in node.value[step : step + 1]]
        else:
            break
        if not found:
            break
        line, node = found[0][0].start_mark.line + 1, found[0][1]
    return line


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML that refuses duplicate keys, anchors, aliases, tags, merge keys and deep nesting.

    What Python cannot hold, it refuses with its line.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        for name, refused in (("anchor", "anchors and aliases"), ("tag", "tags")):
            if getattr(event, name, None) is not None:  # an alias has no tag
                raise _problem(f"{refused} are not allowed here", event.start_mark)
        if self.depth == MAX_YAML_DEPTH:
            raise _problem(f"it nests deeper than {MAX_YAML_DEPTH} levels", event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        if isinstance(node, yaml.ScalarNode):
            _check_scalar(node)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ANN401
        try:
            return super().construct_object(node, deep)
        except ValueError as error:  # e.g. the 30th of February
            raise _problem(str(error), node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise _problem("merge keys (<<) are not allowed here", key_node.start_mark)
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable) or key in seen:
                wrong = "occurs twice" if isinstance(key, Hashable) else "is no single value"
                raise _problem(f"key {_shorten(key)} {wrong}", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _check_scalar(node: yaml.ScalarNode) -> None:
    is_number = node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
    if is_number and len(node.value) > MAX_NUMBER_SIGNS:
        raise _problem(f"a number is longer than {MAX_NUMBER_SIGNS} signs", node.start_mark)
    if any("\ud800" <= sign <= "\udfff" for sign in node.value):
        raise _problem("lone surrogates are no text", node.start_mark)


def _problem(problem: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping, safely.

    Raises:
        ConfigError: If the file cannot be read, is larger than `MAX_YAML_BYTES`, is no YAML, holds
            a duplicate key, an alias, a tag, or what is too deep or long to be meant, or is not a
            mapping; the message names file and, where there is one, line.
    """
    where, fix = str(path), "Correct the file."
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_YAML_BYTES + 1)
        if len(raw) > MAX_YAML_BYTES:
            raise ConfigError(
                f"A settings file must be at most {MAX_YAML_BYTES} bytes, but is larger.",
                where=where,
                fix="Name the right file.",
            )
        data = yaml.load(raw.decode("utf-8"), Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise ConfigError(
            f"A settings file must be readable, but: {error.strerror or error}.",
            where=where,
            fix=fix,
        ) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # "\\UFFFFFFFF" overflows
        mark = getattr(error, "problem_mark", None)
        line = f"{where}:{mark.line + 1}" if mark else where
        problem = " ".join((getattr(error, "problem", None) or str(error)).split())
        raise ConfigError(
            f"A settings file must be YAML, but {problem.removeprefix('but ').rstrip('.')}.",
            where=line,
            fix=fix,
        ) from error
    if not isinstance(data, dict):
        found = "nothing" if data is None else f"a {type(data).__name__}"
        raise ConfigError(
            f"A settings file must hold `key: value` lines, but holds {found}.",
            where=where,
            fix=fix,
        )
    return data
