"""The functions by which commands print: no control character of a file reaches a terminal."""

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


def test_texts_and_json_have_escapes(capsys: pytest.CaptureFixture[str]):
    say(WILD)
    say_json([WILD], 1)
    out = capsys.readouterr().out

    assert None is OBEYED.search(out)
    first, _, rest = out.partition("\n")
    assert r"a\x1b[31m\x7f\x9b\u202eb" == first
    assert [WILD] == json.loads(rest)


def test_yaml_has_escapes_and_the_same_value():
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
def test_commands_print_by_these_functions(file: Path):
    """The line of progress of `bench` moves the cursor, and a completion script is constant."""
    printed = re.findall(r"^\s*(?:click\.echo|print)\((.*)$", file.read_text("utf-8"), re.MULTILINE)
    allowed = "_CLEAR_LINE" if file.stem == "bench" else "kind(main"
    assert [] == [one for one in printed if allowed not in one]
