"""Merging and judging report their progress, and an interrupt loses no trace."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.analysis.build import parse_history
from tests.tracing.test_merge import TracedCluster
from tests.waiting import MS
from varsim.analysis.examination import examine
from varsim.tracing import merge as merging
from varsim.tracing import progress
from varsim.tracing.history import HISTORY
from varsim.tracing.merge import merge
from varsim.tracing.signals import heeding_signals

ENDLESS = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


class Enough(Exception):
    """The interrupt in these tests; a KeyboardInterrupt would end pytest."""


def recorded(folder: Path, steps: int = 20) -> Path:
    """Record the traces of a few steps, and return their folder."""
    traced = TracedCluster(folder)
    traced.variable(1)
    for call in range(1, steps + 1):
        traced.step(call, ((1, 1.0),), ((1, 2.0),))
    for trace in (traced.program, *traced.replicas):
        trace.close()
    return folder


def test_merging_reports_its_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "EVERY", 10)
    said: list[float] = []
    merge(recorded(tmp_path), tmp_path, tell=said.append)

    assert 0.0 < said[1] < 1.0
    assert said == sorted(said)
    assert said[-1] == 1.0


def test_examining_a_history_reports_its_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "EVERY", 2)
    calls = [f"program call call={i}\nprogram finish call={i}" for i in range(1, 4)]
    said: list[float] = []
    with parse_history("\n".join(["replicas 1", *calls])).history(tmp_path) as history:
        examine(history, tell=said.append)

    assert [0.0, pytest.approx(1 / 3), pytest.approx(2 / 3), 1.0] == said


@pytest.mark.parametrize("when", [0.0, 1.0])
def test_an_interrupted_merge_writes_no_history_and_keeps_all_traces(
    tmp_path: Path, when: float
) -> None:
    before = {path: path.read_bytes() for path in recorded(tmp_path).iterdir()}

    def stop(fraction: float) -> None:
        if fraction >= when:
            raise Enough

    with pytest.raises(Enough):
        merge(tmp_path, tmp_path, tell=stop)
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}

    merge(tmp_path, tmp_path)
    assert (tmp_path / HISTORY).exists()


@contextmanager
def alarm_after(seconds: float) -> Iterator[None]:
    """Raise `Enough` in the main thread by a signal, as Ctrl-C raises KeyboardInterrupt."""

    def ring(*_: object) -> None:
        raise Enough

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_signal_ends_a_running_sql_statement() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        with alarm_after(20 * MS), pytest.raises(Enough), heeding_signals(connection):
            connection.execute(ENDLESS).fetchone()

        assert [(1,)] == connection.execute("SELECT 1").fetchall()
