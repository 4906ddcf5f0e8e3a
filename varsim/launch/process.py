"""Workers as processes of this machine."""

from __future__ import annotations

import os
import shutil
import sys
import time
import warnings
from contextlib import ExitStack
from dataclasses import dataclass

import zmq

from varsim.errors import ConfigError, StartError, VarsimWarning
from varsim.interrupts import held
from varsim.launch.envelopes import Envelopes
from varsim.launch.launcher import LaunchOptions
from varsim.launch.logs import WorkerLogs
from varsim.launch.nursery import Nursery
from varsim.launch.open_files import ensure_open_files
from varsim.launch.process_link import ProcessLink
from varsim.launch.rendezvous import ENTRY_POINT, Rendezvous
from varsim.launch.stacks import Stacks
from varsim.protocol.references import References
from varsim.tracing.trace import PROGRAM, open_trace
from varsim.transport import arena
from varsim.transport.arena import Arena
from varsim.transport.folders import private_folder
from varsim.transport.transport import TRANSPORTS


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
        TRANSPORTS.check(options.transport)
        _check_exchange(options)
        ensure_open_files(len(options.devices))
        deadline = time.monotonic() + options.start_timeout_s
        link: ProcessLink | None = None
        try:
            with held(), ExitStack() as stack:
                try:
                    link = self._start(options, references, stack)
                except (OSError, zmq.ZMQError) as error:
                    raise StartError(f"cannot start workers: {error}") from error
                link.own(stack.pop_all())
            link.wait_until_ready(deadline)
        except BaseException:  # such as Ctrl-C: whatever has started ends
            if link is not None:
                link.kill()
            raise
        return link

    def _start(
        self, options: LaunchOptions, references: References, stack: ExitStack
    ) -> ProcessLink:
        """Everything that a cluster has; what gives it back is put on the stack."""
        count = len(options.devices)
        directory = private_folder()
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        listener = TRANSPORTS.make(options.transport).listen(count, directory)
        stack.callback(listener.close)
        log_dir = (options.log_dir or directory).absolute()
        log_dir.mkdir(parents=True, exist_ok=True)
        logs = WorkerLogs(log_dir, private=options.log_dir is None, num_replicas=count)
        shared = _shared_memory(options)
        envelopes = Envelopes(count, shared)
        stack.callback(envelopes.close)
        nursery = Nursery(
            Rendezvous(
                options=options,
                addresses=listener.addresses,
                entry_point=self.entry_point,
                search_path=tuple(sys.path),
                log_dir=str(log_dir),
                private_dir=str(directory),
                coordinator_pid=os.getpid(),
                arena=-1 if shared is None else shared.descriptor,
                arena_limit_bytes=0 if shared is None else shared.limit_bytes,
            )
        )
        stack.callback(nursery.end)
        trace = open_trace(options.trace, PROGRAM, count)
        if trace is not None:
            stack.callback(trace.close)
        return ProcessLink(
            count,
            references,
            trace=trace,
            envelopes=envelopes,
            listener=listener,
            nursery=nursery,
            logs=logs,
            stacks=Stacks(directory),
        )


def _check_exchange(options: LaunchOptions) -> None:
    """Refuses an exchange that there is not, or not here.

    Raises:
        ConfigError: The text says what to use instead.
    """
    if options.exchange not in ("auto", "star", "shared"):
        raise ConfigError(
            f"there is no exchange {options.exchange!r}: use 'auto', 'star' or 'shared'"
        )
    if options.exchange == "shared" and not _can_share(options):
        raise ConfigError(
            "exchange='shared' needs transport='ipc' and a system with anonymous files (memfd): "
            "use exchange='auto'"
        )


def _can_share(options: LaunchOptions) -> bool:
    return TRANSPORTS.make(options.transport).same_memory and arena.shared_memory_exists()


def _shared_memory(options: LaunchOptions) -> Arena | None:
    """What the cluster's processes share; None if large values are to travel through sockets.

    Raises:
        StartError: It was asked for, and the system has none to give.
        ConfigError: The limit in the environment is no number.
    """
    if options.exchange == "star" or not _can_share(options):
        return None
    owners = len(options.devices) + 1
    limit_bytes = arena.limit_bytes() // owners
    with ExitStack() as stack:
        try:
            descriptor = arena.create_file()
            stack.callback(os.close, descriptor)
            made = Arena(descriptor, 0, owners, limit_bytes, _warn)
        except OSError as error:
            if options.exchange == "shared":
                raise StartError(
                    f"there is no shared memory to be had: {error}. Use exchange='star'"
                ) from error
            _warn(f"large values travel through sockets: no shared memory is to be had ({error})")
            return None
        stack.pop_all()  # the arena closes it
    return made


def _warn(text: str) -> None:
    warnings.warn(text, VarsimWarning, stacklevel=2)
