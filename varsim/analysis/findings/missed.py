"""Stale reads of variables that replicas write apart: what a component lacks of the others' writes.

A read is stale if it lacks writes of other replicas that happened before it (a clock says so: what
runs at the same time is out of reach), and the components have not met since. A replica that goes
on from its own component, by a write of it, accumulates: that is what such variables are for. It
does so in the same call; or later, if the program makes the components meet now and then, and they
are not parts of a sum. To a part of a sum it can add without looking: what it read of it before,
it used for something else. So is keeping what is one's own: without an aggregation, staleness
begins when the program synchronises the components.
"""

from __future__ import annotations

from collections.abc import Mapping

from varsim.analysis.clocks import Clocks
from varsim.analysis.findings.components import Components
from varsim.analysis.findings.found import Finder, Finding
from varsim.analysis.findings.staleness import Age, finding
from varsim.analysis.findings.subject import Subject
from varsim.analysis.findings.unmet import Unmet
from varsim.tracing.history import Event


class Missed(Finder):
    """Finds reads in replicas that lack the others' earlier writes."""

    def __init__(
        self,
        num_replicas: int,
        variables: Mapping[int, Subject],
        clocks: Clocks,
        components: Components,
    ) -> None:
        self._num_replicas = num_replicas
        self._subjects = {n: one for n, one in variables.items() if _is_apart(one)}
        self._clocks = clocks
        self._components = components
        self._variables: dict[int, Unmet] = {}
        self._waiting: list[set[int]] = [set() for _ in range(num_replicas)]  # with reads pending
        self._last_meeting = [-1] * num_replicas

    def concerns(self, variable: int | None) -> bool:
        """Variables that a write in a replica changes on that replica only."""
        return variable is None or variable in self._subjects

    def on_finish(self, event: Event) -> None:  # noqa: ARG002  # that there is one says it
        """The calls of all replicas have ended."""
        for replica_id in range(self._num_replicas):
            self._confirm(replica_id)

    def on_meet(self, event: Event) -> None:
        """A replica hears of the others."""
        if event.variable is None:
            self._last_meeting[event.process] = event.event

    def on_return(self, event: Event) -> None:
        """The call of a replica has ended."""
        if event.variable is None:
            self._confirm(event.process)

    def on_raise(self, event: Event) -> None:
        """Likewise."""
        self.on_return(event)

    def on_commit(self, event: Event) -> None:
        """What all get, or what one component gets, they have met over."""
        if event.variable is None or event.operation != "assign":
            return
        state = self._state(event.variable)
        if event.replica is None:
            state.meet()
        else:
            state.met = list(state.met)
            state.met[event.replica] = [one.count for one in state.writes]

    def on_write_by_replica(self, event: Event) -> None:
        """Counts it."""
        if event.variable is not None:
            self._write(event, event.variable, self._state(event.variable))

    def on_read_by_replica(self, event: Event) -> None:
        """Counts what it lacks."""
        if event.variable is not None:
            self._read(event, event.variable, self._state(event.variable))

    def _state(self, variable: int) -> Unmet:
        state = self._variables.get(variable)
        if state is None:
            state = self._variables[variable] = Unmet(self._num_replicas)
        return state

    def finish(self) -> list[Finding]:
        """One finding for each variable with stale reads."""
        for replica_id in range(self._num_replicas):
            self._confirm(replica_id)
        for state in self._variables.values():
            state.end_of_meeting()
        return [
            finding(self._subjects[number], age, "write", _remedy(self._subjects[number]))
            for number in sorted(self._variables)
            if (age := self._age(number)).evidence.count
        ]

    def _age(self, variable: int) -> Age:
        return self._variables[variable].age(summed=self._subjects[variable].summed)

    def _write(self, event: Event, variable: int, state: Unmet) -> None:
        replica_id = event.process
        if not (self._subjects[variable].summed and event.operation != "assign"):
            state.go_on(replica_id)
            self._waiting[replica_id].discard(variable)
        numbers = state.writes[replica_id].numbers
        met_since = self._last_meeting[replica_id] > (numbers[-1] if numbers else -1)
        state.writes[replica_id].add(event)
        united = self._components[variable].united_at == event.event
        if united and not self._subjects[variable].summed:  # of which each is but a part
            state.meet()
        elif event.operation == "assign" and met_since:  # of what it heard there, it may be
            state.met = list(state.met)
            state.met[replica_id] = self._known(replica_id, state)

    def _known(self, replica_id: int, state: Unmet) -> list[int]:
        clock = self._clocks.clock(replica_id)
        return [writes.known(clock[other]) for other, writes in enumerate(state.writes)]

    def _read(self, event: Event, variable: int, state: Unmet) -> None:
        reader = event.process
        lacks, since_s = 0, event.time_s
        if self._matters(reader, variable):
            clock, met = self._clocks.clock(reader), state.met[reader]
            for other, writes in enumerate(state.writes):
                if other != reader and (more := writes.known(clock[other]) - met[other]) > 0:
                    lacks += more
                    since_s = min(since_s, writes.time_of(met[other]))
        if lacks:
            state.wait(event, lacks, event.time_s - since_s)
            self._waiting[reader].add(variable)
        else:
            state.in_call.reads[0] += 1
            state.until_met.reads[0] += 1

    def _matters(self, reader: int, variable: int) -> bool:
        """Whether the component may differ from what it would hold with the others' writes."""
        subject, copies = self._subjects[variable], self._components[variable]
        if subject.own and copies.synchronised_at < 0:
            return False
        if subject.first:
            return not copies.same_as(reader, 0)
        return subject.summed or not copies.same

    def _confirm(self, replica_id: int) -> None:
        waiting = self._waiting[replica_id]
        for variable in waiting:
            self._variables[variable].end_call(replica_id)
        waiting.clear()


def _is_apart(subject: Subject) -> bool:
    """Whether a write in a replica changes its own component only."""
    return not (subject.merged or subject.deferred)


def _remedy(subject: Subject) -> str:
    if subject.gathered:
        return (
            "Read it outside strategy.run, where the components are aggregated, or assign that "
            "aggregate to it more often; ON_WRITE if every read must see every write."
        )
    return (
        "Synchronise it before these reads, more often, or choose ON_WRITE with an aggregation "
        "if every read must see every write."
    )
