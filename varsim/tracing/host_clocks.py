"""Keep the hosts of a cluster, and convert their times to the clock of the program's host.

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
from varsim.tracing.host_traffic import CountedHost, CountedTraffic, HostTraffic, traffic_of
from varsim.tracing.round_trips import RoundTrips

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
    devices: tuple[str, ...] = ()  # of these replicas; () if they are not known
    machine: int = 0  # hosts with the same number are on one machine: see `host_traffic`

    @property
    def replicas(self) -> range:
        """Return the replicas on this host."""
        return range(self.first, self.end)

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


@dataclass(frozen=True, slots=True)
class RecordedHosts:
    """The hosts of a cluster, in the order of their replicas."""

    hosts: tuple[RecordedHost, ...] = ()  # empty if all processes ran on one host
    counted: CountedTraffic | None = None  # what was sent; None if it was not counted

    def traffic(self, trips: RoundTrips | None = None) -> HostTraffic | None:
        """Return what was sent over each link, and its delays; None if it was not counted.

        Args:
            trips: The recorded round trips; None: the delays are not known.
        """
        trips = RoundTrips() if trips is None else trips
        if self.counted is None:
            return None
        delays = {
            number: delay
            for number, host in enumerate(self.hosts)
            if (delay := trips.delay(host.replicas)) is not None
        }
        counted = [CountedHost(one.name, one.replicas, one.machine) for one in self.hosts]
        return traffic_of(counted, self.counted, delays)


def write_hosts(directory: Path, found: RecordedHosts) -> None:
    """Write the hosts of a cluster beside its traces.

    Raises:
        OSError: The file cannot be written.
    """
    counted = None if found.counted is None else found.counted.packed()
    content = json.dumps({"hosts": [asdict(one) for one in found.hosts], "counted": counted})
    write_private(directory / HOSTS, content.encode())


def read_hosts(directory: Path) -> RecordedHosts:
    """Return the hosts of a cluster.

    Raises:
        TraceError: The file is damaged.
        OSError: The file cannot be read.
    """
    path = directory / HOSTS
    if not path.exists():
        return RecordedHosts()
    try:
        raw = json.loads(path.read_bytes())
        if isinstance(raw, list):  # of a version that counted nothing
            return RecordedHosts(tuple(map(_host, raw)))
        counted = raw["counted"]
        return RecordedHosts(
            tuple(map(_host, raw["hosts"])),
            None if counted is None else CountedTraffic.unpacked(counted),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise TraceError(path, f"it is damaged: {error!r}", TRACE_REMEDY) from error


def _host(raw: Mapping[str, Any]) -> RecordedHost:
    readings = tuple(ClockReading(**{k: int(v) for k, v in one.items()}) for one in raw["readings"])
    return RecordedHost(
        str(raw["name"]),
        int(raw["first"]),
        int(raw["end"]),
        readings,
        tuple(map(str, raw.get("devices", ()))),
        int(raw.get("machine", 0)),
    )


def conversions(hosts: Sequence[RecordedHost]) -> dict[int, Callable[[int], int]]:
    """Return for each replica on a host with a clock of its own how its times are converted."""
    return {
        replica_id: host.on_program_clock
        for host in hosts
        if host.readings
        for replica_id in host.replicas
    }


def described(hosts: Sequence[RecordedHost]) -> list[dict[str, Any]]:
    """Return the entry `hosts` of the table `run` of a history."""
    return [
        {
            "name": one.name,
            "replicas": list(one.replicas),
            "devices": list(one.devices),
            "clock_error_s": None if one.error_ns is None else one.error_ns / 1e9,
        }
        for one in hosts
    ]
