"""The promise of a synchronization about a variable's components, for the judge of histories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SynchronizationPromise:
    """The promises of one synchronization; each file in `varsim.analysis.policies` has one."""

    mirrored: bool = False  # all components hold one value, except after a write to one component
    one_copy: bool = False  # `mirrored`, and the components are caches of one copy
    late: bool = False  # writes by all replicas are deferred
    gathered: bool = False  # a read by the program combines the components
    local_reads: bool = False  # a replica may read a component that lacks other replicas' writes
    every: int = 0  # number of local writes after which a replica takes part in a collective
    bound: int | None = None  # one copy, to which replicas add; at most so many writes apart
    exchanged: bool = False  # the policy computes merges, and one of `checkers` recomputes them
    manual: bool = False  # programs can synchronise components by hand, as by v.sync and v.push
    copy: bool = False  # a read by the program gives the copy, which its writes change, too
    compressor: str = ""  # what compresses the contributions of replicas; "" if nothing does
    checkers: tuple[type[Any], ...] = ()  # checkers only for this synchronization

    def __post_init__(self) -> None:
        if self.exchanged and not self.checkers:
            raise ValueError("a promise with `exchanged` needs a checker that recomputes exchanges")
