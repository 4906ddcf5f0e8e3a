"""Describe the loss of workers: where their replicas were, and what is left of the variables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from varsim.sync.call_state import CallState
from varsim.sync.variable_registry import VariableRegistry
from varsim.texts.losses import Left, LostIn


def places(replica_ids: Iterable[int], calls: Iterable[CallState]) -> Iterator[LostIn]:
    """Return what lost replicas did last in each of the running calls."""
    ids = list(replica_ids)
    for call in calls:
        present = range(len(call.participants))  # all other replicas have joined
        for replica_id in filter(present.__contains__, ids):
            ended = call.participants[replica_id].ended is not None
            yield LostIn(replica_id, call.title, ended, call.last_operation(replica_id))


def left(registry: VariableRegistry) -> Left:
    """Return which variables can still be read. No call may run."""
    whole: list[str] = []
    partial: list[tuple[str, tuple[int, ...]]] = []
    writes: list[tuple[str, int]] = []
    for spec, gone, count in registry.remains():
        if gone:
            partial.append((spec.name, gone))
        if count:
            writes.append((spec.name, count))
        if not gone and not count:
            whole.append(spec.name)
    return Left(tuple(whole), tuple(partial), tuple(writes))
