"""Every command that reads a run ends with a result or with one error, whatever its files contain.

The long tests (`make test-all`, `make fuzz`) print their counts. `corpus/` has damaged inputs that
caused a traceback, an endless command or raw control characters.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.damage import damages
from tests.damage.damaged_runs import (
    KINDS,
    damaged_experiment,
    damaged_history,
    damaged_summary,
    damaged_trace,
    read_damaged,
    tally_of,
)
from tests.damage.reading import COMMANDS, OF_EXPERIMENT, OF_SUMMARY, Tally
from tests.damage.runs import Runs, record
from varsim.cli.main import main
from varsim.errors import HistoryError
from varsim.experiments.store import TRACES
from varsim.tracing.history import HISTORY, open_history

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.sql"))
QUICK = 12
"""Number of damaged files in each quick test."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Provide small recorded runs."""
    return record(tmp_path_factory.mktemp("runs"))


def test_quickly_damaged_histories(runs: Runs, tmp_path: Path) -> None:
    """The tests named `test_quickly_…` read few files; `test_many_damaged_files` reads many."""
    found = tally_of(damaged_history, runs.recorded, tmp_path, range(3 * QUICK), COMMANDS, 1)
    assert [] == found.wrong
    assert found.codes[2] > QUICK, "too few of the histories are damaged"


def test_quickly_damaged_traces(runs: Runs, tmp_path: Path) -> None:
    found = tally_of(damaged_trace, (runs.traced,), tmp_path, range(QUICK), COMMANDS[:6], 1)
    assert [] == found.wrong


def test_a_changed_byte_of_a_trace_is_found(runs: Runs, tmp_path: Path) -> None:
    """`varsim check` names the file, and does not say that varsim broke a promise."""
    run = tmp_path / "run"
    chance = random.Random(0)
    for seed in range(QUICK):
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(runs.traced, run)
        (run / HISTORY).unlink(missing_ok=True)
        file = sorted((run / TRACES).iterdir())[seed % 3]
        content = bytearray(file.read_bytes())
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        file.write_bytes(content)
        result = CliRunner().invoke(main, ["check", str(run)])
        assert result.exit_code in (2, 4), result.output
        assert file.name in result.output
        assert "INVALID" not in result.output


def test_quickly_damaged_summaries(runs: Runs, tmp_path: Path) -> None:
    found = tally_of(damaged_summary, runs.recorded, tmp_path, range(QUICK), OF_SUMMARY, 1)
    assert [] == found.wrong


def test_quickly_damaged_experiments(runs: Runs, tmp_path: Path) -> None:
    found = tally_of(damaged_experiment, runs.recorded, tmp_path, range(QUICK), OF_EXPERIMENT, 1)
    assert [] == found.wrong


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files(
    runs: Runs, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    count = KINDS[kind].usual
    found = read_damaged(kind, runs, tmp_path, count)
    with capsys.disabled():
        print(f"\n{count:,} {kind}: {found}")
    assert [] == found.wrong


# ---------------------------------------------------------------- known inputs


@pytest.mark.thorough
@pytest.mark.parametrize("script", CORPUS, ids=lambda script: script.stem)
def test_a_known_damage_causes_one_error(runs: Runs, tmp_path: Path, script: Path) -> None:
    """The first line of a script begins with the expected exit code of `varsim check`."""
    run = tmp_path / "run"
    shutil.copytree(runs.recorded[0], run)
    text = script.read_text("utf-8")
    code = int(text.removeprefix("-- exit ").split(":")[0])
    content = (run / HISTORY).read_bytes()
    (run / HISTORY).write_bytes(damages.after_scripts(content, text.split("-- connect again\n")))
    result = CliRunner().invoke(main, ["check", str(run)])

    assert code == result.exit_code, result.output
    if code == 2:
        assert result.stderr.startswith(f"Error: {run / HISTORY}: ")
        assert "run the experiment again" in result.stderr
    tally = Tally()
    tally.read(COMMANDS, run, script.name)
    assert [] == tally.wrong


def test_an_error_names_the_event_and_the_column(runs: Runs, tmp_path: Path) -> None:
    path = copied_history(runs, tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE events SET version = 'two' WHERE event = 4")
        connection.commit()

    with pytest.raises(HistoryError) as raised, open_history(path):
        pass
    assert str(path) == raised.value.path
    assert (
        "event 4 has another text in the column 'version', which must be a number from 0 to "
        f"{2**53}"
    ) == raised.value.problem


@pytest.mark.parametrize("members", ["null", "[0, 9]", "[[0]]", "{}", "[0", "[" * 20_000])
def test_an_error_names_an_invalid_process_group(runs: Runs, tmp_path: Path, members: str) -> None:
    path = copied_history(runs, tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE events SET members = ? WHERE event = 4", (members,))
        connection.commit()

    with pytest.raises(HistoryError) as raised, open_history(path):
        pass
    assert raised.value.problem.startswith(f"event 4 has {members[:64]!r} in the column 'members'")


# ---------------------------------------------------------------- a file that changes


def copied_history(runs: Runs, folder: Path) -> Path:
    shutil.copyfile(runs.recorded[0] / HISTORY, folder / HISTORY)
    return folder / HISTORY


def test_a_history_cut_during_a_read_causes_one_error(runs: Runs, tmp_path: Path) -> None:
    path = copied_history(runs, tmp_path)

    def read() -> int:
        with open_history(path) as history:
            path.write_bytes(path.read_bytes()[:8000])
            return sum(1 for _ in history.events())

    with pytest.raises(HistoryError, match="the file was changed while it was read"):
        read()


@pytest.mark.parametrize("raises", [False, True])
def test_a_history_changed_during_a_read_causes_one_error(
    runs: Runs, tmp_path: Path, *, raises: bool
) -> None:
    """Without this error, a result could consist of old and new parts."""
    path = copied_history(runs, tmp_path)

    def read() -> None:
        with open_history(path):
            with path.open("r+b") as file:
                file.seek(5000)
                file.write(b"other")
            path.touch()
            if raises:
                raise TypeError("an effect of the change")

    with pytest.raises(HistoryError, match="the file was changed while it was read"):
        read()


def test_a_history_replaced_during_a_read_stays_readable(runs: Runs, tmp_path: Path) -> None:
    path = copied_history(runs, tmp_path)
    (tmp_path / "other").write_bytes(b"other")
    with open_history(path) as history:
        (tmp_path / "other").replace(path)
        assert history.last_event == sum(1 for _ in history.events())


# ---------------------------------------------------------------- modes


def test_only_the_owner_can_read_the_files_of_a_run(runs: Runs) -> None:
    for run in (*runs.recorded, runs.traced / TRACES):
        for path in (run, *run.rglob("*")):
            expected = 0o700 if path.is_dir() else 0o600
            assert expected == path.stat().st_mode & 0o777, path
