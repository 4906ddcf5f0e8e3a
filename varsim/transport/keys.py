"""Create CURVE keys for one run, and check workers against an allow-list.

CURVE itself accepts every client key. For each new connection, libzmq asks the handler in this file
by its authentication protocol (ZAP, https://rfc.zeromq.org/spec/27). The handler accepts only keys
on the list. libzmq then gives every message of the connection a user id: the routing id of the
worker that has the key.
"""

from __future__ import annotations

from typing import Final

import zmq
from zmq.utils import z85

from varsim.value_class import value_class

_ZAP_ENDPOINT: Final = "inproc://zeromq.zap.01"  # the endpoint to which libzmq sends requests
_ZAP_VERSION: Final = b"1.0"


@value_class
class KeyPair:
    """A CURVE key pair, each key as 40 printable characters (Z85)."""

    public: bytes
    secret: bytes

    @staticmethod
    def generate() -> KeyPair:
        """Return a new pair."""
        return KeyPair(*zmq.curve_keypair())


class AllowList:
    """Answers libzmq's requests about new connections. Poll its socket with the other sockets."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], owners: dict[bytes, bytes]) -> None:
        """Listen in `context`; must be called before a socket with keys is bound there.

        Args:
            owners: Public key (Z85) → routing id of the peer that has the key.
        """
        self.addresses: set[str] = set()
        """The addresses of the peers whose keys were on the list."""
        self._owners = {z85.decode(key): routing_id for key, routing_id in owners.items()}
        self.socket = context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind(_ZAP_ENDPOINT)

    def answer(self) -> None:
        """Answer all requests that have arrived."""
        while self.socket.poll(0):
            request = self.socket.recv_multipart()
            self.socket.send_multipart(self._answer_to(request))

    def _answer_to(self, request: list[bytes]) -> list[bytes]:
        match request:
            case [version, request_id, _domain, address, _identity, b"CURVE", key]:
                owner = self._owners.get(key)
                if owner is not None:
                    self.addresses.add(address.decode())
                    return [version, request_id, b"200", b"OK", owner, b""]
            case [_, request_id, *_]:
                pass
            case _:
                request_id = b""
        return [_ZAP_VERSION, request_id, b"400", b"this key is not on the list", b"", b""]

    def close(self) -> None:
        """Stop listening."""
        self.socket.close()
