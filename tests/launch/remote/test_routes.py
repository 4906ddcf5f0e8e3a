"""A host knows its own address on the route to another one."""

from __future__ import annotations

import pytest

from varsim.launch.remote.routes import (
    address_towards,
    address_towards_endpoint,
    free_port_towards,
    host_and_port,
)


@pytest.mark.parametrize(
    ("endpoint", "parts"),
    [("tcp://203.0.113.1:7", ("203.0.113.1", 7)), ("tcp://[::1]:7", ("::1", 7))],
)
def test_the_parts_of_an_endpoint(endpoint: str, parts: tuple[str, int]) -> None:
    assert parts == host_and_port(endpoint)


def test_a_host_listens_at_its_address_on_the_route(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "127.0.0.1" == address_towards("localhost")
    assert "tcp://127.0.0.1:*" == free_port_towards("tcp://127.0.0.1:7")
    monkeypatch.setattr("varsim.launch.remote.routes.address_towards", lambda _: "fe80::1")
    assert "tcp://[fe80::1]:*" == free_port_towards("tcp://[::1]:7")


def test_the_address_towards_an_endpoint_can_be_unknown() -> None:
    assert "127.0.0.1" == address_towards_endpoint("tcp://127.0.0.1:*")
    assert "" == address_towards_endpoint("tcp://no-such-host.invalid:*")
