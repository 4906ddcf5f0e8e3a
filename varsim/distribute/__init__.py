"""Provide the names of `tf.distribute`, the interface for users."""

from __future__ import annotations

from typing import TYPE_CHECKING

from varsim.distribute import cluster_resolver, coordinator, experimental
from varsim.distribute.datasets import DistributedDataset, DistributedIterator, InputContext
from varsim.distribute.extended import Extended as StrategyExtended
from varsim.distribute.groups import ProcessGroup
from varsim.distribute.mirrored import MirroredStrategy
from varsim.distribute.missing import module_attributes
from varsim.distribute.multi_worker import MultiWorkerMirroredStrategy
from varsim.distribute.one_device import OneDeviceStrategy
from varsim.distribute.options import (
    CrossDeviceOps,
    HierarchicalCopyAllReduce,
    InputOptions,
    InputReplicationMode,
    NcclAllReduce,
    ReductionToOneDevice,
    RunOptions,
)
from varsim.distribute.parameter_servers.strategy import ParameterServerStrategy
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
    "CrossDeviceOps",
    "DistributedDataset",
    "DistributedIterator",
    "DistributedValues",
    "HierarchicalCopyAllReduce",
    "InputContext",
    "InputOptions",
    "InputReplicationMode",
    "Mirrored",
    "MirroredStrategy",
    "MultiWorkerMirroredStrategy",
    "NcclAllReduce",
    "OneDeviceStrategy",
    "ParameterServerStrategy",
    "PerReplica",
    "ProcessGroup",
    "ReduceOp",
    "ReductionToOneDevice",
    "ReplicaContext",
    "RunOptions",
    "Strategy",
    "StrategyExtended",
    "ValueContext",
    "cluster_resolver",
    "coordinator",
    "experimental",
    "experimental_set_strategy",
    "get_replica_context",
    "get_strategy",
    "has_strategy",
    "in_cross_replica_context",
]


if not TYPE_CHECKING:  # with a `__getattr__`, a type checker would not report missing names
    __getattr__, __dir__ = module_attributes("tf.distribute", __all__)
