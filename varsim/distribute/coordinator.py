"""Provide the names of `tf.distribute.coordinator`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from varsim.distribute.missing import module_attributes
from varsim.distribute.parameter_servers.cluster_coordinator import ClusterCoordinator
from varsim.distribute.parameter_servers.results import RemoteValue
from varsim.distribute.served import PerWorkerValue, experimental_get_current_worker_index

__all__ = [
    "ClusterCoordinator",
    "PerWorkerValue",
    "RemoteValue",
    "experimental_get_current_worker_index",
]


if not TYPE_CHECKING:  # with a `__getattr__`, a type checker would not report missing names
    __getattr__, __dir__ = module_attributes("tf.distribute.coordinator", __all__)
