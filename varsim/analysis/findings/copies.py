"""What is known of one variable's components: which are the same, which differ, since when.

A component is known by a *chain*: a number that stands for its last assign and all adds since. Two
components with one chain hold the same value. That they differ is certain only if their digests
do; these come from reads, and from arithmetic on values that were recorded.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from varsim.analysis.arithmetic import digest_of
from varsim.analysis.findings.arithmetic import applied, small_value
from varsim.tracing.history import Event


class Copies:
    """The components of one variable."""

    __slots__ = (
        "apart",
        "asked",
        "chains",
        "digests",
        "dtype",
        "gathered_by_program",
        "parted",
        "synchronised_at",
        "synchronised_by_program",
        "synchronised_to",
        "united_at",
        "values",
        "written",
        "written_before",
    )

    def __init__(self, num_replicas: int, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.chains: list[int] = [0] * num_replicas
        self.digests: list[int | None] = [None] * num_replicas
        self.values: list[bytes | None] = [None] * num_replicas
        self.parted: Event | None = None  # the write by which they stopped being the same
        self.asked: Event | None = None  # the program's last write, which knows its place
        self.apart = False  # that they differ is certain
        self.united_at = -1  # the last event that made them the same again
        self.written = [0] * num_replicas  # by each replica itself, since they were the same
        self.written_before = 0  # the most of these, when they last became the same
        self.gathered_by_program: set[int] = set()  # components it has read since the last write
        self.synchronised_at = -1  # the last event by which the program under study united them
        self.synchronised_by_program = False  # rather than by the replicas
        self.synchronised_to: int | None = None  # the digest of what they became

    @property
    def same(self) -> bool:
        """Whether all components certainly hold one value."""
        return self.parted is None

    def same_as(self, replica_id: int, other: int) -> bool:
        """Whether two components certainly hold one value."""
        known = self.digests[replica_id]
        return self.chains[replica_id] == self.chains[other] or (
            known is not None and known == self.digests[other]
        )

    def differing_from(self, replica_id: int) -> list[int]:
        """The replicas whose components certainly hold something else."""
        known = self.digests[replica_id]
        if known is None:
            return []
        return [r for r, d in enumerate(self.digests) if d is not None and d != known]

    def write(self, event: Event, replicas: Iterable[int]) -> None:
        """Applies a write to some components, which keep what they had in common."""
        digest = digest_of(event)
        operand = event.event if digest is None else digest
        if event.operation == "assign":
            chain, value = hash(("assign", operand, event.shape)), small_value(event)
            for replica_id in replicas:
                self.chains[replica_id] = chain
                self.values[replica_id] = value
                self.digests[replica_id] = digest
        else:
            for replica_id in replicas:
                self.chains[replica_id] = hash((self.chains[replica_id], event.operation, operand))
                value = applied(event.operation, self.values[replica_id], event, self.dtype)
                self.values[replica_id] = value
                self.digests[replica_id] = None if value is None else zlib.crc32(value)
        self.gathered_by_program.clear()

    def learn(self, replica_id: int, event: Event) -> None:
        """Takes what a component was seen to hold."""
        if self.digests[replica_id] is not None:
            return
        digest = digest_of(event)
        if digest is not None:
            self.digests[replica_id] = digest
            self.values[replica_id] = small_value(event)
            self.compare(event)

    def compare(self, event: Event) -> bool:
        """Whether they have just become the same; otherwise notes that they differ, if they do."""
        first = self.chains[0]
        if self.chains.count(first) < len(self.chains):
            known = set(self.digests)
            if len(known) > 1 or None in known:
                if self.parted is None:
                    self.parted = event
                self.apart = self.apart or len(known - {None}) > 1
                return False
            self.chains = [first] * len(self.chains)  # other writes led to the same
        if self.parted is None:
            return False
        self.parted, self.apart = None, False
        return True
