"""What a host says about itself when it joins a cluster, and whether it fits to the program."""

from __future__ import annotations

import os
import platform
import socket
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, NamedTuple

import numpy as np

from varsim.errors import ProtocolError
from varsim.launch.remote.control import CONTROL_VERSION
from varsim.launch.remote.engine_ranks import rank_and_size
from varsim.launch.remote.host_names import this_machine
from varsim.launch.remote.routes import address_towards_endpoint
from varsim.processors import usable_processors
from varsim.protocol.codec import PROTOCOL_VERSION
from varsim.transport.arena import shared_memory_exists

_PACKAGE: Final = "varsim-distribute"

TELL_S: Final = 5.0
"""After this time, a start says for which hosts it waits, and so does an agent for its program."""


class Greeting(NamedTuple):
    """What a host says about itself."""

    host: str  # the name of the host
    versions: tuple[int, int]  # of the messages to hosts, and of those to workers
    varsim: str
    python: str
    numpy: str
    shared_memory: bool  # whether its processes can share memory
    processors: int  # the number of processors that its processes may use
    process_id: int
    rank: int | None  # the number of the host, if it has one
    size: int | None  # the number of hosts, if an engine has given one
    address: str = ""  # from which the host reaches the coordinator; "" if it is not known
    machine: str = ""  # see `this_machine`

    @staticmethod
    def of_this_host(rank: int | None = None, coordinator: str = "") -> Greeting:
        """Return the greeting of this process.

        Args:
            rank: The number of this host; None: the number that an engine has given.
            coordinator: The endpoint to which the greeting goes, as tcp://ADDRESS:PORT.
        """
        given, size = rank_and_size(os.environ)
        return Greeting(
            host=socket.gethostname(),
            versions=(CONTROL_VERSION, PROTOCOL_VERSION),
            varsim=_version(),
            python=platform.python_version(),
            numpy=np.__version__,
            shared_memory=shared_memory_exists(),
            processors=usable_processors(),
            process_id=os.getpid(),
            rank=given if rank is None else rank,
            size=size,
            address=address_towards_endpoint(coordinator) if coordinator else "",
            machine=this_machine(),
        )

    @staticmethod
    def from_value(value: Any) -> Greeting:
        """Return the greeting in a message.

        Raises:
            ProtocolError: The value is not a greeting, for example of another version of varsim.
        """
        try:
            greeting = Greeting(**value)
            to_hosts, to_workers = greeting.versions
            return greeting._replace(versions=(to_hosts, to_workers))
        except (TypeError, ValueError) as error:
            raise ProtocolError(f"not a greeting of this version of varsim: {error}") from None

    def difference(self, other: Greeting) -> str:
        """Return why a program here cannot run on another host; "" if it can.

        Functions are sent as bytecode, which fits to one minor version of Python.
        """
        for what, mine, theirs, parts in (
            ("varsim", self.varsim, other.varsim, None),
            ("protocol", str(self.versions), str(other.versions), None),
            ("Python", self.python, other.python, 2),
            ("NumPy", self.numpy, other.numpy, 1),
        ):
            if mine.split(".")[:parts] != theirs.split(".")[:parts]:
                return f"it has {what} {theirs}, and the program has {mine}"
        return ""


def _version() -> str:
    try:
        return version(_PACKAGE)
    except PackageNotFoundError:  # a checkout on the search path
        return str(sys.modules["varsim"].__version__)
