"""Versions are monotonic at every replica."""

from __future__ import annotations

from varsim.analysis.checker import Checker, seen_by
from varsim.tracing.history import Event


class Versions(Checker):
    """Checks that each commit makes the next version, and that replicas install versions in order.

    A read must show the version that the component has at the time of the read.
    """

    name = "versions"
    promise = "versions are monotonic at every replica, without a gap"

    def on_create(self, event: Event) -> None:
        """Check that a variable begins with version 0."""
        if event.version != 0:
            reason = "it does not begin with version 0"
            self.wrong(self.variable_of(event), reason, (event.event,))

    def on_commit(self, event: Event) -> None:
        """Check that the version of the commit is the component's version plus one."""
        change = self.replay.change
        for before, _ in change.components.values() if change is not None else ():
            if before.version is not None and event.version != before.version + 1:
                self.wrong(
                    self.variable_of(event),
                    f"version {event.version} was made after {before.version}",
                    (before.made, event.event),
                )

    def on_install(self, event: Event) -> None:
        """Check that the version is the next one, and equals the version of the commit."""
        assert self.replay.installed is not None
        before, change = self.replay.installed
        if before.version is not None and event.version != before.version + 1:
            self.wrong(
                self.variable_of(event),
                f"{seen_by(event)} installs version {event.version} after {before.version}",
                (before.made, event.event),
            )
        if change is not None and change.event.version != event.version:
            self.wrong(
                self.variable_of(event),
                f"{seen_by(event)} installs the commit of version {change.event.version}, but "
                f"numbers it {event.version}",
                (change.event.event, event.event),
            )

    def on_component(self, event: Event) -> None:
        """Check that the version equals the version of the replica's component."""
        held = self.variables[event.variable].at_replica[event.process]
        if event.version != held.version:
            self._compare(event, held.version, held.made)

    on_read_by_replica = on_component

    def on_read_by_program(self, event: Event) -> None:
        """Check that the version is that of the component, or the latest of all components."""
        variable = self.variable_of(event)
        if event.replica is not None:
            held = variable.at_program[event.replica]
            self._compare(event, held.version, held.made)
        else:
            made = max(one.made for one in variable.at_program)
            self._compare(event, variable.version, made)

    def _compare(self, event: Event, version: int | None, made: int) -> None:
        if version is not None and event.version != version:
            self.wrong(
                self.variable_of(event),
                f"{seen_by(event)} sees version {event.version} instead of {version}",
                (made, event.event),
            )
