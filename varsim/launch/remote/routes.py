"""Find the address of this machine on the route to another host."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Final

_DISCARD: Final = 9  # any port: nothing is sent


def host_and_port(endpoint: str) -> tuple[str, int]:
    """Return the parts of tcp://ADDRESS:PORT; an address of IPv6 has brackets in the endpoint."""
    return _host_of(endpoint), int(endpoint.rpartition(":")[2])


def _host_of(endpoint: str) -> str:
    return endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]")


def family_of(host: str) -> socket.AddressFamily:
    """Return the family of an address; names of hosts have addresses of IPv4."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def address_towards(host: str) -> str:
    """Return the address of this machine from which it reaches a host.

    Raises:
        OSError: There is no route to the host, or its name is not known.
    """
    with socket.socket(family_of(host), socket.SOCK_DGRAM) as probe:
        probe.connect((host, _DISCARD))  # sends nothing: the system chooses the route
        return str(probe.getsockname()[0])


def address_towards_endpoint(endpoint: str) -> str:
    """Return the address from which this machine reaches an endpoint; "" if it is not known.

    Args:
        endpoint: As tcp://ADDRESS:PORT.
    """
    with suppress(OSError):
        return address_towards(_host_of(endpoint))
    return ""


def free_port_towards(endpoint: str) -> str:
    """Return an endpoint for any free port of this machine, which hosts there can reach.

    Args:
        endpoint: Where another host listens, as tcp://ADDRESS:PORT.
    Raises:
        OSError: There is no route to the host, or its name is not known.
    """
    address = address_towards(_host_of(endpoint))
    return f"tcp://[{address}]:*" if ":" in address else f"tcp://{address}:*"
