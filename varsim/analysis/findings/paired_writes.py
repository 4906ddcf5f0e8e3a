"""Pair the writes of replicas: at one location, the k-th writes of all replicas correspond."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from varsim.analysis.findings.compared import Site, site_of
from varsim.analysis.presence import Presence
from varsim.tracing.history import Event

_MOST_PENDING: Final = 1000
"""Largest number of writes by which one replica may be ahead of another at one location."""


@dataclass(slots=True)
class _WritesAtSite:
    """The writes by all replicas at one location."""

    counts: list[int]
    open: dict[int, dict[int, Event]] = field(default_factory=dict)  # k → replica → k-th write
    lost: bool = False  # whether some replica is too far ahead to match the writes


class PairedWrites:
    """The writes of replicas, each with the corresponding writes of the other replicas."""

    def __init__(self, num_replicas: int, presence: Presence) -> None:
        self._num_replicas = num_replicas
        self._presence = presence
        self._writes: dict[Site, _WritesAtSite] = {}
        self.unpaired: set[Site] = set()
        """The sites where pairing has ended, so later writes are not known."""

    def add(self, event: Event) -> tuple[int, dict[int, Event]] | None:
        """Store one replica's write.

        Returns:
            If it is the last of the writes that belong together: the number of these writes, from
            0, and the write of each replica. Otherwise None.
        """
        site = site_of(event)
        if self._presence.joined_during_call:
            self.unpaired.add(site)  # the replicas' writes cannot be paired by number
            return None
        replica_id = event.process
        writes = self._writes.get(site)
        if writes is None:
            writes = self._writes[site] = _WritesAtSite([0] * self._num_replicas)
        if writes.lost:
            return None
        number = writes.counts[replica_id]
        writes.counts[replica_id] += 1
        together = writes.open.setdefault(number, {})
        together[replica_id] = event
        present = self._presence.of(event.call)
        if len(together) == len(present):
            del writes.open[number]
            for joined in range(len(present), self._num_replicas):
                writes.counts[joined] += 1  # a joined replica has no write to compare
            return number, together
        if len(writes.open) > _MOST_PENDING:
            writes.lost = True
            writes.open.clear()
            self.unpaired.add(site)
        return None

    def unequal(self) -> set[Site]:
        """Return the sites where some replicas wrote more often than others, after all events."""
        return self.unpaired | {site for site, writes in self._writes.items() if writes.open}
