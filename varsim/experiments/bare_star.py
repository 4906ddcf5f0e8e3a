"""Send rounds of messages with ZeroMQ alone: the cost of a step without varsim.

The hub sends a payload to each of N worker processes, and each process answers with a payload of
the same size. A varsim step, in which every replica writes a value and gets the merged value, sends
as many bytes. The star encodes nothing and computes nothing. With one worker, a round is a round
trip.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from typing import Final, Self

import zmq

from varsim.errors import StartError
from varsim.experiments.baseline_workers import NUMBER_BYTES, SOCKET_NAME, endpoint_in, routing_id
from varsim.interrupts import blocked, held
from varsim.transport.folders import create_for_start, new_socket_path
from varsim.transport.sockets import COPY_LIMIT_BYTES

_MODULE: Final = "varsim.experiments.baseline_workers"
_TIMEOUT_MS: Final = 20_000  # a round takes milliseconds; a dead worker must not hang the hub


class BareStar:
    """A hub in this process, and its workers. A round may use fewer workers than exist."""

    def __init__(self, count: int) -> None:
        """Start the workers.

        Raises:
            StartError: The workers did not start.
        """
        self._payload = b""
        with ExitStack() as stack:
            try:
                with held():
                    self._start(stack, count)
                for _ in range(count):
                    self._hub.recv_multipart()
            except (OSError, zmq.ZMQError) as error:
                raise StartError(f"the processes of a bare star did not start: {error}") from error
            self._stack = stack.pop_all()

    def _start(self, stack: ExitStack, count: int) -> None:
        private = stack.enter_context(create_for_start(new_socket_path(SOCKET_NAME)))
        folder = str(private.path)
        context = zmq.Context[zmq.Socket[bytes]]()
        stack.callback(context.term)
        self._hub = context.socket(zmq.ROUTER)
        stack.callback(self._hub.close)
        self._hub.linger = 0
        self._hub.rcvtimeo = _TIMEOUT_MS
        self._hub.bind(endpoint_in(folder))
        with blocked():
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", _MODULE, folder, str(count)],
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
        stack.callback(_end, process)

    def round(self, count: int, size_bytes: int) -> None:
        """Send a payload to the first `count` workers; return when all of them have answered."""
        if len(self._payload) != size_bytes:
            self._payload = bytes(size_bytes)
        request = [size_bytes.to_bytes(NUMBER_BYTES, "little"), self._payload]
        for number in range(count):
            self._hub.send_multipart(
                [routing_id(number), *request], copy=size_bytes < COPY_LIMIT_BYTES
            )
        for _ in range(count):
            _, answer = self._hub.recv_multipart(copy=False)
            assert len(answer) == size_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
        os.killpg(process.pid, signal.SIGKILL)
    process.stdin.close()
    process.wait()
