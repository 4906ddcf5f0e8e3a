"""The replay of sparse writes, with the recorded settings and with other settings."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import varsim as tf
from tests.replica_context import replica_id
from varsim.errors import ConfigError
from varsim.spec import VariableAggregation, VariableSynchronization
from varsim.sync.statistics import VariableStatistics
from varsim.testing import simulated_cluster
from varsim.texts.facts import times
from varsim.tracing.history import HISTORY, History, open_history
from varsim.tracing.merge import merge
from varsim.tracing.recorded_values import FRAME_LIMIT_BYTES
from varsim.tracing.trace import TraceOptions
from varsim.whatif.advice import advise
from varsim.whatif.compare import Replays, WhatIf
from varsim.whatif.recorded import Settings
from varsim.whatif.text import print_what_if

pytestmark = pytest.mark.filterwarnings("ignore::varsim.VarsimWarning")
ON_WRITE, ON_READ = VariableSynchronization.ON_WRITE, VariableSynchronization.ON_READ
LOCAL = VariableSynchronization.NONE
NONE, SUM, MEAN, FIRST = VariableAggregation
WIDTH = 3
NO_ROWS = (
    r"^variable '\w+' has sparse writes, and an earlier version of varsim recorded this run "
    "without their rows: record it again$"
)
SETTINGS: list[tuple[Any, VariableAggregation]] = [
    (ON_WRITE, MEAN),
    (ON_WRITE, FIRST),
    (ON_READ, SUM),
    (LOCAL, NONE),
    (tf.LocalSGD(2), MEAN),
]


def record(folder: Path, *, width: int = WIDTH) -> Sequence[VariableStatistics]:
    """Record a run with one embedding for each pair of settings; return the run's statistics."""
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], trace=TraceOptions(folder))
        with strategy.scope():
            made = [
                tf.Variable(
                    np.ones((5, width), np.float32),
                    name=f"{synchronization.name}_{aggregation.name}",
                    synchronization=synchronization,
                    aggregation=aggregation,
                )
                for synchronization, aggregation in SETTINGS
            ]
        mean, first, gathered, own, averaged = made

        def step(number: int):
            mine = replica_id()
            values = np.full((1 + mine, width), number + mine, np.float32)
            rows = tf.IndexedSlices(values, [number, 4][: 1 + mine])
            mean.scatter_add(rows)
            first.scatter_update(rows)
            gathered.values[mine].scatter_sub(rows)
            own.scatter_mul(rows)
            averaged.scatter_add(rows)
            return own.read_value(), averaged.read_value(), first.read_value()

        for number in range(4):
            strategy.run(step, args=(number,))
            mean.read_value()
        one = tf.IndexedSlices(np.full((1, width), 3.0, np.float32), [2])
        mean.scatter_div(one)
        own.scatter_add(tf.distribute.PerReplica([one, one]))
        for part in gathered.values:
            part.scatter_max(one)
        for variable in (mean, first, gathered):
            variable.read_value()
        own.values[1].read_value()
        costs = strategy.statistics()
        strategy.close()
    merge(folder, folder)
    return costs


@contextmanager
def replays_of(folder: Path) -> Iterator[Replays]:
    with open_history(folder) as history:
        yield Replays(history)


def under(replays: Replays, name: str, settings: Settings) -> WhatIf:
    rows = replays.program.variables
    return replays.under({number: settings for number, row in rows.items() if row.name == name})


def test_a_replay_has_the_reads_and_bytes_of_the_run(tmp_path: Path):
    """For a sparse write only the bytes of its rows are counted."""
    costs = record(tmp_path)
    with replays_of(tmp_path) as replays:
        found = replays.under({})

    assert () == replays.doubts
    assert "" == found.failure
    assert all(one.harmless and one.reads for one in found.effects)
    assert [(c.messages, c.size_bytes, c.sparse_bytes) for c in costs] == [
        (c.messages, c.size_bytes, c.sparse_bytes)
        for c in (one.cost_before for one in found.effects)
    ]
    assert 0 < costs[0].sparse_bytes


def test_a_replay_with_another_aggregation_shows_the_changed_reads(tmp_path: Path):
    record(tmp_path)
    with replays_of(tmp_path) as replays:
        found = under(replays, "ON_WRITE_MEAN", Settings(ON_WRITE, SUM))
    (effect,) = [one for one in found.effects if one.before != one.after]

    assert 5 == effect.reads == effect.changed
    assert None is effect.refusal
    assert effect.first is not None
    assert effect.first.before[4, 0] == 1.5
    assert effect.first.after is not None
    assert effect.first.after[4, 0] == 2.0


def test_settings_that_refuse_sparse_writes_are_not_advised(tmp_path: Path):
    """The report names the refused line, and shows no costs for these settings."""
    record(tmp_path)
    with replays_of(tmp_path) as replays:
        written = StringIO()
        found = under(replays, "ON_WRITE_MEAN", Settings(ON_READ, MEAN))
        advice = {one.effect.name: one for one in advise(replays).advice}
    (effect,) = [one for one in found.effects if one.before != one.after]

    assert effect.refusal is not None
    assert (
        8 + 1 == effect.refusal.count
    )  # two replicas write in four steps, and the program writes once
    assert "cannot be changed by a sparse write" in effect.refusal.text
    print_what_if(Console(file=written, width=100), found, [effect.variable], ())
    lines = written.getvalue().splitlines()
    (row,) = [line for line in lines if "→ ON_READ with MEAN, refused" in line]
    assert ["–", "–", "–"] == row.split()[-3:]
    assert "ON_READ with MEAN refuses 9 operations" in " ".join(lines)
    assert advice["ON_WRITE_MEAN"].keeps
    assert "ON_READ with MEAN refuses the operation at" in advice["ON_WRITE_MEAN"].proof
    assert "test_sparse.py" in advice["ON_WRITE_MEAN"].proof


def test_reads_after_unrecorded_rows_are_unknown(tmp_path: Path):
    record(tmp_path, width=FRAME_LIMIT_BYTES // 8)
    with replays_of(tmp_path) as replays:
        found = replays.under({})

    assert "" == found.failure
    assert not [one.refusal for one in found.effects if one.refusal]
    assert all(one.reads == one.unknown == one.unrecorded for one in found.effects)
    written = StringIO()
    print_what_if(
        Console(file=written, width=300),
        found,
        [one.variable for one in found.effects],
        replays.doubts,
    )
    assert 1 == written.getvalue().count("ON_WRITE_MEAN: the values")
    assert "would depend" not in written.getvalue()
    assert [
        f"{one.name}: the values of {times(one.reads, 'read')} are not known, because values were "
        "too large to be recorded with trace: ops; use trace: messages."
        for one in found.effects
    ] == list(replays.doubts)


def test_a_record_of_an_earlier_version_without_rows_is_refused(tmp_path: Path):
    record(tmp_path)
    with closing(sqlite3.connect(tmp_path / HISTORY)) as connection:
        connection.execute(
            "UPDATE events SET dtype = NULL, shape = NULL, digest = NULL, value = NULL, "
            "indices = NULL WHERE operation LIKE 'scatter_%'"
        )
        connection.commit()
        history = History(connection)

        with pytest.raises(ConfigError, match=NO_ROWS):
            Replays(history)
