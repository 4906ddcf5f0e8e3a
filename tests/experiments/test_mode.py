"""The syntax of `--mode`."""

from __future__ import annotations

import pytest

from varsim.errors import ConfigError
from varsim.experiments.mode_text import Mode, parse_mode
from varsim.spec import VariableSynchronization

AUTO, NONE, ON_WRITE, ON_READ = VariableSynchronization

MODES = (
    "  modes: auto, none, on_write, on_read, bounded_staleness:S, central, compressed:INNER:BY, "
    "local_sgd:K, adaptive"
)
EXPECTED = "expected MODE; or NAME=MODE,NAME=MODE for some variables"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("auto", Mode(AUTO, {})),
        ("none", Mode(NONE, {})),
        ("on_write", Mode(ON_WRITE, {})),
        ("ON_READ", Mode(ON_READ, {})),
        ("on-read", Mode(ON_READ, {})),
        ("w=on_read", Mode(None, {"w": ON_READ})),
        ("w=on_read, b=on_write", Mode(None, {"w": ON_READ, "b": ON_WRITE})),
        ("on_write,moving_*=on_read", Mode(ON_WRITE, {"moving_*": ON_READ})),
        ("adaptive", Mode(AUTO, {}, adaptive=True)),
        ("adaptive,w=on_read", Mode(AUTO, {"w": ON_READ}, adaptive=True)),
        ("a=b=none", Mode(None, {"a=b": NONE})),
    ],
)
def test_a_mode_sets_all_free_variables_or_named_variables(text: str, expected: Mode):
    assert expected == parse_mode(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("on_raed", f"'on_raed' is not a mode; did you mean 'on_read'?\n{MODES}"),
        ("w=onwrite", f"'onwrite' is not a mode; did you mean 'on_write'?\n{MODES}"),
        (
            "w=foo:3",
            f"'foo:3' is not a mode\n{MODES}\n  If a package provides 'foo', install the package: "
            "it has the entry point foo in the group varsim.policies",
        ),
        ("", f"'' is not a mode\n{MODES}"),
        ("on_read,", f"'' is not a mode\n{MODES}"),
        ("=on_read", f"'=on_read' does not name a variable: {EXPECTED}"),
        (
            "w=adaptive",
            "'w=adaptive': adaptive cannot be set for single variables, because it applies to all "
            "AUTO variables of a strategy; set auto: adaptive, and give the mode on_write to the "
            "variables that must be exchanged at every write",
        ),
        (
            "on_read,on_write",
            f"'on_read,on_write' has two modes without a variable: {EXPECTED}",
        ),
    ],
)
def test_the_error_for_a_wrong_mode_names_the_nearest_one(text: str, problem: str):
    with pytest.raises(ConfigError) as raised:
        parse_mode(text)

    assert problem == str(raised.value)


@pytest.mark.parametrize("text", ["bounded_staleness:-1", "bounded-staleness:-1"])
def test_a_negative_parameter_is_refused_by_its_policy(text: str) -> None:
    with pytest.raises(ConfigError, match=r"BoundedStaleness\(-1\): expected an integer from 0"):
        parse_mode(text)
