"""Workers are lost in random programs: every value that can still be read equals the model's."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import varsim as tf
from tests.effort import many
from tests.judged import judged
from tests.properties.comparing import same
from tests.properties.generation import programs
from tests.properties.model import REFUSED, ModelVariable, outcome
from tests.properties.programs import (
    RandomProgram,
    create,
    model_outcome,
    model_parts,
    model_variables,
    run_steps,
)
from varsim.analysis.outcome import Outcome
from varsim.errors import WorkerLost
from varsim.sync.losses import Losses
from varsim.testing import simulated_cluster
from varsim.testing.simulation import SimulatedNetwork
from varsim.tracing.trace import TraceOptions
from varsim.tracing.trace_format import PROGRAM, file_name

SYNC, AGG = tf.VariableSynchronization, tf.VariableAggregation

LOST: Final = "lost"
"""The outcome of a read that needs a lost worker."""

Components = list[list[Any]]
"""The components of every variable that is not refused, in replica order."""

DEATHS = st.dictionaries(st.integers(0, 2), st.integers(0, 30), min_size=1, max_size=2)
"""replica_id → the number of its sends and waits before it is lost."""


@settings(max_examples=many(40), deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(st.just(3)), st.none() | st.integers(0, 2**32), DEATHS)
def test_values_read_after_a_loss_are_those_of_the_model(
    program: RandomProgram, seed: int | None, deaths: dict[int, int]
) -> None:
    """Both states are validated after every event."""
    with simulated_cluster(seed, deaths=deaths) as simulated, warnings.catch_warnings():
        warnings.simplefilter("ignore", tf.VarsimWarning)
        strategy = tf.distribute.MirroredStrategy(["a", "b", "c"])
        variables, models = create(program, strategy), model_variables(program)
        outcomes = run_steps(program, strategy, variables)
        for step in program.steps:
            try:
                got = next(outcomes)
            except WorkerLost:
                known = [one for one in models if one is not REFUSED]
                possible = [components_of(known)]  # the components at each point of the step
                parts = model_parts(step, models, 3)
                possible.extend(components_of(known) for _ in parts)
                rest = Rest(strategy, [v for v in variables if v is not REFUSED], known)
                rest.check(possible)
                rest.check_replicas(simulated.networks[0])
                return
            assert same(model_outcome(step, models, 3), got), step


@pytest.mark.thorough
@settings(max_examples=many(40), deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(st.just(3)), st.none() | st.integers(0, 2**32), DEATHS)
def test_no_promise_is_broken_in_a_record_that_ends_with_workers(
    program: RandomProgram, seed: int | None, deaths: dict[int, int]
) -> None:
    """After the loss, the program reads every variable, as far as it can be read."""
    with (
        TemporaryDirectory() as folder,
        simulated_cluster(seed, deaths=deaths),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", tf.VarsimWarning)
        traces = Path(folder)
        options = TraceOptions(traces)
        with tf.distribute.MirroredStrategy(["a", "b", "c"], trace=options) as strategy:
            variables = create(program, strategy)
            with suppress(WorkerLost):
                list(run_steps(program, strategy, variables))
            for variable in [one for one in variables if one is not REFUSED]:
                with suppress(tf.VarsimError):
                    variable.numpy()
        if not (traces / file_name(PROGRAM)).exists():  # a program without an operation
            return
        assert Outcome.INVALID not in {one.outcome for one in judged(traces)}


def components_of(models: Sequence[ModelVariable]) -> Components:
    return [[*one.components] for one in models]


class Rest:
    """What can be read of a program's variables after a loss."""

    def __init__(
        self, strategy: Any, variables: Sequence[Any], models: Sequence[ModelVariable]
    ) -> None:
        self._coordinator = strategy.coordinator
        self.losses: Losses = self._coordinator.state.registry.losses
        assert self.losses
        self.models = models
        self._variables = variables
        self.read = [
            [self._read(part.numpy) for part in strategy.experimental_local_results(variable)]
            for variable in variables
        ]
        self.values = [self._read(variable.numpy) for variable in variables]

    def _read(self, read: Callable[[], Any]) -> Any:
        """Return the outcome of a read. If another worker is lost during the read, read again."""
        while True:
            before = len([*self.losses])
            try:
                return read()
            except WorkerLost:
                if len([*self.losses]) == before:
                    return LOST
            except tf.VarsimError:
                return REFUSED

    def check(self, possible: Sequence[Components]) -> None:
        """Check the values that were read after the loss.

        Args:
            possible: The components at each point of the failed step. All variables that merge
                have those of one point. On each replica, the other variables have those of one
                point, too.
        """
        merging = [index for index, one in enumerate(self.models) if one.merges]
        others = [index for index in range(len(self.models)) if index not in merging]
        everyone = [(index, i) for index in merging for i in range(3)]
        assert any(self._agree(everyone, components) for components in possible)
        for i in self.losses.survivors:
            own = [(index, i) for index in others]
            assert any(self._agree(own, components) for components in possible)
        for index in others:
            for i in self.losses:
                ends = [LOST, *(components[index][i] for components in possible)]
                assert any(same(one, self.read[index][i]) for one in ends)
        for index, model in enumerate(self.models):
            self._check_value(model, self.read[index], self.values[index])

    def check_replicas(self, network: SimulatedNetwork) -> None:
        """Check that every component that was read is the one on its replica at the end."""
        self._coordinator._flush()  # send the commits that wait for the next message
        for i in self.losses.survivors:
            if waiting := len(network._to_replica[i]):
                network._run(i, waiting)
            if network._workers[i].dead:
                continue
            components = network._workers[i].replica.state.components
            for variable, read in zip(self._variables, self.read, strict=True):
                assert same(components.find(variable.spec.variable_id).component(), read[i])

    def _agree(self, which: Sequence[tuple[int, int]], components: Components) -> bool:
        return all(same(components[index][i], self.read[index][i]) for index, i in which)

    def _check_value(self, model: ModelVariable, components: Sequence[Any], value: Any) -> None:
        """Check a cross-replica value. It is lost only if a component that it combines is lost."""
        combines = model.synchronization is SYNC.ON_READ and model.aggregation in (
            AGG.SUM,
            AGG.MEAN,
        )
        needed = components if combines else components[:1]
        # Lost components keep the values of the model, which the rules for refusals need.
        both = zip(components, model.components, strict=True)
        model.components = [own if one is LOST else one for one, own in both]
        expected = outcome(model.read)
        if expected is not REFUSED and any(one is LOST for one in needed):
            expected = LOST
        assert same(expected, value)
