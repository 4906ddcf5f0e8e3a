"""Decide when a reduction over several hosts is done, or has failed and needs another way.

The coordinator tells the hosts of a chain to begin, and each host reports when it has the result.
The reduction fails if a host is lost, if a host reports that its link to a neighbour is lost, or if
no host has made progress for too long. It is then cancelled on all hosts, and the values are still
on the hosts that are left: the coordinator fetches them and computes the result alone, as the star
does, or it reports the lost host. So every reduction ends.

This module does no I/O and reads no clock.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Final, NamedTuple

ASK_S: Final = 1.0
"""Time without a report after which the coordinator asks all hosts for their progress."""

STALLED_S: Final = 10.0
"""Time without progress after which a reduction has failed. Links between hosts survive cuts, and
a chain does not continue during a cut, so this is longer than a short cut."""


class Order(Enum):
    """What the coordinator tells a host."""

    BEGIN = "begin"
    ASK = "ask"  # the host answers with the number of chunks that it has handled
    CANCEL = "cancel"


class Tell(NamedTuple):
    """An action: give a host an order about a reduction."""

    host: int
    order: Order
    token: int


class Reduced(NamedTuple):
    """An action: all hosts have the result."""

    token: int


class Failed(NamedTuple):
    """An action: the chain has failed, and was cancelled on the hosts that are left."""

    token: int
    reason: str
    lost: tuple[int, ...]  # the hosts whose values are gone


WatchAction = Tell | Reduced | Failed


class ChainWatch:
    """Watches one reduction at a time.

    Args:
        stalled_s: After so many seconds without progress, a reduction has failed.
    """

    def __init__(self, num_hosts: int, stalled_s: float = STALLED_S) -> None:
        self._stalled_s = stalled_s
        self._hosts = dict.fromkeys(range(num_hosts))  # hosts that are not lost, in order
        self._lost: list[int] = []
        self.token = 0
        """Of the last reduction that has begun."""
        self._missing: set[int] = set()  # hosts without the result
        self._progress: dict[int, int] = {}
        self._moved_s = math.inf  # time of the last progress
        self._asked_s = math.inf  # time of the last progress or question

    @property
    def is_running(self) -> bool:
        """Return whether a reduction runs."""
        return bool(self._missing)

    @property
    def deadline_s(self) -> float | None:
        """Return when to call `look`; None if no reduction runs."""
        if not self._missing:
            return None
        return min(self._asked_s + ASK_S, self._moved_s + self._stalled_s)

    def begin(self, token: int, now_s: float) -> list[WatchAction]:
        """Begin a reduction; this cancels an unfinished one, of which nothing is reported.

        Args:
            token: Larger than all earlier ones.
        """
        assert token > self.token, f"reduction {token} begins after {self.token}"
        actions: list[WatchAction] = []
        if self._missing:
            actions += self._tell(Order.CANCEL)
        self.token = token
        if self._lost:
            self._missing.clear()
            return [*actions, Failed(token, self._named(self._lost), tuple(self._lost))]
        self._missing = set(self._hosts)
        self._progress.clear()
        self._moved_s = self._asked_s = now_s
        return actions + self._tell(Order.BEGIN)

    def forget(self) -> None:
        """End the reduction: the coordinator needs no result, and has cancelled it."""
        self._missing.clear()

    def filled(self, host: int, token: int, now_s: float) -> list[WatchAction]:
        """Record that a host has the result."""
        if token != self.token or host not in self._missing:
            return []  # of a reduction that has ended, or a second report
        self._missing.discard(host)
        self._moved_s = self._asked_s = now_s
        return [] if self._missing else [Reduced(token)]

    def progress(self, host: int, token: int, chunks: int, now_s: float) -> None:
        """Record how many chunks a host has handled, or another number that grows with progress."""
        if token == self.token and chunks > self._progress.get(host, 0):
            self._progress[host] = chunks
            self._moved_s = now_s

    def refuse(self, host: int, token: int, reason: str) -> list[WatchAction]:
        """Record that a host cannot continue a reduction, but still has its values.

        Args:
            reason: What follows the host's number, such as "has lost its link to …".
        """
        if token != self.token or not self._missing:
            return []
        return self._fail(f"host {host} {reason}")

    def lose(self, host: int) -> list[WatchAction]:
        """Record that a host is lost."""
        if host not in self._hosts:
            return []
        del self._hosts[host]
        self._lost.append(host)
        return self._fail(self._named([host])) if self._missing else []

    def look(self, now_s: float) -> list[WatchAction]:
        """Ask for progress if there was none for a while; let a stalled reduction fail."""
        if not self._missing:
            return []
        if now_s >= self._moved_s + self._stalled_s:
            return self._fail(f"no progress for {self._stalled_s:g} s")
        if now_s < self._asked_s + ASK_S:
            return []
        self._asked_s = now_s
        return self._tell(Order.ASK)

    def _tell(self, order: Order) -> list[WatchAction]:
        return [Tell(host, order, self.token) for host in self._hosts]

    def _fail(self, reason: str) -> list[WatchAction]:
        self._missing.clear()
        return [*self._tell(Order.CANCEL), Failed(self.token, reason, tuple(self._lost))]

    def _named(self, hosts: list[int]) -> str:
        return ", ".join(f"host {host} is lost" for host in hosts)
