"""Compressed promises that what an approximation lacks is added to the replica's next change."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

import numpy as np

from varsim.analysis import arithmetic
from varsim.analysis.arithmetic import Flat
from varsim.analysis.checker import Checker, seen_by
from varsim.analysis.components import ReplayedVariable
from varsim.analysis.compression import is_approximation, is_compressor
from varsim.analysis.exchanges import EveryKthWrite
from varsim.analysis.open_writes import Change
from varsim.analysis.replay import Replay
from varsim.analysis.sampled import is_part
from varsim.analysis.synchronization_promise import SynchronizationPromise
from varsim.extension_dtypes import eps_of
from varsim.tracing.history import Event

_PARAMETERS: Final = re.compile("(on_write|local_sgd:(?P<every>[1-9][0-9]*)):(?P<by>.+)")
_MISSING: Final = "not all values of compressed writes were recorded"
_EPS: Final = float(np.finfo(np.float64).eps)
_NO_BASE: Final = "the value of the last exchange was not recorded"


@dataclass(slots=True)
class _Sent:
    """A contribution that is not committed yet."""

    event: Event
    change: Flat
    total: Flat  # the change and the residual before it
    restored: Flat
    residual: Flat  # after the contribution


@dataclass(slots=True)
class _Sums:
    """The changes of one replica since its residual was 0, in float64."""

    changes: Flat | float = 0.0
    restored: Flat | float = 0.0
    rounding: Flat | float = 0.0  # the largest distance that rounding explains

    def add(self, sent: _Sent, sign: float, eps: float) -> Flat:
        """Add a contribution; return the distance of the changes from what was sent and remains.

        Sums that are not finite show nothing. So, in such an element, the sums begin again with the
        present residual.
        """
        residual = sign * sent.residual.astype(np.float64)
        changes = self.changes + sign * sent.change.astype(np.float64)
        restored = self.restored + sign * sent.restored.astype(np.float64)
        rounding = self.rounding + eps * (np.abs(sent.total) + np.abs(sent.residual))
        rounding = rounding + _EPS * (np.abs(changes) + np.abs(restored))
        lost: Flat = np.abs(changes - restored - residual)
        finite = np.isfinite(lost) & np.isfinite(rounding)
        self.changes = np.where(finite, changes, residual)
        self.restored = np.where(finite, restored, 0.0)
        self.rounding = np.where(finite, rounding, 0.0)
        return np.where(finite, lost, 0.0)


@dataclass(slots=True)
class _Sender:
    """What one replica should keep about one variable."""

    known: bool  # whether the residual and the base are known
    residual: Flat | None = None  # None for 0
    base: Flat | None = None  # the value of the last exchange; None if the next one is whole
    given: Event | None = None  # the state that the program has given the replica, not used yet
    write: Event | None = None  # the last write, until its contribution is sent
    sent: _Sent | None = None
    sums: _Sums | None = None

    def restart(self) -> None:
        """Drop the residual: all components get a value that is exact."""
        self.known = True
        self.residual, self.sent, self.sums = None, None, None


class Compression(Checker):
    """Checks each compressed contribution against the changes that the program has written.

    A contribution must be the approximation of the change and the residual before it. The residual
    is computed from the recorded values, and never taken from the engine. Since the residual was 0,
    the restored contributions and the residual must sum to the changes, up to rounding: to the sum
    of one unit in the last place of each value that was rounded. Under LocalSGD, a commit must be
    the value of the last exchange plus the aggregate of the restored contributions; under ON_WRITE,
    `Reduction` checks commits.
    """

    name = "compression"
    promise = "replicas send approximations of their changes, and lose nothing of them"

    def __init__(self, replay: Replay) -> None:
        super().__init__(replay)
        self._senders: dict[tuple[int, int], _Sender] = {}  # (variable, replica) → sender
        self._agreed: dict[int, Flat | None] = {}  # variable → the value of its last exchange

    def concerns(self, variable: int | None) -> bool:
        """Return whether the contributions to the variable are compressed."""
        promise = self.promise_about(variable)
        return promise is not None and bool(promise.compressor)

    def _sender(self, event: Event) -> _Sender:
        assert event.variable is not None
        mine = event.variable, event.process
        if mine not in self._senders:
            self._senders[mine] = _Sender(known=False)
        return self._senders[mine]

    def on_create(self, event: Event) -> None:
        """Begin without residuals."""
        if event.variable is not None and self.replay.from_start:
            for replica in self.replay.replicas:
                self._senders[event.variable, replica] = _Sender(known=True)

    def on_state(self, event: Event) -> None:
        """Store the residual that the program gives a replica, as when a checkpoint is restored."""
        if event.variable is not None and event.replica is not None:
            mine = event.variable, event.replica
            self._senders.setdefault(mine, _Sender(known=False)).given = event

    def on_compress_by_replica(self, event: Event) -> None:
        """Store a write, the contribution of which follows."""
        self._sender(event).write = event

    def lacking(self, variable: int) -> Flat | None:
        """Return what a variable lacks: the aggregate of the residuals; None if it is not known."""
        promise = self.replay.promises[variable]
        residuals: list[Flat] = []
        for replica in self.replay.replicas:
            sender = self._senders.get((variable, replica))
            if sender is None or not sender.known:
                return None
            residual = sender.residual
            if sender.given is not None:
                residual = arithmetic.value_of(sender.given, promise.dtype)
            if residual is None:
                size = math.prod(one or 0 for one in promise.shape)
                residual = np.zeros(size, promise.dtype)
            residuals.append(residual)
        return arithmetic.combined(residuals, promise.aggregation)

    # ------------------------------------------------------------ contributions

    def on_write_by_replica(self, event: Event) -> None:
        """Check a contribution. Other writes are sparse or local."""
        variable = self.variable_of(event)
        if event.position is None or event.operation not in ("assign", "assign_add", "assign_sub"):
            return
        sender = self._sender(event)
        sender.sent = None  # an earlier contribution without a commit has no effect
        self._use_given(variable, sender)
        if event.operation == "assign":
            self._check_whole(variable, sender, event)
            return
        change = self._change(variable, sender, event)
        restored = arithmetic.value_of(event, variable.promise.dtype)
        if change is None or restored is None or not sender.known:
            sender.known = False
            self.unrecorded(variable, _MISSING, event.event)
            return
        total = change if sender.residual is None else _plus(change, sender.residual, event)
        if len(total) != len(restored) or not is_approximation(
            variable.promise.compressor, total, restored
        ):
            reason = (
                f"{seen_by(event)} sends another value than the {variable.promise.compressor} "
                "approximation of its change and its residual"
            )
            self.wrong(variable, reason, self._proof(sender, event))
            sender.known = False
            return
        sender.sent = _Sent(event, change, total, restored, _lacking(total, restored))

    def _use_given(self, variable: ReplayedVariable, sender: _Sender) -> None:
        """Go on with the residual that the program has given the replica, if there is one."""
        given, sender.given = sender.given, None
        if given is None:
            return
        sender.restart()
        sender.residual = arithmetic.value_of(given, variable.promise.dtype)
        if sender.residual is not None:
            sender.sums = _Sums(changes=sender.residual.astype(np.float64))
        elif '"residual"' in (given.note or ""):
            sender.known = False

    def _change(self, variable: ReplayedVariable, sender: _Sender, event: Event) -> Flat | None:
        """Return the change that a contribution approximates; None if it was not recorded."""
        if not variable.promise.since_exchange:
            write, sender.write = sender.write, None
            if write is None or write.operation != event.operation:
                return None
            return arithmetic.value_of(write, variable.promise.dtype)
        held = self.own(event).value
        if sender.base is None or held is None or is_part(held) or is_part(sender.base):
            return None  # an approximation needs all elements
        if len(held) != len(sender.base):
            return None
        return np.subtract(held, sender.base)

    def _check_whole(self, variable: ReplayedVariable, sender: _Sender, event: Event) -> None:
        """Check a contribution that is a whole value; its commit ends the residual."""
        write, sender.write = sender.write, None
        if variable.promise.since_exchange:
            expected = self.own(event).value
        else:
            expected = None if write is None else arithmetic.value_of(write, variable.promise.dtype)
        held = self.matches(expected, event)
        if held is None:
            self.unrecorded(variable, _MISSING, event.event)
        elif not held:
            reason = f"{seen_by(event)} sends another value than it has written"
            self.wrong(variable, reason, self._proof(sender, event))
        if variable.promise.since_exchange and sender.known and sender.base is not None:
            reason = f"{seen_by(event)} sends its whole value, although the last exchange counts"
            self.wrong(variable, reason, self._proof(sender, event))

    def _proof(self, sender: _Sender, event: Event) -> tuple[int, ...]:
        return (event.event,) if sender.write is None else (sender.write.event, event.event)

    # ------------------------------------------------------------ commits

    def on_commit(self, event: Event) -> None:
        """Check an exchange; make the residuals of its contributions valid."""
        change = self.replay.change
        if change is None or change.merge is None:
            return
        variable = self.variable_of(event)
        writes = change.merge.writes
        if variable.promise.since_exchange:
            self._check_exchange(variable, change)
        for replica, write in writes.items():
            sender = self._sender(write)
            if write.operation == "assign":
                sender.restart()
            elif sender.sent is not None and sender.sent.event.event == write.event:
                self._settle(variable, sender, sender.sent, replica)

    def _settle(
        self, variable: ReplayedVariable, sender: _Sender, sent: _Sent, replica: int
    ) -> None:
        """Keep the residual of a committed contribution; check that no part of a change is lost."""
        sums = sender.sums = sender.sums or _Sums()
        sign = -1.0 if sent.event.operation == "assign_sub" else 1.0
        residual = np.multiply(sent.residual, sign, dtype=sent.residual.dtype)
        sender.residual, sender.sent = residual, None
        lost = sums.add(sent, sign, eps_of(variable.promise.dtype))
        if (lost > sums.rounding).any():
            reason = f"replica {replica} loses a part of its changes"
            self.wrong(variable, reason, (sent.event.event,))

    def _check_exchange(self, variable: ReplayedVariable, change: Change) -> None:
        event, merge = change.event, change.merge
        assert merge is not None
        present = self.replay.present(event.call)
        dtype, number = variable.promise.dtype, variable.number
        agreed, self._agreed[number] = self._agreed.get(number), arithmetic.value_of(event, dtype)
        if not merge.writes.keys() >= set(present):
            return  # a contribution is missing, which another checker reports
        writes = [merge.writes[replica] for replica in present]
        values = [arithmetic.value_of(one, dtype) for one in writes]
        known = [value for value in values if value is not None]
        expected: Flat | None = None
        if len(known) == len(values):
            expected = arithmetic.combined(known, variable.promise.aggregation)
        if any(one.operation != "assign" for one in writes):
            if agreed is None:
                self.undecided(variable, _NO_BASE, event.event)
                return
            if expected is not None:
                both = zip(writes, known, strict=True)
                changes = [
                    np.subtract(value, agreed) if one.operation == "assign" else value
                    for one, value in both
                ]
                total = arithmetic.combined(changes, variable.promise.aggregation)
                expected = None if total is None else np.add(agreed, total)
        held = self.matches(expected, event)
        if held is None:
            self.unrecorded(variable, _MISSING, event.event)
        elif not held:
            reason = "the commit differs from the last exchange plus the restored changes"
            self.wrong(variable, reason, (*(one.event for one in writes), event.event))

    def on_install(self, event: Event) -> None:
        """Drop residuals at a write by the program; begin the changes after an exchange."""
        installed = self.replay.installed
        change = None if installed is None else installed[1]
        sender = self._sender(event)
        if change is None:
            sender.known, sender.base = False, None
        elif change.merge is None:
            sender.restart()
            sender.base = None
            if sender.given is not None and sender.given.event < change.event.event:
                sender.given = None
        elif change.event.operation == "assign":
            agreed = self.own(event).value  # after an infinity or NaN, the next exchange is whole
            sender.base = None if agreed is None or not np.isfinite(agreed).all() else agreed


class Changing(EveryKthWrite):
    """Checks that a replica sends a change at every k-th write; `Compression` checks the change."""

    name = "changing"
    promise = "every k-th write of a compressed LocalSGD variable is exchanged, and no other write"
    keyword = "compressed"

    def concerns(self, variable: int | None) -> bool:
        """Return True for variables with LocalSGD inside, and for events without a variable."""
        promise = self.promise_about(variable)
        return promise is None or promise.since_exchange

    def check_value(self, variable: ReplayedVariable, event: Event) -> None:
        """Check nothing."""


def _plus(change: Flat, residual: Flat, event: Event) -> Flat:
    """Return a change and the residual before it; an assign_sub subtracts the residual."""
    return (
        np.subtract(change, residual)
        if event.operation == "assign_sub"
        else np.add(change, residual)
    )


def _lacking(total: Flat, restored: Flat) -> Flat:
    """Return what an approximation lacks; 0 where this is not finite."""
    lacking = np.subtract(total, restored)
    return np.where(np.isfinite(lacking), lacking, np.zeros_like(lacking))


def promise(parameters: list[str]) -> SynchronizationPromise:
    """Return the promises of compressed:on_write:BY or of compressed:local_sgd:K:BY.

    Raises:
        ValueError: The parameters have another form.
    """
    found = _PARAMETERS.fullmatch(":".join(parameters))
    if found is None or not is_compressor(found["by"]):
        raise ValueError(f"{parameters} are not the parameters of compressed")
    if found["every"] is None:
        return SynchronizationPromise(
            mirrored=True, compressor=found["by"], checkers=(Compression,)
        )
    return SynchronizationPromise(
        gathered=True,
        local_reads=True,
        every=int(found["every"]),
        exchanged=True,
        compressor=found["by"],
        checkers=(Changing, Compression),
    )
