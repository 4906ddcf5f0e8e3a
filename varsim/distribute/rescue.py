"""Read all components at the end of an incarnation, and replace the lost ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Generic, Self, TypeVar

import numpy as np

from varsim.distribute.checkpoints import contents
from varsim.errors import CallTimeout, CheckpointError, StillRunning, WorkerLost
from varsim.shells.coordinator import Coordinator
from varsim.spec import (
    Array,
    Context,
    NamedArrays,
    Operation,
    VariableAggregation,
    VariableSpec,
)
from varsim.sync import policies, reduce
from varsim.sync.coordinator_events import ProgramFetch, ProgramFetchStates
from varsim.sync.one_sided import SharedValues
from varsim.texts.incarnations import (
    Instead,
    LostComponents,
    LostPolicyState,
    LostValues,
    LostWrites,
)
from varsim.value_class import value_class

UNANSWERED: Final = (WorkerLost, CallTimeout, StillRunning)
"""The errors of a read whose replica has ended or does not answer."""

T = TypeVar("T")

THE_START: Final = "the start"


@value_class
class _OfReplicas(Generic[T]):
    """What is known of the component of each replica of one variable."""

    each: tuple[T, ...]  # in replica order

    def without(self, replica_ids: Collection[int]) -> Self:
        """Return the same without `replica_ids`; the other replicas are renumbered from 0."""
        return replace(self, each=tuple(x for i, x in enumerate(self.each) if i not in replica_ids))


@value_class
class SavedComponents(_OfReplicas[str]):
    """The names of the arrays in a checkpoint that hold the components of a variable."""

    path: str
    call: int  # the number of the program's calls before the checkpoint


@value_class
class WrittenComponents(_OfReplicas[Array | None]):
    """The components of a variable after a write of the program; None if they are not known."""

    call: int  # the number of the program's calls before the write


@value_class
class KeptVariable(_OfReplicas[Array]):
    """The components of a variable in the next incarnation."""

    spec: VariableSpec
    shared: SharedValues | None
    """The published components and the authoritative copy. The coordinator has them, so a lost
    replica does not lose them."""
    states: tuple[NamedArrays, ...] = ()
    """What the policy keeps beside each component; () if it keeps nothing."""

    def without(self, replica_ids: Collection[int]) -> KeptVariable:
        """Return the same without `replica_ids`; the other replicas are renumbered from 0."""
        shared = None if self.shared is None else self.shared.without(replica_ids)
        states = tuple(one for i, one in enumerate(self.states) if i not in replica_ids)
        kept = _OfReplicas.without(self, replica_ids)  # super() does not work in a class with slots
        return replace(kept, shared=shared, states=states)


class Rescue:
    """Reads the components of one incarnation.

    Args:
        gone: The replicas that cannot answer.
        initial: Variable id → initial value; None if the variable's components should be equal.
        saved: Variable id → the variable's components in the last checkpoint.
        written: The components of variables after the last write of the program, by id. There is no
            entry for a variable whose components were saved in a checkpoint later.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        gone: Iterable[int],
        initial: Mapping[int, Array | None],
        saved: Mapping[int, SavedComponents],
        written: Mapping[int, WrittenComponents],
    ) -> None:
        self.lost: list[LostValues] = []
        self._last_id = 0  # the variable id of the last entry of `lost`
        self._coordinator = coordinator
        self.gone = {*gone, *coordinator.state.registry.losses}
        """The replicas that cannot answer, including those that did not answer a read."""
        self._initial = initial
        self._saved = saved
        self._written = written
        self._files: dict[str, Mapping[str, Array]] = {}  # path → arrays; empty if unusable
        self._unusable: dict[str, str] = {}  # path → why the checkpoint cannot be read

    def kept(self, spec: VariableSpec, removed: Collection[int]) -> KeptVariable:
        """Return a variable with its components in the next incarnation.

        Args:
            removed: The replicas that the next incarnation does not have.
        """
        components = self._components(spec)
        found = [one for one in components if one is not None]
        chosen = [
            self._replaced(spec, replica_id, components, found) if one is None else one
            for replica_id, one in enumerate(components)
            if replica_id not in removed
        ]
        for replica_id in sorted(removed):
            if _is_dropped(spec, components[replica_id], chosen):
                instead = Instead.NO_SHARE if _adds_up(spec) else Instead.NOTHING
                self._lose(spec, replica_id, instead)
        registry, now_s = self._coordinator.state.registry, self._coordinator.now_s
        shared = registry.one_sided.kept(spec.variable_id, now_s)
        shared = None if shared is None else shared.without(removed)
        return KeptVariable(_copied(chosen), spec, shared, self._states(spec, removed))

    def _states(self, spec: VariableSpec, removed: Collection[int]) -> tuple[NamedArrays, ...]:
        """Return what the policy keeps beside each component in the next incarnation."""
        rule = policies.state_rule(spec)
        if rule is None:
            return ()
        states = [self._state(spec, i) for i in range(self._coordinator.num_replicas)]
        after = rule.after_loss(states)
        emptied = tuple(i for i, one in enumerate(after) if not one and states[i] != ())
        lost = tuple(i for i in emptied if i not in removed)
        if lost and (any(states) or not any(one is not None for one in states)):
            self.lost.append(LostPolicyState(spec.name, str(spec.synchronization.name), lost))
        return tuple(_copied_state(one) for i, one in enumerate(after) if i not in removed)

    def _state(self, spec: VariableSpec, replica_id: int) -> NamedArrays | None:
        """Return what the policy keeps beside one component; None if it is lost."""
        while replica_id not in self.gone:
            try:
                event = ProgramFetchStates(spec.variable_id, (replica_id,))
                return self._coordinator.look(event).states[0]
            except UNANSWERED as error:
                # The error may name only other replicas; then the loop reads this one again.
                self.gone |= set(error.replica_ids)
        return None

    def _components(self, spec: VariableSpec) -> list[Array | None]:
        """Return the component of each replica, or None if the component is lost."""
        coordinator, number = self._coordinator, spec.variable_id
        everyone = range(coordinator.num_replicas)
        if not self.gone:
            try:
                return [*coordinator.look(ProgramFetch(number, tuple(everyone))).values]
            except UNANSWERED as error:
                self.gone |= set(error.replica_ids)
        registry = coordinator.state.registry
        if writes := registry.exchanges.unexchanged_writes(number):
            self.lost.append(LostWrites(spec.name, writes))
        components = [*registry.known(number, everyone)]
        for replica_id in everyone:
            while components[replica_id] is None and replica_id not in self.gone:
                try:
                    done = coordinator.look(ProgramFetch(number, (replica_id,)))
                    components[replica_id] = done.values[0]
                except UNANSWERED as error:
                    # The error may name only other replicas; then the loop reads this one again.
                    self.gone |= set(error.replica_ids)
        return components

    def _replaced(
        self,
        spec: VariableSpec,
        replica_id: int,
        components: Sequence[Array | None],
        found: Sequence[Array],
    ) -> Array:
        """Return the component that a replica has in place of a lost one."""
        if found and not is_private(spec):  # the components should be equal
            return self._copy(spec, replica_id, components)
        saved = self._saved.get(spec.variable_id)
        if saved is not None:
            array = self._arrays(saved.path).get(saved.each[replica_id])
            if array is not None:
                call = f"call {saved.call}"
                source = f"{saved.path}, which was saved after {call}"
                self._lose(spec, replica_id, Instead.CHECKPOINT, source, call)
                return array
            self._unusable.setdefault(saved.path, f"{saved.path} has no such component any more")
        written = self._written.get(spec.variable_id)
        if written is not None:
            last = written.each[replica_id]
            if last is not None:
                call = f"call {written.call}"
                self._lose(spec, replica_id, Instead.WRITTEN, f"after {call}", call)
                return last
        initial = self._initial.get(spec.variable_id)
        if _adds_up(spec):
            self._lose(spec, replica_id, Instead.ZERO)
            return np.zeros_like(_first(found, initial, spec))
        if _is_averaged(spec) and _is_alike(found):
            self._lose(spec, replica_id, Instead.MEAN)
            return np.asarray(reduce.aggregate(found, spec.aggregation))
        if found and _is_combined(spec):
            return self._copy(spec, replica_id, components)
        self._lose(spec, replica_id, Instead.INITIAL if initial is not None else Instead.ZEROS)
        return _first((), initial, spec)

    def _copy(
        self, spec: VariableSpec, replica_id: int, components: Sequence[Array | None]
    ) -> Array:
        first, array = next((i, one) for i, one in enumerate(components) if one is not None)
        self._lose(spec, replica_id, Instead.COPY, f"replica {first}")
        return array

    def _arrays(self, path: str) -> Mapping[str, Array]:
        if path not in self._files:
            try:
                self._files[path] = contents.read(path).arrays
            except CheckpointError as error:  # deleted or damaged after it was written
                self._files[path] = {}
                self._unusable[path] = str(error)
        return self._files[path]

    def _lose(
        self,
        spec: VariableSpec,
        replica_id: int,
        instead: Instead,
        source: str = "",
        since: str = THE_START,
    ) -> None:
        settings = f"{spec.synchronization.name}, {spec.aggregation.name}"
        saved = self._saved.get(spec.variable_id)
        unusable = "" if saved is None else self._unusable.get(saved.path, "")
        one = LostComponents(spec.name, settings, (replica_id,), instead, source, since, unusable)
        last = self.lost[-1] if self.lost else None
        if isinstance(last, LostComponents) and self._last_id == spec.variable_id:
            both = replace(last, replica_ids=(*last.replica_ids, replica_id))
            if both == replace(one, replica_ids=both.replica_ids):
                self.lost[-1] = both
                return
        self.lost.append(one)
        self._last_id = spec.variable_id


