"""The floor of a step: its bytes, and nothing else, over ROUTER and DEALER.

A round is what a step's messages are: the hub says go, every spoke answers with its payload, and
the hub gives every spoke a payload of the same size. No arithmetic, no encoding, no rules.
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
GO, END = b"go", b"end"


class Star:
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

    def round(self, size_bytes: int) -> None:
        """Moves a step's bytes; returns when the last answer is with ZeroMQ, as a step does."""
        go = size_bytes.to_bytes(8, "little")
        for spoke in self._spokes:
            self._hub.send_multipart([spoke, GO, go])
        parts = [self._hub.recv_multipart(copy=False) for _ in self._spokes]
        for spoke in self._spokes:
            self._hub.send_multipart([spoke, parts[0][1]], copy=False)

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
            size_bytes = int.from_bytes(message[1].buffer, "little")
            if len(payload) != size_bytes:
                payload = bytes(size_bytes)
            socket.send(payload, copy=False)
            socket.recv(copy=False)


if __name__ == "__main__":
    spoke(sys.argv[1])
