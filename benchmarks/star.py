"""Measure the lower limit of a small step: the time to send its bytes over ROUTER and DEALER.

In a *round trip*, the hub sends a payload to every worker, and each worker answers with a payload
of the same size. In *three hops*, the hub sends a start signal, every worker answers with its
payload, and the hub sends a payload to every worker. A step whose result all workers need has these
three hops. A *gather* is the first two of these hops. There is no arithmetic and no encoding.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import zmq

TIMEOUT_MS = 20_000  # a round takes milliseconds; a dead worker must not hang the benchmark
GO, TAKE, END = b"go", b"take", b"end"


class RawStar:
    """A hub in this process and its workers, each of which is a process.

    Args:
        over_tcp: Whether the connections are TCP on the loopback interface instead of ipc.
        has_curve: Whether CURVE encrypts the connections.
    """

    def __init__(self, count: int, *, over_tcp: bool = False, has_curve: bool = False) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="star-")
        self._context = zmq.Context()
        self._hub = self._context.socket(zmq.ROUTER)
        self._hub.rcvtimeo = TIMEOUT_MS
        self._hub.linger = 0
        keys: tuple[bytes, ...] = ()
        if has_curve:
            keys = zmq.curve_keypair()
            self._hub.curve_server = True
            self._hub.curve_publickey, self._hub.curve_secretkey = keys
        path = Path(self._folder.name) / "hub"
        self._hub.bind("tcp://127.0.0.1:*" if over_tcp else f"ipc://{path}")
        endpoint = self._hub.getsockopt_string(zmq.LAST_ENDPOINT)
        words = [sys.executable, __file__, endpoint, *(key.decode() for key in keys[:1])]
        self._processes = [subprocess.Popen(words) for _ in range(count)]
        self._workers = [self._hub.recv_multipart()[0] for _ in range(count)]
        self._payload = b""

    def round_trip(self, size_bytes: int) -> None:
        """Send a payload to every worker; return when each has answered with a payload."""
        if len(self._payload) != size_bytes:
            self._payload = bytes(size_bytes)
        answers = self._request(size_bytes, self._payload)
        assert all(len(answer) == size_bytes for answer in answers)

    def gather(self, size_bytes: int) -> None:
        """Send a start signal; return when each worker has answered with a payload."""
        self._request(size_bytes)

    def three_hops(self, size_bytes: int) -> None:
        """Gather payloads and send one to all; return when ZeroMQ has the last one."""
        first, *_ = self._request(size_bytes)
        for worker in self._workers:
            self._hub.send_multipart([worker, TAKE, first], copy=False)

    def _request(self, size_bytes: int, *payload: bytes) -> list[zmq.Frame]:
        go = size_bytes.to_bytes(8, "little")
        for worker in self._workers:
            self._hub.send_multipart(
                [worker, GO, go, *payload], copy=size_bytes < zmq.COPY_THRESHOLD
            )
        return [self._hub.recv_multipart(copy=False)[1] for _ in self._workers]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            self._hub.send_multipart([worker, END])
        for process in self._processes:
            process.wait()
        self._hub.close()
        self._context.term()
        self._folder.cleanup()


def answer(endpoint: str, *server_key: str) -> None:
    """Answer until the hub ends the worker."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        if server_key:
            socket.curve_serverkey = server_key[0].encode()
            socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
        socket.connect(endpoint)
        socket.send(b"")
        payload = b""
        while True:
            message = socket.recv_multipart(copy=False)
            if message[0].buffer == END:
                return
            if message[0].buffer == TAKE:
                continue
            size_bytes = int.from_bytes(message[1].buffer, "little")
            if len(payload) != size_bytes:
                payload = bytes(size_bytes)
            socket.send_multipart([payload], copy=size_bytes < zmq.COPY_THRESHOLD)


if __name__ == "__main__":
    answer(*sys.argv[1:])
