"""Provide the names of `tf.distribute.experimental`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from varsim.distribute import experimental_coordinator as coordinator
from varsim.distribute.central_storage import CentralStorageStrategy
from varsim.distribute.missing import module_attributes
from varsim.distribute.multi_worker import MultiWorkerMirroredStrategy
from varsim.distribute.options import (
    CollectiveHints,
    CommunicationImplementation,
    CommunicationOptions,
)
from varsim.distribute.options import CommunicationImplementation as CollectiveCommunication
from varsim.distribute.parameter_servers import partitioners
from varsim.distribute.parameter_servers.strategy import ParameterServerStrategy
from varsim.distribute.strategy import ValueContext

__all__ = [
    "CentralStorageStrategy",
    "CollectiveCommunication",
    "CollectiveHints",
    "CommunicationImplementation",
    "CommunicationOptions",
    "MultiWorkerMirroredStrategy",
    "ParameterServerStrategy",
    "ValueContext",
    "coordinator",
    "partitioners",
]


if not TYPE_CHECKING:  # with a `__getattr__`, a type checker would not report missing names
    __getattr__, __dir__ = module_attributes("tf.distribute.experimental", __all__)
