"""Facts about lost workers: how they ended, where they were, and what is lost with them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

from varsim.texts.facts import Fact, name_replicas, times
from varsim.value_class import value_class

MOST_WORKERS: Final = 3
"""Largest number of lost workers with their output in one error; the others are only named."""

MOST_NAMES: Final = 8
"""Largest number of variables in one line; the others are only counted."""

_REMEDY: Final = (
    "  this strategy cannot run or write any more: strategy.restart() starts new workers"
)

GOES_ON: Final = (
    "  --on-worker-lost restart, or on_worker_lost: restart in an experiment, lets a run go on "
    "after lost workers (docs/faults.md)"
)
"""The remedy after the end of a run whose policy was to fail."""


def printed(stderr_tail: str) -> str:
    """Return what an ended process has printed last, to be added to how it ended."""
    return f"; it printed:\n{stderr_tail}" if stderr_tail else "; it printed no error"


@value_class
class LostWorker(Fact):
    """A worker process that has ended."""

    replica_id: int
    reason: str  # for example "exited with code 3", "was killed by SIGKILL"
    stderr_tail: str = ""
    log_path: str = ""  # "" if there is no log

    @property
    def ending(self) -> str:
        """Return how the process ended, in one line."""
        return f"replica {self.replica_id}: worker {self.reason}"

    def __str__(self) -> str:
        where = f"\n  full log: {self.log_path}" if self.log_path else ""
        return f"{self.ending}{printed(self.stderr_tail)}{where}"


@value_class
class LostIn(Fact):
    """The call in which a worker was lost, and what its replica did last."""

    replica_id: int
    call: str  # the number and the function of the call
    has_ended: bool  # whether the replica's function had ended
    last: Fact | str  # the operation in its last message, with the location; "" if there is none

    def __str__(self) -> str:
        if not (self.has_ended or self.last):
            return (
                f"  replica {self.replica_id} sent no message in {self.call}: only a record shows "
                "what it did last"
            )
        did = "its function had ended" if self.has_ended else f"its last message: {self.last}"
        return f"  replica {self.replica_id} was in {self.call}; {did}"


@value_class
class Left(Fact):
    """What is left of the variables of a cluster after a loss."""

    readable: tuple[str, ...]  # variables that lost nothing that a read by the program needs
    partial: tuple[tuple[str, tuple[int, ...]], ...]  # variable, replicas with lost components
    writes: tuple[tuple[str, int], ...]  # variable, lost deferred writes of each replica

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        if self.readable:
            yield f"  can still be read: {_names(self.readable)}"
        by_ids = sorted(self.partial, key=lambda one: one[1])
        for ids, ones in groupby(by_ids, key=lambda one: one[1]):
            of = _names([name for name, _ in ones])
            yield f"  lost: the component{_s(ids)} of {name_replicas(ids)} of {of}"
        for name, count in self.writes[:MOST_NAMES]:
            yield f"  lost: {_unexchanged(count)} to {name}"
        if len(self.writes) > MOST_NAMES:
            more = times(len(self.writes) - MOST_NAMES, "variable")
            yield f"  lost: writes to {more} more that were not exchanged"


@value_class
class Loss(Fact):
    """The reason of a `WorkerLost`: lost workers, in the order in which they were lost."""

    workers: tuple[LostWorker, ...]

    @property
    def endings(self) -> str:
        """Return how the processes ended, in one line."""
        in_order = sorted(self.workers, key=lambda worker: worker.replica_id)
        return "; ".join(worker.ending for worker in in_order)

    @property
    @abstractmethod
    def event(self) -> str:
        """Return what has happened."""

    @property
    def remedy(self) -> str:
        """Return what the user can do if the strategy does not go on by itself."""
        return _REMEDY

    @property
    def recorded(self) -> str:
        """Return the text for a record: what is true whether or not the strategy goes on."""
        return self.event

    def __str__(self) -> str:
        return f"{self.event}\n{self.remedy}"

    def _workers(self) -> Iterator[str]:
        yield from map(str, self.workers[:MOST_WORKERS])
        if more := [worker.replica_id for worker in self.workers[MOST_WORKERS:]]:
            yield f"  the worker{_s(more)} of {name_replicas(more)} ended, too"


@value_class
class AllNeeded(Loss):
    """An operation needs all replicas, but workers were lost before."""

    @property
    def event(self) -> str:
        """Return how the workers ended."""
        return "\n".join(self._workers())


@value_class
class LossReport(Loss):
    """The loss of workers that ends a call or an operation of the program."""

    places: tuple[LostIn, ...]  # the innermost call first; empty if no call runs
    left: Left

    @property
    def event(self) -> str:
        """Return how the workers ended, and where they were."""
        return "\n".join([*self._workers(), *map(str, self.places[:MOST_WORKERS])])

    @property
    def remedy(self) -> str:
        """Return what is left of the variables, and what the user can do."""
        return "\n".join([*self._left(), _REMEDY])

    @property
    def recorded(self) -> str:
        """Return the event, and what was left of the variables after it."""
        return "\n".join([self.event, *self._left()])

    def _left(self) -> Iterator[str]:
        if left := str(self.left):
            yield left


@value_class
class ValueLost(Loss):
    """A read needs what is lost with a worker."""

    variable: str

    @property
    @abstractmethod
    def problem(self) -> str:
        """Return what is lost, without the name of the variable."""

    @property
    @abstractmethod
    def remaining(self) -> str:
        """Return what `v.values[i]` still reads; "" if it reads nothing."""

    @property
    def event(self) -> str:
        """Return what is lost."""
        return f"variable {self.variable!r}: {self.problem}"

    @property
    def remedy(self) -> str:
        """Return what can still be read."""
        if not self.remaining:
            return f"  no component of {self.variable} can be read any more"
        return f"  {self.variable}.values[i] still reads {self.remaining}"


@value_class
class ComponentsLost(ValueLost):
    """A read needs components that are lost with their workers."""

    replica_ids: tuple[int, ...]  # the replicas whose lost components the read needs
    others: tuple[int, ...]  # the replicas whose components can still be read

    @property
    def problem(self) -> str:
        """Return which components are lost."""
        ids = self.replica_ids
        are = "are" if len(ids) > 1 else "is"
        return f"the component{_s(ids)} of {name_replicas(ids)} {are} lost ({self.endings})"

    @property
    def remaining(self) -> str:
        """Return the components that are not lost."""
        ids = self.others
        return f"the component{_s(ids)} of {name_replicas(ids)}" if ids else ""


@value_class
class WritesLost(ValueLost):
    """A read needs deferred writes that are lost with their worker."""

    count: int  # the largest number of lost writes of one replica

    @property
    def problem(self) -> str:
        """Return how many writes are lost."""
        return f"{_unexchanged(self.count)} cannot be exchanged any more ({self.endings})"

    @property
    def remaining(self) -> str:
        """Return the value of the last exchange."""
        return f"the value before {'this write' if self.count == 1 else 'these writes'}"


def _unexchanged(count: int) -> str:
    were = "was" if count == 1 else "were"
    return (
        f"{times(count, 'write')} of each replica in completed calls, which {were} not exchanged,"
    )


def _names(names: Iterable[str]) -> str:
    every = list(names)
    more = len(every) - MOST_NAMES
    shown = ", ".join(every[:MOST_NAMES])
    return f"{shown} and {times(more, 'variable')} more" if more > 0 else shown


def _s(members: Iterable[object]) -> str:
    return "s" if len(list(members)) > 1 else ""
