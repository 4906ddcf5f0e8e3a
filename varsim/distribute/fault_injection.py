"""Inject faults into the replicas of a strategy.

The program's process wraps the function of a call that has faults; on a replica, the wrapper puts a
`FaultySession` around the replica's session. Calls without faults are not changed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final

from varsim import disk
from varsim.distribute.context import current_frame
from varsim.distribute.faults import (
    COORDINATOR,
    CORRUPT,
    DELAY,
    DISK_FULL,
    DROP,
    DUPLICATE,
    EXIT,
    KILL,
    MEMORY_FULL,
    PARTITION,
    RAISE,
    REORDER,
    SLOW,
    Fault,
)
from varsim.distribute.functions import Function
from varsim.errors import InjectedFault
from varsim.launch.link import Allocator, Reducer
from varsim.transport.link_faults import LinkFaults

_OPERATIONS: Final = frozenset(
    "barrier call_host combine leave_lock merge_call pass_to read read_rows read_shared "
    "receive_from scatter share sync take_lock write write_component".split()
)
"""The methods of a replica's session that count as operations of the function."""


class FaultPlan:
    """The faults of one strategy, and how often each of them has happened.

    Args:
        faults: The faults in the order of the experiment.
        seed: The seed from which random choices are drawn.
        transport: The name of the transport, for faults of links.
        folder: The folder of the run's files, for `disk_full`; None if there are no files.
    """

    def __init__(
        self,
        faults: Sequence[Fault],
        seed: int,
        num_replicas: int,
        transport: str,
        folder: Path | None = None,
    ) -> None:
        for fault in faults:
            fault.check(num_replicas)
            fault.check_link(transport)
        self._faults = [fault.drawn(seed, i, num_replicas) for i, fault in enumerate(faults)]
        self._seed = seed
        self._folder = folder
        self._happened = [0] * len(faults)
        self._num_replicas = num_replicas
        self._joined_at: dict[int, int] = {}  # index of a fault → call in which its replicas joined
        self.step = 1
        """The current step of the workload, counted from 1."""

    def resize(self, num_replicas: int) -> None:
        """Set a smaller number of replicas. A fault of a replica that is gone cannot happen."""
        self._num_replicas = num_replicas

    def wrapped(
        self, function: Any, call: int, present: int, exchange: Reducer
    ) -> FaultyFunction | None:
        """Return a function with the faults of a call; None if no replica has a fault.

        The faults of the coordinator happen now.

        Args:
            present: The number of replicas that take part in the call.
            exchange: The coordinator's end of the exchange.
        Raises:
            InjectedFault: The strategy has no shared memory, or no files, that could be full.
        """
        here = [
            (i, fault)
            for i, fault in enumerate(self._faults)
            if fault.is_at(call, self.step) and (fault.is_lasting or not self._happened[i])
        ]
        for i, fault in here:
            if fault.replica == COORDINATOR:
                self._happened[i] += 1
                if fault.kind == KILL:
                    os.kill(os.getpid(), signal.SIGKILL)
                _fill(fault, self._folder, exchange)
        here = [(i, fault) for i, fault in here if fault.replica != COORDINATOR]
        if not here:
            return None
        own = [[one for one in here if one[1].is_on(replica_id)] for replica_id in range(present)]
        absent = range(present, self._num_replicas)
        for i, fault in here:
            if not any(map(fault.is_on, range(present))) and any(map(fault.is_on, absent)):
                self._joined_at.setdefault(i, call)
        for i, _ in chain.from_iterable(own):
            self._joined_at.pop(i, None)
            self._happened[i] += 1  # `took` corrects this if the function does not reach the fault
        inner = function.python_function if isinstance(function, Function) else function
        return FaultyFunction(inner, own, self._seed, call, self._folder)

    def took(self, result: tuple[Any, tuple[int, ...]]) -> Any:
        """Return the result of the program's function; subtract the faults that did not happen."""
        value, missed = result
        for i in missed:
            self._happened[i] -= 1
        return value

    @property
    def counts(self) -> tuple[int, ...]:
        """Return how often each fault has happened."""
        return tuple(self._happened)

    def since(self, counts: Sequence[int]) -> list[str]:
        """Return the faults that have happened since `counts` was returned; () is the start."""
        before = counts or [0] * len(self._faults)
        now = zip(self._faults, self._happened, before, strict=True)
        return [fault.text for fault, count, earlier in now if count > earlier]

    def missed(self) -> list[str]:
        """Return a text for each fault that has not happened."""
        return [
            f"fault {fault.text!r} did not happen: {self._why_missed(i, fault)}"
            for i, fault in enumerate(self._faults)
            if not self._happened[i]
        ]

    def _why_missed(self, index: int, fault: Fault) -> str:
        if isinstance(fault.replica, int) and fault.replica >= self._num_replicas:
            return f"the run has gone on without replica {fault.replica}"
        call = self._joined_at.get(index)
        if call is None:
            return f"the run did not reach {fault.place}"
        return f"{fault.where} took no part in call {call}, because of uneven: join"


# ---------------------------------------------------------------- on a replica


