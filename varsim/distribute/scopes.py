"""Provide the functions of `tf.distribute` for the current strategy and context."""

from __future__ import annotations

from typing import Any, cast

from varsim.distribute import context
from varsim.distribute.context import current_frame, own_replica
from varsim.distribute.replica_context import ReplicaContext
from varsim.distribute.strategy import Strategy
from varsim.errors import ContextError


def get_strategy() -> Strategy:
    """Return the strategy of the current scope or replica, or else the default strategy.

    Source: `tf.distribute.get_strategy`.
    """
    return cast("Strategy", context.strategy_in_force())


def has_strategy() -> bool:
    """Return whether the current strategy is not the default strategy.

    Source: `tf.distribute.has_strategy`.
    """
    return context.strategy_in_force() is not context.default_strategy()


def in_cross_replica_context() -> bool:
    """Return whether the program is in a strategy's scope, a merge_call or an update.

    Source: `tf.distribute.in_cross_replica_context`.
    """
    frame = current_frame()
    return frame is not None and frame.replica is None


def get_replica_context() -> ReplicaContext | Any:
    """Return the current replica; None in cross-replica context.

    Outside every scope, return the only replica of the default strategy.

    Source: `tf.distribute.get_replica_context`.
    """
    return context.replica_in_force()


def experimental_set_strategy(strategy: Strategy | None) -> None:
    """Set the strategy whose scope applies outside every other scope; None for no strategy.

    Raises:
        ContextError: The program runs on a replica, which has a context already.
    Source: `tf.distribute.experimental_set_strategy`.
    """
    replica = own_replica()
    if replica is not None and replica.session is not None:
        raise ContextError(
            "experimental_set_strategy was called on replica "
            f"{replica.replica_id_in_sync_group}, where it has no effect: enter strategy.scope()"
        )
    context.set_outermost(strategy)
