"""Start the workers of a cluster on several hosts, by an engine that starts agents there."""

from __future__ import annotations

import math
import select
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, ClassVar, Final

import zmq

from varsim.errors import ConfigError, ProtocolError, StartError
from varsim.exchange.between_hosts import check_between, open_between
from varsim.exchange.exchange import Handover
from varsim.interrupts import MAX_WAIT_S, Interruptible, held
from varsim.launch.host_needs import DOCTOR, ensure_host
from varsim.launch.launcher import LaunchOptions
from varsim.launch.link import Link
from varsim.launch.process_channel import ProcessChannel
from varsim.launch.remote.control import Control, Name
from varsim.launch.remote.engines import Commands, Engine, EngineCommand
from varsim.launch.remote.greeting import TELL_S, Greeting
from varsim.launch.remote.join_key import JoinKey, write_key
from varsim.launch.remote.metered_listener import MeteredListener
from varsim.launch.remote.remote_hosts import RemoteHost, RemoteHosts
from varsim.launch.remote.sent_environment import sent_environment
from varsim.launch.remote.settings import HostSettings, cannot_listen
from varsim.launch.rendezvous import ENTRY_POINT, Rendezvous
from varsim.private import make_private_folder
from varsim.protocol.python_values import StructureCodec
from varsim.protocol.references import References
from varsim.texts.facts import times
from varsim.tracing.host_traffic import CountedTraffic
from varsim.tracing.trace import open_trace, remove_traces
from varsim.tracing.trace_format import PROGRAM
from varsim.transport.folders import PrivateFolder, new_path
from varsim.transport.joining import HostListener
from varsim.transport.keys import KeyPair
from varsim.transport.link_times import stretch_of
from varsim.transport.sockets import timeout_ms
from varsim.transport.tcp import listen_on
from varsim.transport.transport import TRANSPORTS


class HostLauncher(ABC):
    """Starts workers on several hosts. A subclass knows how one engine starts agents there."""

    name: str
    """The name of the launcher, for errors."""

    transport: ClassVar[str] = "tcp"
    """The only transport between hosts."""

    settings_type: type[HostSettings] = HostSettings
    """The settings that the launcher has."""

    needs = ""
    """What the launcher must know of the hosts: their "names", their "number", or nothing."""

    def __init__(self, settings: HostSettings = HostSettings()) -> None:  # noqa: B008  # frozen
        self.settings: Final = settings
        self.entry_point = ENTRY_POINT

    @classmethod
    def from_settings(cls, given: Mapping[str, Any]) -> HostLauncher:
        """Return a launcher with the settings of an experiment.

        Raises:
            ConfigError: A setting does not exist, or has a wrong value.
        """
        made = cls(cls.settings_type.of(f"launcher {cls.name!r}", given))
        made.check()
        return made

    def check(self) -> None:
        """Check that the settings are complete.

        Raises:
            ConfigError: A setting is missing.
        """
        missing = {"names": not self.settings.names, "number": self.settings.number is None}
        if self.needs and missing[self.needs]:
            example, option = {"names": ("[a, b]", "a,b"), "number": ("2", "2")}[self.needs]
            raise ConfigError(
                f"launcher {self.name!r} needs the {self.needs} of the hosts: launcher: "
                f"{{{self.name}: {{hosts: {example}}}}}, or --hosts {option}"
            )

    @abstractmethod
    def engine(self, options: LaunchOptions, folder: Path, deadline_s: float) -> Engine:
        """Return a new engine, which will start an agent on each host.

        Args:
            folder: A private folder of this cluster, for a file with the key.
            deadline_s: Until when the cluster must have started, on the clock `time.monotonic`.
        Raises:
            StartError: The engine cannot be used, or the address of this machine is not known.
            ConfigError: The settings are wrong, or a package is missing.
        """

    def engine_everywhere(self, folder: Path, deadline_s: float) -> Engine:
        """Return a new engine, which will start an agent on each host that a cluster may get.

        Args:
            folder: See `engine`.
            deadline_s: See `engine`.
        """
        return self.engine(LaunchOptions(0, ("CPU:0",)), folder, deadline_s)

    def launch(self, options: LaunchOptions, references: References) -> Link:
        """Start an agent on each host and one worker per device; return when all are ready.

        Raises:
            StartError: A host or a worker did not start; the text names it.
            ConfigError: The settings do not fit together.
        """
        self.check()
        backends = options.backends.settled(self.transport)
        if backends.transport != self.transport:
            raise ConfigError(
                f"launcher {self.name!r} needs transport {self.transport!r}, not "
                f"{backends.transport!r}"
            )
        start_timeout_s = self.settings.start_timeout_s or options.start_timeout_s
        options = replace(options, backends=backends, start_timeout_s=start_timeout_s)
        check_between(backends.exchange, TRANSPORTS.make(HostLauncher.transport))
        if options.servers:
            raise ConfigError(
                f"launcher {self.name!r} cannot start parameter servers: varsim starts them only "
                "on the program's machine. Use the launcher 'process'; or use a MirroredStrategy, "
                "whose variables can be on several hosts"
            )
        with Interruptible():
            select.select([], [], [], options.delay_s)
        return _Start(self, options, references).run()


