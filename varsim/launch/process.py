"""Workers as processes of this machine."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import zmq

from varsim.errors import ConfigError, ProtocolError, StartError
from varsim.launch.launcher import LaunchOptions, Lost
from varsim.launch.logs import WorkerLogs
from varsim.launch.nursery import Nursery
from varsim.launch.rendezvous import ENTRY_POINT, Rendezvous, routing_id
from varsim.protocol import structure
from varsim.protocol.codec import decode, encode
from varsim.protocol.messages import Message, Payload, Ready, Shutdown
from varsim.protocol.structure import References
from varsim.transport.keys import AllowList, KeyPair
from varsim.transport.sockets import MAX_IPC_PATH, Router, timeout_ms

SHUTDOWN_TIMEOUT_S: Final = 1.0
"""A worker that has not ended by then is killed: it is in user code, and has nothing to save."""

_MAX_STORIES: Final = 3  # of workers that did not start, which is as much as one reads

_IPC_NAME: Final = "c"  # short: the path of an ipc endpoint is limited


@dataclass(frozen=True, slots=True)
class ProcessLauncher:
    """Starts each worker as a process of this machine.

    Workers see the program's modules (its `sys.path`), its environment and working directory;
    numerical libraries use one thread in each. They end with the program, however it ends.
    """

    entry_point: str = ENTRY_POINT

    def launch(self, options: LaunchOptions, references: References) -> ProcessLink:
        """Starts one worker per device, and returns when all are ready.

        Raises:
            StartError: A worker did not come up; the text says which and what it said.
            ConfigError: There is no such transport.
        """
        if options.transport not in ("ipc", "tcp"):
            raise ConfigError(f"there is no transport {options.transport!r}: use 'ipc' or 'tcp'")
        deadline = time.monotonic() + options.start_timeout_s
        with ExitStack() as stack:
            try:
                link = self._start(options, references, stack)
            except (OSError, zmq.ZMQError) as error:
                raise StartError(f"cannot start workers: {error}") from error
            link.wait_until_ready(deadline)
            link.own(stack.pop_all())
        return link

    def _start(
        self, options: LaunchOptions, references: References, stack: ExitStack
    ) -> ProcessLink:
        """Everything that a cluster has; what gives it back is put on the stack."""
        directory = _private_directory()
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        context = zmq.Context[zmq.Socket[bytes]]()
        stack.callback(context.term)
        keys = _Keys(len(options.devices)) if options.transport == "tcp" else None
        allow_list = AllowList(context, keys.owners()) if keys else None
        if allow_list is not None:
            stack.callback(allow_list.close)
        endpoint = "tcp://127.0.0.1:*" if keys else f"ipc://{directory / _IPC_NAME}"
        router = Router(context, endpoint, keys.server if keys else None)
        stack.callback(router.close)
        log_dir = (options.log_dir or directory).absolute()
        log_dir.mkdir(parents=True, exist_ok=True)
        logs = WorkerLogs(
            log_dir, private=options.log_dir is None, num_replicas=len(options.devices)
        )
        nursery = Nursery(
            Rendezvous(
                cluster_id=options.cluster_id,
                endpoint=router.endpoint,
                devices=options.devices,
                entry_point=self.entry_point,
                search_path=tuple(sys.path),
                log_dir=str(log_dir),
                private_dir=str(directory),
                coordinator_pid=os.getpid(),
                server_key=keys.server.public.decode() if keys else "",
                worker_keys=keys.as_text() if keys else (),
            )
        )
        stack.callback(nursery.end)
        return ProcessLink(
            len(options.devices),
            references,
            router=router,
            allow_list=allow_list,
            nursery=nursery,
            logs=logs,
        )


class _Keys:
    """Key pairs of one run."""

    def __init__(self, num_replicas: int) -> None:
        self.server = KeyPair.generate()
        self._workers = [KeyPair.generate() for _ in range(num_replicas)]

    def owners(self) -> dict[bytes, bytes]:
        """Public key → routing id of the only peer that may use it."""
        return {pair.public: routing_id(i) for i, pair in enumerate(self._workers)}

    def as_text(self) -> tuple[tuple[str, str], ...]:
        """Each worker's public and secret key."""
        return tuple((pair.public.decode(), pair.secret.decode()) for pair in self._workers)


