"""Compare one write with the write of a single device: by all replicas, or by the program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from varsim.analysis.arithmetic import Flat, FlatOperand, combined
from varsim.analysis.findings.comparison import Comparison, sampled_alike
from varsim.analysis.findings.sparse_changes import SUMMED, Changes, changes_of
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.analysis.oracle import FIRST_REPLICA
from varsim.spec import Rows
from varsim.tracing.history import Event


def by_replicas(
    event: Event,
    together: Mapping[int, Event],
    facts: VariableFacts,
    wanted: FlatOperand,
    before: Flat | None,
) -> Comparison | None:
    """Return the comparison of a write by all replicas; None if a value is unknown."""
    operands = [facts.operand_of(together[i]) for i in sorted(together)]
    elements: Flat | None = None
    if isinstance(wanted, Rows) or any(isinstance(one, Rows) for one in operands):
        changes = _changes(event, operands, wanted)
        if changes is None:
            return None
        by_replica, wanted, elements = changes
    else:
        by_replica = tuple(one for one in operands if not isinstance(one, Rows))
    known = [value for value in by_replica if value is not None]
    facts = facts.for_operation(event.operation)
    got: Flat | None = None
    if facts.first or not facts.aggregation:
        got = by_replica[FIRST_REPLICA]
    elif len(known) == len(by_replica):
        got = combined(known, facts.aggregation)
    if got is None:
        return None
    others = tuple(one.event for one in together.values() if one is not event)
    return sampled_alike(
        Comparison(event, others, by_replica, got, wanted, before, elements=elements)
    )


def _changes(
    event: Event, operands: Sequence[FlatOperand | None], wanted: FlatOperand | None
) -> Changes | None:
    """Return the changes by sparse writes; None if they cannot be compared."""
    parts = [one for one in operands if one is None or isinstance(one, Rows)]
    if event.operation not in SUMMED or not isinstance(wanted, Rows):
        return None
    return changes_of(parts, wanted) if len(parts) == len(operands) else None


def by_program(
    event: Event,
    facts: VariableFacts,
    wanted: FlatOperand | None,
    before: Flat | None,
    num_replicas: int,
) -> Comparison | None:
    """Return the comparison of a write by the program; None if it is not possible."""
    got = facts.operand_of(event)
    by_replica = (None,) * num_replicas
    if isinstance(got, Rows) or isinstance(wanted, Rows):
        changes = _changes(event, [got], wanted)
        if changes is None or changes.by_replica[0] is None:
            return None
        own, elements = changes.by_replica[0], changes.elements
        return Comparison(event, (), by_replica, own, changes.wanted, elements=elements)
    if wanted is None or got is None:
        return None
    return sampled_alike(Comparison(event, (), by_replica, got, wanted, before))
