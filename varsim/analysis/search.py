"""Search a history for findings, which are problems of the program under study, in one pass.

A finding is never a fault of varsim. A correct program has no findings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from varsim.analysis.decided import decided
from varsim.analysis.failures import FAILED_CALL, FAILED_RUN
from varsim.analysis.findings.amounts import Sums
from varsim.analysis.findings.assigned_again import AssignedAgain
from varsim.analysis.findings.compared import Compared
from varsim.analysis.findings.conflicts import Conflicts
from varsim.analysis.findings.context import FindingContext, context_of
from varsim.analysis.findings.divergence import Divergence
from varsim.analysis.findings.dropped import Dropped
from varsim.analysis.findings.lagging import Lagging
from varsim.analysis.findings.local_staleness import LocalStaleness
from varsim.analysis.findings.locks import LockUse
from varsim.analysis.findings.model import Finder, Finding, FindingKind
from varsim.analysis.findings.not_finite import NOT_FINITE, NotFinite
from varsim.analysis.findings.one_truth import OneTruth
from varsim.analysis.findings.orders import Orders
from varsim.analysis.findings.outside_variables import OutsideVariables
from varsim.analysis.findings.overflow import Overflow
from varsim.analysis.findings.pace import Pace
from varsim.analysis.findings.pairing import Pairing
from varsim.analysis.findings.parted import Parted
from varsim.analysis.findings.redundancy import Redundancy
from varsim.analysis.findings.remainders import Remainders
from varsim.analysis.findings.scaling import Scaling
from varsim.analysis.findings.separate_copies import SeparateCopies
from varsim.analysis.findings.staleness import VersionStaleness
from varsim.analysis.findings.summed_again import SummedAgain
from varsim.analysis.findings.waits import Waits
from varsim.analysis.observer import Audience, EventObserver
from varsim.analysis.outcome import Note
from varsim.analysis.returned import ReturnedValue
from varsim.analysis.served import KINDS as SERVED_KINDS
from varsim.tracing.history import History
from varsim.tracing.progress import Tell, reported

FINDERS: Final[tuple[type[Finder], ...]] = (
    VersionStaleness,
    Divergence,
    Sums,
    Remainders,
    Conflicts,
    OneTruth,
    LocalStaleness,
    Parted,
    Scaling,
    SummedAgain,
    AssignedAgain,
    Dropped,
    NotFinite,
    Overflow,
    Redundancy,
    Waits,
    Orders,
    Pairing,
    LockUse,
    SeparateCopies,
    OutsideVariables,
    Lagging,
    Pace,
)
"""All finders, in the order in which `finish` is called. Their kinds are in the order of reports.

A new finder is one new file and one line here.
"""

SEARCHED_KINDS: Final = tuple(dict.fromkeys(kind for finder in FINDERS for kind in finder.kinds))
"""The kinds of finding that can be found only in a whole record."""

KINDS: Final[tuple[FindingKind, ...]] = (FAILED_RUN, FAILED_CALL, *SEARCHED_KINDS, *SERVED_KINDS)
"""All kinds of finding, in the order of reports. Failures are found in any record.

Lost updates are found in the records of parameter servers: see `analysis/served.py`.
"""

_ORDER: Final = {kind: index for index, kind in enumerate(KINDS)}


def _place(finding: Finding) -> tuple[int, int, int]:
    """Return the place of a finding in a list. Of the NaN and infinities, the first comes first."""
    begin = min(finding.events, default=0) if finding.kind is NOT_FINITE else 0
    return _ORDER[finding.kind], begin, finding.variable_id or 0


def find(
    history: History,
    oracle: History | None = None,
    *,
    returned: Sequence[ReturnedValue] = (),
    tell: Tell | None = None,
) -> tuple[Finding, ...]:
    """Return the findings of a history, one for each kind and variable, in the order of `KINDS`.

    Args:
        oracle: The history of the same program on one replica with the whole batch, for comparison.
        returned: What the program returned, compared with a single device; () if it is unknown.
        tell: A function that gets the fraction of the history that was read, from 0 to 1.
    """
    return find_and_compare(history, oracle, returned=returned, tell=tell)[0]


def find_and_compare(
    history: History,
    oracle: History | None,
    *,
    returned: Sequence[ReturnedValue] = (),
    tell: Tell | None = None,
) -> tuple[tuple[Finding, ...], Compared | None]:
    """Return the findings of a history, and the result of its comparison with an oracle."""
    search = Search(history, oracle, returned)
    search.read(history, tell)
    return search.conclude()


class Search:
    """The search for findings in one history."""

    def __init__(
        self,
        history: History,
        oracle: History | None = None,
        returned: Sequence[ReturnedValue] = (),
    ) -> None:
        """Prepare the finders. With one replica nothing is synchronised, so there are no finders.

        Args:
            oracle: The history of the same program on one replica, for comparison.
            returned: What the program returned, compared with a single device.
        """
        self._context: FindingContext | None = None
        self._finders: tuple[Finder, ...] = ()
        self.observers: tuple[EventObserver, ...] = ()
        """The observers that need the events, in the required order."""
        if history.num_replicas > 1:
            context = self._context = context_of(history, oracle, returned)
            self._finders = tuple(finder(context) for finder in FINDERS)
            self.observers = (*context.observers, *self._finders)

    def read(self, history: History, tell: Tell | None = None) -> None:
        """Show the observers all events of the history."""
        if self.observers:
            audience = Audience(self.observers)
            for batch in reported(history.events(), history.last_event, tell):
                audience.show(batch)

    def conclude(self) -> tuple[tuple[Finding, ...], Compared | None]:
        """Return the findings and the result of the comparison, after the last event."""
        found = [finding for finder in self._finders for finding in finder.finish()]
        found.sort(key=_place)
        context = self._context
        if context is not None:
            found = [decided(one, context) for one in found]
        if context is None or context.comparisons is None or context.results is None:
            return tuple(found), None
        results = context.results.differences()
        return tuple(found), replace(context.comparisons.compared(), collectives=results)

    def separate_copies(self) -> dict[int, str]:
        """Return the facts about each variable that each replica trained separately."""
        (found,) = [one for one in self._finders if isinstance(one, SeparateCopies)] or (None,)
        return {} if found is None else found.facts()

    def notes(self) -> list[Note]:
        """Return notes on what the finders could not examine, after the last event."""
        return [note for finder in self._finders for note in finder.notes()]
