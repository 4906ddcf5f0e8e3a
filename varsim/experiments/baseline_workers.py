"""Run the worker processes of a bare star: `python -m varsim.experiments.baseline_workers`.

One interpreter forks all workers, before it has a ZeroMQ context. The interpreter runs until its
stdin is closed. Then it kills the workers and removes their folder. So no process is left, even if
the hub crashes.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from typing import Final, NoReturn

import zmq

from varsim.transport.sockets import COPY_LIMIT_BYTES

NUMBER_BYTES: Final = 8  # the width of the size in a request
READY: Final = b"ready"


def main() -> None:
    """Fork the number of workers that the command line gives, and wait."""
    folder, count = sys.argv[1], int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the hub
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # the hub has blocked it until now
    process_ids: list[int] = []
    for number in range(count):
        process_id = os.fork()
        if process_id == 0:
            _answer(endpoint_in(folder), number)
        process_ids.append(process_id)
    sys.stdin.buffer.read()
    for process_id in process_ids:
        os.kill(process_id, signal.SIGKILL)
        os.waitpid(process_id, 0)
    shutil.rmtree(folder, ignore_errors=True)


def _answer(endpoint: str, number: int) -> NoReturn:
    """Answer each request, which has a size and may have a payload, with a payload of that size."""
    socket = zmq.Context[zmq.Socket[bytes]]().socket(zmq.DEALER)
    socket.routing_id = routing_id(number)
    socket.connect(endpoint)
    socket.send(READY)
    payload = b""
    while True:
        size, *_ = socket.recv_multipart(copy=False)
        size_bytes = int.from_bytes(size.buffer, "little")
        if len(payload) != size_bytes:
            payload = bytes(size_bytes)
        socket.send(payload, 0, copy=size_bytes < COPY_LIMIT_BYTES)


SOCKET_NAME: Final = "s"
"""The file name of the hub's socket."""


def endpoint_in(folder: str) -> str:
    """Return the endpoint that the hub binds."""
    return f"ipc://{folder}/{SOCKET_NAME}"


def routing_id(number: int) -> bytes:
    """Return the routing id of a worker."""
    return b"worker-%d" % number


if __name__ == "__main__":
    main()
