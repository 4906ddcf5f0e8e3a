"""Compare the values of all variables with those of a single device.

There are three kinds of comparison: one write by all replicas, if the variable is aggregated at the
write; one read by the program, if the variable is aggregated at the read; and one write by the
program. The k-th access at a location is compared with the single device's k-th access there.
`scaling.py` has rules that explain some differences. All other differences are shown without a
judgement: their cause may be a mistake, other batches, other random numbers or rounding.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from varsim.analysis import sparse
from varsim.analysis.arithmetic import (
    Flat,
    flat,
)
from varsim.analysis.findings.approximate_modes import ApproximateModes
from varsim.analysis.findings.compared import (
    NEVER_COUNTED,
    Access,
    Compared,
    Quotient,
    Site,
    Uncompared,
    site_of,
)
from varsim.analysis.findings.compared_writes import by_program, by_replicas
from varsim.analysis.findings.comparison import Comparison, sampled_alike
from varsim.analysis.findings.components import ComponentTracker
from varsim.analysis.findings.differences import difference_of
from varsim.analysis.findings.flows import Flows
from varsim.analysis.findings.paired_writes import PairedWrites
from varsim.analysis.findings.partings import Parting, Partings
from varsim.analysis.findings.sparse_changes import SUMMED
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.analysis.observer import EventObserver, Take
from varsim.analysis.oracle import FIRST_REPLICA, Oracle
from varsim.analysis.presence import Presence
from varsim.analysis.rounding import apart, close
from varsim.tracing.history import PROGRAM, Event

_REDUCING: Final = frozenset({"all_reduce", "reduce_scatter"})
_KINDS: Final = frozenset({"call", "finish", "write", "component", "read", "arrive"})


@dataclass(slots=True)
class _Count:
    """The comparisons at one site."""

    count: int = 0
    differing: int = 0
    not_finite: int = 0  # differing values with a NaN or infinity that the single device lacks
    explained: int = 0  # differing values that findings explain
    largest: float = 0.0  # the largest relative difference
    first: Parting | None = None


class Comparisons(EventObserver):
    """Compares a value when all its events are known, and passes each comparison to a listener."""

    def __init__(
        self,
        num_replicas: int,
        presence: Presence,
        variables: Mapping[int, VariableFacts],
        components: ComponentTracker,
        oracle: Oracle,
    ) -> None:
        self._num_replicas = num_replicas
        self._variables = variables
        self._components = components
        self.oracle = oracle
        self._listeners: list[Callable[[Comparison], None]] = []
        self._write_listeners: list[Callable[[Event, Comparison | None], None]] = []
        self._known: dict[int, bool] = {}
        self.writes = PairedWrites(num_replicas, presence)
        self._flows = Flows()
        # variable → replica → the component that the replica sent last, and the replica's last
        # write
        self._sent: defaultdict[int, dict[int, Event]] = defaultdict(dict)
        self._wrote: defaultdict[int, dict[int, Event]] = defaultdict(dict)
        self._reduced_in: dict[int, int | None] = {}  # replica → call of its last all_reduce
        self._first: dict[int, tuple[str, int]] = {}  # a variable's first write: location, process
        self._in_call = False
        self._step = 0
        self._counts: dict[Site, _Count] = {}
        self._lacking: Counter[Site] = Counter()
        """Numbers of values that were not compared, for example because they were not recorded."""
        self._not_summed: dict[Site, str] = {}  # the operation of sparse writes without a sum
        self.wrong_calls: defaultdict[int, set[int | None]] = defaultdict(set)
        """Variable → the calls in which what all replicas wrote together differs."""
        self._partings = Partings()
        self.read_in_replicas: set[int] = set()
        self.merged: set[int] = set()  # variables that the program wrote in a merge_call
        self.reduced_before: set[int] = set()  # variables that were written after an all_reduce
        self.added_to: set[int] = set()  # variables that a replica changed by an add
        self._modes = ApproximateModes(variables, components)
        self.proved = False
        """Whether values prove that the single device had the whole batch; `Scaling` sets this.

        Without this proof, two runs with different numbers of accesses may have split their data
        into different steps, so the first accesses of both are not compared.
        """
        self.quotients: list[Quotient] = []
        """The variables whose quotients are right; `Scaling` adds them."""
        self.not_comparable = NEVER_COUNTED if oracle.counts_replicas is False else ""
        """Why a single device is no oracle for factors; `Scaling` adds what the values show."""

    def written_by_others(self, variable: int) -> bool:
        """Return whether another replica than the first wrote a variable merged at each read."""
        return bool(self._wrote.get(variable, {}).keys() - {FIRST_REPLICA})

    def pass_to(self, listener: Callable[[Comparison], None]) -> None:
        """Call the listener with each comparison of the values of all replicas from now on."""
        self._listeners.append(listener)

    def pass_writes_to(self, listener: Callable[[Event, Comparison | None], None]) -> None:
        """Call the listener with each write by all replicas, also to separate components.

        It gets the last replica's event, and the comparison; None if a value is unknown.
        """
        self._write_listeners.append(listener)

    def taker(self, kind: str, *, by_program: bool) -> Take | None:  # noqa: ARG002  # one for both
        """Return the method for the events that comparisons need."""
        return self._take if kind in _KINDS else None

    def _take(self, event: Event) -> None:
        for comparison in self._completed_by(event):
            self._count(comparison)
            if len(comparison.by_replica) == self._num_replicas:
                for listener in self._listeners:
                    listener(comparison)

    # ------------------------------------------------------------ from events to comparisons

    def _completed_by(self, event: Event) -> Iterator[Comparison]:
        if event.kind in {"call", "finish"}:
            self._in_call = event.kind == "call"
            self._step += event.begins_step
            self._flows.on_call()
            self._modes.on_call()
        elif event.kind == "arrive" and event.operation in _REDUCING:
            self._reduced_in[event.process] = event.call
        variable = event.variable
        if variable is None or variable not in self._variables or not self._is_known(variable):
            return
        facts, location = self._variables[variable], event.location
        if event.kind == "component":
            self._sent[variable][event.process] = event
        elif event.kind == "read":
            if event.process == PROGRAM or not facts.summed:  # a component of a sum is a part
                self._flows.on_read(event.process, variable)
            if event.process != PROGRAM:
                self.read_in_replicas.add(variable)
                self._modes.on_read(event.process, variable)
            elif (
                (facts.gathered or facts.reads_copy)
                and event.replica is None
                and location is not None
            ):
                yield from self._read(event, facts, location)
        elif location is not None:
            yield from self._written(event, facts, location)

    def _is_known(self, variable: int) -> bool:
        if variable not in self._known:
            self._known[variable] = self.oracle.knows(variable)
        return self._known[variable]

    def _written(self, event: Event, facts: VariableFacts, location: str) -> Iterator[Comparison]:
        variable = facts.variable_id
        fresh = variable not in self._first
        self._first.setdefault(variable, (location, event.process))
        self._flows.on_write(event)
        if event.process != PROGRAM:
            self._modes.on_write(event.process, variable)
            if event.operation != "assign":
                self.added_to.add(variable)
            if self._reduced_in.get(event.process, -1) == event.call:
                self.reduced_before.add(variable)
            compared = self._write(event, facts, location)
            if facts.gathered:
                self._wrote[variable][event.process] = event
                if compared is not None:
                    self._follow(compared)
            elif compared is not None:
                yield compared
        elif event.replica is None:
            if self._in_call:
                self.merged.add(variable)
            wanted = self.oracle.next_wrote(variable, PROGRAM, location)
            before = self._before(event) if fresh else None
            compared = by_program(event, facts, wanted, before, self._num_replicas)
            if compared is not None:
                yield compared
            else:
                self._count_lacking(event)

    def _count_lacking(self, event: Event) -> None:
        """Count a value that was not compared."""
        site = site_of(event)
        self._lacking[site] += 1
        if event.operation in sparse.OPERATIONS - SUMMED:
            self._not_summed[site] = event.operation or ""

    def _before(self, event: Event) -> Flat | None:
        """Return the value of a variable before its first write, if this write is an assign."""
        if event.variable is None or event.operation != "assign":
            return None
        return self.oracle.created(event.variable)

    def _write(self, event: Event, facts: VariableFacts, location: str) -> Comparison | None:
        """Store one replica's write. The write of the last replica completes the comparison."""
        paired = self.writes.add(event)
        if paired is None:
            return None
        number, together = paired
        wanted = self.oracle.next_wrote(facts.variable_id, FIRST_REPLICA, location)
        fresh = not number and self._first[facts.variable_id][0] == location
        before = self._before(event) if fresh else None
        compared = None if wanted is None else by_replicas(event, together, facts, wanted, before)
        if compared is None and not facts.gathered:
            self._count_lacking(event)
        for listener in self._write_listeners:
            listener(event, compared)
        return compared

    def _read(self, event: Event, facts: VariableFacts, location: str) -> Iterator[Comparison]:
        variable, dtype = facts.variable_id, facts.numpy_dtype
        sent = self._sent.pop(variable, {})
        got = facts.elements_of(event)
        held = () if facts.reads_copy else self._components[variable].values
        by_replica: list[Flat | None] = []
        for replica_id, content in enumerate(held):
            shown = sent.get(replica_id)
            value = None if shown is None else facts.elements_of(shown)
            known = value is None and content is not None
            by_replica.append(flat(content, dtype) if known and content is not None else value)
        others = tuple(one.event for one in self._wrote[variable].values())
        left = event.occurrences
        while left:
            wanted, times = self.oracle.next_read(variable, location, left)
            left -= times
            if wanted is not None and got is not None:
                yield sampled_alike(
                    Comparison(event, others, tuple(by_replica), got, wanted, times=times)
                )
            else:
                self._lacking[site_of(event)] += times

    # ------------------------------------------------------------ counts

    def _count(self, comparison: Comparison) -> None:
        site = site_of(comparison.event)
        count = self._counts.get(site)
        if count is None:
            count = self._counts[site] = _Count()
        count.count += comparison.times
        if not close(comparison.got, comparison.wanted):
            count.differing += comparison.times
            if site.access is Access.MERGED:
                self.wrong_calls[site.variable_id].add(comparison.event.call)
            count.largest = max(count.largest, apart(comparison.got, comparison.wanted))
            count.not_finite += comparison.times if comparison.loses_finiteness else 0
            if count.first is None:
                count.first = self._difference(site, comparison)

    def _follow(self, comparison: Comparison) -> None:
        """Record the first write to components whose result differs; it is not counted."""
        site = site_of(comparison.event)
        if close(comparison.got, comparison.wanted):
            return
        self.wrong_calls[site.variable_id].add(comparison.event.call)
        if not self._partings.has(site.variable_id, is_prefix=self.is_prefix(site)):
            self._difference(site, comparison)

    def _difference(self, site: Site, comparison: Comparison) -> Parting:
        """Return the difference that a comparison shows."""
        number, facts = site.variable_id, self._variables[site.variable_id]
        by = () if site.access is Access.READ else (comparison.event.event, *comparison.others)
        sources = self._flows.sources_of(number, by)
        found = Parting(site, difference_of(site, comparison, facts, self._step), sources)
        self._partings.add(found, is_prefix=self.is_prefix(site))
        self._flows.part(number)
        if site.access is Access.READ:
            self._flows.on_read(PROGRAM, number)  # the program has read this wrong value
        return found

    def explain(self, site: Site, number: int) -> None:
        """Record that a finding explains some of the differing values at a site.

        Args:
            number: The number of compared values in which the finding sees its problem.
        """
        if (count := self._counts.get(site)) is not None:
            count.explained = min(count.explained + number, count.differing)

    def explain_all(self, variable_id: int) -> None:
        """Record that a finding explains all differing values of a variable."""
        for site, count in self._counts.items():
            if site.variable_id == variable_id:
                count.explained = count.differing

    def origin_of(self, variable_id: int) -> int | None:
        """Return the variable with whose difference that of another variable began."""
        found = self._partings.first(variable_id, proved=self.proved)
        if found is None:
            return None
        return self._partings.with_origin(found, proved=self.proved).began.variable_id

    def mode_of(self, variable_id: int) -> VariableFacts | None:
        """Return the variable whose approximate mode can make this one differ; None if none can."""
        return self._modes.of(variable_id, self.origin_of(variable_id))

    def _largest(self, number: int) -> float:
        return max(one.largest for site, one in self._counts.items() if site.variable_id == number)

    def explain_not_finite(self, variable_id: int, locations: Iterable[str]) -> None:
        """Record that a finding explains all NaN and infinities of a variable at some locations.

        Reads by the program show what replicas wrote, so the finding explains those of reads, too.
        """
        where = set(locations)
        for site, count in self._counts.items():
            shows = site.access is Access.READ or site.location in where
            if site.variable_id == variable_id and shows:
                self.explain(site, count.not_finite)

    @property
    def judged(self) -> set[int]:
        """Return the variables whose values the rules have compared with a single device.

        Use this after `Scaling.finish`, which decides whether the rules can be tried.
        """
        return {site.variable_id for site in self._counts} if not self.not_comparable else set()

    def compared(self) -> Compared:
        """Return the result of all comparisons. Call this after `Finder.finish`."""
        counts = {site: one for site, one in self._counts.items() if self._is_counted(site)}
        differences = [
            replace(
                self._partings.with_origin(one.first, proved=self.proved),
                count=one.differing,
                compared=one.count,
                explained=one.explained,
            )
            for one in counts.values()
            if one.first is not None
        ]
        return Compared(
            values=sum(one.count for one in counts.values()),
            locations=len({site.location for site in counts}),
            differences=tuple(sorted(differences, key=lambda one: (one.began.event, one.event))),
            uncompared=tuple(self._uncompared({one.began.variable_id for one in differences})),
            own=tuple(
                one.name
                for one in self._variables.values()
                if not (one.aggregation or one.reads_copy)
            ),
            copies=tuple(one.name for one in self._variables.values() if one.reads_copy),
            approximate=tuple(self._modes.explaining(differences, self.origin_of, self._largest)),
            quotients=tuple(self.quotients),
            not_comparable=self.not_comparable,
        )

    def _is_counted(self, site: Site) -> bool:
        """Return whether the comparisons at a site count: the values there correspond."""
        return not self._is_own(site) and (self.proved or not self.is_prefix(site))

    def is_prefix(self, site: Site) -> bool:
        """Return whether only the first values at a site were compared: later paths differ."""
        return site.key in self.oracle.uneven

    def _is_own(self, site: Site) -> bool:
        """Return whether each replica writes its own component; such writes are not counted."""
        facts = self._variables[site.variable_id]
        return site.access is Access.MERGED and (facts.gathered or not facts.aggregation)

    def _uncompared(self, began: Container[int]) -> Iterator[Uncompared]:
        """Yield what was not compared.

        Args:
            began: The variables with a first difference, of which what replicas wrote is shown.
        """
        for number, facts in self._variables.items():
            if not (facts.aggregation or facts.reads_copy):
                continue
            why = self.oracle.why_unknown(number)
            if why:
                yield Uncompared(variable=facts.name, location="", why=why)
            elif (facts.gathered or facts.reads_copy) and not any(
                site.variable_id == number and not self._is_own(site)
                for site in (*self._counts, *self._lacking)
            ):
                why = "it was neither read nor written outside strategy.run"
                shown = number in began
                why = f"{why}; what replicas wrote to it was compared" if shown else why
                yield Uncompared(variable=facts.name, location="", why=why, partly=shown)
        prefixes = filter(self.is_prefix, self._counts)
        unequal = self.writes.unequal()
        for site in dict.fromkeys((*self._lacking, *sorted(unequal, key=_in_order), *prefixes)):
            if not self._is_own(site):
                name = self._variables[site.variable_id].name
                partly = site in self._counts and self._is_counted(site)
                why = self._why(site, unequal)
                yield Uncompared(variable=name, location=site.location, why=why, partly=partly)

    def _why(self, site: Site, unequal: Container[Site]) -> str:
        """Return why values at a site were not compared."""
        if site in unequal:
            return "some replicas write it there more often than others"
        uneven = self.oracle.uneven.get(site.key)
        if uneven is None and site in self._not_summed:
            return (
                f"rows written by {self._not_summed[site]} are not compared: varsim compares sums "
                "of rows, and only the rows of scatter_add and scatter_sub have a sum"
            )
        if uneven is None:
            count = self._lacking[site]
            values = f"{count:,} value{'' if count == 1 else 's'}"
            return f"{values} were not recorded, in this run or on a single device"
        here, there, common = uneven
        many = "never" if not there else "once" if there == 1 else f"{there:,} times"
        said = f"{site.access.value} {here:,} times, and on a single device {many}"
        if not self.proved or not common:
            return said
        return f"{said}; the first {common:,}, before the paths of the runs part, were compared"


def _in_order(site: Site) -> tuple[int, str]:
    return site.variable_id, site.location
