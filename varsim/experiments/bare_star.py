"""A bare star: what a round of messages costs with ZeroMQ alone, and nothing of varsim.

The hub gives each of N processes a payload, and each answers with one of that size: the bytes of a
step in which every replica writes a value and gets the merged one. No encoding, no arithmetic, no
rules. With one process it is a round trip.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from typing import Final, Self

import zmq

from varsim.errors import StartError
from varsim.experiments.baseline_workers import NUMBER_BYTES, SOCKET_NAME, endpoint_in, spoke_name
from varsim.interrupts import blocked, held
from varsim.transport.folders import private_folder
from varsim.transport.sockets import COPY_LIMIT_BYTES

_MODULE: Final = "varsim.experiments.baseline_workers"
_TIMEOUT_MS: Final = 20_000  # a round takes milliseconds; a spoke that died must not hang the hub


class BareStar:
    """A hub in this process, and its spokes; of these a round may use the first few."""

    def __init__(self, count: int) -> None:
        """Starts the spokes.

        Raises:
            StartError: They did not come up.
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
        folder = str(private_folder(SOCKET_NAME))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
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
        """Gives the first `count` spokes a payload; returns when each has answered with one."""
        if len(self._payload) != size_bytes:
            self._payload = bytes(size_bytes)
        request = [size_bytes.to_bytes(NUMBER_BYTES, "little"), self._payload]
        for number in range(count):
            self._hub.send_multipart(
                [spoke_name(number), *request], copy=size_bytes < COPY_LIMIT_BYTES
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
