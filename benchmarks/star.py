"""The floor of small steps: their bytes, and nothing else, over ROUTER and DEALER.

A round is a *round trip*: the hub gives every spoke a payload, and each answers with one of that
size. Or it has *three hops*, as a step whose result everybody waits for: the hub says go, every
spoke answers with its payload, and the hub gives every spoke one. Or it is a *gather*, the first
two of these hops. No arithmetic, no encoding, no rules.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import zmq

TIMEOUT_MS = 20_000  # a round takes milliseconds; a spoke that died must not hang the benchmark
GO, TAKE, END = b"go", b"take", b"end"


class RawStar:
    """A hub and its spokes, each a process."""

    def __init__(self, count: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="star-")
        self._context = zmq.Context()
        self._hub = self._context.socket(zmq.ROUTER)
        self._hub.rcvtimeo = TIMEOUT_MS
        self._hub.linger = 0
        endpoint = f"ipc://{Path(self._folder.name) / 'hub'}"
        self._hub.bind(endpoint)
        self._processes = [
            subprocess.Popen([sys.executable, __file__, endpoint]) for _ in range(count)
        ]
        self._spokes = [self._hub.recv_multipart()[0] for _ in range(count)]
        self._payload = b""

    def round_trip(self, size_bytes: int) -> None:
        """Gives every spoke a payload; returns when each has answered with one."""
        if len(self._payload) != size_bytes:
            self._payload = bytes(size_bytes)
        answers = self._ask(size_bytes, self._payload)
        assert all(len(answer) == size_bytes for answer in answers)

    def gather(self, size_bytes: int) -> None:
        """Says go; returns when each spoke has answered with a payload."""
        self._ask(size_bytes)

    def three_hops(self, size_bytes: int) -> None:
        """Gathers payloads and gives one to all; returns when the last is with ZeroMQ."""
        first, *_ = self._ask(size_bytes)
        for spoke in self._spokes:
            self._hub.send_multipart([spoke, TAKE, first], copy=False)

    def _ask(self, size_bytes: int, *payload: bytes) -> list[zmq.Frame]:
        go = size_bytes.to_bytes(8, "little")
        for spoke in self._spokes:
            self._hub.send_multipart(
                [spoke, GO, go, *payload], copy=size_bytes < zmq.COPY_THRESHOLD
            )
        return [self._hub.recv_multipart(copy=False)[1] for _ in self._spokes]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for spoke in self._spokes:
            self._hub.send_multipart([spoke, END])
        for process in self._processes:
            process.wait()
        self._hub.close()
        self._context.term()
        self._folder.cleanup()


def spoke(endpoint: str) -> None:
    """Answers until it is told to end."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
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
    spoke(sys.argv[1])
