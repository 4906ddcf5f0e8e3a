"""What a program knows of the values that a lost worker takes with it.

These are the initial value of a variable, its components in the last checkpoint, and its components
after the last write of the program. A rescue replaces lost components with them.
"""

from __future__ import annotations

from collections.abc import Collection

from varsim.distribute.checkpoints.saving import Saved
from varsim.distribute.rescue import (
    Rescue,
    SavedComponents,
    WrittenComponents,
    can_lose,
    is_private,
)
from varsim.shells.coordinator import Coordinator
from varsim.spec import Array, VariableSpec


class KnownValues:
    """The known values of all variables of which a component can be lost, by variable id."""

    def __init__(self) -> None:
        self.initial: dict[int, Array | None] = {}
        """The variables of which a component can be lost, with their initial values.

        The value is None if the components should be equal: a lost one is a copy of another.
        """
        self._saved: dict[int, SavedComponents] = {}  # variable → its part of the last checkpoint
        self._written: dict[int, WrittenComponents] = {}  # variable → its last write
        self.just_written: set[int] = set()
        """The variables that no call can have changed since the program's last write."""

    def created(self, spec: VariableSpec, value: Array) -> None:
        """Record a new variable, and its initial value."""
        if can_lose(spec):
            self.initial[spec.variable_id] = value if is_private(spec) else None

    def forget(self, variable_id: int) -> None:
        """Forget a variable. Finalizers may call this at any time."""
        self.initial.pop(variable_id, None)
        self._saved.pop(variable_id, None)
        self._written.pop(variable_id, None)
        self.just_written.discard(variable_id)

    def keep_written(self, coordinator: Coordinator, num_replicas: int) -> None:
        """Keep the components after writes of the program, instead of those of a checkpoint.

        Otherwise a lost component would come back with its value before the write.
        This is done before the next call, because it takes longer than to note that a variable was
        written.
        """
        registry, everyone = coordinator.state.registry, range(num_replicas)
        while self.just_written:
            number = self.just_written.pop()
            self._saved.pop(number, None)
            components = registry.components(number, everyone)
            self._written[number] = WrittenComponents(components, coordinator.calls)

    def saved_as(self, saved: Saved, calls: int) -> None:
        """Record the components of a checkpoint that was written after this number of calls."""
        for variable_id, names in saved.names.items():
            self._saved[variable_id] = SavedComponents(names, saved.path, calls)
            self._written.pop(variable_id, None)
            self.just_written.discard(variable_id)

    def remove(self, replica_ids: Collection[int]) -> None:
        """Forget the components of some replicas; the other replicas are renumbered from 0."""
        for number, saved in self._saved.items():
            self._saved[number] = saved.without(replica_ids)
        for number, written in self._written.items():
            self._written[number] = written.without(replica_ids)

    def rescue(self, coordinator: Coordinator, gone: Collection[int]) -> Rescue:
        """Return a rescue of the components of an incarnation; `gone` replicas cannot answer."""
        return Rescue(coordinator, gone, self.initial, self._saved, self._written)
