"""Where in a program we are: in replica context, in cross-replica context, or in neither.

The current frame is a context variable, so a new thread starts outside every scope, as in
TensorFlow, and every replica of a simulated cluster has its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from varsim.distribute.home import Home, check_thread
from varsim.errors import ContextError
from varsim.transport.one_thread import this_thread

if TYPE_CHECKING:
    from varsim.distribute.replica_context import ReplicaContext
    from varsim.distribute.strategy import Strategy
    from varsim.distribute.update import Update


@dataclass(frozen=True, slots=True)
class Frame:
    """One level of context.

    `replica` is set in replica context, `update` inside the function of `extended.update`.
    """

    strategy: Strategy
    replica: ReplicaContext | None = None
    update: Update | None = None
    home: Home | None = None  # of the replica, if only its own thread may use it


_frame: ContextVar[Frame | None] = ContextVar("varsim_frame", default=None)
_global: list[Strategy] = []
"""What `experimental_set_strategy` set, if anything."""


def current_frame() -> Frame | None:
    """The innermost frame; None outside every scope.

    All that needs a context, or a variable's component, comes by here.

    Raises:
        ContextError: This is a thread of a replica, but not the one that runs its function.
    """
    frame = _frame.get()
    if frame is None:
        check_thread()
        return Frame(_global[0]) if _global else None
    if frame.home is not None and frame.home.thread != this_thread():
        raise frame.home.refuse()  # the context was copied into another thread
    return frame


@contextmanager
def entered(frame: Frame | None) -> Iterator[None]:
    """Within the block, this is the innermost frame."""
    token = _frame.set(frame)
    try:
        yield
    finally:
        _frame.reset(token)


def get_strategy() -> Strategy:
    """The strategy of the scope or the replica that we are in; the default one outside.

    Source: `tf.distribute.get_strategy`.
    """
    frame = current_frame()
    return default_strategy() if frame is None else frame.strategy


def has_strategy() -> bool:
    """Whether we are in the scope, or on a replica, of a strategy that is not the default.

    Source: `tf.distribute.has_strategy`.
    """
    return get_strategy() is not default_strategy()


def in_cross_replica_context() -> bool:
    """Whether we are in a strategy's scope, a merge_call or an update, and not on a replica.

    Source: `tf.distribute.in_cross_replica_context`.
    """
    frame = current_frame()
    return frame is not None and frame.replica is None


def get_replica_context() -> ReplicaContext | Any:
    """The replica that we are on; None in cross-replica context; the only one outside.

    Source: `tf.distribute.get_replica_context`.
    """
    frame = current_frame()
    if frame is None:
        return default_strategy().replica_context()
    return frame.replica


def experimental_set_strategy(strategy: Strategy | None) -> None:
    """Makes a strategy's scope the one that every program text outside a scope is in.

    Source: `tf.distribute.experimental_set_strategy`.
    """
    _global[:] = [] if strategy is None else [strategy]


def default_strategy() -> Any:
    """The strategy that is in force outside every scope: one replica, in this process."""
    from varsim.distribute.one_device import DEFAULT

    return DEFAULT


def is_on_replica(strategy: Strategy) -> bool:
    """Whether we are in a function that this strategy's `run` called."""
    frame = current_frame()
    if frame is None or frame.replica is None or frame.strategy is not strategy:
        return False
    return frame.replica is not strategy.replica_context()


def require_cross_replica(strategy: Strategy, what: str) -> None:
    """Refuses what cannot be done on a replica, or in another strategy's scope.

    Raises:
        ContextError: We are on a replica, or in the scope of another strategy.
    """
    frame = current_frame()
    if frame is None:
        return
    if frame.strategy is not strategy and not frame.strategy.is_outside:
        raise mixed(frame.strategy, strategy)
    if frame.replica is not None and is_on_replica(strategy):
        raise ContextError(
            f"{what} needs cross-replica context, and this is replica "
            f"{frame.replica.replica_id_in_sync_group}: use the replica context's own method "
            "(all_reduce, all_gather), or merge_call"
        )


def mixed(here: Strategy, there: Strategy) -> ContextError:
    """The error for using what belongs to one strategy under another."""
    return ContextError(
        f"this belongs to {there!r}, and is used under {here!r}: two strategies cannot be mixed"
    )
