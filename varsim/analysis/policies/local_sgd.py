"""LocalSGD promises that all components become their mean after every k-th write of a replica."""

from __future__ import annotations

import json
from typing import Final

from varsim.analysis import arithmetic
from varsim.analysis.checker import Checker, seen_by
from varsim.analysis.replay import Replay
from varsim.analysis.synchronization_promise import SynchronizationPromise
from varsim.tracing.history import Event

_MISSING: Final = "not all values of a component were recorded"


class Averaging(Checker):
    """Checks that a replica exchanges the value of its component at every k-th write.

    `Reduction` checks that the commit is the mean of the exchanged values.
    """

    name = "averaging"
    promise = "every k-th write of a LocalSGD variable is averaged, and no other write"

    def __init__(self, replay: Replay) -> None:
        super().__init__(replay)
        self._counts: dict[tuple[int, int], int] = {}  # (variable, replica) → local writes
        self._failed: set[int] = set()

    def concerns(self, variable: int | None) -> bool:
        """Return True for LocalSGD variables and for events without a variable."""
        promise = self.promise_about(variable)
        return promise is None or promise.every > 0

    def on_create(self, event: Event) -> None:
        """Begin to count the writes of every replica."""
        if event.variable is not None and self.replay.from_start:
            for replica in self.replay.replicas:
                self._counts[event.variable, replica] = 0

    def on_state(self, event: Event) -> None:
        """Go on counting from the number that the replica gets, as after a restart."""
        if event.variable is not None and event.replica is not None:
            mine = event.variable, event.replica
            self._counts.pop(mine, None)
            count = _recorded_count(event.note or "")
            if count is not None:
                self._counts[mine] = count

    def on_abort(self, event: Event) -> None:
        """Stop counting: an abort resets the replicas' counts, at a time that is not recorded."""
        if event.call is not None:
            self._failed.add(event.call)
        self._counts.clear()

    def on_write_by_replica(self, event: Event) -> None:
        """Count a local write; check that a contribution comes after the k-th local write."""
        variable = self.variable_of(event)
        mine = variable.number, event.process
        if event.position is not None:
            self._contributed(event)
        elif mine in self._counts:
            self._counts[mine] += 1
            if self._counts[mine] > variable.promise.every:
                reason = f"{seen_by(event)} writes again before its last write was exchanged"
                self.wrong(variable, reason, (event.event,))
                del self._counts[mine]

    def _contributed(self, event: Event) -> None:
        variable = self.variable_of(event)
        mine = variable.number, event.process
        count = self._counts.get(mine)
        if event.call not in self._failed:
            self._counts[mine] = 0
        if count is not None and count != variable.promise.every:
            reason = (
                f"{seen_by(event)} exchanges after write {count} instead of write "
                f"{variable.promise.every}"
            )
            self.wrong(variable, reason, (event.event,))
        held = variable.at_replica[event.process].value
        same = None if held is None else arithmetic.matches(held, event)
        if same is None:
            self.undecided(variable, _MISSING, event.event)
        elif not same:
            reason = f"{seen_by(event)} exchanges a value that its component does not have"
            self.wrong(variable, reason, (event.event,))


def _recorded_count(note: str) -> int | None:
    """Return the recorded number of writes since the last exchange; None if it makes no sense."""
    try:
        count = json.loads(note).get("writes", 0)
    except (ValueError, AttributeError, RecursionError):
        return None
    return count if type(count) is int else None


def promise(parameters: list[str]) -> SynchronizationPromise:
    """Return the promises of local_sgd:k.

    Raises:
        ValueError: The number of parameters is not 1, or the parameter is no positive integer.
    """
    (every,) = map(int, parameters)
    if every < 1:
        raise ValueError(f"{every} is not a number of writes")
    return SynchronizationPromise(
        gathered=True, local_reads=True, every=every, checkers=(Averaging,)
    )
