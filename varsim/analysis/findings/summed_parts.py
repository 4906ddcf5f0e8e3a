"""Follow what the components of summed variables hold besides the contributions of a single run.

A read of such a variable adds up all components. So a value that every component starts with is
added N times, and a component that some replicas do not set back keeps its old contributions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from varsim.analysis.arithmetic import Flat, flat, operand_of, value_of
from varsim.analysis.findings.components import ComponentTracker
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
    """An assign by some replicas, while the components of other replicas keep their values."""

    left: Flat  # the sum of the components that were kept, in float64 or complex128
    kept_by: tuple[int, ...]  # the replicas that have not assigned, and hold more than 0
    assigns: tuple[Event, ...]  # the assigns by the other replicas


class SummedParts(EventObserver):
    """The common starts and the partial resets of variables whose reads add up the components."""

    def __init__(
        self, variables: Mapping[int, VariableFacts], components: ComponentTracker
    ) -> None:
        self._variables = {number: one for number, one in variables.items() if one.summed}
        self._components = components
        self._starts: dict[int, CommonStart] = {}
        self._resets: dict[int, PartialReset] = {}
        self._before: dict[int, Sequence[bytes | None]] = {}  # components before the last call
        self._assigned: dict[int, dict[int, Event]] = {}  # variable → replica → assign in this call

    def start(self, variable: int) -> CommonStart | None:
        """Return the value with which every component starts; None if there is none, or it is 0."""
        return self._starts.get(variable)

    def reset(self, variable: int) -> PartialReset | None:
        """Return the last partial reset; None if a reset of all components followed it."""
        return self._resets.get(variable)

    def concerns(self, variable: int | None) -> bool:
        """Return True for summed variables and for events without a variable."""
        return variable is None or variable in self._variables

    def on_create(self, event: Event) -> None:
        """Store the initial value."""
        if event.variable is not None:
            dtype = self._variables[event.variable].numpy_dtype
            self._starts_with(event, value_of(event, dtype))

    def on_write_by_program(self, event: Event) -> None:
        """Forget what the components held, because the program sets all of them."""
        if event.variable is not None and event.operation == "assign" and event.replica is None:
            self._starts.pop(event.variable, None)
            self._resets.pop(event.variable, None)

    def on_call(self, event: Event) -> None:  # noqa: ARG002
        """Store the components before the call."""
        self._assigned.clear()
        self._before = {one: tuple(self._components[one].values) for one in self._variables}

    def on_write_by_replica(self, event: Event) -> None:
        """Store an assign."""
        if event.variable is not None and event.operation == "assign":
            self._assigned.setdefault(event.variable, {})[event.process] = event

    def on_finish(self, event: Event) -> None:  # noqa: ARG002
        """Judge the assigns of the call."""
        for variable, assigns in self._assigned.items():
            self._judge(variable, assigns)
        self._assigned.clear()

    def _judge(self, variable: int, assigns: Mapping[int, Event]) -> None:
        dtype, before = self._variables[variable].numpy_dtype, self._before.get(variable, ())
        self._starts.pop(variable, None)
        self._resets.pop(variable, None)
        kept = {i: one for i, one in enumerate(before) if i not in assigns}
        events = tuple(assigns.values())
        if not kept:
            values = [operand_of(one, dtype) for one in events]
            first = values[0]
            if isinstance(first, Rows) or first is None:
                return
            if all(isinstance(v, np.ndarray) and close(v, first) for v in values):
                self._starts_with(events[-1], first)
            return
        held = {i: wide(flat(one, dtype)) for i, one in kept.items() if one is not None}
        if len(held) == len(kept) and dtype.kind in "iufc":
            left: Flat = np.sum(list(held.values()), axis=0)
            by = tuple(i for i, value in held.items() if value.any())
            if left.any():
                self._resets[variable] = PartialReset(left, by, events)

    def _starts_with(self, event: Event, value: Flat | None) -> None:
        if value is not None and value.dtype.kind in "iufc" and value.any():
            self._starts[event.variable or 0] = CommonStart(value, event)
