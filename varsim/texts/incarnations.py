"""Facts about the end of an incarnation: how the strategy goes on, and what is lost."""

from __future__ import annotations

from enum import Enum

from varsim.texts.facts import Fact, name_replicas, times
from varsim.value_class import value_class


class Instead(Enum):
    """How the next incarnation replaces a lost component."""

    CHECKPOINT = "comes from checkpoint {source}, and is older than the other components"
    WRITTEN = "has the value that the program wrote to it last, {source}"
    ZERO = "starts from zero, so the sum lacks its share"
    MEAN = "starts from the mean of the other components"
    COPY = "starts as a copy of the component of {source}"
    INITIAL = "starts from the variable's initial value"
    ZEROS = "starts from zero, because no component is left"
    NOTHING = "has no successor"
    NO_SHARE = "has no successor, so the sum lacks its share"


@value_class
class LostComponents(Fact):
    """Components of one variable that ended with their workers."""

    variable: str
    settings: str  # such as "ON_READ, SUM"
    replica_ids: tuple[int, ...]  # the replicas, with their ids in the ended incarnation
    instead: Instead
    source: str = ""  # the checkpoint with its call, or another replica
    since: str = ""  # the event after which all their writes are lost
    unusable: str = ""  # why the last checkpoint could not be used; "" if there was none, or it was

    def __str__(self) -> str:
        its = "its component" if len(self.replica_ids) == 1 else "each component"
        return (
            f"variable {self.variable!r} ({self.settings}): the writes of "
            f"{name_replicas(self.replica_ids)} since {self.since} are lost; {its} "
            f"{self.instead.value.format(source=self.source)}{self._because}"
        )

    @property
    def _because(self) -> str:
        return f"; the last checkpoint could not be used ({self.unusable})" if self.unusable else ""


@value_class
class LostWrites(Fact):
    """Deferred writes of all replicas that were not exchanged."""

    variable: str
    count: int  # the largest number of lost writes of one replica

    def __str__(self) -> str:
        are = "is" if self.count == 1 else "are"
        return (
            f"variable {self.variable!r}: {times(self.count, 'write')} of each replica in "
            f"completed calls, which waited for an exchange, {are} lost"
        )


@value_class
class LostPolicyState(Fact):
    """What a policy kept beside components that ended with their workers."""

    variable: str
    synchronization: str
    replica_ids: tuple[int, ...]  # the replicas, with their ids in the ended incarnation

    def __str__(self) -> str:
        return (
            f"variable {self.variable!r}: what {self.synchronization} keeps beside the component "
            f"of {name_replicas(self.replica_ids)} is lost, and begins empty again"
        )


LostValues = LostComponents | LostWrites | LostPolicyState


@value_class
class Recovery(Fact):
    """How a strategy goes on after its workers have ended."""

    incarnation: int  # the number of the next incarnation, from 1
    num_replicas: int  # the number of its replicas
    removed: tuple[int, ...] = ()  # the replicas that the next incarnation does not have
    in_call: bool = False  # whether a call of strategy.run was interrupted
    gone: tuple[int, ...] = ()  # the replicas whose workers have ended or do not answer
    lost: tuple[LostValues, ...] = ()
    has_started: bool = False  # whether the workers of the next incarnation have started

    def __repr__(self) -> str:
        """Return the text, because an interactive program shows the result of a restart.

        If values are lost, a warning has already shown the text.
        """
        return f"{self._goes_on()} The warning lists the lost values." if self.lost else str(self)

    def __str__(self) -> str:
        lines = [self._goes_on()]
        if self.in_call:
            lines.append(
                "  The call is not repeated. Its complete collective writes keep their effect, and "
                "so do the local writes of replicas that still answer."
            )
        lines += [f"  - {one}" for one in self.lost]
        lines.append(
            "  New workers do not have the state of Python modules. Their global random generators "
            "start new streams; a generator that a function has captured begins again."
        )
        return "\n".join(lines)

    def _goes_on(self) -> str:
        of_all = f"incarnation {self.incarnation} with {times(self.num_replicas, 'replica')}"
        start = (
            "new workers have started" if self.has_started else "its next use starts new workers"
        )
        if not self.removed:
            return f"  The strategy goes on as {of_all}; {start}."
        are = "is" if len(self.removed) == 1 else "are"
        return (
            f"  The strategy goes on as {of_all}, numbered from 0, because "
            f"{name_replicas(self.removed)} {are} gone; {start}."
        )


@value_class
class NoRecovery(Fact):
    """Why a strategy does not go on, although its policy would restart it."""

    restarts: int
    max_restarts: int
    num_replicas: int  # the number of replicas without the lost ones

    @property
    def reason(self) -> str:
        """Return why the strategy does not go on, without a remedy."""
        if not self.num_replicas:
            return "  No replica is left, so the strategy does not go on."
        return (
            f"  The strategy was restarted {times(self.restarts, 'time')}, which is its limit "
            f"(max_restarts={self.max_restarts})."
        )

    def __str__(self) -> str:
        return f"{self.reason} strategy.restart() starts new workers."


@value_class
class RecoveryAfterCall(Fact):
    """A strategy goes on later, because a worker was lost inside a running call."""

    policy: str  # the strategy's on_worker_lost

    def __str__(self) -> str:
        return (
            "  The running call of strategy.run cannot be completed. After it has ended, the "
            f"strategy goes on with new workers (on_worker_lost={self.policy!r})."
        )
