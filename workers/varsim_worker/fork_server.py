"""Run the fork server: import the workers' modules, fork the workers, and report ended workers.

The fork server runs until the coordinator's process has ended, or until the coordinator writes a
second line to stdin or closes stdin. Then the fork server kills the workers that still run. The
fork server has no second thread and no ZeroMQ context, so forking is safe.
"""

from __future__ import annotations

import gc
import json
import os
import select
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Final

from varsim.exchange.exchange import EXCHANGES
from varsim.launch.host_needs import MORE_PROCESSES
from varsim.launch.link import WorkerLink
from varsim.launch.rendezvous import Rendezvous, log_name
from varsim.private import private_opener
from varsim.transport.transport import TRANSPORTS
from varsim_worker import system
from varsim_worker.worker import work

Serve = Callable[[WorkerLink], None]

_STDIN: Final = 0
_STDOUT: Final = 1
_STDERR: Final = 2


def run(line: bytes, coordinator: int | None) -> None:
    """Run the fork server for a coordinator.

    Args:
        line: The coordinator's line on stdin.
        coordinator: A descriptor of the coordinator's process; None if the system has none.
    """
    rendezvous = Rendezvous.from_line(line)
    reports = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)  # printed text goes to stderr, because stdout is only for reports
    for descriptor in rendezvous.handover.descriptors:
        os.set_inheritable(descriptor, False)  # not for processes that user code starts
    serve = _load(rendezvous)
    fork_server = _ForkServer(rendezvous, serve, reports, coordinator)
    try:
        fork_server.fork_workers()
        fork_server.watch()
    finally:
        fork_server.end()


def _load(rendezvous: Rendezvous) -> Serve:
    """Import the modules that all workers need; return the function that the workers run."""
    import_module("varsim.protocol.pickling")
    TRANSPORTS.make(rendezvous.options.backends.transport)
    EXCHANGES.make(rendezvous.exchange)
    if rendezvous.options.seed is not None:
        import_module("varsim.launch.seeding")
    module, _, name = rendezvous.entry_point.partition(":")
    serve: Serve = getattr(import_module(module), name)
    return serve


class _ForkServer:
    def __init__(
        self, rendezvous: Rendezvous, serve: Serve, reports: int, coordinator: int | None
    ) -> None:
        self._rendezvous = rendezvous
        self._serve = serve
        self._reports = reports
        self._process_id = os.getpid()
        self._workers: dict[int, int] = {}  # process id → replica id
        self._wakeup, self._wakeup_writer = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(self._wakeup_writer, False)
        signal.signal(signal.SIGCHLD, _wake_up)
        signal.set_wakeup_fd(self._wakeup_writer, warn_on_full_buffer=False)
        self._coordinator = coordinator

    def fork_workers(self) -> None:
        """Start all workers. In a worker, this method does not return."""
        gc.collect()
        gc.freeze()  # garbage collection must not write to pages shared with workers
        gc.enable()
        first, end = self._rendezvous.replica_ids
        for replica_id in range(first, end):
            try:
                process_id = os.fork()
            except OSError as error:
                self._kill_workers()
                sys.exit(
                    f"the system does not allow process {replica_id - first + 1} of {end - first} "
                    f"({error.strerror}): {MORE_PROCESSES}"
                )
            if process_id == 0:
                self._be_worker(replica_id)
            self._workers[process_id] = replica_id

    def _be_worker(self, replica_id: int) -> None:
        exit_code = 1
        try:
            self._leave(replica_id)
            exit_code = work(self._rendezvous, replica_id, self._serve)
        except OSError as error:  # at its log or its trace: exceptions of user code are in `work`
            sys.stderr.write(f"its log or its trace cannot be opened: {error}\n")
        except Exception:  # the process ends here, so no caller can catch the exception
            traceback.print_exc()
        finally:  # a worker must not continue the fork server's code
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(exit_code)

    def _leave(self, replica_id: int) -> None:
        """Close the inherited descriptors, and open this worker's log."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        system.die_with_parent(self._process_id)
        log = private_opener(
            Path(self._rendezvous.log_dir) / log_name(replica_id),
            os.O_WRONLY | os.O_CREAT | os.O_APPEND,
        )
        os.dup2(log, _STDOUT)
        os.dup2(log, _STDERR)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, _STDIN)
        for descriptor in (log, nothing, self._reports, self._wakeup, self._wakeup_writer):
            os.close(descriptor)
        if self._coordinator is not None:
            os.close(self._coordinator)

    def watch(self) -> None:
        """Report each worker that ends; return when the coordinator has ended or closed stdin."""
        poll = select.poll()
        poll.register(_STDIN, select.POLLIN)
        poll.register(self._wakeup, select.POLLIN)
        if self._coordinator is not None:
            poll.register(self._coordinator, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._wakeup in ready:
                os.read(self._wakeup, 4096)
                self._report_ended()
            if ready - {self._wakeup}:
                return

    def _report_ended(self) -> None:
        while self._workers:
            process_id, status = os.waitpid(-1, os.WNOHANG)
            if not process_id:
                return
            replica_id = self._workers.pop(process_id, None)
            if replica_id is not None:
                report = json.dumps([replica_id, status]) + "\n"
                try:
                    os.write(self._reports, report.encode("ascii"))
                except BrokenPipeError:
                    return  # the coordinator has ended; `watch` will notice this

    def end(self) -> None:
        """Kill the workers that still run, and remove the private directory."""
        orphans = self._kill_workers()
        # Remove the directory first: `killpg` also ends this process.
        shutil.rmtree(self._rendezvous.private_dir, ignore_errors=True)
        if orphans and os.getpgrp() == self._process_id:
            os.killpg(0, signal.SIGKILL)  # including processes that user code has started

    def _kill_workers(self) -> bool:
        """Kill the workers that still run, and return whether there were any."""
        killed = list(self._workers)
        self._workers.clear()
        for process_id in killed:
            os.kill(process_id, signal.SIGKILL)
        for process_id in killed:
            os.waitpid(process_id, 0)
        return bool(killed)


def _wake_up(signal_number: int, frame: FrameType | None) -> None:
    """Do nothing. Python writes to the wake-up pipe only for signals that have a handler."""
