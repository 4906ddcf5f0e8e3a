"""The history of every program is VALID, in any order of its messages."""

from __future__ import annotations

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

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
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import PROGRAM, TraceOptions, file_name

AUTO = st.sampled_from(["on_write", "adaptive"])


@settings(max_examples=many(60), deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(st.integers(2, 4)), st.none() | st.integers(0, 2**32), AUTO)
def test_the_history_of_any_program_is_valid(
    program: RandomProgram, seed: int | None, auto: str
) -> None:
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", tf.VarsimWarning)
        options = TraceOptions(Path(folder))
        devices = [f"cpu:{i}" for i in range(program.num_replicas)]
        with simulated_cluster(seed):
            run_program(program, tf.distribute.MirroredStrategy(devices, auto=auto, trace=options))
        assume((options.directory / file_name(PROGRAM)).exists())  # it has at least one event
        merge(options.directory, options.directory)
        with open_history(options.directory) as history:
            verdicts = judge(history)
            find(history)
    assert not [one for one in verdicts if one.outcome is not Outcome.VALID]