class CommandLauncher(HostLauncher):
    """Starts agents by commands. A subclass knows the commands of one engine."""

    @abstractmethod
    def commands(self, endpoint: str, key: JoinKey, folder: Path) -> Sequence[EngineCommand]:
        """Return the commands that start an agent on each host.

        Args:
            endpoint: The endpoint to which the agents connect.
            folder: A private folder of this cluster, for a file with the key.
        """

    def engine(self, options: LaunchOptions, folder: Path, deadline_s: float) -> Engine:  # noqa: ARG002  # of the base class
        """Return an engine of the commands."""
        return Commands(
            self.settings.endpoints(), lambda endpoint, key: self.commands(endpoint, key, folder)
        )


class _Start:
    """One start of a cluster."""

    def __init__(
        self, launcher: HostLauncher, options: LaunchOptions, references: References
    ) -> None:
        self._launcher = launcher
        self._settings = launcher.settings
        self._options = options
        self._references = references
        self._tell_at_s = time.monotonic() + TELL_S
        self._deadline_s = time.monotonic() + options.start_timeout_s
        self._stretch = stretch_of(options.start_timeout_s)
        self._stack = ExitStack()
        self._keys = self._stack.enter_context(ExitStack())  # removes the files with the key
        self._count = len(options.devices)

    def run(self) -> Link:
        channel: ProcessChannel | None = None
        try:
            with held():
                try:
                    self._open()
                except OSError as error:
                    raise StartError(f"cannot start workers: {error}. {DOCTOR}") from error
            greetings = self._gather()
            with held():
                self._keys.close()  # no further host can join
                channel, link = self._begin(greetings)
                channel.own(self._stack.pop_all())
            channel.wait_until_ready(self._deadline_s)
            self._listener.admit_only_known()
            self._of_workers.admit_only_known()
        except BaseException:  # including Ctrl-C: end what has started
            with held():
                if channel is not None:
                    channel.kill()
                self._stack.close()
                remove_traces(self._options.trace, self._count)
            raise
        return link

    def _open(self) -> None:
        """Listen for hosts, and start the engine's commands."""
        ensure_host(self._count)
        own, member = KeyPair.generate(), KeyPair.generate()
        folder = self._keys.enter_context(PrivateFolder(new_path("key-"))).path
        if self._settings.key:
            self._keys.callback(Path(self._settings.key).unlink, missing_ok=True)
        with ExitStack() as engine:
            self._engine = self._launcher.engine(self._options, folder, self._deadline_s)
            engine.callback(self._engine.end)
            endpoint, self._workers_endpoint = self._engine.endpoints
            loss_s = self._options.link_loss_s
            try:
                self._listener = HostListener(endpoint, own, member, loss_s, self._stretch)
            except zmq.ZMQError as error:
                raise cannot_listen(endpoint, error) from error
            self._stack.callback(self._listener.close)
            key = JoinKey(member, own.public, self._stretch)
            self._engine.start(self._listener.endpoint, key)
            self._stack.push(engine.pop_all())  # the engine ends before the listener does

    def _gather(self) -> dict[int, Greeting]:
        """Wait until all hosts have joined; return their greetings by the number of their link."""
        joined: dict[int, Greeting] = {}
        poller = zmq.Poller()
        for polled in (*self._listener.sockets, *self._engine.outputs):
            poller.register(polled, zmq.POLLIN)
        while not self._is_complete(joined):
            left_s = self._deadline_s - time.monotonic()
            if left_s <= 0:
                raise StartError(self._missing(joined))
            with Interruptible():
                poller.poll(timeout_ms(min(left_s, MAX_WAIT_S, self._listener.look_s)))
            for ended in self._engine.ended():
                which = (
                    f"launcher {self._launcher.name!r}"
                    if ended.rank is None
                    else f"host {self._settings.name_of(ended.rank, str(ended.rank))}"
                )
                raise StartError(f"{which} {ended.reason}\n{self._doctor}")
            for number, frames in self._listener.drain():
                if isinstance(frames, ProtocolError):
                    continue  # not a host of this version
                message = Control.unpacked(frames)
                if message.name is Name.HELLO:
                    joined[number] = self._accepted(number, message.value)
            self._listener.look(lambda _: False)
            self._tell_if_long(joined)
        return joined

    def _is_complete(self, joined: Mapping[int, Greeting]) -> bool:
        sizes = [one.size for one in joined.values() if one.size is not None]
        expected = len(self._engine.shares) or self._settings.number or max(sizes, default=None)
        return expected is not None and len(joined) >= expected

    def _who(self, joined: Mapping[int, Greeting]) -> str:
        there = ", ".join(sorted(self._settings.names_of(joined.values()))) or "none"
        expected = self._settings.number
        wanted = "" if expected is None else f" of {expected}"
        ranks = {one.rank for one in joined.values()}
        absent = [one for rank, one in enumerate(self._settings.names) if rank not in ranks]
        return (
            f"{len(joined)}{wanted} hosts have joined {self._listener.endpoint}: {there}"
            f"{'; not ' if absent else ''}{', '.join(absent)}"
        )

    def _missing(self, joined: Mapping[int, Greeting]) -> str:
        return (
            f"within {self._options.start_timeout_s:g} s (start_timeout_s), {self._who(joined)}. "
            f"Each host must be able to connect to this address (listen). {self._doctor}"
        )

    def _tell_if_long(self, joined: Mapping[int, Greeting]) -> None:
        """Say on stderr, once, for whom the start waits."""
        if time.monotonic() >= self._tell_at_s:
            self._tell_at_s = math.inf
            sys.stderr.write(
                f"varsim: {self._who(joined)}; waiting, at most "
                f"{self._options.start_timeout_s:g} s in all (start_timeout_s)\n"
            )

    @property
    def _doctor(self) -> str:
        name = self._launcher.name
        return f"`varsim doctor --launcher {name}`, with the same settings, checks each host"

    def _accepted(self, number: int, value: Any) -> Greeting:
        """Return the greeting of a host that fits to this program.

        Raises:
            StartError: Its versions differ.
        """
        try:
            greeting = Greeting.from_value(value)
        except ProtocolError as error:
            raise StartError(f"a host does not fit to this program: {error}") from None
        reason = Greeting.of_this_host().difference(greeting)
        if reason:
            self._listener.send(number, Control(Name.REFUSE, 0, reason).packed())
            raise StartError(
                f"host {greeting.host} does not fit to this program: {reason}. Install the same "
                "releases on all hosts"
            )
        return greeting

    def _begin(self, greetings: Mapping[int, Greeting]) -> tuple[ProcessChannel, Link]:
        """Give each host its replicas, and listen for the workers."""
        hosts = self._hosts(greetings)
        options = self._options
        try:
            self._of_workers = listen_on(
                self._workers_endpoint, self._count, options.link_loss_s, self._stretch
            )
            listener = MeteredListener(self._of_workers, self._count)
        except zmq.ZMQError as error:
            raise cannot_listen(self._workers_endpoint, error) from error
        self._stack.callback(listener.close)
        remote = RemoteHosts(
            self._listener,
            hosts,
            self._engine,
            options.link_loss_s,
            log_dir=options.log_dir,
            trace_dir=None if options.trace is None else options.trace.directory,
            stretch=self._stretch,
            devices=options.devices,
        )
        name, exchange, hosts_end = open_between(
            options.backends.exchange,
            TRANSPORTS.make(HostLauncher.transport),
            [host.replica_ids for host in hosts],
            round_trip_s=remote.round_trip_s(),
            have_memory=all(host.greeting.shared_memory for host in hosts),
        )
        self._stack.callback(exchange.close)
        remote.serve(
            hosts_end,
            lambda: CountedTraffic(
                replicas=listener.counts,
                exchange=name,
                direct=getattr(exchange, "direct", None),  # another package's may not count
            ),
        )
        if options.log_dir is not None:
            make_private_folder(options.log_dir)
        for index, host in enumerate(hosts):
            place = None if hosts_end is None else [index, len(hosts), hosts_end.settings]
            self._begin_on(host, listener.addresses, name, exchange.handover, place)
        trace = open_trace(options.trace, PROGRAM, self._count)
        if trace is not None:
            self._stack.callback(trace.close)
        self._stack.callback(remote.end)
        if options.trace is not None:
            remote.read_clocks()
        channel = ProcessChannel(
            self._count,
            trace=trace,
            exchange=exchange,
            listener=listener,
            hosts=remote,
            link_loss_s=options.link_loss_s,
        )
        link = Link(
            channel,
            exchange,
            StructureCodec(self._references),
            trace,
            hosts=tuple(host.name for host in hosts for _ in host.replica_ids),
            traffic=lambda: remote.recorded().traffic(),
            exchange_name=name,
        )
        return channel, link

    def _begin_on(
        self,
        host: RemoteHost,
        addresses: Sequence[str],
        exchange: str,
        handover: Handover,
        place: list[Any] | None,
    ) -> None:
        """Tell a host to start its workers.

        Args:
            addresses: Of the workers, in replica order.
            exchange: The name of the exchange.
            place: See `host_exchange`; None if the exchange has no ends on hosts.
        """
        own = host.replica_ids
        rendezvous = Rendezvous(
            options=self._options,
            addresses=tuple(one if i in own else "" for i, one in enumerate(addresses)),
            replica_ids=(own.start, own.stop),
            entry_point=self._options.entry_point or self._launcher.entry_point,
            search_path=tuple(sys.path),
            log_dir="",  # the host chooses its own folders
            private_dir="",
            exchange=exchange,
            handover=handover,
        )
        value = {
            "rendezvous": rendezvous.to_line().decode("ascii"),
            "place": place,
            "directory": str(Path.cwd()),
            "environment": sent_environment(),
        }
        self._listener.send(host.number, Control(Name.BEGIN, 0, value).packed())

    def _hosts(self, greetings: Mapping[int, Greeting]) -> list[RemoteHost]:
        """Return the hosts in the order of their ranks, with replicas whose ids are contiguous."""
        if len(greetings) > self._count:
            raise ConfigError(
                f"{times(self._count, 'worker')} on {len(greetings)} hosts: use at most as many "
                "hosts as workers"
            )
        order = sorted(
            greetings, key=lambda one: (greetings[one].rank is None, greetings[one].rank or 0, one)
        )
        shares = contiguous(self._engine.shares) or split(self._count, len(order))
        names = self._settings.names_of(greetings[number] for number in order)
        return [
            RemoteHost(number, greetings[number], share, name)
            for number, share, name in zip(order, shares, names, strict=True)
        ]


