"""Observe and end workers on other hosts, through the agents that have started them there."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any, Final

import zmq

from varsim.errors import ProtocolError
from varsim.exchange.between_hosts import HostMessage, HostsCoordinator
from varsim.interrupts import Interruptible, held
from varsim.launch.remote.control import WALL, Control, Name
from varsim.launch.remote.engines import Engine
from varsim.launch.remote.greeting import Greeting
from varsim.launch.remote.host_names import this_machine
from varsim.launch.rendezvous import log_name
from varsim.private import private_opener
from varsim.protocol.buffers import Frame
from varsim.protocol.limits import Buffer
from varsim.sync.stalls import Sighting
from varsim.tracing.host_clocks import ClockReading, RecordedHost, RecordedHosts, write_hosts
from varsim.tracing.host_traffic import PROGRAM_MACHINE, CountedTraffic
from varsim.transport.joining import HostListener
from varsim.transport.sockets import timeout_ms

ANSWER_S: Final = 1.0
"""Time limit for the answer of a host; an agent answers at once, but its host may be busy."""

_ROUND_TRIPS: Final = 3  # number of questions to all hosts; the shortest time counts
_READINGS: Final = 8  # number of questions for one reading of a clock
_READING_S: Final = 1.0  # no further question after this time

_HOME_S: Final = 30.0
"""Time limit for the next part of a file that a host sends home."""


@dataclass(slots=True)
class RemoteHost:
    """One host of a cluster."""

    number: int  # of its link
    greeting: Greeting
    replica_ids: range
    name: str
    readings: list[ClockReading] = field(default_factory=list)  # of its clock
    lost: str = ""  # why the host is lost; "" as long as it is there
    answers: dict[int, Control] = field(default_factory=dict)  # by the number of the call


class RemoteHosts:
    """The hosts of a cluster's workers, each with an agent.

    Args:
        log_dir: Where the logs of the workers come home; None if they are not kept.
        trace_dir: Where the traces of the workers come home; None if nothing is recorded.
        stretch: Of the time limit for answers; see `varsim.transport.link_times`.
        devices: The devices of all replicas.
    """

    def __init__(
        self,
        listener: HostListener,
        hosts: Sequence[RemoteHost],
        engine: Engine,
        link_loss_s: float,
        *,
        log_dir: Path | None,
        trace_dir: Path | None,
        stretch: float = 1.0,
        devices: Sequence[str] = (),
    ) -> None:
        self._answer_s = ANSWER_S * stretch
        self._listener = listener
        self._engine = engine
        self._link_loss_s = link_loss_s
        self._homes = {"logs": log_dir, "traces": trace_dir}
        self._devices = tuple(devices)
        self._traffic: Callable[[], CountedTraffic] | None = None
        self._hosts = {one.number: one for one in hosts}
        self._in_order = tuple(hosts)
        self._exchange: HostsCoordinator | None = None
        self._of_replica = {replica_id: one for one in hosts for replica_id in one.replica_ids}
        self._exits: deque[tuple[int, str]] = deque()
        self._reported: set[int] = set()  # replicas whose end was reported
        self._last_words: dict[int, tuple[str, str]] = {}
        self._numbers = count(1)
        self._poller = zmq.Poller()
        # Not the engine's outputs: those of an ended command stay readable. `look` reads them.
        self.sockets = listener.sockets
        for polled in listener.sockets:
            self._poller.register(polled, zmq.POLLIN)
        self.problem = ""

    @property
    def all_ended(self) -> bool:
        """Return whether no host is left."""
        return all(one.lost for one in self._hosts.values())

    def exits(self) -> list[tuple[int, str]]:
        """Return the workers that have ended since the last call."""
        self._hear()
        self._look_at_engine()
        ended = list(self._exits)
        self._exits.clear()
        return ended

    def look(self) -> list[tuple[int, str]]:
        """Look at the links to the hosts; return the workers that have ended or are lost."""
        self._look()
        return self.exits()

    def _look(self) -> None:
        """Lose the hosts that have had no connection for too long."""
        for number in self._listener.look(lambda _: False):
            if number in self._hosts:
                why = f"has had no connection for {self._link_loss_s:g} s (link_loss_s)"
                self._lose(self._hosts[number], why)

    def _hear(self) -> None:
        for number, frames in self._listener.drain():
            host = self._hosts.get(number)
            if host is None:  # joined later than the hosts of the cluster
                reason = "the cluster has all its hosts"
                self._listener.send(number, Control(Name.REFUSE, 0, reason).packed())
                continue
            if isinstance(frames, ProtocolError):
                self._lose(host, f"sent a malformed message: {frames}")
                continue
            try:
                self._take(host, Control.unpacked(frames))
            except (ProtocolError, ValueError, TypeError) as error:
                self._lose(host, f"sent a malformed message: {error}")

    def _take(self, host: RemoteHost, message: Control) -> None:
        if message.number:
            host.answers[message.number] = message
        elif message.name is Name.EXITED:
            replica_id, reason, said, log_path = message.value
            if replica_id in host.replica_ids:
                self._last_words[replica_id] = said, self._log_at_home(replica_id, log_path)
                self._report(replica_id, reason)
        elif message.name is Name.EXCHANGE and self._exchange is not None:
            said = HostMessage(message.value, message.part)
            self._exchange.take(self._in_order.index(host), said)
        elif message.name is Name.FAILED:
            self.problem = self.problem or f"host {host.name}: {message.value}"
            self._lose(host, f"cannot run its workers: {message.value}")
        elif message.name is Name.LEFT:
            self._lose(host, f"has left: {message.value}")

    def _report(self, replica_id: int, reason: str) -> None:
        if replica_id not in self._reported:
            self._reported.add(replica_id)
            self._exits.append((replica_id, reason))

    def _lose(self, host: RemoteHost, why: str) -> None:
        if host.lost:
            return
        host.lost = why
        self._tell(host, Name.LEAVE, next(self._numbers), None)  # if it is still there
        self._listener.lose(host.number)
        self._engine.lose(host.greeting.rank)
        self.problem = self.problem or f"host {host.name} {why}"
        if self._exchange is not None:
            self._exchange.lose_host(self._in_order.index(host))
        for replica_id in host.replica_ids:
            self._report(replica_id, f"was on host {host.name}, which {why}")

    def _look_at_engine(self) -> None:
        """Lose the hosts of which the engine says that they have ended."""
        for ended in self._engine.ended():
            for host in self._hosts.values():
                if ended.rank in (None, host.greeting.rank):
                    self._lose(host, ended.reason)

    # ------------------------------------------------------------ links of the exchange

    def serve(
        self, exchange: HostsCoordinator | None, traffic: Callable[[], CountedTraffic]
    ) -> None:
        """Carry messages between an exchange and its ends on the hosts from now on.

        Args:
            exchange: None if the exchange has no ends on hosts.
            traffic: Returns what was sent until now.
        """
        self._exchange, self._traffic = exchange, traffic
        if exchange is not None:
            exchange.attach_hosts(self)

    def send(self, host: int, message: HostMessage) -> None:
        """Send a message to a host's end of the exchange, unless the host is lost."""
        if not self._in_order[host].lost:
            self._tell(self._in_order[host], Name.EXCHANGE, 0, *message)

    def name(self, host: int) -> str:
        """Return the name of a host."""
        return self._in_order[host].name

    def lose(self, host: int, why: str) -> None:
        """Lose a host that does not do its part."""
        self._lose(self._in_order[host], why)

    def hear(self, timeout_s: float) -> None:
        """Wait for messages of hosts, and handle them; `exits` returns losses later."""
        with Interruptible():
            self._poller.poll(timeout_ms(timeout_s))
        self._hear()
        self._look_at_engine()
        self._look()

    # ------------------------------------------------------------ calls of the agents

    def _tell(
        self, host: RemoteHost, name: Name, number: int, value: Any, part: Frame | Buffer = b""
    ) -> None:
        self._listener.send(host.number, Control(name, number, value, part).packed())

    def _call(
        self, host: RemoteHost, name: Name, value: Any, timeout_s: float | None = None
    ) -> Control | None:
        """Call a function of a host; return its answer, or None if none comes in time."""
        limit_s = self._answer_s if timeout_s is None else timeout_s
        return self._answers({host.number: value}, name, limit_s).get(host.number)

    def _call_all(self, name: Name, value: Any, timeout_s: float) -> dict[int, Control]:
        """Call a function of all hosts; return the answers that come in time."""
        return self._answers(dict.fromkeys(self._hosts, value), name, timeout_s)

    def _answers(
        self, values: Mapping[int, Any], name: Name, timeout_s: float
    ) -> dict[int, Control]:
        """Call a function of some hosts, each with its value; return the answers by host."""
        calls = {}
        for number, value in values.items():
            if not self._hosts[number].lost:
                calls[number] = next(self._numbers)
                self._tell(self._hosts[number], name, calls[number], value)
        until_s = time.monotonic() + timeout_s
        answers: dict[int, Control] = {}
        while True:
            for number, call in list(calls.items()):
                host = self._hosts[number]
                if call in host.answers:
                    answers[number] = host.answers.pop(call)
                if number in answers or host.lost:
                    del calls[number]
            left_s = until_s - time.monotonic()
            if not calls or left_s <= 0:
                return answers
            self._poller.poll(timeout_ms(min(left_s, self._listener.look_s)))
            self._hear()
            self._listener.look(lambda _: False)

    def _value(self, replica_id: int, name: Name, value: Any) -> Any:
        answer = self._call(self._of_replica[replica_id], name, value)
        return None if answer is None else answer.value

    def is_ready(self, replica_id: int, process_id: int) -> None:
        """Tell the host of a worker which process the worker is."""
        self._tell(self._of_replica[replica_id], Name.READY, 0, [replica_id, process_id])

    def last_words(self, replica_id: int) -> tuple[str, str]:
        """Return the end of the output of a lost worker, and where its log comes home."""
        return self._last_words.get(replica_id, ("", ""))

    def tail(self, replica_id: int) -> str:
        """Return the end of a worker's log."""
        return self._value(replica_id, Name.TAIL, replica_id) or ""

    def where(self, replica_id: int) -> str | None:
        """Return the line that a replica's function runs now, as file:line; None if unknown."""
        found = self._value(replica_id, Name.WHERE, replica_id)
        return found if isinstance(found, str) else None

    def examine(
        self, replica_ids: Sequence[int], with_stacks: Collection[int]
    ) -> dict[int, Sighting]:
        """Return what the systems show about replicas' processes; leave out unknown processes."""
        seen: dict[int, Sighting] = {}
        asked = {}
        for host in self._hosts.values():
            here = [one for one in replica_ids if one in host.replica_ids]
            if here:
                asked[host.number] = [here, [one for one in with_stacks if one in here]]
        for answer in self._answers(asked, Name.EXAMINE, self._answer_s).values():
            for replica_id, fields in answer.value.items():
                process_id, processor_s, ready_s, stopped, stack = fields
                one = Sighting(process_id, processor_s, ready_s, stopped, tuple(stack))
                seen[replica_id] = one
        return seen

    def is_stopped(self, replica_id: int) -> bool:
        """Return whether the process of a worker is stopped, as far as its host can say."""
        seen = self.examine([replica_id], ())
        return replica_id in seen and seen[replica_id].stopped

    def end_worker(self, replica_id: int) -> bool:
        """Kill a worker that has not ended; return False if its process is unknown."""
        answer = self._value(replica_id, Name.END_WORKER, replica_id)
        if not answer or not answer[0]:
            return False
        _, said, log_path = answer
        self._last_words[replica_id] = said, self._log_at_home(replica_id, log_path)
        self._reported.add(replica_id)
        return True

    def round_trip_s(self) -> float:
        """Measure the longest time of a message to a host and its answer; 0 if none answers."""
        times = []
        for _ in range(_ROUND_TRIPS):
            asked_s = time.monotonic()
            if not self._call_all(Name.CLOCK, None, self._answer_s):
                return 0.0
            times.append(time.monotonic() - asked_s)
        return min(times)

    def read_clocks(self) -> None:
        """Compare the clock of each host with the clock of this one."""
        for host in self._hosts.values():
            reading = self._reading(host, None, time.monotonic_ns)
            if reading is not None:
                host.readings.append(reading)

    def wall_clocks(self) -> dict[int, ClockReading]:
        """Return how the time of each host compares with that of this one, by their links."""
        read = {
            number: self._reading(one, WALL, time.time_ns) for number, one in self._hosts.items()
        }
        return {number: reading for number, reading in read.items() if reading is not None}

    def _reading(
        self, host: RemoteHost, which: str | None, clock_ns: Callable[[], int]
    ) -> ClockReading | None:
        """Ask a host for a clock several times; return the answer with the smallest error."""
        readings: list[ClockReading] = []
        until_s = time.monotonic() + _READING_S
        while len(readings) < _READINGS:
            if readings and time.monotonic() > until_s:
                break
            asked_ns = clock_ns()
            answer = self._call(host, Name.CLOCK, which)
            if answer is None:
                break
            readings.append(ClockReading.of(asked_ns, int(answer.value), clock_ns()))
        return min(readings, key=lambda one: one.error_ns, default=None)

    def check(self, value: Mapping[str, Any], timeout_s: float) -> dict[int, list[list[str]]]:
        """Let all hosts check themselves; return the checks that come in time, by their links.

        Args:
            value: See `checks_of_this_host`.
        """
        answers = self._call_all(Name.CHECK, dict(value), timeout_s)
        return {number: answer.value for number, answer in answers.items()}

    # ------------------------------------------------------------ the end

    def kill(self) -> None:
        """Make all hosts end their workers; bring nothing home."""
        with held():
            self._call_all(Name.LEAVE, None, self._answer_s)
            for host in self._hosts.values():
                host.lost = host.lost or "was told to leave"

    def end(self) -> None:
        """End all workers, and bring their logs and traces home."""
        with held():
            if self._homes["traces"] is not None:
                self.read_clocks()
                self._write_hosts()
            for number, files in self._call_all(Name.STOP, None, _HOME_S).items():
                for name, size in files.value:
                    self._bring_home(self._hosts[number], name, size)
        self.kill()

    def _write_hosts(self) -> None:
        """Write beside the traces which host had which replicas, and what its clock was."""
        folder = self._homes["traces"]
        if folder is not None and folder.is_dir():
            write_hosts(folder, self.recorded())

    def recorded(self) -> RecordedHosts:
        """Return the hosts, and what was sent until now."""
        machines = {this_machine(): PROGRAM_MACHINE}
        hosts = tuple(
            RecordedHost(
                one.name,
                one.replica_ids.start,
                one.replica_ids.stop,
                tuple(one.readings),
                self._devices[one.replica_ids.start : one.replica_ids.stop],
                machines.setdefault(one.greeting.machine, len(machines)),
            )
            for one in self._hosts.values()
        )
        return RecordedHosts(hosts, None if self._traffic is None else self._traffic())

    def _bring_home(self, host: RemoteHost, name: str, size: int) -> None:
        folder, _, file_name = name.partition("/")
        home = self._homes.get(folder)
        if home is None or PurePosixPath(file_name).name != file_name:
            return
        # Logs are appended to what an earlier cluster of the run has written.
        with open(home / file_name, "ab", opener=private_opener) as file:
            offset = 0
            while offset < size:
                answer = self._call(host, Name.PART, [name, offset], _HOME_S)
                if answer is None or not answer.part:
                    return
                offset += file.write(answer.part)

    def _log_at_home(self, replica_id: int, log_path: str) -> str:
        home = self._homes["logs"]
        return str(home / log_name(replica_id)) if home is not None and log_path else ""
