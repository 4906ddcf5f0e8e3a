"""What the processes of a cluster on several hosts sent to each other, for each pair of hosts.

Every message is between the program and a worker. An exchange can also move values from host to
host, or between the workers of one host, outside messages. It counts these itself, or it says that
they are not counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple, Self

THE_PROGRAM: Final = ""
"""The end of a link that is the program."""

PROGRAM_END: Final = -1
"""The number of the program in place of that of a host."""

PROGRAM_MACHINE: Final = 0
"""The number of the machine on which the program runs."""


LEAST_WAITS_S: Final = 1e-3
"""On a host with more running processes than processors, a process that must run can wait so long.

Measured with seven processes on two processors, whose delays differed by half of this.
"""


class Moved(NamedTuple):
    """Messages, or parts of values, and the size of them all."""

    messages: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedTraffic:
    """What was counted in the program's process while a cluster ran."""

    replicas: Sequence[Moved]  # for each replica, the envelopes to and from it
    exchange: str  # the name of the exchange
    direct: Mapping[tuple[int, int], Moved] | None
    """(host, host), by their numbers → what the exchange moved from the first to the second one
    outside messages; within a host if both are equal. `PROGRAM_END` is the program. None if this
    was not counted."""

    def packed(self) -> dict[str, Any]:
        """Return the counts for JSON."""
        direct = self.direct
        return {
            "replicas": [list(one) for one in self.replicas],
            "exchange": self.exchange,
            "direct": None if direct is None else [[*key, *one] for key, one in direct.items()],
        }

    @classmethod
    def unpacked(cls, raw: Mapping[str, Any]) -> Self:
        """Return the counts of `packed`.

        Raises:
            ValueError, TypeError, KeyError: `raw` is something else.
        """
        direct = raw["direct"]
        return cls(
            replicas=[Moved(int(messages), int(size)) for messages, size in raw["replicas"]],
            exchange=str(raw["exchange"]),
            direct=None
            if direct is None
            else {
                (int(one), int(other)): Moved(int(messages), int(size))
                for one, other, messages, size in direct
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLink:
    """What two ends sent to each other, in both directions."""

    ends: list[str]  # the names of two hosts; "" is the program
    within: bool  # whether both ends are on one machine
    messages: int  # number of messages, in both directions
    size_bytes: int  # size of these messages
    delay_s: float | None = None  # how long a message was under way, the median; null: not known
    quartile_s: float | None = None  # a quarter of the messages took at most this time


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTraffic:
    """What the processes on several hosts sent to each other."""

    program_on: list[str]  # the hosts that are on the program's machine; empty: it has its own one
    messages_within: int  # number of messages whose sender and receiver are on one machine
    bytes_within: int  # size of these messages
    messages_between: int  # number of messages between machines
    bytes_between: int  # size of these messages
    uncounted: str  # the exchange whose values are not in these numbers; "" if all are in them
    slowest: list[str]  # ends of the slowest link between machines; empty: none is clearly slowest
    links: list[HostLink] = field(default_factory=list)  # of the program first, then host to host

    @property
    def of_program(self) -> list[HostLink]:
        """Return the links of the program, one for each host."""
        return [one for one in self.links if THE_PROGRAM in one.ends]

    @property
    def direct(self) -> list[HostLink]:
        """Return the links from host to host."""
        return [one for one in self.links if THE_PROGRAM not in one.ends]

    @property
    def is_between_hosts(self) -> bool:
        """Return whether a link connects two machines."""
        return any(not one.within for one in self.links)

    def packed(self) -> dict[str, Any]:
        """Return this for JSON."""
        return asdict(self)

    @classmethod
    def unpacked(cls, raw: Mapping[str, Any]) -> Self:
        """Return what `packed` has returned; `run_entries` checks it."""
        return cls(**{**raw, "links": [HostLink(**one) for one in raw["links"]]})

    @classmethod
    def of(cls, links: Sequence[HostLink], program_on: Sequence[str], uncounted: str = "") -> Self:
        """Return the sums over links, and the slowest one between machines."""
        within = [one for one in links if one.within]
        between = [one for one in links if not one.within]
        return cls(
            program_on=list(program_on),
            messages_within=sum(one.messages for one in within),
            bytes_within=sum(one.size_bytes for one in within),
            messages_between=sum(one.messages for one in between),
            bytes_between=sum(one.size_bytes for one in between),
            uncounted=uncounted,
            slowest=_slowest(within, between),
            links=list(links),
        )


def _slowest(within: Sequence[HostLink], between: Sequence[HostLink]) -> list[str]:
    """Return the ends of the link between machines that is clearly the slowest one; [] if none is.

    Delays contain the waits of messages for busy processes, also within a host. So a link is
    clearly slower than another one if three quarters of its messages took longer than half of those
    of the other one, by more than the delay within a host and `LEAST_WAITS_S`.
    """
    timed = [(one.delay_s, one.quartile_s, one.ends) for one in between if one.delay_s is not None]
    if not timed or (len(timed) == 1 and len(between) > 1):
        return []
    *others, (_, quartile_s, ends) = sorted(timed, key=lambda one: one[0])
    waits_s = max((one.delay_s for one in within if one.delay_s is not None), default=0.0)
    waits_s = max(waits_s, LEAST_WAITS_S)
    is_clear = all(
        quartile_s is not None and quartile_s > delay_s + waits_s for delay_s, _, _ in others
    )
    return ends if is_clear else []


class Delay(NamedTuple):
    """How long messages between the program and a host were under way."""

    median_s: float
    quartile_s: float  # a quarter of the messages were under way for at most this time


class CountedHost(NamedTuple):
    """What is known of a host for the links."""

    name: str
    replicas: range
    machine: int  # hosts with the same number are on one machine


def traffic_of(
    hosts: Sequence[CountedHost],
    counted: CountedTraffic,
    delays: Mapping[int, Delay] | None = None,
) -> HostTraffic:
    """Return what was sent over each link.

    Args:
        delays: The number of a host → the delays of its messages, if they were measured.
    """
    known = delays or {}
    direct = counted.direct or {}
    links = [
        _link(
            [THE_PROGRAM, host.name],
            [
                *(counted.replicas[i] for i in host.replicas),
                *(moved for ends, moved in direct.items() if set(ends) == {PROGRAM_END, number}),
            ],
            within=host.machine == PROGRAM_MACHINE,
            delay=known.get(number),
        )
        for number, host in enumerate(hosts)
    ]
    pairs: dict[tuple[int, int], list[Moved]] = {}
    for (one, other), moved in direct.items():
        if PROGRAM_END not in (one, other):
            pairs.setdefault((min(one, other), max(one, other)), []).append(moved)
    for (one, other), every in sorted(pairs.items()):
        first, second = hosts[one], hosts[other]
        links.append(
            _link([first.name, second.name], every, within=first.machine == second.machine)
        )
    program_on = [one.name for one in hosts if one.machine == PROGRAM_MACHINE]
    return HostTraffic.of(links, program_on, "" if counted.direct is not None else counted.exchange)


def _link(
    ends: list[str], every: Sequence[Moved], *, within: bool, delay: Delay | None = None
) -> HostLink:
    return HostLink(
        ends=ends,
        within=within,
        messages=sum(one.messages for one in every),
        size_bytes=sum(one.size_bytes for one in every),
        delay_s=None if delay is None else delay.median_s,
        quartile_s=None if delay is None else delay.quartile_s,
    )