class ProcessLink:
    """The coordinator's end of the connections to worker processes.

    Frees everything when it is closed, when it is garbage, and when the program ends.
    """

    def __init__(
        self,
        num_replicas: int,
        references: References,
        *,
        router: Router,
        allow_list: AllowList | None,
        nursery: Nursery,
        logs: WorkerLogs,
    ) -> None:
        self.num_replicas: Final = num_replicas
        self.validates = False
        self._references = references
        self._router = router
        self._allow_list = allow_list
        self._nursery = nursery
        self._logs = logs
        self._replica_ids = {routing_id(i): i for i in range(num_replicas)}
        self._running = set(range(num_replicas))
        self._inbox: list[tuple[int, Message | Lost]] = []
        self._poller = zmq.Poller()
        self._poller.register(router.socket, zmq.POLLIN)
        self._poller.register(nursery.reports, zmq.POLLIN)
        if allow_list is not None:
            self._poller.register(allow_list.socket, zmq.POLLIN)
        self._finalizer: weakref.finalize[..., ProcessLink] | None = None

    def own(self, stack: ExitStack) -> None:
        """Takes over what gives everything back to the system."""
        self._owner = os.getpid()
        self._finalizer = weakref.finalize(self, _free, stack, self._owner)

    def wait_until_ready(self, deadline: float) -> None:
        """Returns when every worker has said that it is ready.

        Raises:
            StartError: A worker has ended, or some are not ready at the deadline.
        """
        missing = set(range(self.num_replicas))
        while missing:
            received = self.receive(deadline - time.monotonic())
            for replica_id, message in received:
                if isinstance(message, Lost):
                    raise StartError(_obituary(replica_id, message))
                if isinstance(message, Ready):
                    missing.discard(replica_id)
            if not received:
                raise StartError(self._unready(missing))

    def _unready(self, missing: set[int]) -> str:
        stories = [
            f"replica {replica_id} said:\n{self._logs.tail(replica_id) or '(nothing)'}"
            for replica_id in sorted(missing)[:_MAX_STORIES]
        ]
        return "\n".join(
            [f"{len(missing)} of {self.num_replicas} workers were not ready in time", *stories]
        )

    def send(self, replica_id: int, messages: Sequence[Message]) -> None:
        """Sends an envelope. Does nothing for a worker that is gone, and after `close`."""
        if replica_id in self._running:
            self._router.send(routing_id(replica_id), encode(messages))

    def receive(self, timeout_s: float) -> list[tuple[int, Message | Lost]]:
        """Waits for messages, and returns all that are there, in order of arrival.

        Returns an empty list after `timeout_s`, and when no worker is left. A worker is reported
        lost once; later messages of it are left out.

        Raises:
            ProtocolError: A worker sent what is no envelope. Other messages are returned next.
        """
        deadline = time.monotonic() + timeout_s
        while not self._inbox and self._running:
            remaining_s = deadline - time.monotonic()
            ready = dict(self._poller.poll(timeout_ms(remaining_s)))
            if not ready and remaining_s <= 0:
                break
            self._collect(ready)
        received, self._inbox = self._inbox, []
        return received

    def _collect(self, ready: dict[Any, int]) -> None:
        if self._allow_list is not None and self._allow_list.socket in ready:
            self._allow_list.answer()
        try:
            if self._router.socket in ready:
                self._collect_messages()
        finally:
            if self._nursery.reports in ready:
                self._collect_losses()

    def _collect_messages(self) -> None:
        problems = []
        for sender, frames in self._router.drain():
            replica_id = self._replica_ids.get(sender)
            if replica_id not in self._running:
                continue  # a stranger, who is ignored; or its end is already reported
            try:
                messages = decode(frames)
            except ProtocolError as error:
                problems.append(f"replica {replica_id}: {error}")
            else:
                self._inbox += [(replica_id, message) for message in messages]
        if problems:
            raise ProtocolError("; ".join(problems))

    def _collect_losses(self) -> None:
        for replica_id, reason in self._nursery.exits():
            self._lose(replica_id, reason)
        if self._nursery.ended:
            ending = self._nursery.ending()
            for replica_id in sorted(self._running):
                self._lose(replica_id, f"ended, as the process that started it {ending}")

    def _lose(self, replica_id: int, reason: str) -> None:
        said, log_path = self._logs.of_lost(replica_id)
        self._running.discard(replica_id)
        self._inbox.append((replica_id, Lost(reason, said or self._nursery.said(), log_path)))

    def now_s(self) -> float:
        """The time on a steady clock, in seconds."""
        return time.monotonic()

    def pack(self, value: Any) -> Payload:
        """Makes a structure of Python values ready to travel."""
        return structure.pack(value, self._references)

    def unpack(self, payload: Payload) -> Any:
        """The value that a worker packed."""
        return structure.unpack(payload, self._references)

    def close(self) -> None:
        """Ends all workers and frees everything. Does nothing the second time.

        Workers are asked to end, and killed after `SHUTDOWN_TIMEOUT_S`.
        """
        if self._finalizer is None or not self._finalizer.alive:
            return
        try:
            if os.getpid() == self._owner:  # and not in a process that was forked from it
                self._shut_down()
        finally:
            self._running.clear()
            self._inbox.clear()
            self._finalizer()

    def _shut_down(self) -> None:
        for replica_id in self._running:
            self.send(replica_id, [Shutdown()])
        poller = zmq.Poller()
        poller.register(self._nursery.reports, zmq.POLLIN)
        deadline = time.monotonic() + SHUTDOWN_TIMEOUT_S
        while self._running and not self._nursery.ended:
            if not poller.poll(timeout_ms(deadline - time.monotonic())):
                break
            self._running.difference_update(replica_id for replica_id, _ in self._nursery.exits())


def _obituary(replica_id: int, lost: Lost) -> str:
    said = f"; it said:\n{lost.stderr_tail}" if lost.stderr_tail else "; it said nothing"
    where = f"\n  full log: {lost.log_path}" if lost.log_path else ""
    return f"replica {replica_id}: worker {lost.reason}, before it was ready{said}{where}"


def _private_directory() -> Path:
    """A new directory that only this user can enter, with a path short enough for ipc."""
    for parent in (None, "/tmp"):  # noqa: S108  # as good as any: mkdtemp makes it private
        directory = Path(tempfile.mkdtemp(prefix="varsim-", dir=parent))  # its mode is 0700
        if len(os.fsencode(directory / _IPC_NAME)) <= MAX_IPC_PATH:
            return directory
        directory.rmdir()
    raise StartError(f"the path of {tempfile.gettempdir()} is too long: set TMPDIR to a short one")


def _free(stack: ExitStack, owner: int) -> None:
    if os.getpid() == owner:  # and not a process that was forked from it
        stack.close()