def can_lose(spec: VariableSpec) -> bool:
    """Return whether a replica can have a value of the variable that no other process has."""
    cell = policies.cell(spec, Context.REPLICA, Operation.ASSIGN)
    return cell.is_private or cell.diverges


def is_private(spec: VariableSpec) -> bool:
    """Return whether every replica has its own value of the variable."""
    return policies.cell(spec, Context.REPLICA, Operation.ASSIGN).is_private


def _is_combined(spec: VariableSpec) -> bool:
    """Return whether a read of the program combines the components."""
    combines = policies.cell(spec, Context.CROSS_REPLICA, Operation.READ).refused is None
    return combines and spec.aggregation is not VariableAggregation.NONE


def _adds_up(spec: VariableSpec) -> bool:
    is_sum = spec.aggregation is VariableAggregation.SUM
    return is_sum and is_private(spec) and _is_combined(spec)


def _is_averaged(spec: VariableSpec) -> bool:
    is_mean = spec.aggregation is VariableAggregation.MEAN
    return is_mean and is_private(spec) and _is_combined(spec)


def _is_dropped(spec: VariableSpec, component: Array | None, others: Sequence[Array]) -> bool:
    """Return whether a value is lost if a component has no successor, but these others do."""
    if component is None:
        return True
    if _adds_up(spec):
        return bool(np.any(component))
    return not any(contents.same_components((component, other)) for other in others)


def _is_alike(arrays: Sequence[Array]) -> bool:
    return len({array.shape for array in arrays}) == 1 and arrays[0].dtype.kind not in "biu"


def _first(found: Sequence[Array], initial: Array | None, spec: VariableSpec) -> Array:
    if found:
        return found[0]
    return np.zeros([size or 0 for size in spec.shape], spec.dtype) if initial is None else initial


def _copied(components: Sequence[Array]) -> tuple[Array, ...]:
    """Return copies, because the incarnation's memory is freed.

    If all components are equal, they share one copy.
    """
    if contents.same_components(components):
        return (np.array(components[0]),) * len(components)
    return tuple(np.array(one) for one in components)


def _copied_state(state: NamedArrays) -> NamedArrays:
    return tuple((name, np.array(array)) for name, array in state)
