"""What a history says of the program under study: findings, in one pass over the events.

None of them is an error of varsim. A clean program has none.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from varsim.analysis.findings.pairing import PairedByOrder, Pairing
from varsim.analysis.findings.redundancy import Redundancy
from varsim.analysis.findings.staleness import Mirrors
from varsim.analysis.findings.subject import subjects
from varsim.analysis.findings.waits import Waits
from varsim.analysis.observer import Audience, Observer
from varsim.analysis.oracle import Oracle
from varsim.tracing.history import History
from varsim.tracing.progress import Tell, telling

__all__ = ["Compared", "Finding", "Kind", "Search", "find", "find_and_compare"]

_ORDER: Final = {kind: place for place, kind in enumerate(Kind)}


def find(
    history: History, oracle: History | None = None, *, tell: Tell | None = None
) -> tuple[Finding, ...]:
    """The findings of a history, one for each kind and variable: by kind, then by variable.

    Args:
        oracle: The history of the same program on one replica with the whole batch, to compare.
        tell: Is told how much of the history has been seen.
    """
    return find_and_compare(history, oracle, tell=tell)[0]


def find_and_compare(
    history: History, oracle: History | None, *, tell: Tell | None = None
) -> tuple[tuple[Finding, ...], Compared | None]:
    """The findings of a history, and what all its comparisons with an oracle came to."""
    search = Search(history, oracle)
    if search.observers:
        audience = Audience(search.observers)
        for batch in telling(history.events(), history.last_event, tell):
            audience.show(batch)
    return search.conclude()


class Search:
    """Those who look for findings in one history."""

    def __init__(self, history: History, oracle: History | None = None) -> None:
        """With one replica there is nothing to synchronise, and nothing to find.

        Args:
            oracle: The history of the same program on one replica, to compare with.
        """
        self._finders: tuple[Finder, ...] = ()
        self._factor: Factor | None = None
        self._pairing = Pairing(history.num_replicas)
        self.observers: tuple[Observer, ...] = ()
        """Those to whom the events are to be shown, in this order."""
        if history.num_replicas > 1:
            self._prepare(history, oracle)

    def conclude(self) -> tuple[tuple[Finding, ...], Compared | None]:
        """What was found, once all events were shown, and what all comparisons came to."""
        found = [finding for finder in self._finders for finding in finder.finish()]
        found.sort(key=lambda one: (_ORDER[one.kind], one.variable_id or 0))
        factor = self._factor
        return tuple(found), None if factor is None else _explained(factor.compared(), found)

    def paired_by_order(self) -> tuple[PairedByOrder, ...]:
        """The lines of which call order alone says which collective is which."""
        return self._pairing.paired_by_order()

    def _prepare(self, history: History, oracle: History | None) -> None:
        num_replicas, variables = history.num_replicas, subjects(history.variables)
        clocks = Clocks(num_replicas)
        components = Components(num_replicas, variables)
        divergence = Divergence(variables, components)
        conflicts = Conflicts(num_replicas, variables, clocks, components, divergence.taken_as_one)
        self._finders = (
            Mirrors(variables),
            Missed(num_replicas, variables, clocks, components),
            divergence,
            conflicts,  # after divergence, which knows what the program takes for one value
            Redundancy(num_replicas, variables, components),
            Overflow(num_replicas, variables),
            Waits(num_replicas, variables),
            self._pairing,
        )
        if oracle is not None:
            against = Oracle(history, oracle)
            self._factor = Factor(num_replicas, variables, components, against)
            self._finders += (self._factor,)
        self.observers = (clocks, components, *self._finders)


def _explained(compared: Compared, found: Sequence[Finding]) -> Compared:
    """What was compared, with what findings explain without an oracle."""
    known = {
        (one.variable_id, place)
        for one in found
        if one.kind is Kind.OVERFLOW
        for place, _ in one.places
    }
    return compared.explained_at(known)
