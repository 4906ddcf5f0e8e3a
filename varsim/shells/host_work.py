"""Do the work of running calls that runs code of the program, in the program's process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from varsim.interrupts import Interruptible
from varsim.shells.host import Host
from varsim.sync.actions import PerformHostCall, RunMerge, ShowOutput, WarnOfStall
from varsim.sync.coordinator_events import HostCallDone, MergeFunctionReturns

Work = RunMerge | PerformHostCall | WarnOfStall
"""The actions that run code of the program, besides `ShowOutput`."""


class HostWork:
    """The work that is not done yet, and the hosts of the calls that run.

    While code of the program runs, Ctrl-C raises KeyboardInterrupt.

    Attributes:
        hosts: Token of a running call → its host.
        tokens: call_id → token, of the calls that run.
        pending: The next work is the first.
        outputs: What replicas have printed. It needs no answer, so it is shown before other work.
    """

    def __init__(self, warn: Callable[[str, str], None] | None) -> None:
        self._warn = warn
        self.hosts: dict[int, Host] = {}
        self.tokens: dict[int, int] = {}
        self.pending: deque[Work] = deque()
        self.outputs: deque[ShowOutput] = deque()

    def perform(
        self, work: Work, now_s: Callable[[], float]
    ) -> MergeFunctionReturns | HostCallDone | None:
        """Perform a piece of work; return the event that answers it, if it needs an answer.

        Args:
            now_s: Returns the time.
        """
        if isinstance(work, WarnOfStall):
            if self._warn is not None:
                with Interruptible():
                    self._warn(str(work.fact), work.location)
            return None
        host = self.hosts[self.tokens[work.call_id]]
        if isinstance(work, RunMerge):
            with Interruptible():
                results = host.merge(work.arrivals)
            return MergeFunctionReturns(work.call_id, work.position, results, now_s())
        with Interruptible():
            result, failed = host.perform(work.replica_id, work.host_call)
        return HostCallDone(work.call_id, work.replica_id, result, failed, now_s())

    def show(self) -> None:
        """Show the first of `outputs`."""
        output = self.outputs.popleft()
        host = self.hosts[self.tokens[output.call_id]]
        with Interruptible():
            host.show(output.replica_id, output.text, is_error=output.is_error)

    def end(self, token: int) -> None:
        """Drop a call, and its work."""
        del self.hosts[token]
        self.tokens = {i: one for i, one in self.tokens.items() if one != token}
        if self.pending:
            self.pending = deque(one for one in self.pending if one.call_id in self.tokens)
        if self.outputs:
            self.outputs = deque(one for one in self.outputs if one.call_id in self.tokens)
