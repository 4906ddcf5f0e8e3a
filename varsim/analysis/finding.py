"""What a history says of the program under study: findings, in one pass over the events.

None of them is an error of varsim. A clean program has none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from varsim.analysis.clocks import Clocks
from varsim.analysis.findings.account import Compared
from varsim.analysis.findings.components import Components
from varsim.analysis.findings.conflicts import Conflicts
from varsim.analysis.findings.divergence import Divergence
from varsim.analysis.findings.factor import Factor
from varsim.analysis.findings.found import Finder, Finding, Kind
from varsim.analysis.findings.missed import Missed
from varsim.analysis.findings.overflow import Overflow
from varsim.analysis.findings.redundancy import Redundancy
from varsim.analysis.findings.staleness import Mirrors
from varsim.analysis.findings.subject import subjects
from varsim.analysis.findings.waits import Waits
from varsim.analysis.oracle import Oracle
from varsim.tracing.history import KINDS, Event, History

__all__ = ["Compared", "Finding", "Kind", "find", "find_and_compare"]

_ORDER: Final = {kind: place for place, kind in enumerate(Kind)}


def find(history: History, oracle: History | None = None) -> tuple[Finding, ...]:
    """The findings of a history, one for each kind and variable: by kind, then by variable.

    With one replica there is nothing to synchronise, and nothing to find.

    Args:
        oracle: The history of the same program on one replica with the whole batch, to compare.
    """
    return find_and_compare(history, oracle)[0]


def find_and_compare(
    history: History, oracle: History | None
) -> tuple[tuple[Finding, ...], Compared | None]:
    """The findings of a history, and what all its comparisons with an oracle came to."""
    num_replicas = history.num_replicas
    if num_replicas < 2:
        return (), None
    variables = subjects(history.variables)
    clocks = Clocks(num_replicas)
    components = Components(num_replicas, variables)
    divergence = Divergence(variables, components)
    conflicts = Conflicts(num_replicas, variables, clocks, components, divergence.taken_as_one)
    finders: tuple[Finder, ...] = (
        Mirrors(variables),
        Missed(num_replicas, variables, clocks, components),
        divergence,
        conflicts,  # after divergence, which knows what the program takes for one value
        Redundancy(num_replicas, variables, components),
        Overflow(num_replicas, variables),
        Waits(num_replicas, variables),
    )
    factor: Factor | None = None
    if oracle is not None:
        factor = Factor(num_replicas, variables, components, Oracle(history, oracle))
        finders += (factor,)
    takes = _by_kind(clocks, components, finders)
    for event in history.events():
        for take in takes[event.kind]:
            take(event)
    found = [finding for finder in finders for finding in finder.finish()]
    found.sort(key=lambda one: (_ORDER[one.kind], one.variable_id or 0))
    return tuple(found), None if factor is None else _explained(factor.compared(), found)


def _explained(compared: Compared, found: Sequence[Finding]) -> Compared:
    """What was compared, with what findings explain without an oracle."""
    known = {
        (one.variable_id, place)
        for one in found
        if one.kind is Kind.OVERFLOW
        for place, _ in one.places
    }
    return compared.explained_at(known)


def _by_kind(
    clocks: Clocks, components: Components, finders: tuple[Finder, ...]
) -> dict[str, tuple[Callable[[Event], None], ...]]:
    """Who takes the events of each kind, in order: what finders ask is up to date."""
    return {
        kind: (
            clocks.take,
            *([components.take] if kind in components.kinds else []),
            *(finder.take for finder in finders if kind in finder.kinds),
        )
        for kind in KINDS
    }
