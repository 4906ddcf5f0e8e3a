"""Findings advise only operations that the policy of the variable has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import varsim as tf
from tests.analysis.findings.test_lagging import findings, meet
from varsim.analysis.findings import divergence, lagging, local_staleness
from varsim.analysis.findings.variable_facts import VariableFacts, variable_facts
from varsim.distribute.policies import parse_synchronization
from varsim.errors import VarsimError
from varsim.spec import ManualOperation, VariableSpec
from varsim.sync import policies
from varsim.tracing.history import VariableRow

NAMES = """
NONE ON_READ ON_WRITE AUTO local_sgd:2 bounded_staleness:1 compressed:on_write:fp16
compressed:local_sgd:2:fp16 gossip:1:2 elastic_averaging:0.1:2 event_triggered:0.5
""".split()


def specs() -> Iterator[tuple[VariableSpec, VariableFacts]]:
    """Yield variables with all settings with which one can be created."""
    for name, aggregation in product(NAMES, tf.VariableAggregation):
        chosen = parse_synchronization(name)
        dtype = np.dtype("float32")
        spec = VariableSpec(1, "v", (), dtype, chosen, chosen, aggregation, trainable=False)
        try:
            spec = policies.resolve(spec, strict=False)
        except VarsimError:
            continue
        settings = (chosen.name, spec.synchronization.name, spec.aggregation.name)
        row = VariableRow(1, "v", "[]", "float32", *settings, 1, "model.py:1")
        yield spec, variable_facts({1: row})[1]


def test_findings_advise_only_operations_that_the_policy_has():
    advised = set()
    for spec, facts in specs():
        remedies = [divergence._remedy(facts), local_staleness._remedy(facts)]
        if facts.manual or facts.copy:  # else there are no one-sided reads
            remedies += [lagging._remedy(facts, one) for one in (lagging._PUBLISH, lagging._PULL)]
        for name in re.findall(r"v\.(\w+)", " ".join(remedies)):
            operation = ManualOperation(name)
            advised.add(operation)
            assert policies.refused_manually(spec, operation) is None, (spec, operation)

    assert {ManualOperation.SYNC, ManualOperation.BROADCAST, ManualOperation.PUBLISH} == advised


@pytest.mark.filterwarnings("ignore::varsim.errors.VarsimWarning")
def test_a_lag_under_a_policy_that_exchanges_itself_has_a_remedy_without_v_sync(tmp_path: Path):
    """Replica 0 exchanges again after three exchanges of replica 1."""
    from varsim_event_triggered import EventTriggered

    def step(v: tf.Variable, replica_id: int) -> None:
        for writer, writes in ((0, 1), (1, 3), (0, 1)):
            for _ in range(writes if replica_id == writer else 0):
                v.assign_add(1.0, read_value=False)
            meet()

    (found,) = findings(tmp_path, step, EventTriggered(0.5))

    assert "1 of 3 pulled values was old" in found.what
    assert "The policy event_triggered:0.5 decides when a replica exchanges." in found.remedy
