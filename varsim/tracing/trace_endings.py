"""Decide what is missing from the traces of a run, by how each of them ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from varsim.protocol.messages import is_own_call
from varsim.tracing.reading import TraceRecord
from varsim.tracing.trace_format import PROGRAM, RecordKind, name_process


class TraceEndings:
    """How the traces of a run ended, and which of them are not whole."""

    def __init__(self) -> None:
        self._flawed = False  # whether records are missing, or could not be decoded
        self._why: list[str] = []
        self._limited = False
        self._unclosed: list[int] = []  # processes whose traces have no last record
        self._lost: dict[int, str] = {}  # replica → how its worker was lost
        self._running: dict[int, int] = {}  # replica → the call from which it has not returned
        self._program_ended = False  # whether the program closed its trace after the workers' ends

    def flaw(self, why: str = "") -> None:
        """Record that events are missing, and why; "" if no more can be said."""
        self._flawed = True
        self._why += [why] if why else []

    def lost(self, replica: int, how: str) -> None:
        """Record how the worker of a replica was lost."""
        self._lost[replica] = how

    def begins(self, replica: int, call: int) -> None:
        """Record that a call is sent to a replica."""
        self._running[replica] = call

    def returned(self, replica: int) -> None:
        """Record that a replica has returned from its call."""
        self._running.pop(replica, None)

    def ends(self, process: int, last: TraceRecord | None, damage: str) -> None:
        """Record the last record of a trace; None if it has no record."""
        if last is not None and last[0] == RecordKind.ENDED:
            self._program_ended = self._program_ended or process == PROGRAM
        elif damage:
            self.flaw(f"the record of {name_process(process)} ends early, because {damage}")
        elif last is None or last[0] != RecordKind.CUT:
            self._unclosed.append(process)
        elif len(last) > 2 and last[2] is not None:
            where = f"stops where it could not be written ({last[2]})"
            self.flaw(f"the record of {name_process(process)} {where}")
        else:
            self.flaw(f"the record of {name_process(process)} reached its limit")
            self._limited = True

    def entries(self) -> Iterator[tuple[str, Any]]:
        """Yield the keys and values of the table `run`.

        A trace without a last record keeps all that its process has written, and a message is
        written before it is sent. So if the program has closed its own trace, or knows how the
        worker ended, the trace has everything that other processes know of the replica. Then the
        record is only cut short.
        """
        how = {one: self._how(one) for one in self._unclosed}
        yield "complete", not self._flawed and not self._unclosed
        yield (
            "missing",
            self._why
            + [
                f"the record of {name_process(one)} was not closed"
                + (f": {text}" if text else ", as after a kill")
                for one, text in how.items()
            ],
        )
        yield "limited", self._limited
        if how and all(how.values()) and not self._flawed:
            yield "cut_short", {str(one): text for one, text in how.items()}

    def _how(self, process: int) -> str:
        """Return how the process of an unclosed trace ended, as a clause; "" if it is not known."""
        if process in self._lost:
            return f"its worker {self._lost[process]}"
        if not self._program_ended:
            return ""
        if process not in self._running:
            return "its worker ended without closing it, and the program did not need it any more"
        call = self._running[process]
        of_call = "a call of varsim itself" if is_own_call(call) else f"call {call}"
        return f"it had not returned from {of_call} when the program ended its workers"