class FaultyFunction:
    """A function of the program, and the faults of each replica during one call of it."""

    def __init__(
        self,
        function: Callable[..., Any],
        faults: Sequence[Sequence[tuple[int, Fault]]],  # for each replica: (index, fault)
        seed: int,
        call: int,
        folder: Path | None,
    ) -> None:
        self.folder = folder
        self.function = function
        self.faults = faults
        self.seed = seed
        self.call = call
        self.program = os.getpid()

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[Any, tuple[int, ...]]:
        """Call the function on a replica; return its result, and the faults that did not happen."""
        frame = current_frame()
        assert frame is not None
        context: Any = frame.replica
        session, replica_id = context.session, context.replica_id_in_sync_group
        faults = FaultySession(session, self.faults[replica_id], self, replica_id)
        context.session = faults
        try:
            faults.begin()
            result = self.function(*args, **kwargs)
            faults.end()
        finally:
            context.session = session
        return result, faults.missed()


class FaultySession:
    """A replica's session, with faults before its operations."""

    def __init__(
        self,
        session: Any,
        faults: Sequence[tuple[int, Fault]],
        function: FaultyFunction,
        replica_id: int,
    ) -> None:
        self._session = session
        self._faults = faults
        self._missed = {i for i, _ in faults}
        self._folder = function.folder
        self._in_program = function.program == os.getpid()
        self._draw = random.Random(f"{function.seed}/{function.call}/{replica_id}")
        self._operation = 0
        self._since_s = time.perf_counter()

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._session, name)
        if name not in _OPERATIONS:
            return inner

        def operation(*args: Any, **kwargs: Any) -> Any:
            self._operation += 1
            self._before()
            try:
                return inner(*args, **kwargs)
            finally:
                self._since_s = time.perf_counter()

        return operation

    def begin(self) -> None:
        """Inject the faults before the function begins."""
        self._before()
        self._since_s = time.perf_counter()

    def end(self) -> None:
        """Slow down the code after the last operation."""
        self._slow_down()

    def missed(self) -> tuple[int, ...]:
        """Return the indices of the faults that did not happen."""
        return tuple(sorted(self._missed))

    def _before(self) -> None:
        """Inject the faults before an operation, or before the function begins."""
        if self._operation:
            self._slow_down()
        for i, fault in self._faults:
            now = (fault.operation or 0) == self._operation
            if fault.kind == DELAY and (now or fault.operation is None):
                self._missed.discard(i)
                self._delay(fault)
            elif not fault.is_lasting and now:
                self._missed.discard(i)
                self._inject(fault)

    def _slow_down(self) -> None:
        """Sleep in proportion to the time since the last operation."""
        busy_s = time.perf_counter() - self._since_s
        for i, fault in self._faults:
            if fault.kind == SLOW and fault.operation in (None, self._operation):
                self._missed.discard(i)
                time.sleep((fault.amount("factor") - 1) * busy_s)

    def _delay(self, fault: Fault) -> None:
        jitter_ms = fault.amount("jitter_ms")
        delay_ms = fault.amount("ms") + self._draw.uniform(-jitter_ms, jitter_ms)
        time.sleep(max(0.0, delay_ms) / 1000)

    def _inject(self, fault: Fault) -> None:
        if fault.kind == RAISE:
            raise InjectedFault(f"fault {fault.text!r}")
        if self._in_program:
            raise InjectedFault(
                f"fault {fault.text!r} needs a worker process, but this replica is simulated: use "
                "raise, slow or delay"
            )
        if fault.kind == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault.kind == EXIT:
            os._exit(int(fault.amount("code")) & 0xFF)
        elif fault.kind in (DISK_FULL, MEMORY_FULL):
            _fill(fault, self._folder, self._session.exchange)
        elif fault.is_of_link:
            _disturb(self._session.link_faults, fault)
        else:
            _pause(fault.amount("s"))


def _fill(fault: Fault, folder: Path | None, exchange: Reducer | Allocator) -> None:
    """From now on, let the disk of a folder, or this process's shared memory, appear full."""
    if fault.kind == MEMORY_FULL:
        if not exchange.fill():
            raise InjectedFault(
                f"fault {fault.text!r} needs shared memory, but this exchange has none: use "
                "exchange=shared"
            )
    elif folder is None:
        raise InjectedFault(f"fault {fault.text!r} needs the files of a run: record a trace")
    else:
        disk.fill(folder)


def _disturb(link: LinkFaults, fault: Fault) -> None:
    """Inject a fault into the link of this worker."""
    if fault.kind in (DROP, DUPLICATE, REORDER):
        change = {DROP: link.drop, DUPLICATE: link.duplicate, REORDER: link.reorder}[fault.kind]
        change(fault.amount("count"))
    elif fault.kind == PARTITION:
        link.partition(fault.amount("s"))
    elif fault.kind == CORRUPT:
        link.corrupt()
    else:
        link.truncate()


def _pause(time_s: float) -> None:
    """Let another process stop this process, and continue it after the time.

    One process sends both signals, so that SIGCONT never comes before SIGSTOP.
    """
    own = os.getpid()
    signals = f"kill -STOP {own}; sleep {time_s:g}; kill -CONT {own}"
    nothing = subprocess.DEVNULL
    subprocess.run(["/bin/sh", "-c", signals], check=True, stdin=nothing, stderr=nothing)
