"""A metered listener counts envelopes in both directions, and only those that were sent whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from varsim.errors import ProtocolError
from varsim.launch.remote.metered_listener import MeteredListener
from varsim.tracing.host_traffic import Moved


class Listener:
    """A listener without sockets; worker 1 is not connected."""

    addresses: tuple[str, ...] = ("here", "there")
    sockets = ()
    look_s = 0.5
    received: Sequence[tuple[int, Any]] = ()

    def send(self, replica_id: int, frames: Sequence[bytes]) -> bool:
        return replica_id == 0 and bool(frames)

    def drain(self) -> Sequence[tuple[int, Any]]:
        return self.received

    def look(self, is_stopped: object) -> tuple[int, ...]:
        return (7,) if is_stopped else ()

    def lose(self, replica_id: int) -> None:
        self.received = [(replica_id, [b"lost"])]

    def close(self) -> None:
        self.addresses = ()


def test_both_directions_are_counted() -> None:
    plain = Listener()
    listener = MeteredListener(cast("Any", plain), 2)
    assert (plain.addresses, 0.5, (7,)) == (
        listener.addresses,
        listener.look_s,
        listener.look(lambda _: True),
    )

    assert listener.send(0, [b"12", memoryview(b"345")])
    assert not listener.send(1, [b"123456"])
    plain.received = [(0, [b"1"]), (1, [b"1", b"2"]), (1, ProtocolError("malformed"))]
    assert plain.received == listener.drain()

    assert [Moved(2, 6), Moved(1, 2)] == listener.counts
    listener.lose(1)
    assert [(1, [b"lost"])] == listener.drain()
