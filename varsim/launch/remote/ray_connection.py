"""The driver of Ray, seen by the program that has started it (`ray_driver.py`)."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import zmq

from varsim.errors import ConfigError, StartError
from varsim.interrupts import MAX_WAIT_S, Interruptible
from varsim.launch.remote.engines import END_S, EngineCommand, RunningCommand
from varsim.transport.sockets import timeout_ms

_LOWEST: Final = (2, 50)  # the lowest release of Ray, as in pyproject.toml
_INSTALL: Final = "pip install 'varsim-distribute[ray]'"
_READ_BYTES: Final = 64 * 1024


def ensure_ray(user: str) -> None:
    """Check that a release of Ray is installed that varsim can use; do not import Ray.

    Args:
        user: What needs Ray, for the error.
    Raises:
        ConfigError: It is not installed, or too old.
    """
    try:
        installed = version("ray")
    except PackageNotFoundError:
        raise ConfigError(f"{user} needs Ray, which is not installed: {_INSTALL}") from None
    if tuple(int(one) for one in installed.split(".")[:2] if one.isdecimal()) < _LOWEST:
        lowest = ".".join(map(str, _LOWEST))
        raise ConfigError(
            f"{user} needs Ray {lowest} or later, and {installed} is installed: {_INSTALL}"
        )


class RayDriver:
    """A running driver."""

    def __init__(self, request: Mapping[str, Any], deadline_s: float) -> None:
        """Start the driver, and wait until it has connected to the Ray cluster.

        Args:
            request: What the driver serves, and where; its first line.
            deadline_s: Until when it must have connected, on the clock `time.monotonic`.
        Raises:
            StartError: Ray cannot be reached.
        """
        self._asked = request["address"]
        self.address = ""  # under which Ray's nodes reach this machine
        self._kept: list[dict[str, Any]] = []
        self._has_failed = False
        self._pending = b""
        self._reports, reports = os.pipe()
        try:
            os.set_blocking(self._reports, False)
            # -P: a module in the working directory must not hide a module of varsim.
            command = (sys.executable, "-P", "-m", "varsim.launch.remote.ray_driver", str(reports))
            self._driver = RunningCommand(
                EngineCommand(command, None, json.dumps(request) + "\n"),
                name="Ray's driver",
                descriptors=[reports],
            )
        except BaseException:
            os.close(self._reports)
            raise
        finally:
            os.close(reports)
        self.outputs = (self._driver.output, self._reports)
        try:
            self._await_address(deadline_s)
        except BaseException:
            self.end(0.0)
            raise

    def _await_address(self, deadline_s: float) -> None:
        while not self.address:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise StartError("Ray did not answer in the time for the start (start_timeout_s)")
            self.wait(left_s)
            for report in self.reports():
                if "is_process" in report:  # Ray ends a process that does not reach its head
                    reason = report["ended"].removeprefix("has ended: ")
                    raise StartError(
                        f"Ray cannot be reached at address {self._asked!r}: {reason}\n"
                        "Is the address right, and do the head of Ray and its port answer?"
                    )
                if "address" not in report:
                    raise StartError(f"Ray {report['ended']}")
                self.address = report["address"]

    def wait(self, timeout_s: float) -> None:
        """Wait until there can be a report, at most `MAX_WAIT_S`."""
        poller = zmq.Poller()
        for one in self.outputs:
            poller.register(one, zmq.POLLIN)
        with Interruptible():
            poller.poll(timeout_ms(min(timeout_s, MAX_WAIT_S)))

    def tell(self, line: Mapping[str, Any]) -> None:
        """Send a line to the driver."""
        self._driver.write(json.dumps(line) + "\n")

    def reports(self) -> Sequence[dict[str, Any]]:
        """Return the new reports. If the driver has ended, the last one is {"ended": reason}."""
        with suppress(BlockingIOError):
            while chunk := os.read(self._reports, _READ_BYTES):
                *lines, self._pending = (self._pending + chunk).split(b"\n")
                self._kept += map(json.loads, lines)
        self._driver.read()
        if self._driver.has_ended and not self._has_failed:
            self._kept.append({"ended": self._driver.reason, "is_process": True})
        reports, self._kept = self._kept, []
        self._has_failed |= any("ended" in one and "rank" not in one for one in reports)
        return reports

    def end(self, timeout_s: float = END_S) -> None:
        """Let the driver end, and with it all that Ray has started for it."""
        self._driver.end(time.monotonic() + timeout_s)
        os.close(self._reports)
