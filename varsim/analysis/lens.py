"""The value lens: the value of a variable on every replica at the end of each call."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from varsim.analysis import arithmetic
from varsim.analysis.arithmetic import Flat
from varsim.analysis.bounded_reads import BoundedReads, PacedMoment
from varsim.analysis.integrity import valid_events
from varsim.analysis.observer import Audience
from varsim.analysis.oracle import twins
from varsim.analysis.policies.compressed import Compression
from varsim.analysis.promises import Promise, promise_of
from varsim.analysis.replay import Replay
from varsim.analysis.rounding import close
from varsim.analysis.sampled import is_part, thinned
from varsim.analysis.shared_reads import SharedMoment, SharedReads, is_shared
from varsim.protocol.messages import is_own_call
from varsim.tracing.history import PROGRAM, Event, History, VariableRow


@dataclass(frozen=True, slots=True)
class Moment:
    """A variable at the end of one call of `strategy.run`, or at its creation.

    At the creation by a restart, the components have the values that the restart put back.
    """

    step: int  # number of the program's ended calls, those of earlier incarnations included
    time_s: float  # seconds since the run began
    components: tuple[Flat | None, ...]  # in replica order, flat; None if unknown
    value: Flat | None  # what the program would read; None if refused or unknown
    oracle: Flat | None = None  # the single device's value; None if unknown
    present: int | None = None  # number of replicas in the call; None if none had joined
    merged: bool = False  # whether the call combined the replicas' values of the variable
    lost: tuple[int, ...] = ()  # replicas whose components are lost with their workers
    ended: tuple[int, ...] = ()  # replicas whose workers are lost; the program may have their copy
    is_creation: bool = False  # whether the moment is the creation of the variable
    unexchanged: bool = False  # whether replicas have deferred writes, which a read would exchange
    interrupted: bool = False  # whether Ctrl-C has ended the call
    shared: SharedMoment | None = None  # None if there are no one-sided operations
    lacks: float | None = None
    """Norm of what residuals hold back, relative to that of the value; None if it is not known, or
    if nothing is compressed."""
    paced: PacedMoment | None = None  # None without bounded staleness
    one_copy: bool = False  # whether the components are caches of one copy, which is `value`

    @property
    def shown(self) -> tuple[Flat | None, ...]:
        """Return the components that are shown beside the value; none if there is one copy."""
        return () if self.one_copy and not self.diverged else self.components

    @property
    def diverged(self) -> bool:
        """Return whether two replicas are known to hold different values."""
        known = [one for one in self.components if one is not None]
        return any(not arithmetic.same(known[0], other) for other in known[1:])

    @property
    def is_known(self) -> bool:
        """Return whether the values of all replicas are known."""
        return all(one is not None for one in self.components)

    @property
    def is_recorded(self) -> bool:
        """Return whether all values are known, except the lost ones."""
        return all(one is not None or i in self.lost for i, one in enumerate(self.components))

    @property
    def is_compared(self) -> bool:
        """Return whether `unlike` compares all values with the single device's value."""
        return self.oracle is not None and (self.value is not None or self.is_known)

    @property
    def unlike(self) -> bool:
        """Return whether a single device certainly has a different value, beyond rounding.

        The variable's value is compared. If the variable has no single value, all components are
        compared.
        """
        oracle = self.oracle
        known = self.components if self.value is None else (self.value,)
        return oracle is not None and any(
            one is not None and not close(one, oracle) for one in known
        )


def moments(
    history: History, variable: VariableRow, oracle: History | None = None
) -> Iterator[Moment]:
    """Yield the value of a variable at its creation, and after every call.

    Args:
        oracle: The history of the same program on a single device.
    Raises:
        HistoryError: An event of the variable is invalid.
        ConfigError: The row of the variable is invalid.
    """
    twin = None if oracle is None else twins(history, oracle).get(variable.variable)
    if oracle is None or twin is None:
        yield from _moments(history, variable)
        return
    theirs = _moments(oracle, twin)
    other = next(theirs, None)
    for one in _moments(history, variable):
        while other is not None and other.step < one.step:
            other = next(theirs, None)
        known = other is not None and other.step == one.step
        if not known or other is None:
            yield one
            continue
        *components, value, single = _alike([*one.components, one.value, other.components[0]])
        yield replace(one, components=tuple(components), value=value, oracle=single)


