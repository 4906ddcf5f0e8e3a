"""Check the host of an agent, for `varsim doctor` on another host."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any, Final

from varsim.launch.host_checks import Check, Request, State, check_host
from varsim.launch.remote.routes import host_and_port

_PORT_S: Final = 5.0  # time limit for a connection to the second port


def checks_of_this_host(value: Mapping[str, Any]) -> list[list[str]]:
    """Return the checks of an agent's host: [[subject, state, found, remedy], …].

    Args:
        value: The number of workers on this host, and the endpoint for workers.
    """
    checks = [_port(value["endpoint"]), *check_host(Request(value["workers"], None))]
    return [[one.subject, one.state.value, one.found, one.remedy] for one in checks]


def _port(endpoint: str) -> Check:
    """Connect to the port to which the workers of this host would connect."""
    subject = "port for workers"
    try:
        socket.create_connection(host_and_port(endpoint), _PORT_S).close()
    except OSError as error:
        why = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
        return Check(
            subject,
            State.PROBLEM,
            f"{endpoint} cannot be reached: {why}",
            "allow this port in the firewall of the program's machine; `listen: ADDRESS:PORT` "
            "fixes both ports",
        )
    return Check(subject, State.OK, f"{endpoint} accepts a connection")
