"""Observe and end the workers of this machine, which are children of one fork server."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace

import zmq

from varsim.launch.fork_server import ForkServer
from varsim.launch.logs import WorkerLogs
from varsim.launch.sightings import sighting_of
from varsim.launch.stacks import Stacks
from varsim.sync.stalls import Sighting
from varsim.transport.sockets import timeout_ms


class LocalHost:
    """The host of the program: all workers are children of one fork server."""

    def __init__(
        self, replica_ids: range, fork_server: ForkServer, logs: WorkerLogs, stacks: Stacks
    ) -> None:
        self._fork_server = fork_server
        self._logs = logs
        self._stacks = stacks
        self._running = set(replica_ids)
        self._process_ids: dict[int, int] = {}
        self.sockets = (fork_server.reports,)
        self.kill = fork_server.kill
        self.tail = logs.tail

    @property
    def problem(self) -> str:
        """Return how the fork server has ended; "" if it runs."""
        return self._fork_server.why_it_ended() if self._fork_server.ended else ""

    @property
    def all_ended(self) -> bool:
        """Return whether the fork server has ended."""
        return self._fork_server.ended

    def exits(self) -> list[tuple[int, str]]:
        """Return the workers that have ended since the last call; all, without a fork server."""
        ended = self._fork_server.exits()
        self._running.difference_update(replica_id for replica_id, _ in ended)
        if self._fork_server.ended:
            why = f"ended, because the process that started it {self._fork_server.ending()}"
            ended += [(replica_id, why) for replica_id in sorted(self._running)]
            self._running.clear()
        return ended

    def look(self) -> list[tuple[int, str]]:
        """Return (): there is no link to this host."""
        return []

    def is_ready(self, replica_id: int, process_id: int) -> None:
        """Record the process of a worker."""
        self._process_ids[replica_id] = process_id

    def last_words(self, replica_id: int) -> tuple[str, str]:
        """Return the end of the output of a lost worker, and the path of its log."""
        said, log_path = self._logs.of_lost(replica_id)
        return said or self._fork_server.said(), log_path

    def where(self, replica_id: int) -> str | None:
        """Return the line that a replica's function runs now, as file:line; None if unknown."""
        process_id = self._process_ids.get(replica_id)
        return None if process_id is None else self._stacks.location(replica_id, process_id)

    def examine(
        self, replica_ids: Sequence[int], with_stacks: Collection[int]
    ) -> dict[int, Sighting]:
        """Return what the system shows about replicas' processes; leave out unknown processes."""
        seen: dict[int, Sighting] = {}
        for replica_id in replica_ids:
            process_id = self._process_ids.get(replica_id)
            if process_id is None:
                continue
            one = sighting_of(process_id)
            if replica_id in with_stacks and not one.stopped:
                one = replace(one, stack=self._stacks.frames(replica_id, process_id))
            seen[replica_id] = one
        return seen

    def is_stopped(self, replica_id: int) -> bool:
        """Return whether the process of a worker is stopped."""
        process_id = self._process_ids.get(replica_id)
        return process_id is not None and sighting_of(process_id).stopped

    def end_worker(self, replica_id: int) -> bool:
        """Kill a worker that has not ended; return False if its process is unknown."""
        process_id = self._process_ids.get(replica_id)
        if process_id is None:
            return False
        # The fork server has not reported the end, so the process id belongs to the worker.
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process_id, signal.SIGKILL)
        return True

    def end_all(self, timeout_s: float) -> None:
        """Kill all workers, and wait for their ends; the fork server goes on."""
        for replica_id in list(self._running):
            self.end_worker(replica_id)
        poller = zmq.Poller()
        poller.register(self._fork_server.reports, zmq.POLLIN)
        until_s = time.monotonic() + timeout_s
        while self._running and poller.poll(timeout_ms(until_s - time.monotonic())):
            self.exits()
