"""Describe the loss of workers: where their replicas were, and what is left of the variables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from varsim.spec import Context, Operation, VariableSpec
from varsim.sync import policies
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
    """Return which variables can still be read, and what is lost. All calls must have ended."""
    readable: list[str] = []
    partial: list[tuple[str, tuple[int, ...]]] = []
    writes: list[tuple[str, int]] = []
    for spec, gone, count in registry.remains():
        if gone:
            partial.append((spec.name, gone))
        if count:
            writes.append((spec.name, count))
        if not count and not (gone and _needs(spec, gone, registry.num_replicas)):
            readable.append(spec.name)
    return Left(tuple(readable), tuple(partial), tuple(writes))


def _needs(spec: VariableSpec, gone: Sequence[int], num_replicas: int) -> bool:
    """Return whether a read by the program needs a component in `gone`, or is always refused."""
    cell = policies.cell(spec, Context.CROSS_REPLICA, Operation.READ)
    return cell.refused is not None or any(i in gone for i in cell.needed(spec, num_replicas))
