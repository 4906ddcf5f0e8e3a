"""The functions that print the output of commands replace control characters by escapes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from varsim.cli import commands
from varsim.cli.output import say, say_json
from varsim.experiments import yaml_lines
from varsim.visible import OBEYED

WILD = "a\x1b[31m\x7f\x9b\u202eb"


def test_control_characters_are_escaped_in_texts_and_json(capsys: pytest.CaptureFixture[str]):
    say(WILD)
    say_json([WILD], 1)
    out = capsys.readouterr().out

    assert None is OBEYED.search(out)
    first, _, rest = out.partition("\n")
    assert r"a\x1b[31m\x7f\x9b\u202eb" == first
    assert [WILD] == json.loads(rest)


def test_control_characters_are_escaped_in_equal_yaml():
    values = {"name": WILD, "plain": "größer"}
    text = yaml_lines.dump(values)

    assert None is OBEYED.search(text)
    assert "plain: größer" in text
    assert values == yaml_lines.load(text, "x").values


@pytest.mark.parametrize(
    "file",
    sorted(Path(next(iter(commands.__path__))).glob("*.py")),
    ids=lambda file: file.stem,
)
def test_commands_print_only_with_the_functions_that_escape(file: Path):
    """Two exceptions are allowed: `bench` moves the cursor, and completion scripts are constant."""
    printed = re.findall(r"^\s*(?:click\.echo|print)\((.*)$", file.read_text("utf-8"), re.MULTILINE)
    allowed = "_CLEAR_LINE" if file.stem == "bench" else "kind(main"
    assert [] == [one for one in printed if allowed not in one]
