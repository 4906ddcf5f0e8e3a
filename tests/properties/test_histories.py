"""The history of every program is VALID, and its replay gives the values that the program read."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import varsim as tf
from tests.effort import many
from tests.properties.generation import programs
from tests.properties.programs import RandomProgram, run_program
from varsim.analysis.outcome import Outcome
from varsim.analysis.search import find
from varsim.analysis.verdict import judge
from varsim.testing import simulated_cluster
from varsim.tracing.history import History, open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions
from varsim.tracing.trace_format import PROGRAM, file_name
from varsim.whatif.compare import Replays

AUTO = st.sampled_from(["on_write", "adaptive"])


@settings(max_examples=many(40), deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(st.integers(2, 4)), st.none() | st.integers(0, 2**32), AUTO)
def test_the_history_of_any_program_is_valid(
    program: RandomProgram, seed: int | None, auto: str
) -> None:
    with recorded(program, seed, auto) as (history, _):
        verdicts = judge(history)
        find(history)
    assert not [one for one in verdicts if one.outcome is not Outcome.VALID]


@settings(max_examples=many(40), deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(st.integers(2, 3)), AUTO)
@pytest.mark.thorough
def test_the_replay_of_any_program_gives_the_values_read(program: RandomProgram, auto: str) -> None:
    """The rows of sparse writes have the same bytes, too."""
    with recorded(program, None, auto) as (history, rows_bytes):
        replays = Replays(history)

    assert () == replays.doubts
    assert rows_bytes == [one.cost_before.sparse_bytes for one in replays.under({}).effects]


@contextmanager
def recorded(
    program: RandomProgram, seed: int | None, auto: str
) -> Iterator[tuple[History, list[int]]]:
    """Run a program; provide its history and, for each variable, the bytes of sparse writes."""
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", tf.VarsimWarning)
        options = TraceOptions(Path(folder))
        devices = [f"cpu:{i}" for i in range(program.num_replicas)]
        auto = program.auto(auto)
        with simulated_cluster(seed):
            strategy = tf.distribute.MirroredStrategy(devices, auto=auto, trace=options)
            run_program(program, strategy)
            rows_bytes = [one.sparse_bytes for one in strategy.statistics()]
        assume((options.directory / file_name(PROGRAM)).exists())  # it has at least one event
        merge(options.directory, options.directory)
        with open_history(options.directory) as history:
            yield history, rows_bytes
