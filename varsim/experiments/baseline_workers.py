"""`python -m varsim.experiments.baseline_workers`: the processes around the hub of a bare star.

One interpreter forks them all, before it has a context of ZeroMQ, and lives until its stdin ends:
then it kills them, and removes their folder. So nothing is left however their hub ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from typing import Final, NoReturn

import zmq

from varsim.transport.sockets import COPY_LIMIT_BYTES

NUMBER_BYTES: Final = 8  # of the size in a request
READY: Final = b"ready"


def main() -> None:
    """Forks as many spokes as it was asked for, and waits."""
    folder, count = sys.argv[1], int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the hub
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # which has blocked it until now
    process_ids: list[int] = []
    for number in range(count):
        process_id = os.fork()
        if process_id == 0:
            _be_spoke(endpoint_in(folder), number)
        process_ids.append(process_id)
    sys.stdin.buffer.read()
    for process_id in process_ids:
        os.kill(process_id, signal.SIGKILL)
        os.waitpid(process_id, 0)
    shutil.rmtree(folder, ignore_errors=True)


def _be_spoke(endpoint: str, number: int) -> NoReturn:
    """Answers each request, a size and perhaps a payload, with a payload of that size."""
    socket = zmq.Context[zmq.Socket[bytes]]().socket(zmq.DEALER)
    socket.routing_id = spoke_name(number)
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
"""Of the hub's socket in the folder."""


def endpoint_in(folder: str) -> str:
    """Where the hub listens."""
    return f"ipc://{folder}/{SOCKET_NAME}"


def spoke_name(number: int) -> bytes:
    """The routing id of a spoke."""
    return b"spoke-%d" % number


if __name__ == "__main__":
    main()
