"""Keep track of the program's context: replica context, cross-replica context, or neither.

The current frame is stored in a `ContextVar`. So a new thread starts outside every scope, as in
TensorFlow, and every replica of a simulated cluster has its own current frame.
"""

from __future__ import annotations

from contextvars import ContextVar, Token

from varsim.distribute.home import Home, check_thread
from varsim.distribute.ports import ReplicaPort, StrategyPort, UpdatePort
from varsim.distribute.supervision import are_refused
from varsim.errors import ContextError
from varsim.texts.mixtures import OF_CALL, OF_SCRIPT, Mixture
from varsim.threads import this_thread
from varsim.value_class import value_class


@value_class
class Frame:
    """One level of context.

    `replica` is set in replica context, `update` inside the function of `extended.update`.
    """

    strategy: StrategyPort
    replica: ReplicaPort | None = None
    update: UpdatePort | None = None
    home: Home | None = None  # set if only the replica's thread is allowed to use this frame


_frame: ContextVar[Frame | None] = ContextVar("varsim_frame", default=None)
_outermost: list[StrategyPort] = []
"""The strategy of `experimental_set_strategy`; empty if it was not called."""

_default: list[StrategyPort] = []
"""A list whose last item is the default strategy."""


def current_frame() -> Frame | None:
    """Return the innermost frame; None outside every scope.

    All code that depends on the context calls this function.

    Raises:
        ContextError: This thread belongs to a replica but does not run the replica's function.
    """
    frame = _frame.get()
    if frame is None:
        check_thread()
        return Frame(_outermost[0]) if _outermost else None
    home = frame.home
    if home is not None and home.thread != this_thread():
        raise home.refuse()  # the context was copied into another thread
    return frame


def own_replica() -> ReplicaPort | None:
    """Return the replica whose function this thread runs; None in every other thread or process.

    This function does not report a thread that has no replica, unlike `current_frame`.
    """
    frame = _frame.get()
    if frame is None or (frame.home is not None and frame.home.thread != this_thread()):
        return None
    return frame.replica


class entered:  # noqa: N801  # used like a function; a generator would take three times as long
    """Make `frame` the innermost frame in the `with` block."""

    __slots__ = ("_entered", "_token")

    def __init__(self, frame: Frame | None) -> None:
        self._entered = frame

    def __enter__(self) -> None:
        self._token: Token[Frame | None] = _frame.set(self._entered)

    def __exit__(self, *exc_info: object) -> None:
        _frame.reset(self._token)


def frame_within(
    strategy: StrategyPort, replica: ReplicaPort | None = None, update: UpdatePort | None = None
) -> Frame:
    """Return a frame for a block of the current code: the same thread is allowed to use it."""
    frame = _frame.get()
    return Frame(strategy, replica, update, None if frame is None else frame.home)


def is_outside(frame: Frame, strategy: StrategyPort) -> bool:
    """Return whether code in a frame is outside every scope, as seen from a strategy.

    That is the default strategy's frame, and the frame of the replica that runs the program of the
    strategy.
    """
    if frame.strategy.is_outside:
        return True
    return strategy.below is not None and frame.replica is strategy.below


def replica_within(frame: Frame | None, strategy: StrategyPort) -> ReplicaPort | None:
    """Return the replica of a frame; None if the frame is outside the strategy's scope."""
    if frame is None or is_outside(frame, strategy):
        return None
    return frame.replica


def base_frame(frame: Frame, strategy: StrategyPort) -> Frame | None:
    """Return the frame of the replica that runs the program of the frame's strategy.

    Return None unless this replica is one of `strategy`.
    """
    below = frame.strategy.below
    if below is None or below.strategy is not strategy:
        return None
    return Frame(strategy, below, home=frame.home)


def strategy_in_force() -> StrategyPort:
    """Return the strategy of the current scope or replica, or else the default strategy."""
    frame = current_frame()
    return default_strategy() if frame is None else frame.strategy


def replica_in_force() -> ReplicaPort | None:
    """Return the current replica; None in cross-replica context.

    Outside every scope, return the only replica of the default strategy.
    """
    frame = current_frame()
    return default_strategy().replica_context() if frame is None else frame.replica


def program_replica() -> ReplicaPort | None:
    """Return the replica that runs the program of the current strategy; None if no replica does."""
    frame = current_frame()
    return None if frame is None else frame.strategy.below


def set_outermost(strategy: StrategyPort | None) -> None:
    """Set the strategy whose scope applies outside all other scopes; None for no strategy."""
    _outermost[:] = [] if strategy is None else [strategy]


def register_default(strategy: StrategyPort) -> None:
    """Set the default strategy, which has one replica in this process."""
    _default.append(strategy)


def default_strategy() -> StrategyPort:
    """Return the strategy that applies outside every scope."""
    return _default[-1]


def is_on_replica(strategy: StrategyPort) -> bool:
    """Return whether the program is in a function that `run` of this strategy has called."""
    frame = current_frame()
    if frame is None or frame.replica is None or frame.strategy is not strategy:
        return False
    return frame.replica is not strategy.replica_context()


def require_cross_replica(strategy: StrategyPort, what: str) -> None:
    """Check that the program is in cross-replica context of this strategy.

    Args:
        what: The name of the operation, for the error.
    Raises:
        ContextError: The program is on a replica, or in the scope of another strategy.
    """
    frame = current_frame()
    if frame is None:
        return
    if frame.strategy is not strategy and not is_outside(frame, strategy):
        raise mixed(frame, strategy, what)
    if frame.replica is not None and is_on_replica(strategy):
        raise ContextError(
            f"{what} needs cross-replica context, but this code runs on replica "
            f"{frame.replica.replica_id_in_sync_group}: use the replica context's own method "
            "(all_reduce, all_gather), or merge_call"
        )


def mixed(
    here: Frame, owner: StrategyPort, what: str, remedy: str = OF_CALL, where: str = ""
) -> ContextError:
    """Return the error for an object of one strategy that is used under another strategy.

    Args:
        here: The current frame, of the other strategy.
        what: The object, such as "strategy.run".
        where: The operation of the other strategy, such as "strategy.reduce"; by default the call
            or the scope of the frame.
    """
    current = repr(here.strategy)
    if here.replica is not None and here.strategy.below is None and are_refused():
        where, current, remedy = "the script", "varsim exec --spmd", OF_SCRIPT
    if where:
        pass
    elif here.replica is not None:
        where = f"a call (replica {here.replica.replica_id_in_sync_group})"
    else:
        where = "the scope" if here.update is None else "extended.update"
    return ContextError(str(Mixture(what, repr(owner), current, where, remedy)))
