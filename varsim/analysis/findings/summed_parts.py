"""Follow what the components of a variable hold besides the contributions of a single run.

A read by the program adds up or averages all components. So a value that every component starts
with is added N times, and a component that is not set back with the others keeps its old
contributions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from varsim.analysis.arithmetic import Flat, flat, operand_of, value_of
from varsim.analysis.findings.components import ComponentTracker, sets_back
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.analysis.observer import EventObserver
from varsim.analysis.rounding import close, wide
from varsim.spec import Rows
from varsim.tracing.history import Event


@dataclass(frozen=True, slots=True)
class CommonStart:
    """A value with which each component of a variable starts."""

    value: Flat
    event: Event  # the creation, or the last of the equal assigns by all replicas


@dataclass(frozen=True, slots=True)
class PartialReset:
    """Some components were set back, while the others kept their values."""

    excess: tuple[Flat, ...]
    """By how much a read can be too large, in float64: because of what the kept components held
    before the call, or, if they were to be set back after the writes of the call, at its end."""
    kept_by: tuple[int, ...]  # the replicas whose components were kept, and are not 0
    set_back: tuple[int, ...]  # the replicas whose components were set back
    assigns: tuple[Event, ...]  # the writes that set components back


class SummedParts(EventObserver):
    """The common starts and the partial resets of variables whose reads combine the components."""

    def __init__(
        self, variables: Mapping[int, VariableFacts], components: ComponentTracker
    ) -> None:
        self._variables = {
            number: one
            for number, one in variables.items()
            if one.summed or (one.gathered and one.aggregation == "MEAN")
        }
        self._components = components
        self._starts: dict[int, CommonStart] = {}
        self._resets: dict[int, PartialReset] = {}
        self._before: dict[int, Sequence[bytes | None]] = {}  # components before the last call
        self._assigned: dict[int, dict[int, Event]] = {}  # variable → replica → assign in this call
        self._set: dict[int, dict[int, Event]] = {}
        """Variable → replica → assign of its component by the program, since the last call."""

    def start(self, variable: int) -> CommonStart | None:
        """Return the value with which every component starts; None if there is none, or it is 0."""
        return self._starts.get(variable)

    def reset(self, variable: int) -> PartialReset | None:
        """Return the last partial reset; None if a reset of all components followed it."""
        return self._resets.get(variable)

    def concerns(self, variable: int | None) -> bool:
        """Return True for variables whose components a read combines, and for no variable."""
        return variable is None or variable in self._variables

    def on_create(self, event: Event) -> None:
        """Store the initial value."""
        if event.variable is not None:
            dtype = self._variables[event.variable].numpy_dtype
            self._starts_with(event, value_of(event, dtype))

    def on_write_by_program(self, event: Event) -> None:
        """Forget what the components held if the program sets all; judge a write of one."""
        variable, replica_id = event.variable, event.replica
        if variable is None:
            return
        if replica_id is not None:
            self._set_one(variable, replica_id, event)
        elif event.operation == "assign":
            self._starts.pop(variable, None)
            self._resets.pop(variable, None)

    def _set_one(self, variable: int, replica_id: int, event: Event) -> None:
        """Judge a write of one component by the program, which a commit applies after the event."""
        copies = self._components[variable]
        if not sets_back(event, copies.after(event, replica_id)):
            return
        assigns = self._set.setdefault(variable, {})
        assigns[replica_id] = event
        self._judge(variable, assigns, [copies.values])

    def on_call(self, event: Event) -> None:  # noqa: ARG002
        """Store the components before the call."""
        self._assigned.clear()
        self._set.clear()
        self._before = {one: tuple(self._components[one].values) for one in self._variables}

    def on_write_by_replica(self, event: Event) -> None:
        """Store a write that sets a component back."""
        variable, replica_id = event.variable, event.process
        if variable is None or event.position is not None:
            return
        if sets_back(event, self._components[variable].values[replica_id]):
            self._assigned.setdefault(variable, {})[replica_id] = event

    def on_finish(self, event: Event) -> None:  # noqa: ARG002
        """Judge the assigns of the call."""
        for variable, assigns in self._assigned.items():
            before, after = self._before.get(variable), self._components[variable].values
            self._judge(variable, assigns, [after] if before is None else [before, after])
        self._assigned.clear()

    def _judge(
        self,
        variable: int,
        assigns: Mapping[int, Event],
        held: Sequence[Sequence[bytes | None]],
    ) -> None:
        """Judge the components that were set together.

        Args:
            held: What the components held at the times at which the others could be set back.
        """
        facts = self._variables[variable]
        dtype = facts.numpy_dtype
        self._starts.pop(variable, None)
        self._resets.pop(variable, None)
        events = tuple(assigns.values())
        if len(assigns) == len(held[0]):
            values = [operand_of(one, dtype) for one in events]
            first = values[0]
            if isinstance(first, Rows) or first is None:
                return
            if all(isinstance(v, np.ndarray) and close(v, first) for v in values):
                self._starts_with(events[-1], first)
            return
        reset = self._reset_of(facts, assigns, held)
        if reset is not None:
            self._resets[variable] = reset

    def _reset_of(
        self,
        facts: VariableFacts,
        assigns: Mapping[int, Event],
        held: Sequence[Sequence[bytes | None]],
    ) -> PartialReset | None:
        """Return the partial reset; None if the other components are 0, or are not known."""
        dtype, excess, by = facts.numpy_dtype, [], set()
        if dtype.kind not in "iufc":
            return None
        for values in held:
            kept = {
                i: wide(flat(one, dtype))
                for i, one in enumerate(values)
                if i not in assigns and one is not None
            }
            if len(kept) + len(assigns) < len(values):
                continue
            by |= {i for i, value in kept.items() if value.any()}
            left: Flat = np.sum(list(kept.values()), axis=0)
            if not facts.summed:
                left = (left - len(kept) * _start(next(iter(assigns.values())), dtype)) / len(
                    values
                )
            excess.append(left)
        if not any(one.any() for one in excess):
            return None
        events = tuple(assigns.values())
        return PartialReset(tuple(excess), tuple(sorted(by)), tuple(assigns), events)

    def _starts_with(self, event: Event, value: Flat | None) -> None:
        facts = self._variables[event.variable or 0]
        if facts.summed and value is not None and value.dtype.kind in "iufc" and value.any():
            self._starts[event.variable or 0] = CommonStart(value, event)


def _start(assign: Event, dtype: np.dtype[Any]) -> Flat | float:
    """Return the value that a write sets a component to; 0 if it is not known."""
    if assign.operation != "assign":
        return 0.0
    value = operand_of(assign, dtype)
    return wide(value) if isinstance(value, np.ndarray) else 0.0
