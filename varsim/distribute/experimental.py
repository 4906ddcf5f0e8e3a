"""`tf.distribute.experimental`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from varsim.distribute.options import (
    CollectiveHints,
    CommunicationImplementation,
    CommunicationOptions,
)
from varsim.distribute.options import CommunicationImplementation as CollectiveCommunication
from varsim.distribute.strategy import ValueContext
from varsim.errors import MissingName

__all__ = [
    "CollectiveCommunication",
    "CollectiveHints",
    "CommunicationImplementation",
    "CommunicationOptions",
    "ValueContext",
]


if not TYPE_CHECKING:  # a type checker reports missing names itself

    def __getattr__(name: str) -> NoReturn:
        raise MissingName("tf.distribute.experimental", name)


def __dir__() -> list[str]:
    return __all__
