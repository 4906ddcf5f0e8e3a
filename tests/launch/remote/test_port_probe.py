"""A probe says whether nothing listens at an address, and does not wait for a host that is cut."""

from __future__ import annotations

import socket
from contextlib import ExitStack, closing

from tests.waiting import MS, wait_for
from varsim.launch.remote.port_probe import PortProbe


def endpoint_of(server: socket.socket) -> str:
    return "tcp://{}:{}".format(*server.getsockname())


def test_a_port_is_refused_as_soon_as_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        probe = PortProbe(endpoint_of(server))
        with closing(probe):
            assert [False] * 5 == [probe.is_refused() for _ in range(5)]
            server.close()
            wait_for(probe.is_refused)


def test_a_system_that_does_not_answer_is_not_waited_for() -> None:
    """The system drops requests to connect while its queue is full, as a cut drops all packets."""
    with ExitStack() as opened:
        server = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = opened.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        probe = opened.enter_context(closing(PortProbe(endpoint_of(server))))
        assert [False] * 100 == wait_for(lambda: [probe.is_refused() for _ in range(100)], 500 * MS)
