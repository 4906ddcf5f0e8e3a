"""Follow a run while it goes on, from what the program's process knows anyway.

There is no thread, and no message: everything happens before and after the waits of the program for
messages. While the program computes, nothing is observed, and the last frame stays.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final
from weakref import ref

from varsim.distribute.mirrored import MirroredStrategy
from varsim.distribute.parameter_servers.strategy import ParameterServerStrategy
from varsim.report.formatting import NOTHING, count, number, size
from varsim.report.json_values import furthest_apart
from varsim.report.live_frame import (
    MOST_VARIABLES,
    RATE_S,
    UNREAD,
    LiveFrame,
    LiveReplica,
    LiveVariable,
    rate_text,
)
from varsim.report.live_words import live_replica
from varsim.shells.parameter_cluster import ParameterCluster
from varsim.spec import Array
from varsim.sync.activity import ReplicaActivity, activities, idle
from varsim.sync.coordinator_state import CoordinatorState
from varsim.sync.statistics import VariableStatistics

FRAME_S: Final = 0.25
"""The shortest time between two frames: users cannot read faster changes."""

_LARGEST_SHARE: Final = 0.02
"""The largest share of the time that frames take: after a slow frame, the next one comes later."""

_SAMPLES_PER_S: Final = 100
"""How many waits are examined. An examination takes some 10 µs."""

_HALF_LIFE_S: Final = 3.0  # after this time, an observed wait counts half
_LEAST_BLAME: Final = 0.01  # a wait of less than this share of the time is not worth a name
_LARGE: Final = 4096  # the distance of components is computed for at most so many elements

_READ_NOTE: Final = "apart: as the program last read the components"
_UNREAD_NOTE: Final = "unread: only a read by the program would show it"
_SERVED_NOTE: Final = "the servers count the bytes of variables: see the report at the end"

Show = Callable[[LiveFrame], None]
Idle = Sequence[tuple[int, Sequence[int]]]
"""Replicas that wait, each with the replicas for which it waits."""


@dataclass(slots=True)
class Waits:
    """How long replicas waited in the last seconds, and for whom."""

    observed_s: float = 0.0
    idle_s: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    blame_s: defaultdict[tuple[int, int], float] = field(default_factory=lambda: defaultdict(float))
    """(waiting replica, the replica for which it waited) → seconds."""

    def add(self, found: Idle, waited_s: float) -> None:
        """Count a wait of the program during which these replicas waited."""
        self.observed_s += waited_s
        for replica_id, others in found:
            self.idle_s[replica_id] += waited_s
            for other in others:
                self.blame_s[replica_id, other] += waited_s / len(others)

    def fade(self, passed_s: float) -> None:
        """Reduce the weight of all waits so far."""
        factor = 0.5 ** (passed_s / _HALF_LIFE_S)
        self.observed_s *= factor
        for one in self.idle_s:
            self.idle_s[one] *= factor
        for pair in self.blame_s:
            self.blame_s[pair] *= factor

    def share(self, replica_id: int) -> float | None:
        """Return the share of the time in which a replica waited; None if it is not known."""
        return self.idle_s[replica_id] / self.observed_s if self.observed_s > 0 else None

    def most_for(self, replica_id: int) -> int | None:
        """Return the replica for which a replica waited most; None if it hardly waited."""
        least_s = _LEAST_BLAME * self.observed_s
        blame = {
            other: waited_s
            for (one, other), waited_s in self.blame_s.items()
            if one == replica_id and waited_s > least_s
        }
        return max(blame, key=blame.__getitem__, default=None)


@dataclass(frozen=True, slots=True)
class _Totals:
    """The totals at one frame, from which rates are computed at later frames."""

    at_s: float
    waited_s: float  # the time that the program has waited
    counts: Mapping[str, int]  # what is counted → its number
    sizes: Mapping[int, int]  # variable_id → bytes


class Followed(ABC):
    """The processes of one strategy, from their start to their end; a `WaitWatcher`."""

    def __init__(self, show: Show, title: str) -> None:
        """Follow the processes.

        Args:
            show: Shows a frame.
            title: The beginning of the first line; "" if there is only one strategy.
        """
        self._show = show
        self._title = title
        self._frame_at_s = 0.0
        self._framed_s: float | None = None  # the time of the last frame
        self._began_s = 0.0  # when the present wait began
        self._waited_s = 0.0
        self._waits_left = 0  # the number of waits before the next one that is examined
        self._num_waits = 0  # the number of waits since the last frame
        self._stride = 1  # every so manieth wait is examined, on average
        self._choose = Random(0).randint  # an even choice, because waits repeat in every step
        self._found: Idle | None = None  # of the wait that is examined now
        self._waits = Waits()
        self._totals: deque[_Totals] = deque()

    def before(self, now_s: float) -> float:
        """Examine the wait if it is its turn, and show a frame if it is time."""
        self._num_waits += 1
        self._waits_left -= 1
        if self._waits_left < 0:
            self._found = self._idle()
            self._waits_left = self._choose(0, 2 * self._stride - 2)
        if now_s >= self._frame_at_s:
            began_s = time.perf_counter()
            self._show(self._next_frame(now_s))
            took_s = time.perf_counter() - began_s
            now_s += took_s
            self._frame_at_s = now_s + max(FRAME_S, took_s / _LARGEST_SHARE)
        self._began_s = now_s
        return self._frame_at_s - now_s

    def after(self, now_s: float) -> None:
        """Count the time of the wait."""
        waited_s = max(0.0, now_s - self._began_s)
        self._waited_s += waited_s
        if self._found is not None:
            self._waits.add(self._found, waited_s)
            self._found = None

    def _next_frame(self, now_s: float) -> LiveFrame:
        if self._framed_s is not None:
            passed_s = max(1e-9, now_s - self._framed_s)
            self._waits.fade(passed_s)
            self._stride = max(1, round(self._num_waits / passed_s / _SAMPLES_PER_S))
        self._framed_s, self._num_waits = now_s, 0
        return self._frame(now_s)

    @abstractmethod
    def _idle(self) -> Idle:
        """Return which replicas wait now, and for whom."""

    @abstractmethod
    def _frame(self, now_s: float) -> LiveFrame:
        """Return what is to be shown now."""

    def _since(self, now: _Totals) -> tuple[_Totals, float]:
        """Keep totals; return those that rates are computed from, and the seconds since them."""
        while len(self._totals) > 1 and self._totals[1].at_s <= now.at_s - RATE_S:
            self._totals.popleft()
        self._totals.append(now)
        return self._totals[0], max(1e-9, now.at_s - self._totals[0].at_s)

    def _facts(self, now: _Totals, before: _Totals, passed_s: float) -> list[str]:
        """Return the first words of a frame after the place: a rate for each count."""
        if now is before:
            return []
        facts = []
        for what, total in now.counts.items():
            rate = (total - before.counts.get(what, 0)) / passed_s
            facts.append(f"{rate_text(rate)} {what}/s")
        moved = sum(now.sizes.values()) - sum(before.sizes.values())
        return [*facts, f"{size(round(moved / passed_s))}/s"] if now.sizes else facts

    @staticmethod
    def _share(now: _Totals, before: _Totals, passed_s: float) -> float | None:
        if now is before:
            return None
        return min(1.0, (now.waited_s - before.waited_s) / passed_s)


class FollowedReplicas(Followed):
    """The replicas of a strategy, and its variables."""

    def __init__(self, strategy: MirroredStrategy, show: Show, title: str) -> None:
        super().__init__(show, title)
        self._strategy = ref(strategy)  # the strategy's finalizer refers to its channel
        self._state: CoordinatorState | None = None
        self._fetches = 0
        self._compared: Sequence[int] = ()  # the variables whose distances are shown
        self._read: dict[int, Sequence[Array]] = {}  # the components that the program read last
        self._apart: dict[int, tuple[Sequence[Array], str]] = {}  # their distance

    @property
    def state(self) -> CoordinatorState:
        """Return the state of the coordinator, which exists when it waits."""
        if self._state is None:
            strategy = self._strategy()
            assert strategy is not None, "it waits for its replicas"
            self._state = strategy.incarnations.coordinator.state
        return self._state

    def before(self, now_s: float) -> float:
        """Also notice what the program has read."""
        ended = self.state.registry.fetches_ended
        if ended != self._fetches:
            self._fetches = ended
            self._keep_read()
        return super().before(now_s)

    def _keep_read(self) -> None:
        """Keep the components that the program has read: at the end of a call they are unknown."""
        registry = self.state.registry
        for variable_id in self._compared:
            known = _all_known(registry.last_known(variable_id))
            if known:
                self._read[variable_id] = known

    def _idle(self) -> Idle:
        return [*idle(self.state)]

    def _frame(self, now_s: float) -> LiveFrame:
        state = self.state
        accounts = sorted(state.statistics(), key=lambda one: -one.size_bytes)
        call = state.running_call
        counts = {"calls": state.calls_begun}
        in_script = call is not None and call.site.is_script
        if call is not None and in_script:
            counts = {"collectives": max(map(call.arrivals, range(len(call.participants))))}
        if accounts:
            counts["messages"] = sum(one.messages for one in accounts)
        sizes = {one.variable_id: one.size_bytes for one in accounts}
        now = _Totals(now_s, self._waited_s, counts, sizes)
        before, passed_s = self._since(now)
        what, reached = next(iter(counts.items()))
        place = f"{self._title}{what.removesuffix('s')} {count(reached)}"
        self._compared = [one.variable_id for one in accounts[:MOST_VARIABLES]]
        variables = [self._variable(one, before, passed_s) for one in accounts]
        return LiveFrame(
            [place, *self._facts(now, before, passed_s)],
            [self._replica(one, now_s, in_script=in_script) for one in activities(state)],
            variables,
            self._share(now, before, passed_s),
            note=self._note({one.apart for one in variables[:MOST_VARIABLES]}),
        )

    def _replica(self, one: ReplicaActivity, now_s: float, *, in_script: bool) -> LiveReplica:
        share, most_for = self._waits.share(one.replica_id), self._waits.most_for(one.replica_id)
        return live_replica(one, now_s, share, most_for, in_script=in_script)

    def _variable(self, one: VariableStatistics, before: _Totals, passed_s: float) -> LiveVariable:
        moved = one.size_bytes - before.sizes.get(one.variable_id, 0)
        return LiveVariable(
            one.name,
            f"{one.synchronization.name} {one.aggregation.name}",
            one.size_bytes,
            moved / passed_s,
            one.waited_s,
            self._distance(one) if one.variable_id in self._compared else NOTHING,
        )

    def _distance(self, one: VariableStatistics) -> str:
        """Return how far the components of a variable are apart, as far as it is known."""
        known = self.state.registry.last_known(one.variable_id)
        if known is None:
            return NOTHING
        if one.bounded is not None:
            return f"{one.bounded.most_ahead} writes"
        if not known:
            return "0" if one.on_write is None else UNREAD  # deferred writes are on the replicas
        read = _all_known(known) or self._read.get(one.variable_id)
        if not read:
            return UNREAD
        before = self._apart.get(one.variable_id)
        if before is None or any(a is not b for a, b in zip(before[0], read, strict=True)):
            before = self._apart[one.variable_id] = read, distance_text(read)
        return before[1]

    def _note(self, shown: Collection[str]) -> str:
        """Return where the distances come from, if they are not those of this moment."""
        texts = [_READ_NOTE] if self._read else []
        return "; ".join([*texts, *([_UNREAD_NOTE] if UNREAD in shown else [])])


def _all_known(components: Sequence[Array | None] | None) -> Sequence[Array]:
    """Return the components if all are known; else ()."""
    known = [one for one in components or () if one is not None]
    return tuple(known) if components and len(known) == len(components) else ()


def distance_text(components: Sequence[Array]) -> str:
    """Return the largest difference between components; ≥ if not all elements are compared."""
    sizes = {one.size for one in components}
    stride = -(-max(sizes) // _LARGE)
    if stride > 1 and len(sizes) == 1:
        apart, _ = furthest_apart([one.reshape(-1)[::stride] for one in components])
        return f"≥{number(apart)}"
    apart, _ = furthest_apart(components)
    return "shapes" if apart is None else number(apart)


class FollowedServers(Followed):
    """The workers of a strategy with parameter servers, which run closures."""

    def __init__(self, strategy: ParameterServerStrategy, show: Show, title: str) -> None:
        super().__init__(show, title)
        self._strategy = ref(strategy)  # the strategy's finalizer refers to its channel
        self._num_workers = strategy.num_workers

    @property
    def _cluster(self) -> ParameterCluster:
        strategy = self._strategy()
        assert strategy is not None, "it waits for its processes"
        return strategy.cluster

    def _idle(self) -> Idle:
        busy = self._cluster.state.busy
        return [(worker, ()) for worker in range(self._num_workers) if worker not in busy]

    def _frame(self, now_s: float) -> LiveFrame:
        cluster = self._cluster
        ended, scheduled = cluster.num_ended, cluster.num_scheduled
        now = _Totals(now_s, self._waited_s, {"closures": ended}, {})
        before, passed_s = self._since(now)
        place = f"{self._title}{count(ended)} of {count(scheduled)} closures have ended"
        return LiveFrame(
            [place, f"{count(cluster.state.queued)} queued", *self._facts(now, before, passed_s)],
            [self._worker(worker, now_s) for worker in range(self._num_workers)],
            [],
            self._share(now, before, passed_s),
            noun="worker",
            note=_SERVED_NOTE,
        )

    def _worker(self, worker: int, now_s: float) -> LiveReplica:
        state, share = self._cluster.state, self._waits.share(worker)
        if worker not in state.workers:
            return LiveReplica(worker, "lost", None, "(its process has ended)")
        runs = state.running(worker)
        if runs is None:
            return LiveReplica(worker, "idle", None, "(no closure waits)", share)
        closure_id, begun_s = runs
        return LiveReplica(worker, "computes", now_s - begun_s, f"closure {closure_id}", share)


def follow(
    strategy: MirroredStrategy | ParameterServerStrategy, show: Show, title: str = ""
) -> Followed:
    """Return what must be called around the waits for a strategy's processes; see `Followed`."""
    if isinstance(strategy, ParameterServerStrategy):
        return FollowedServers(strategy, show, title)
    return FollowedReplicas(strategy, show, title)
