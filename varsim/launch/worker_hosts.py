"""Define what a channel needs from the hosts on which its workers run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from varsim.sync.stalls import Sighting


class WorkerHosts(Protocol):
    """The hosts on which the workers of a cluster run. A replica's host knows its process."""

    @property
    def sockets(self) -> Sequence[Any]:
        """Return what to poll; `exits` is called when one of them is readable."""

    @property
    def problem(self) -> str:
        """Return why some workers cannot run any more; "" as long as every host works."""

    @property
    def all_ended(self) -> bool:
        """Return whether no host is left that would report ended workers."""

    def exits(self) -> list[tuple[int, str]]:
        """Return the workers that have ended since the last call: (replica_id, reason)."""

    def look(self) -> list[tuple[int, str]]:
        """Look at the links to the hosts, if there are any; return what `exits` returns.

        This method is called at regular times while the program waits for messages.
        """

    def is_ready(self, replica_id: int, process_id: int) -> None:
        """Record the process of a worker that has reported that it is ready."""

    def last_words(self, replica_id: int) -> tuple[str, str]:
        """Return the end of the output of a lost worker, and the path of its log.

        The path is "" if the returned text is the whole log, or if there is no log.
        """

    def tail(self, replica_id: int) -> str:
        """Return the end of a worker's log."""

    def where(self, replica_id: int) -> str | None:
        """Return the line that a replica's function runs now, as file:line; None if unknown."""

    def examine(
        self, replica_ids: Sequence[int], with_stacks: Collection[int]
    ) -> dict[int, Sighting]:
        """Return what the systems show about replicas' processes; leave out unknown processes."""

    def is_stopped(self, replica_id: int) -> bool:
        """Return whether a signal or a debugger has stopped the process of a worker."""

    def end_worker(self, replica_id: int) -> bool:
        """Kill a worker that has not ended; return False if its process is unknown."""

    def kill(self) -> None:
        """Kill all workers immediately."""
