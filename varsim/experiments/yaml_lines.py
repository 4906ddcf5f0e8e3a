"""Read YAML with the line of every value, so that errors can name the line.

Plain words have the meaning of YAML 1.2 (core schema): `1e-3` is a number, and `on` and `yes` are
words. PyYAML follows YAML 1.1, which reads these words differently. ADR 29 says why varsim does not
use another library.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Final

import yaml

from varsim.errors import ConfigError
from varsim.experiments.key_locations import KeyPath
from varsim.visible import OBEYED

MAX_CHARACTERS: Final = 2**20
"""Length limit of a text. A model with thousands of variables needs less."""

MAX_BYTES: Final = 4 * MAX_CHARACTERS
"""Size limit of a file: UTF-8 has at most four bytes for a character."""

MAX_VALUES: Final = 100_000
"""Limit of the number of values. An alias counts as often as the value that it stands for."""

_MAX_DEPTH: Final = 20

_MAX_DIGITS: Final = 100
"""Length limit of an integer: Python refuses to convert much longer integers to or from text."""


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML mapping, with the line of each value."""

    values: dict[str, Any]
    lines: dict[KeyPath, int]  # counted from 1


class _RefusedError(yaml.MarkedYAMLError):
    """Valid YAML that is too large or too deep for an experiment."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 - as PyYAML declares it


_WORDS: Final[list[tuple[str, str, str]]] = [
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("merge", "<<", "<"),
]
for _tag, _pattern, _first in _WORDS:
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}",
        re.compile(rf"^(?:{_pattern})$"),
        ["" if letter == "\0" else letter for letter in _first],
    )


def _integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    if len(text) > _MAX_DIGITS:
        problem = f"an integer of {len(text):,} characters; the limit is {_MAX_DIGITS}"
        raise _RefusedError(problem=problem, problem_mark=node.start_mark)
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


def _float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    text, value = str(loader.construct_scalar(node)), loader.construct_yaml_float(node)
    if math.isinf(value) and "inf" not in text.lower():
        problem = f"the number {text}, which is too large for a float (infinity is .inf)"
        raise _RefusedError(problem=problem, problem_mark=node.start_mark)
    return value


_Loader.add_constructor("tag:yaml.org,2002:float", _float)


def load(text: str, name: str) -> Document:
    """Read a YAML mapping.

    Args:
        name: The name of the file, for errors.
    Raises:
        ConfigError: The text is not valid YAML, not a mapping, too large, or has a duplicate key.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(
            f"{name}: {len(text):,} characters; an experiment has at most {MAX_CHARACTERS:,}"
        )
    try:
        _check_size(text)
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return Document({}, {})
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(
                f"{name}:{node.start_mark.line + 1}: an experiment is a mapping of keys to values"
            )
        lines: dict[KeyPath, int] = {}
        _note_lines(node, (), lines, name)
        return Document(loader.construct_document(node), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        what = "" if isinstance(error, _RefusedError) else "not valid YAML: "
        raise ConfigError(f"{name}{line}: {what}{error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: not valid YAML: {error}") from error


def _check_size(text: str) -> None:
    """Refuse a text that would need much more memory than its length, before loading the text.

    Raises:
        _RefusedError: The text has more than `MAX_VALUES` values, or is nested too deeply.
    """
    count = 0  # values so far
    below = [0]  # levels below each open node so far; the first item is for the document
    starts: list[tuple[str | None, int]] = []  # of each open node: anchor, `count` before the node
    known: dict[str | None, tuple[int, int]] = {}  # anchor → number of values, levels below
    for event in yaml.parse(text, Loader=_Loader):
        depth, levels = len(starts), 0
        match event:
            case yaml.ScalarEvent():
                count += 1
                known[event.anchor] = 1, 0
            case yaml.AliasEvent():
                if event.anchor not in known:
                    raise _refusal("an alias inside the value that it stands for", event)
                values, levels = known[event.anchor]
                count += values
            case yaml.CollectionStartEvent():
                starts.append((event.anchor, count))
                below.append(0)
                count += 1
            case yaml.CollectionEndEvent():
                anchor, before = starts.pop()
                depth, levels = len(starts), below.pop()
                known[anchor] = count - before, levels
            case _:
                continue
        if depth + levels > _MAX_DEPTH:
            raise _refusal(f"more than {_MAX_DEPTH} levels deep", event)
        if count > MAX_VALUES:
            raise _refusal(f"more than {MAX_VALUES:,} values", event)
        if not isinstance(event, yaml.CollectionStartEvent):  # the node is complete
            below[-1] = max(below[-1], levels + 1)


def _refusal(problem: str, event: yaml.Event) -> _RefusedError:
    mark: Any = event.start_mark
    return _RefusedError(problem=problem, problem_mark=mark)


def _note_lines(node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], name: str) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, str(key.value))
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"{name}:{line}: a key must be a word")
            if inner in lines:
                raise ConfigError(
                    f"{name}:{line}: duplicate key {key.value!r}; the first is on line "
                    f"{lines[inner]}"
                )
            lines[inner] = line
            _note_lines(value, inner, lines, name)
    elif isinstance(node, yaml.SequenceNode):
        for position, value in enumerate(node.value):
            lines[*path, str(position)] = value.start_mark.line + 1
            _note_lines(value, (*path, str(position)), lines, name)


def value_of(text: str) -> Any:
    """Return the value of a YAML text, as in `key=value` on the command line.

    Raises:
        ConfigError: The text is not valid YAML.
    """
    try:
        _check_size(text)
        return _Loader(text).get_single_data()
    except _RefusedError as error:
        raise ConfigError(f"a value has {error.problem}: {text[:40]!r}…") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{text!r} is not a YAML value: quote it") from error


def dump(values: dict[str, Any]) -> str:
    """Return the mapping as YAML, in the order of its keys."""
    return yaml.dump(
        values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False
    )


def one_line(values: dict[str, Any]) -> str:
    """Return the mapping as one line of YAML, in braces."""
    text: str = yaml.dump(
        values,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=True,
        width=math.inf,
    )
    return text.rstrip("\n")


class _Dumper(yaml.SafeDumper):
    """Writes escapes instead of the characters that a terminal executes."""

    def write_double_quoted(self, text: str, split: bool = True) -> None:  # noqa: FBT001, FBT002
        """Write a text in double quotes."""
        allowed = self.allow_unicode
        self.allow_unicode = allowed and not OBEYED.search(text)
        super().write_double_quoted(text, split)
        self.allow_unicode = allowed


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = '"' if OBEYED.search(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _text)


_Dumper.add_implicit_resolver(  # quotes a word that this loader reads as a number
    "tag:yaml.org,2002:float", re.compile(_WORDS[3][1].join(("^(?:", ")$"))), list("-+.0123456789")
)
