"""Carry messages to and from worker processes, and report workers that have ended."""

from __future__ import annotations

import math
import os
import time
import weakref
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from typing import Any, Final

import zmq

from varsim.errors import ProtocolError, SizeError, StartError
from varsim.exchange.exchange import CoordinatorExchange
from varsim.interrupts import MAX_WAIT_S, Interruptible, held
from varsim.launch.backlog import Backlog
from varsim.launch.clock import Clock
from varsim.launch.link import Lost, Received
from varsim.launch.worker_hosts import WorkerHosts
from varsim.protocol.limits import halves
from varsim.protocol.messages import (
    Acknowledge,
    Acknowledged,
    Message,
    Ready,
    Shutdown,
)
from varsim.sync.actions import COORDINATOR
from varsim.sync.stalls import Sighting
from varsim.texts.losses import printed
from varsim.tracing.trace import Trace
from varsim.transport.sockets import timeout_ms
from varsim.transport.transport import Listener

SHUTDOWN_TIMEOUT_S: Final = 1.0
"""A worker that has not ended after this time still runs user code, and is killed."""

_MAX_OUTPUTS: Final = 3  # number of workers whose output is in the error about a failed start


class ProcessChannel:
    """Carries messages between the coordinator and worker processes.

    Everything is freed when the channel is closed or garbage-collected, and when the program ends.
    """

    def __init__(
        self,
        num_replicas: int,
        *,
        exchange: CoordinatorExchange,
        trace: Trace | None = None,
        listener: Listener,
        hosts: WorkerHosts,
        link_loss_s: float,
    ) -> None:
        self.num_replicas: Final = num_replicas
        self._trace = trace
        self._exchange = exchange
        exchange.attach(_ExchangeChannel(self))
        self._listener = listener
        self._look_s = math.inf if listener.look_s is None else listener.look_s
        self._hosts = hosts
        self._running = set(range(num_replicas))
        self._link_loss_s = link_loss_s
        self._inbox: list[tuple[int, Received]] = []
        self._clock = Clock()
        self.now_s = self._clock.now_s
        """Returns the time in seconds, without the time in which this process was stopped."""
        self._backlog = Backlog(num_replicas)
        self._poller = zmq.Poller()
        for polled in (*listener.sockets, *hosts.sockets):
            self._poller.register(polled, zmq.POLLIN)
        self._finalizer: weakref.finalize[..., ProcessChannel] | None = None
        self._problems: list[str] = []  # malformed envelopes, one text for each

    def own(self, stack: ExitStack) -> None:
        """Take over a stack of functions that end and free everything."""
        self._owner = os.getpid()
        self._finalizer = weakref.finalize(self, _free, stack, self._owner)

    def wait_until_ready(self, deadline: float) -> None:
        """Wait until every worker has reported that it is ready.

        Raises:
            StartError: A worker has ended, or some workers are not ready at the deadline.
        """
        missing = set(range(self.num_replicas))
        while missing:
            left_s = deadline - time.monotonic()
            received = self.receive(min(left_s, MAX_WAIT_S))
            if self._hosts.problem:
                raise StartError(self._hosts.problem)
            for replica_id, message in received:
                if isinstance(message, Lost):
                    raise StartError(_error_about(replica_id, message))
                if isinstance(message, Ready):
                    missing.discard(replica_id)
                    self._hosts.is_ready(replica_id, message.process_id)
            if not received and left_s <= MAX_WAIT_S:
                raise StartError(self._unready(missing))

    def _unready(self, missing: set[int]) -> str:
        outputs = [
            f"replica {replica_id} said:\n{self._hosts.tail(replica_id) or '(nothing)'}"
            for replica_id in sorted(missing)[:_MAX_OUTPUTS]
        ]
        return "\n".join(
            [f"{len(missing)} of {self.num_replicas} workers were not ready in time", *outputs]
        )

    def send(self, replica_id: int, messages: Sequence[Message]) -> None:
        """Send an envelope, or several if the messages do not fit into one.

        Do nothing if the worker has ended or the channel is closed.
        """
        if replica_id in self._running:
            if replica_id in self._backlog.due:
                # A separate envelope would end the round of the exchange: see `end_round`.
                messages = [*messages, Acknowledge(request_id=self._backlog.ask(replica_id))]
            try:
                frames = self._exchange.encode(replica_id, messages)
            except SizeError as error:
                for part in halves(messages, error):
                    self.send(replica_id, part)
                return
            if self._listener.send(replica_id, frames):
                shared_bytes = self._exchange.shared_bytes
                if self._trace is not None:
                    self._trace.sent(replica_id, frames, messages, shared=shared_bytes)
                # Most envelopes are one frame, whose size is found without another iteration.
                size_bytes = len(frames[0]) if len(frames) == 1 else sum(map(len, frames))
                self._backlog.sent(replica_id, size_bytes + shared_bytes)

    def await_room(self, timeout_s: float) -> Collection[int]:
        """Wait until every worker has received most of the bytes that were sent to it.

        Returns:
            The replicas whose workers have not received these bytes after `timeout_s`.
        """
        if not self._backlog.full:
            return ()
        now_s = self.now_s()
        deadline = now_s + timeout_s
        while self._backlog.full and not self._problems:
            until_s = min(deadline, now_s + self._look_s)
            with Interruptible():
                ready = dict(self._poller.poll(timeout_ms(until_s - now_s)))
            now_s = self._clock.waited(max(now_s, until_s))
            self._collect(ready)
            if now_s >= deadline:  # also if more arrives all the time
                break
        return () if self._problems else sorted(self._backlog.full)

    def receive(self, timeout_s: float) -> list[tuple[int, Received]]:
        """Wait for messages, and return all received messages, in order of arrival.

        Returns an empty list after `timeout_s`, or if all workers have ended. A lost worker is
        reported only once. Messages of this worker that arrive later are dropped.

        Raises:
            ProtocolError: A worker sent a malformed envelope. The next call returns the messages
                of the other envelopes.
        """
        now_s = self.now_s()
        deadline = now_s + timeout_s
        self._exchange.end_round()
        while not self._inbox and not self._problems and self._running:
            helped_until_s = self._exchange.deadline_s
            until_s = min(deadline, now_s + self._look_s)
            if helped_until_s is not None:
                until_s = min(until_s, helped_until_s)
            with Interruptible():
                ready = dict(self._poller.poll(timeout_ms(until_s - now_s)))
            ended_s = self._clock.waited(max(now_s, until_s))
            if not ready and helped_until_s is not None and now_s >= helped_until_s:
                self._exchange.look(now_s)
                self._take_finished()
            self._collect(ready)
            if now_s >= deadline:  # also if packets arrive all the time that are not messages
                break
            now_s = ended_s
        if self._problems:
            problems, self._problems = self._problems, []
            raise ProtocolError("; ".join(problems))
        received, self._inbox = self._inbox, []
        return received

    def _collect(self, ready: dict[Any, int]) -> None:
        if not ready.keys().isdisjoint(self._listener.sockets):
            self._hear()
        if not ready.keys().isdisjoint(self._hosts.sockets):
            self._collect_losses()
        if self._look_s < math.inf:
            self._take_losses(self._hosts.look())
            for replica_id in self._listener.look(self._hosts.is_stopped):
                reason = (
                    f"had no connection for {self._link_loss_s:g} s (link_loss_s), and was ended"
                )
                lost = self.end(replica_id, reason)
                if lost is not None:
                    self._inbox.append((replica_id, lost))

    def hear(self, timeout_s: float) -> bool:
        """Decode the envelopes that arrive within `timeout_s`; return False if none arrives."""
        ready = dict(self._poller.poll(timeout_ms(timeout_s)))
        if not any(socket in ready for socket in self._listener.sockets):
            return False
        self._hear()
        return True

    def _hear(self) -> None:
        for replica_id, frames in self._listener.drain():
            if replica_id not in self._running:
                continue  # this worker has already been reported as lost
            if self._trace is not None:
                self._trace.received(replica_id)
            try:
                if isinstance(frames, ProtocolError):
                    raise frames
                messages = self._exchange.decode(replica_id, frames)
                if len(messages) == 1 and isinstance(messages[0], Acknowledged):
                    self._backlog.acknowledged(replica_id, messages[0].request_id)
                    continue
            except ProtocolError as error:
                self._problems.append(f"replica {replica_id}: {error}")
            else:
                for message in messages:
                    self._inbox.append((replica_id, message))
        self._take_finished()

    def _collect_losses(self) -> None:
        losses = self._hosts.exits()
        self._take_finished()  # a host can also bring the end of a reduction
        self._take_losses(losses)

    def _take_losses(self, losses: Sequence[tuple[int, str]]) -> None:
        for replica_id, reason in losses:
            if replica_id in self._running:  # not a worker that `end` has killed
                self._inbox.append((replica_id, self._lose(replica_id, reason)))

    def _lose(self, replica_id: int, reason: str) -> Lost:
        if self._trace is not None:
            self._trace.lost(replica_id, reason)
        said, log_path = self._hosts.last_words(replica_id)
        self._running.discard(replica_id)
        self._exchange.lose(replica_id)
        self._listener.lose(replica_id)
        self._backlog.lose(replica_id)
        self._take_finished()
        return Lost(reason, said, log_path)

    def _take_finished(self) -> None:
        for done in self._exchange.finished():
            self._inbox.append((COORDINATOR, done))

    def where(self, replica_id: int) -> str | None:
        """Return the line that a replica's function runs now, as file:line; None if unknown."""
        return self._hosts.where(replica_id) if replica_id in self._running else None

    def examine(
        self, replica_ids: Sequence[int], with_stacks: Collection[int]
    ) -> dict[int, Sighting]:
        """Return what the system shows about replicas' processes; leave out ended processes."""
        running = [one for one in replica_ids if one in self._running]
        return self._hosts.examine(running, with_stacks)

    def end(self, replica_id: int, reason: str) -> Lost | None:
        """Kill the worker of a replica; return None if the worker has already ended.

        Later messages of the worker are dropped, and `receive` does not report it as lost.
        """
        if not dict(self._poller.poll(0)).keys().isdisjoint(self._hosts.sockets):
            self._collect_losses()
        if replica_id not in self._running or not self._hosts.end_worker(replica_id):
            return None
        return self._lose(replica_id, reason)

    def close(self, busy: Collection[int] = ()) -> None:
        """End all workers and free everything. Further calls do nothing.

        The workers get a `Shutdown`. Workers that still run after `SHUTDOWN_TIMEOUT_S` are killed.
        A Ctrl-C during `close` takes effect when `close` returns.

        Args:
            busy: Replicas that run user code now; their workers are killed without a wait.
        """
        with held():
            if self._finalizer is None or not self._finalizer.alive:
                return
            try:
                if os.getpid() == self._owner:  # not in a fork of the program
                    self._shut_down(frozenset(busy))
            finally:
                self._free()

    def kill(self) -> None:
        """Kill all workers, and free everything without waiting.

        Call this only before a worker has run a function.
        """
        with held():
            self._hosts.kill()
            self._free()

    def _free(self) -> None:
        self._running.clear()
        self._inbox.clear()
        if self._finalizer is not None:
            self._finalizer()

    def _shut_down(self, busy: frozenset[int]) -> None:
        for replica_id in self._running:
            self.send(replica_id, [Shutdown()])
        poller = zmq.Poller()
        for polled in self._hosts.sockets:
            poller.register(polled, zmq.POLLIN)
        deadline = time.monotonic() + SHUTDOWN_TIMEOUT_S
        while self._running - busy and not self._hosts.all_ended:
            if not poller.poll(timeout_ms(deadline - time.monotonic())):
                break
            self._running.difference_update(replica_id for replica_id, _ in self._hosts.exits())


class _ExchangeChannel:
    """The connections for the exchange.

    The reference to the channel is weak, so that the channel can be garbage-collected.
    """

    def __init__(self, channel: ProcessChannel) -> None:
        self._channel = weakref.ref(channel)

    def send(self, replica_id: int, messages: Sequence[Message]) -> None:
        """Send an envelope."""
        channel = self._channel()
        assert channel is not None, "the channel exists as long as reductions are requested"
        channel.send(replica_id, messages)

    def hear(self, timeout_s: float) -> bool:
        """Decode the envelopes that arrive within `timeout_s`; return False if none arrives."""
        channel = self._channel()
        return channel is not None and channel.hear(timeout_s)


def _error_about(replica_id: int, lost: Lost) -> str:
    said = printed(lost.stderr_tail)
    where = f"\n  full log: {lost.log_path}" if lost.log_path else ""
    return f"replica {replica_id}: worker {lost.reason}, before it was ready{said}{where}"


def _free(stack: ExitStack, owner: int) -> None:
    if os.getpid() == owner:  # not a fork of the program
        with held():
            stack.close()
