"""Convert the times of processes on other hosts to the clock of the program's host.

The steady clock of a host counts from the host's start, so clocks of two hosts can differ by years.
The program asks each host for its clock, when the workers start and when they end, as the Network
Time Protocol does (RFC 5905): the answer was made between the question and its arrival, so the
difference of the clocks is known up to half of this time. Between the two readings, the clocks are
taken to drift evenly.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from varsim.errors import TraceError
from varsim.private import write_private
from varsim.texts.files import TRACE_REMEDY

HOSTS: Final = "hosts.json"
"""The file beside the traces with the hosts of a cluster and the readings of their clocks."""


@dataclass(frozen=True, slots=True)
class ClockReading:
    """The difference between the clocks of a host and of the program's host, at one time."""

    at_ns: int  # the time on the host's clock
    ahead_ns: int  # by how much the host's clock is ahead of the program's
    error_ns: int  # half of the time that the question and the answer took together

    @staticmethod
    def of(asked_ns: int, answer_ns: int, arrived_ns: int) -> ClockReading:
        """Return the reading of one question, asked and arrived on the program's clock."""
        middle_ns = (asked_ns + arrived_ns) // 2
        return ClockReading(answer_ns, answer_ns - middle_ns, (arrived_ns - asked_ns + 1) // 2)


@dataclass(frozen=True, slots=True)
class RecordedHost:
    """A host of a cluster, with the replicas `first` to `end - 1`."""

    name: str
    first: int
    end: int
    readings: tuple[ClockReading, ...]

    @property
    def error_ns(self) -> int | None:
        """Return by how much a converted time can be wrong at the readings; None if unknown."""
        return max((one.error_ns for one in self.readings), default=None)

    def on_program_clock(self, at_ns: int) -> int:
        """Return a time of the host's clock on the clock of the program's host."""
        if not self.readings:
            return at_ns
        first, last = self.readings[0], self.readings[-1]
        if at_ns <= first.at_ns or first is last or last.at_ns <= first.at_ns:
            return at_ns - first.ahead_ns
        passed = min(at_ns, last.at_ns) - first.at_ns
        drift = (last.ahead_ns - first.ahead_ns) * passed // (last.at_ns - first.at_ns)
        return at_ns - first.ahead_ns - drift


def write_hosts(directory: Path, hosts: Sequence[RecordedHost]) -> None:
    """Write the hosts of a cluster beside its traces.

    Raises:
        OSError: The file cannot be written.
    """
    content = json.dumps([asdict(one) for one in hosts])
    write_private(directory / HOSTS, content.encode())


def read_hosts(directory: Path) -> list[RecordedHost]:
    """Return the hosts of a cluster; [] if all processes ran on one host.

    Raises:
        TraceError: The file is damaged.
        OSError: The file cannot be read.
    """
    path = directory / HOSTS
    if not path.exists():
        return []
    try:
        return [_host(one) for one in json.loads(path.read_bytes())]
    except (ValueError, TypeError, KeyError) as error:
        raise TraceError(path, f"it is damaged: {error!r}", TRACE_REMEDY) from error


def _host(raw: Mapping[str, Any]) -> RecordedHost:
    readings = tuple(ClockReading(**{k: int(v) for k, v in one.items()}) for one in raw["readings"])
    return RecordedHost(str(raw["name"]), int(raw["first"]), int(raw["end"]), readings)


def conversions(hosts: Sequence[RecordedHost]) -> dict[int, Callable[[int], int]]:
    """Return for each replica on a host with a clock of its own how its times are converted."""
    return {
        replica_id: host.on_program_clock
        for host in hosts
        if host.readings
        for replica_id in range(host.first, host.end)
    }


def described(hosts: Sequence[RecordedHost]) -> list[dict[str, Any]]:
    """Return the entry `hosts` of the table `run` of a history."""
    return [
        {
            "name": one.name,
            "replicas": list(range(one.first, one.end)),
            "clock_error_s": None if one.error_ns is None else one.error_ns / 1e9,
        }
        for one in hosts
    ]