def split(num_replicas: int, num_hosts: int) -> list[range]:
    """Return the replicas of each host: contiguous ids, and at most one replica more or less."""
    bounds = [-(-num_replicas * host // num_hosts) for host in range(num_hosts + 1)]
    return [range(first, end) for first, end in pairwise(bounds)]


def contiguous(counts: Sequence[int]) -> list[range]:
    """Return replicas with contiguous ids, so many for each host."""
    ends = list(accumulate(counts))
    return [range(end - count, end) for count, end in zip(counts, ends, strict=True)]


def agent_command(python: str, endpoint: str, key: str, rank: int | None = None) -> tuple[str, ...]:
    """Return the command that runs an agent on a host.

    Args:
        python: The Python of the host.
        key: The path of the key on the host; "-": the key comes through stdin.
    """
    numbered = () if rank is None else ("--rank", str(rank))
    # -P: a module in the working directory must not hide a module of varsim.
    command = (python, "-P", "-m", "varsim", "worker", "--coordinator", endpoint, "--key", key)
    return (*command, *numbered)


def key_file(named: str, folder: Path, key: JoinKey) -> Path:
    """Write the key into the file that the settings name, or else into the cluster's folder.

    Raises:
        StartError: The file cannot be written.
    """
    path = Path(named).absolute() if named else folder / "key"
    try:
        path.unlink(missing_ok=True)  # the key of an earlier cluster
        write_key(path, key)
    except OSError as error:
        raise StartError(f"the key cannot be written into {path}: {error.strerror}") from error
    return path
