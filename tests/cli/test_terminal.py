"""Escape sequences: when varsim writes them, and how it shows escape sequences of programs."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.analysis.build import parse_history
from tests.cli.on_terminal import on_terminal
from tests.cli.test_check import DIVERGED
from tests.report.benches import bench
from tests.report.summaries import lens, summary, variable_summary
from varsim.cli.main import main
from varsim.experiments import bench as measuring
from varsim.experiments import runner
from varsim.report.summary import Failure, Phase, RunStatus, Summary

ESCAPE = "\x1b"
COMMANDS = [
    ["run"],
    ["bench"],
    ["check"],
    ["explain", "on_read"],
    ["lens", "latest", "v"],
    ["whatif", "latest", "--set", "v=on_read"],
    ["advise"],
    ["workloads"],
    ["workloads", "digits"],
    ["schema"],
    ["completion", "bash"],
    ["--help"],
    ["lens", "nothing", "v"],
    ["explain", "nothing"],
]
DULL = {"NO_COLOR": {"NO_COLOR": "1"}, "dumb": {"TERM": "dumb"}}

HOSTILE = f"w{ESCAPE}[31m\x9b2J\u202e"
SHOWN = r"w\x1b[31m\x9b2J\u202e"


@pytest.fixture(autouse=True)
def _runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Provide a run with findings; replace the functions that run experiments or measure hosts."""
    monkeypatch.chdir(tmp_path)
    folder = Path("runs/latest")
    folder.mkdir(parents=True)
    parse_history(DIVERGED).write(folder)
    monkeypatch.setattr(runner, "run_experiment", _ran)
    monkeypatch.setattr(measuring, "run_bench", _measured)


def _ran(_experiment: Any, watcher: Any) -> Summary:
    print(f"printed {HOSTILE}\rover")
    done = summary(
        variable_summary(HOSTILE, lens(1, 2)), result={HOSTILE: HOSTILE, "accuracy": 0.5}
    )
    watcher.started(done)
    watcher.progressed(1, 10, {HOSTILE: 1.0})
    watcher.warned(f"warned of {HOSTILE}")
    watcher.progressed(10, 10, {HOSTILE: 1.0})
    failure = Failure(kind="Trouble", text=HOSTILE, traceback=f"at {HOSTILE}")
    fields = {name: getattr(done, name) for name in Summary.__slots__}
    failed = Summary(**fields | {"status": RunStatus.FAILED, "failure": failure})
    watcher.failed(failure)
    watcher.measured([failed])
    watcher.turned_to(Phase.MERGING)
    watcher.done(0.5)
    watcher.finished([failed])
    return failed


def _measured(_plan: Any, _out: Path, watcher: Any) -> Any:
    watcher.measuring("something", 1, 2)
    return bench()


@pytest.mark.parametrize("environment", DULL.values(), ids=DULL)
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_color_and_a_dumb_terminal_prevent_escapes(
    words: list[str], environment: dict[str, str]
) -> None:
    """No command writes colours or movements of the cursor."""
    shown = on_terminal(*words, **environment)

    assert len(shown.text) > 20
    assert ESCAPE not in shown.text


@pytest.mark.parametrize("words", [["run"], ["bench"], ["check"], ["workloads"]], ids=" ".join)
def test_a_terminal_has_colours_and_a_file_has_none(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """FORCE_COLOR has no effect."""
    assert ESCAPE in on_terminal(*words).text

    monkeypatch.setenv("FORCE_COLOR", "1")
    assert ESCAPE not in CliRunner().invoke(main, words).output


PAGES = COMMANDS[:9]


@pytest.mark.parametrize("words", PAGES, ids=" ".join)
def test_a_page_has_the_terminals_width_up_to_100_columns(words: list[str]) -> None:
    """Output into a file has at most 80 columns. COLUMNS sets the width of the terminal."""

    def widest(text: str) -> int:
        lines = [line for line in text.splitlines() if not line.startswith("warned of")]
        return max(map(len, lines))

    @cache
    def on(columns: int, **environment: str) -> str:
        return on_terminal(*words, columns=columns, NO_COLOR="1", **environment).text

    assert 80 >= widest(on(80))
    assert 100 >= widest(on(200))
    assert on(100) == on(200) == on(70, COLUMNS="100")
    assert on(80) == on(200, COLUMNS="80")
    assert 80 >= widest(CliRunner().invoke(main, words, env={"COLUMNS": ""}).stdout)


@pytest.mark.parametrize("environment", [*DULL.values(), {}], ids=[*DULL, "colours"])
def test_escapes_of_a_program_are_made_visible(environment: dict[str, str]) -> None:
    """This holds for the program's output, names, results, warnings and errors."""
    shown = on_terminal("run", columns=120, **environment)

    assert f"printed {SHOWN}\n" in shown.text
    assert "over\n" in shown.text
    assert f"warned of {SHOWN}" in shown.text
    assert f"the run failed: Trouble: {SHOWN}\nat {SHOWN}" in shown.text
    assert f"{SHOWN}  {SHOWN}" in shown.text  # a result
    assert f"\n{SHOWN}          1          2" in shown.text  # a variable
    for obeyed in (f"{ESCAPE}[31m\x9b", "\x9b", "\u202e"):
        assert obeyed not in shown.text