def _moments(history: History, variable: VariableRow) -> Iterator[Moment]:
    promise = promise_of(variable)
    number = variable.variable
    replay = Replay(history.num_replicas, {number: promise})
    step, merged = _calls_before(history), False
    created: Event | None = None  # the creation, until its moment is yielded
    gone: set[int] = set()  # replicas whose workers are lost
    unexchanged = False
    hidden = False  # whether the components of an unknown policy are caches of a copy
    has_copy = promise.one_copy or promise.bound is not None
    is_mirror = promise.merges or promise.deferred or has_copy  # then the program has the value
    reads = SharedReads(replay, number) if is_shared(history, number) else None
    paced = BoundedReads(replay, number) if promise.bound is not None else None
    compression = Compression(replay) if promise.compressor else None
    checked = () if paced is None else (paced.judge, paced)
    others = checked if compression is None else (*checked, compression)
    audience = Audience((replay, *others) if reads is None else (replay, reads.judge, reads))

    def moment(event: Event) -> Moment:
        every = (
            [one.value for one in replay.variables[number].at_program]
            if paced is None
            else [paced.judge.copy_of(number)] * history.num_replicas
        )
        waits = unexchanged or (promise.deferred and Moment(0, 0.0, (*every,), None).diverged)
        # The program has the copies of a lost replica, unless they wait for an exchange.
        lost = set() if is_mirror and not waits else gone
        components = _alike([None if hidden or i in lost else one for i, one in enumerate(every)])
        value = None if waits else value_read(components, promise)
        present = len(replay.present(event.call))
        return Moment(
            step,
            event.time_s,
            components,
            value,
            lost=tuple(sorted(lost)),
            ended=tuple(sorted(gone)),
            unexchanged=waits,
            present=present if present < history.num_replicas else None,
            merged=merged,
            is_creation=event.kind == "create",
            interrupted=event.error == "KeyboardInterrupt",
            one_copy=has_copy,
            lacks=None if compression is None else _share(compression.lacking(number), value),
            shared=None if reads is None else reads.take(),
            paced=None if paced is None else paced.take(),
        )

    kinds = _KINDS if reads is None else _KINDS_OF_SHARED
    kinds = kinds if paced is None else _KINDS_OF_PACED
    where = f"variable = ? OR variable IS NULL AND kind IN ({kinds})"
    for event in valid_events(history, replay.promises, where, (number,)):
        if created is not None and not history.puts_back(event):
            yield moment(created)
            created = None
        audience.show((event,))
        merged = merged or (event.kind == "commit" and event.position is not None)
        if promise.deferred and event.kind in {"write", "commit"}:
            unexchanged = event.kind == "write" and event.process != PROGRAM
        hidden = hidden or (event.kind == "advance" and not promise.is_known)
        if event.kind == "lost" and event.replica is not None:
            gone.add(event.replica)
        step += event.ends_step
        if event.kind == "create":
            created = event
        elif event.ends_step:
            yield moment(event)
            merged = False
    if created is not None:
        yield moment(created)


def _alike(values: Sequence[Flat | None]) -> tuple[Flat | None, ...]:
    """Return values of which all known ones are samples, if any is one."""
    if not any(map(is_part, values)):
        return tuple(values)
    return tuple(None if one is None else thinned(one) for one in values)


_KINDS: Final = "'call', 'finish', 'lost'"
_KINDS_OF_SHARED: Final = f"{_KINDS}, 'receive'"
_KINDS_OF_PACED: Final = f"{_KINDS_OF_SHARED}, 'return', 'raise', 'abort', 'arrive', 'answer'"
"""The kinds of events without a variable that the lens needs."""


def _share(lacking: Flat | None, value: Flat | None) -> float | None:
    """Return the norm of what a value lacks, relative to the norm of the value."""
    if lacking is None or value is None:
        return None
    norms = [float(np.linalg.norm(one.astype(np.float64))) for one in (lacking, value)]
    if not norms[0]:
        return 0.0
    return norms[0] / norms[1] if norms[1] and all(map(math.isfinite, norms)) else None


def _calls_before(history: History) -> int:
    """Return the number of the program's calls before the record."""
    ((first,),) = history.connection.execute("SELECT MIN(call) FROM events WHERE kind = 'call'")
    in_record = 0 if first is None or is_own_call(first) else int(first) - 1
    return max(in_record, history.calls_before)


@arithmetic.quiet()
def value_read(components: Sequence[Flat | None], promise: Promise) -> Flat | None:
    """Return the value of a read by the program, as docs/semantics.md defines it.

    Return None if the program cannot read one value, or if a needed component or the promise of the
    variable is unknown.
    """
    if not promise.is_known:
        return None
    if promise.bound is not None:
        return components[0]
    if promise.mirrored or promise.aggregation == "ONLY_FIRST_REPLICA":
        return None if promise.stays_local else components[0]
    known = [one for one in components if one is not None]
    if not promise.gathered or len(known) < len(components):
        return None
    return arithmetic.combined(known, promise.aggregation)
