"""The model of a take-over: what every component must be when a strategy goes on after an end.

It follows docs/faults.md, and uses no code of `varsim.distribute`. It believes the report of what
is lost only where something can be lost: a component of a replica that does not answer, which the
program does not know for certain. All other components must have their values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from tests.properties.comparing import same_bits
from tests.properties.operation_model import Array, merged
from tests.seeded.cluster import SeededCluster
from tests.seeded.model import Model
from tests.seeded.programs import AVERAGED, FIRST, MEAN, ON_READ, ON_WRITE, SUM
from tests.seeded.worlds import Variable, exchanges
from varsim.spec import VariableSpec
from varsim.texts.incarnations import Instead, LostPolicyState, LostValues, LostWrites, Recovery

NO_SUCCESSOR = {Instead.NOTHING, Instead.NO_SHARE}


@dataclass(slots=True)
class Origin:
    """Where a lost component of one variable can come from."""

    initial: Array
    saved: dict[int, Array] = field(default_factory=dict)  # replica → component in the checkpoint
    written: list[list[Array]] | None = None
    """The possible components after the last write of the program; None: none since the save."""

    assigned: set[int] = field(default_factory=set)  # the components that this write assigned

    def keep(self, left: Sequence[int]) -> None:
        """Keep only what these replicas have, which are numbered from 0."""
        self.saved = {n: self.saved[i] for n, i in enumerate(left) if i in self.saved}
        self.assigned = {n for n, i in enumerate(left) if i in self.assigned}
        if self.written is not None:
            self.written = [[one[i] for i in left] for one in self.written]


class TakeOver:
    """Follows the values of a program's variables from one incarnation to the next."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._origins: dict[int, Origin] = {}  # index of the variable
        self._expected: dict[int, list[list[Array]]] = {}
        """For the next incarnation: all possible components of each variable."""

        self._writes: dict[int, list[int]] = {}
        """For the next incarnation: the writes of each replica since the last average."""

    def created(self, index: int, value: Array) -> None:
        self._origins[index] = Origin(value)

    def dropped(self, index: int) -> None:
        del self._origins[index]
        self._expected.pop(index, None)

    def saved(self, components: dict[int, Sequence[Array]], *, is_deleted: bool) -> None:
        """Record a checkpoint of all variables."""
        for index, each in components.items():
            origin = self._origins[index]
            origin.saved = {} if is_deleted else dict(enumerate(each))
            origin.written, origin.assigned = None, set()

    def written(self, variable: Variable, index: int, assigned: Collection[int]) -> None:
        """Record a write of the program.

        Args:
            assigned: The components that the write has assigned outside calls.
        """
        count = len(variable.since)
        origin = self._origins[index]
        origin.written = [
            [variable.component(world, i) for i in range(count)] for world in variable.worlds
        ]
        origin.assigned = set(assigned)

    # ------------------------------------------------------------ the end of an incarnation

    def ended(self, cluster: SeededCluster, recovery: Recovery, *, was_used: bool) -> None:
        """Compute what the components must be in the next incarnation."""
        left = [i for i in range(cluster.num_replicas) if i not in recovery.removed]
        if was_used:
            self._expected = self._successors_of_all(cluster, recovery)
            self._writes = {
                index: _numbers(counts, cluster.num_replicas, left)
                for index, counts in cluster.states.items()
            }
        else:
            assert not recovery.lost
            self._expected = {
                index: [[one[i] for i in left] for one in possible]
                for index, possible in self._expected.items()
            }
            self._writes = {n: [one[i] for i in left] for n, one in self._writes.items()}
        for origin in self._origins.values():
            origin.keep(left)

    def started(self, model: Model) -> None:
        """Compare the components of an incarnation that has started."""
        assert self._expected.keys() == model.variables.keys()
        for index, variable in model.variables.items():
            (world,) = variable.worlds
            possible = self._expected[index]
            assert any(_all_same(one, world.components) for one in possible), (
                f"{variable.spec}: the next incarnation has {world.components}, not {possible}"
            )
            assert self._writes.get(index, [0] * model.count) == variable.since

    # ------------------------------------------------------------ one variable

    def _successors_of_all(
        self, cluster: SeededCluster, recovery: Recovery
    ) -> dict[int, list[list[Array]]]:
        reports: dict[str, list[LostValues]] = {}
        for one in recovery.lost:
            reports.setdefault(one.variable, []).append(one)
        unreachable = cluster.unreachable()
        successors = {
            index: self._successors(
                variable,
                self._origins[index],
                reports.pop(variable.spec.name, ()),
                unreachable,
                recovery.removed,
            )
            for index, variable in cluster.model.variables.items()
        }
        assert not reports, "lost values of variables that do not exist"
        return successors

    def _successors(
        self,
        variable: Variable,
        origin: Origin,
        reports: Sequence[LostValues],
        unreachable: set[int],
        removed: Sequence[int],
    ) -> list[list[Array]]:
        lost: dict[int, Instead] = {}
        lost_writes = 0
        for one in reports:
            if isinstance(one, LostWrites):
                lost_writes += one.count
            elif isinstance(one, LostPolicyState):
                assert variable.is_averaged
                self._counts["lost: policy state"] += 1
            else:
                assert not lost.keys() & set(one.replica_ids), "a component is reported twice"
                lost |= dict.fromkeys(one.replica_ids, one.instead)
        if lost_writes:
            self._counts["lost: deferred writes"] += 1
        for i, instead in lost.items():
            self._counts[f"lost: {instead.name}"] += 1
            what = f"the component of replica {i} of {variable.spec}"
            assert not variable.merges or i in removed, f"{what} is a mirror, but is lost"
            assert i in unreachable, f"{what} is lost, but the replica answers"
            assert (i in removed) == (instead in NO_SUCCESSOR), f"{what}: {instead}"
            assert i not in variable.known or i in removed, f"{what} is lost, but it was known"
        possible = []
        for world in variable.worlds:
            # A replica whose log is full requests an exchange, which the program does not see.
            for fork in exchanges(variable, world) if variable.is_deferred else (world,):
                values = [variable.component(fork, i) for i in range(len(fork.components))]
                is_counted = max(map(len, fork.written)) == lost_writes
                if is_counted and _is_reported(variable.spec, values, lost, removed):
                    possible += self._replaced(variable.spec, origin, values, lost, removed)
        assert possible, f"{variable.spec}: {variable.worlds} contradict the report {reports}"
        return possible

    def _replaced(
        self,
        spec: VariableSpec,
        origin: Origin,
        values: Sequence[Array],
        lost: dict[int, Instead],
        removed: Sequence[int],
    ) -> list[list[Array]]:
        """Return the possible components: the old values, or what replaces the lost ones."""
        found = [value for i, value in enumerate(values) if i not in lost]
        choices = []
        for i, value in enumerate(values):
            if i in removed:
                continue
            if i not in lost:
                choices.append([value])
            elif found and spec.synchronization is ON_WRITE:  # the components should be equal
                assert lost[i] is Instead.COPY
                choices.append([found[0]])
            elif lost[i] is Instead.CHECKPOINT:
                assert origin.written is None, f"{spec}: a write replaces the checkpoint"
                choices.append([origin.saved[i]])
            elif lost[i] is Instead.WRITTEN:
                assert origin.written is not None
                choices.append([one[i] for one in origin.written])
            else:
                assert i not in origin.assigned, f"{spec}: the program's last write is not used"
                better = origin.written is None and i in origin.saved
                assert not better, f"{spec}: the checkpoint is not used"
                choices.append([_neutral(spec, found, origin.initial)])
        return [list(one) for one in product(*choices)]


