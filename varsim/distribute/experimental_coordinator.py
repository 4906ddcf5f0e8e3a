"""Provide the names of `tf.distribute.experimental.coordinator`, the former home of these names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from varsim.distribute.coordinator import ClusterCoordinator, PerWorkerValue, RemoteValue
from varsim.distribute.missing import module_attributes

__all__ = ["ClusterCoordinator", "PerWorkerValue", "RemoteValue"]


if not TYPE_CHECKING:  # with a `__getattr__`, a type checker would not report missing names
    __getattr__, __dir__ = module_attributes("tf.distribute.experimental.coordinator", __all__)
