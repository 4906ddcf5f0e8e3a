"""YAML is read, and the line of every value is stored."""

from __future__ import annotations

import math
from typing import Any

import pytest

from varsim.errors import ConfigError
from varsim.experiments.yaml_lines import dump, load, value_of


def test_every_value_has_a_line():
    document = load(
        "name: x\nvariables:\n  w: {synchronization: on_read}\ndevices:\n- a\n- b\n", "f"
    )

    assert {
        ("name",): 1,
        ("variables",): 2,
        ("variables", "w"): 3,
        ("variables", "w", "synchronization"): 3,
        ("devices",): 4,
        ("devices", "0"): 5,
        ("devices", "1"): 6,
    } == document.lines


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3", 0.001),
        ("0.5", 0.5),
        (".5", 0.5),
        ("-3", -3),
        ("0o17", 15),
        ("0x1F", 31),
        ("010", 10),
        (".inf", math.inf),
        ("true", True),
        ("on", "on"),
        ("yes", "yes"),
        ("none", "none"),
        ("null", None),
        ("", None),
        ("12:30", "12:30"),
        ("2020-01-01", "2020-01-01"),
        ("cpu:0", "cpu:0"),
        ("'4'", "4"),
        ("[1, a]", [1, "a"]),
        ("{a: {b: 1}}", {"a": {"b": 1}}),
    ],
)
def test_scalars_have_the_types_of_yaml_1_2(text: str, expected: Any):
    assert expected == value_of(text)
    assert type(expected) is type(value_of(text))


def test_written_yaml_is_read_back():
    values = {
        "a": "1e-3",
        "b": 1e-3,
        "c": "on",
        "d": None,
        "e": [1, {"f": "x: y"}],
        "g": "4",
        "h": "",
    }

    assert values == load(dump(values), "f").values


DEEP_ALIASES = "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 40))
BILLION_LAUGHS = "a0: &a0 [lol]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: [", "f.yaml:2: not valid YAML:"),
        ("a: 1\n\tb: 2", "f.yaml:2: not valid YAML:"),
        ("a: 1\na: 2", "f.yaml:2: duplicate key 'a'; the first is on line 1"),
        ("- 1", "f.yaml:1: an experiment is a mapping of keys to values"),
        ("? [1]\n: 2", "f.yaml:1: a key must be a word"),
        ("a: !!python/name:os.system x", "f.yaml:1: not valid YAML:"),
        ("a: &x [*x]", "f.yaml:1: an alias inside the value that it stands for"),
        ("a: " + "[" * 100_000, "f.yaml:1: more than 20 levels deep"),
        ("a:\n  b: " + "1" * 5000, "f.yaml:2: an integer of 5,000 characters; the limit is 100"),
        ("a: " + "[" * 20 + "1" + "]" * 20, "f.yaml:1: more than 20 levels deep"),
        (DEEP_ALIASES, "f.yaml:20: more than 20 levels deep"),
        (BILLION_LAUGHS, "f.yaml:6: more than 100,000 values"),
        ("#" * 2**20 + "\n", "f.yaml: 1,048,577 characters; an experiment has at most 1,048,576"),
        ("a: \x00", "f.yaml: not valid YAML:"),
    ],
)
def test_an_error_in_yaml_has_its_line(text: str, problem: str):
    with pytest.raises(ConfigError) as raised:
        load(text, "f.yaml")

    assert str(raised.value).startswith(problem)


@pytest.mark.parametrize("text", ["[" * 5000, "&a [*a]", "9" * 5000])
def test_limits_of_files_hold_for_the_command_line(text: str):
    with pytest.raises(ConfigError, match="a value has "):
        value_of(text)


def test_an_empty_file_has_no_values():
    assert {} == load("# only a comment\n", "f").values
