"""`tf.distribute`: the interface for users."""

from __future__ import annotations

from varsim.distribute.extended import Extended as StrategyExtended
from varsim.distribute.mirrored import MirroredStrategy
from varsim.distribute.one_device import OneDeviceStrategy
from varsim.distribute.replica_context import ReplicaContext
from varsim.distribute.scopes import (
    experimental_set_strategy,
    get_replica_context,
    get_strategy,
    has_strategy,
    in_cross_replica_context,
)
from varsim.distribute.strategy import Strategy, ValueContext
from varsim.distribute.values import DistributedValues, Mirrored, PerReplica
from varsim.spec import ReduceOp

__all__ = [
    "DistributedValues",
    "Mirrored",
    "MirroredStrategy",
    "OneDeviceStrategy",
    "PerReplica",
    "ReduceOp",
    "ReplicaContext",
    "Strategy",
    "StrategyExtended",
    "ValueContext",
    "experimental_set_strategy",
    "get_replica_context",
    "get_strategy",
    "has_strategy",
    "in_cross_replica_context",
]
