"""Check each host of a launcher for `varsim doctor`: by its agent, with this machine's checks.

An agent is started on each host, as for a cluster, so that all that a start needs is tried: the
engine, the key, both ports of the program, and the versions. The agent runs the checks of
`host_checks.py` there. A host that does not answer is a problem with the reason.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import zmq

from varsim.errors import ProtocolError, StartError
from varsim.interrupts import Interruptible
from varsim.launch.host_checks import Check, State
from varsim.launch.launcher import LINK_LOSS_S
from varsim.launch.remote.control import Control, Name
from varsim.launch.remote.engines import Engine
from varsim.launch.remote.greeting import Greeting
from varsim.launch.remote.host_launcher import HostLauncher
from varsim.launch.remote.join_key import JoinKey
from varsim.launch.remote.remote_hosts import RemoteHost, RemoteHosts
from varsim.tracing.host_clocks import ClockReading
from varsim.transport.folders import PrivateFolder, new_path
from varsim.transport.joining import HostListener
from varsim.transport.keys import KeyPair
from varsim.transport.link_times import stretch_of
from varsim.transport.sockets import timeout_ms
from varsim.transport.tcp import listen_on

JOIN_S: Final = 30.0
"""By default, the time in which all hosts must answer. An agent needs about a second."""

_CHECK_S: Final = 30.0
"""Time limit for the checks of a host: those of a full disk or of many threads are slow."""

_LOOK_S: Final = 0.1  # between two looks at the engine
_LARGE_OFFSET_S: Final = 1.0
"""A larger difference of clocks is named with a remedy. It stops no run: see the docs on clocks."""

_NOTHING_ELSE: Final = "nothing else was checked there"
_BY_HAND: Final = "run this command by hand until it works there without a question"

_MS: Final = 1e6  # nanoseconds


HostChecks = tuple[str, list[Check]]
"""The name of a host, and what was found about it."""


def check_hosts(
    launcher: HostLauncher, num_workers: int
) -> tuple[list[Check], Sequence[HostChecks]]:
    """Start an agent on each host of a launcher.

    Args:
        num_workers: The number of replicas of the cluster to check for.
    Returns:
        What the engine itself says, and what was found on each host.
    Raises:
        StartError: The engine itself cannot be used, or no address of this machine is known.
        ConfigError: The settings are wrong, or a package is missing.
    """
    launcher.check()
    with ExitStack() as stack:
        return _Checkup(launcher, num_workers, stack).run()


@dataclass(slots=True)
class _Joined:
    """A host whose agent has joined."""

    greeting: Greeting
    after_s: float
    misfit: str  # why it does not fit to this program; "" if it does


class _Checkup:
    """One look at all hosts."""

    def __init__(self, launcher: HostLauncher, num_workers: int, stack: ExitStack) -> None:
        self._settings = launcher.settings
        self._launcher = launcher
        self._num_workers = num_workers
        self._stack = stack
        self._limit_s = launcher.settings.start_timeout_s or JOIN_S
        self._stretch = stretch_of(self._limit_s)
        self._began_s = time.monotonic()
        self._joined: dict[int, _Joined] = {}  # by the number of the link
        self._ended: dict[int | None, str] = {}  # rank → why; None: all hosts of the engine

    def run(self) -> tuple[list[Check], Sequence[HostChecks]]:
        """Start agents, wait for them, and ask them."""
        engine = self._start()
        self._gather(engine)
        order = sorted(self._joined, key=lambda one: (self._rank(one), one))
        greetings = [self._joined[number].greeting for number in order]
        names = self._settings.names_of(greetings)
        named = dict(zip(order, names, strict=True))
        answers = self._ask(engine, named)
        found = [
            (named[number], [*self._of_agent(number), *answers.get(number, [])]) for number in order
        ]
        return engine.room(self._num_workers), found + self._missing(engine)

    def _rank(self, number: int) -> int:
        rank = self._joined[number].greeting.rank
        return len(self._joined) if rank is None else rank

    # ------------------------------------------------------------ start

    def _start(self) -> Engine:
        """Listen at both ports, and let the engine start an agent on each host."""
        own, member = KeyPair.generate(), KeyPair.generate()
        folder = self._stack.enter_context(PrivateFolder(new_path("key-"))).path
        if self._settings.key:
            self._stack.callback(Path(self._settings.key).unlink, missing_ok=True)
        with ExitStack() as running:
            engine = self._launcher.engine_everywhere(folder, self._began_s + self._limit_s)
            running.callback(engine.end)
            agents, workers = engine.endpoints
            try:
                self._listener = HostListener(agents, own, member, LINK_LOSS_S, self._stretch)
                self._stack.callback(self._listener.close)
                self._workers = listen_on(workers, 1, LINK_LOSS_S, self._stretch)
                self._stack.callback(self._workers.close)
            except zmq.ZMQError as error:
                raise StartError(f"cannot listen at {agents} and {workers}: {error}") from error
            engine.start(self._listener.endpoint, JoinKey(member, own.public, self._stretch))
            self._stack.push(running.pop_all())  # the engine ends before the listener does
        return engine

    def _gather(self, engine: Engine) -> None:
        """Wait until each host has joined or ended, or the time is over."""
        poller = zmq.Poller()
        for polled in self._listener.sockets:
            poller.register(polled, zmq.POLLIN)
        while not self._is_complete(engine):
            left_s = self._began_s + self._limit_s - time.monotonic()
            if left_s <= 0:
                return
            # Not the engine's outputs: those of an ended command stay readable.
            with Interruptible():
                poller.poll(timeout_ms(min(left_s, _LOOK_S)))
            for ended in engine.ended():
                self._ended.setdefault(ended.rank, ended.reason)
            for number, frames in self._listener.drain():
                if not isinstance(frames, ProtocolError):
                    self._take(number, Control.unpacked(frames))
            self._listener.look(lambda _: False)

    def _take(self, number: int, message: Control) -> None:
        if message.name is not Name.HELLO:
            return
        after_s, here = time.monotonic() - self._began_s, Greeting.of_this_host()
        try:
            greeting = Greeting.from_value(message.value)
            misfit = here.difference(greeting)
        except ProtocolError as error:
            greeting, misfit = here._replace(host="a host", rank=None, address=""), str(error)
        if misfit:
            self._listener.send(number, Control(Name.REFUSE, 0, misfit).packed())
        self._joined[number] = _Joined(greeting, after_s, misfit)

    def _is_complete(self, engine: Engine) -> bool:
        if None in self._ended:
            return True
        expected = self._expected(engine)
        return expected is not None and len(self._joined) + len(self._lost()) >= expected

    def _lost(self) -> dict[int, str]:
        """Return why hosts have ended that have not joined, by their ranks."""
        there = {one.greeting.rank for one in self._joined.values()}
        return {
            rank: why for rank, why in self._ended.items() if rank is not None and rank not in there
        }

    def _expected(self, engine: Engine) -> int | None:
        sizes = [one.greeting.size for one in self._joined.values()]
        known = max((one for one in sizes if one is not None), default=None)
        return len(engine.shares) or self._settings.number or known

    # ------------------------------------------------------------ questions

    def _ask(self, engine: Engine, named: Mapping[int, str]) -> dict[int, list[Check]]:
        """Return the checks of the hosts that fit to this program, by their links."""
        fit = [number for number in named if not self._joined[number].misfit]
        hosts = [
            RemoteHost(number, self._joined[number].greeting, range(i, i + 1), named[number])
            for i, number in enumerate(fit)
        ]
        remote = RemoteHosts(
            self._listener,
            hosts,
            engine,
            LINK_LOSS_S,
            log_dir=None,
            trace_dir=None,
            stretch=self._stretch,
        )
        share = -(-self._num_workers // (self._expected(engine) or max(1, len(named))))
        of_workers = json.loads(self._workers.addresses[0])["endpoint"]
        value = {"workers": share, "endpoint": of_workers}
        try:
            remote.read_clocks()
            apart = remote.wall_clocks()
            found = remote.check(value, _CHECK_S * self._stretch)
        finally:
            remote.kill()
        answers = {}
        for host in hosts:
            checks = [_clock(host.readings, apart.get(host.number))]
            if host.number in found:
                checks += [Check(one, State(two), *rest) for one, two, *rest in found[host.number]]
            else:
                why = host.lost or f"has not answered within {_CHECK_S:g} s"
                checks.append(
                    Check("checks", State.PROBLEM, f"the host {why}", "try again when it is idle")
                )
            answers[host.number] = checks
        return answers

    def _of_agent(self, number: int) -> list[Check]:
        """Return what the start of a host's agent says."""
        joined = self._joined[number]
        there = joined.greeting
        address = f"from {there.address} " if there.address else ""
        checks = [
            Check(
                "agent",
                State.OK,
                f"joined {self._listener.endpoint} {address}after {joined.after_s:.1f} s",
            )
        ]
        versions = f"varsim {there.varsim}, Python {there.python}, NumPy {there.numpy}"
        if joined.misfit:
            remedy = f"install the same releases on all hosts; {_NOTHING_ELSE}"
            checks.append(Check("versions", State.PROBLEM, joined.misfit, remedy))
        else:
            checks.append(Check("versions", State.OK, versions))
        return checks

    def _missing(self, engine: Engine) -> list[HostChecks]:
        """Return the hosts that have not joined, with the reason."""
        names = self._settings.names or engine.names
        there = {one.greeting.rank for one in self._joined.values()}
        lost = self._lost()
        expected = self._expected(engine)
        late = (
            f"no agent has joined {self._listener.endpoint} within {self._limit_s:g} s",
            "look for a route from the host, and for a firewall that closes this port; `listen: "
            "ADDRESS:PORT` fixes the ports",
        )
        whole = (self._ended[None], _BY_HAND) if None in self._ended else late
        found = []
        if expected is not None and None not in there:
            for rank in sorted({*range(expected)} - there):
                why = (lost[rank], _BY_HAND) if rank in lost else whole
                name = names[rank] if rank < len(names) else f"with rank {rank}"
                found.append((name, [_not_reached(*why)]))
        elif expected is None or len(self._joined) < expected:
            missing = 0 if expected is None else expected - len(self._joined)
            which = f"unknown ({missing} of them)" if missing > 1 else "unknown"
            found.append((which, [_not_reached(*whole)]))
        return found


def _not_reached(why: str, remedy: str) -> Check:
    return Check("agent", State.PROBLEM, f"not reached: {why}", f"{remedy}; {_NOTHING_ELSE}")


def _clock(steady: Sequence[ClockReading], wall: ClockReading | None) -> Check:
    """Return what is known of a host's clocks."""
    subject = "clock offset"
    if wall is None or not steady:
        return Check(subject, State.NOT_CHECKED, "no answer in time")
    ahead_s = wall.ahead_ns / 1e9
    where = "ahead of" if ahead_s >= 0 else "behind"
    found = (
        f"{abs(ahead_s) * 1e3:.1f} ms {where} this machine, known to {wall.error_ns / _MS:.1f} ms; "
        f"in records, times are right to {min(one.error_ns for one in steady) / _MS:.1f} ms"
    )
    if abs(ahead_s) > _LARGE_OFFSET_S:
        return Check(subject, State.OK, found, "set the clock (NTP), for the times of its files")
    return Check(subject, State.OK, found)
