"""The settings of launchers for several hosts, as in an experiment's `launcher: {ssh: {…}}`."""

from __future__ import annotations

import math
import os
import socket
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any, Final, Self

import zmq

from varsim.errors import ConfigError, StartError
from varsim.launch.remote.engine_ranks import hosts_of_tf_config
from varsim.launch.remote.greeting import Greeting
from varsim.launch.remote.host_names import distinct_names
from varsim.launch.remote.routes import address_towards
from varsim.nearest import did_you_mean

_LAST_PORT: Final = 65534  # the next port must exist, too


@dataclass(frozen=True, slots=True)
class HostSettings:
    """Where a cluster runs.

    Args:
        hosts: The names of the hosts, or their number; by default, the hosts of TF_CONFIG.
        listen: The address of this machine that the hosts can reach, as "ADDRESS" or
            "ADDRESS:PORT". With a port, the next one is used, too. "": found by the route to the
            first host, or by the name of this machine.
        python: The Python on the hosts in which varsim is installed.
        options: Further arguments for the engine's command.
        key: Where to write the key of the cluster, so that it can be copied to the hosts.
        start_timeout_s: The time limit of a start; None: that of the program. On networks with
            round trips of more than 0.5 s, it must be 120 times as long as a round trip.
    """

    hosts: tuple[str, ...] | int = ()
    listen: str = ""
    python: str = sys.executable
    options: tuple[str, ...] = ()
    key: str = ""
    start_timeout_s: float | None = None

    @classmethod
    def of(cls, whose: str, given: Mapping[str, Any]) -> Self:
        """Return the settings of a mapping.

        Args:
            whose: What has these settings, for errors: "launcher 'ssh'".
        Raises:
            ConfigError: A setting does not exist, or has a wrong value.
        """
        names = cls.setting_names()
        for name in given:
            if name not in names:
                raise ConfigError(
                    f"{whose} has no setting {name!r}: it has {', '.join(names)}"
                    f"{did_you_mean(str(name), names)}"
                )
        return cls(**{name: cls.checked(whose, name, value) for name, value in given.items()})

    @classmethod
    def setting_names(cls) -> list[str]:
        """Return the names of the settings that the launcher has."""
        return [one.name for one in fields(cls)]

    @classmethod
    def checked(cls, whose: str, name: str, value: Any) -> Any:
        """Return the value of a setting in its form here.

        Raises:
            ConfigError: The value is wrong.
        """
        return _checked(whose, name, value)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the hosts; () if only their number is known, or nothing."""
        if self.hosts == ():
            return hosts_of_tf_config(os.environ)
        return self.hosts if isinstance(self.hosts, tuple) else ()

    @property
    def number(self) -> int | None:
        """Return the number of hosts; None if it is not given."""
        return self.hosts if isinstance(self.hosts, int) else len(self.names) or None

    def name_of(self, rank: int | None, otherwise: str) -> str:
        """Return the name that these settings give to the host with a rank, or else another one."""
        return self.names[rank] if rank is not None and rank < len(self.names) else otherwise

    def names_of(self, greetings: Iterable[Greeting]) -> list[str]:
        """Return a different name for each host: that of the settings, or else its own name."""
        return distinct_names(
            [(self.name_of(one.rank, one.host), one.address, one.process_id) for one in greetings]
        )

    def endpoints(self, own_address: str = "") -> tuple[str, str]:
        """Return the endpoints to bind: for the hosts' agents, and for their workers.

        Args:
            own_address: The address of this machine that the hosts can reach, if it is known.
        Raises:
            ConfigError: The port is not a number.
            StartError: The address of this machine is not known.
        """
        address, _, port = self.listen.partition(":")
        if not address:
            address = own_address or _own_address(self.names)
        if not port:
            return f"tcp://{address}:*", f"tcp://{address}:*"
        if not port.isdecimal() or not 0 < int(port) <= _LAST_PORT:
            raise ConfigError(f"listen: {self.listen!r} must be ADDRESS or ADDRESS:PORT")
        return f"tcp://{address}:{port}", f"tcp://{address}:{int(port) + 1}"


def cannot_listen(endpoint: str, error: zmq.ZMQError) -> StartError:
    """Return the error that this machine cannot listen at an endpoint."""
    return StartError(
        f"cannot listen at {endpoint}: {zmq.strerror(error.errno or 0)}. In listen, name an "
        "address of this machine, and a port that is free, with the next one"
    )


def _checked(whose: str, name: str, value: Any) -> Any:
    """Return the value of a setting in its form here."""
    if name in ("hosts", "options") and isinstance(value, (list, tuple)):
        if value and all(isinstance(one, str) and one for one in value):
            return tuple(value)
    elif name == "hosts":
        if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
            return value
    elif name == "start_timeout_s":
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf:
            return float(value)
    elif name != "options" and isinstance(value, str):
        return value
    expected = {
        "hosts": "a list of names of hosts, or their number",
        "options": "a list of texts",
        "start_timeout_s": "a positive number of seconds",
    }.get(name, "a text")
    raise ConfigError(f"{whose}: {name} is {value!r}, and must be {expected}")


def _own_address(names: tuple[str, ...]) -> str:
    """Return the address of this machine from which it reaches the first host, or of its name."""
    with suppress(OSError):
        if names:
            return address_towards(names[0].rpartition("@")[2])
        address = socket.gethostbyname(socket.gethostname())
        if not address.startswith("127."):
            return address
    raise StartError(
        "the address at which other hosts reach this machine is not known: name it, such as "
        "listen: 203.0.113.1"
    )