def _numbers(counts: dict[int, int], num_replicas: int, left: Sequence[int]) -> list[int]:
    """Return the numbers of writes that the replicas in `left` go on with.

    Args:
        counts: The number of each replica that is not lost. If one is lost, all get the number that
            these have in common, or 0.
    """
    if len(counts) == num_replicas:
        return [counts[i] for i in left]
    different = set(counts.values())
    return [different.pop() if len(different) == 1 else 0] * len(left)


def _is_reported(
    spec: VariableSpec, values: Sequence[Array], lost: dict[int, Instead], removed: Sequence[int]
) -> bool:
    """Return whether each value that has no successor is reported."""
    left = [value for i, value in enumerate(values) if i not in removed and i not in lost]
    if spec.synchronization is ON_READ and spec.aggregation is SUM:
        return not any(values[i].any() for i in removed if i not in lost)
    return all(any(same_bits(values[i], one) for one in left) for i in removed if i not in lost)


def _neutral(spec: VariableSpec, others: Sequence[Array], initial: Array) -> Array:
    """Return the component of a new replica whose old component is lost."""
    reads = spec.synchronization is ON_READ
    if reads and spec.aggregation is SUM:
        return np.zeros_like(initial)
    if others and spec.aggregation is MEAN and (reads or spec.synchronization == AVERAGED):
        return merged(others, MEAN)
    if others and reads and spec.aggregation is FIRST:
        return others[0]
    return np.zeros_like(initial) if spec.synchronization is ON_WRITE else initial


def _all_same(expected: Sequence[Array], got: Sequence[Array]) -> bool:
    return len(expected) == len(got) and all(map(same_bits, expected, got))
