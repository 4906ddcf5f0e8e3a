"""Where the replicas of a cluster on several hosts ran, and what the hosts sent to each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from varsim.report.formatting import NOTHING, count, names, ranges, size, visible
from varsim.report.summary import Summary
from varsim.report.tables import Column, show_table
from varsim.texts.facts import times
from varsim.tracing.host_traffic import THE_PROGRAM, HostLink, HostTraffic

TITLE: Final = "hosts{}: their replicas, and their messages to and from the program"
"""The title of the table; in braces, of which part of a run it is."""

DIRECT_TITLE: Final = "values from host to host, outside messages"
NOT_RECORDED: Final = "Messages between these hosts: not recorded."
DELAY: Final = (
    "delay: half of the time that a message to a replica and the replica's next message were under "
    "way, the median. Waits for busy processes are in it, and differences of clocks are not."
)
NOT_MEASURED: Final = f"{NOTHING}: not known, because no such messages were recorded."
_MOST_DEVICES: Final = 3
MAX_HOSTS: Final = 20  # one screen


def places(hosts: Sequence[str], devices: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return for each host its replicas and their devices, in short.

    Args:
        hosts: The host of each replica.
        devices: The device of each replica; empty if they are not known.
    """
    found: dict[str, list[int]] = {}
    for replica_id, host in enumerate(hosts):
        found.setdefault(host, []).append(replica_id)
    return {
        host: (
            ", ".join(ranges(ids)),
            names([devices[i] for i in ids], _MOST_DEVICES) if devices else "",
        )
        for host, ids in found.items()
    }


def places_text(hosts: Sequence[str], devices: Sequence[str]) -> str:
    """Return a sentence on the host and the device of each replica; "" if there is one host."""
    found = places(hosts, devices)
    if len(found) < 2:
        return ""
    told = [
        f"replica{'s' * (hosts.count(host) > 1)} {ids} on {visible(host)}"
        + (f" ({used})" if used else "")
        for host, (ids, used) in list(found.items())[:MAX_HOSTS]
    ]
    told += [f"{len(found) - MAX_HOSTS} more hosts"] if len(found) > MAX_HOSTS else []
    return f"Hosts: {'; '.join(told)}."


def between_hosts(hosts: Sequence[str], traffic: HostTraffic | None) -> bool:
    """Return whether a link connects two machines; if links are not known, whether hosts differ.

    Args:
        hosts: The host of each replica; empty if all ran on the program's host.
    """
    return len(set(hosts)) > 1 if traffic is None else traffic.is_between_hosts


def traffic_in_short(hosts: Sequence[str], traffic: HostTraffic | None) -> str:
    """Return the bytes between and within hosts, and the slowest link; "" on one machine."""
    if not between_hosts(hosts, traffic):
        return ""
    if traffic is None:
        return NOT_RECORDED
    slowest = next((one for one in traffic.links if one.ends == traffic.slowest), None)
    slow = ""
    if slowest is not None:
        slow = (
            f"; slowest link between hosts: {ends_text(slowest)} ({delay_ms(slowest.delay_s)} ms)"
        )
    return (
        f"between hosts {size(traffic.bytes_between)}, within a host {size(traffic.bytes_within)}"
        f"{slow}{_uncounted(traffic)}"
    )


def ends_text(link: HostLink) -> str:
    """Return the ends of a link, as in "the program – b"."""
    return " – ".join("the program" if one == THE_PROGRAM else visible(one) for one in link.ends)


def _uncounted(traffic: HostTraffic) -> str:
    exchange = traffic.uncounted
    return f". Not counted: what the exchange {exchange} moved outside messages" if exchange else ""


def host_columns(summary: Summary) -> tuple[list[str], list[Column]]:
    """Return the labels and the columns of the table of hosts, of at most `MAX_HOSTS` hosts."""
    found = dict(list(places(summary.hosts, summary.devices).items())[:MAX_HOSTS])
    columns = [
        Column("replicas", [ids for ids, _ in found.values()], right=False),
        Column("devices", [used for _, used in found.values()], right=False),
    ]
    if summary.traffic is not None:
        by_host = {one.ends[1]: one for one in summary.traffic.of_program}
        columns += _amounts([by_host[host] for host in found])
    return [visible(host) for host in found], columns


def direct_columns(traffic: HostTraffic) -> tuple[list[str], list[Column]]:
    """Return the labels and the columns of the table of links from host to host."""
    links = traffic.direct[:MAX_HOSTS]
    return [ends_text(one) for one in links], _amounts(links)[:-1]


def _amounts(links: Sequence[HostLink]) -> list[Column]:
    return [
        Column("messages", [count(one.messages) for one in links]),
        Column("bytes", [size(one.size_bytes) for one in links]),
        Column("delay\nms", [delay_ms(one.delay_s) for one in links]),
    ]


def delay_ms(delay_s: float | None) -> str:
    """Return a delay in milliseconds, without the unit."""
    return NOTHING if delay_s is None else f"{delay_s * 1e3:,.3g}"


def sentences_on_hosts(traffic: HostTraffic | None) -> Iterator[str]:
    """Yield the sentences below the tables: what they leave out, totals, and the slowest link."""
    if traffic is not None:
        tables = (traffic.of_program, "hosts"), (traffic.direct, "pairs of hosts")
        for links, what in tables:
            if len(links) > MAX_HOSTS:
                yield f"{count(len(links) - MAX_HOSTS)} more {what} are in summary.json."
    if traffic is None:
        yield NOT_RECORDED
        return
    where = names(traffic.program_on, len(traffic.program_on)) if traffic.program_on else ""
    yield f"The program ran on {where}." if where else "The program ran on none of these hosts."
    yield (
        f"Between hosts: {times(traffic.messages_between, 'message')}, "
        f"{size(traffic.bytes_between)}. Within a host: "
        f"{times(traffic.messages_within, 'message')}, {size(traffic.bytes_within)}"
        f"{_uncounted(traffic)}."
    )
    between = [one for one in traffic.links if not one.within]
    measured = [one for one in between if one.delay_s is not None]
    slowest = next((one for one in measured if one.ends == traffic.slowest), None)
    some = " of which the delay is known" if len(measured) < len(between) else ""
    if not measured:
        yield "Which link between hosts was the slowest is not known."
    elif len(measured) > 1 and slowest is not None:
        yield f"The slowest link between hosts{some}: {ends_text(slowest)}."
    elif len(measured) > 1:
        yield f"No link between hosts{some} was clearly slower than the others."


def print_hosts(console: Console, summary: Summary, part: str = "") -> None:
    """Print where the replicas ran and what was sent, if a link connects two machines.

    Args:
        part: Which record of a run the summary is about; "" if the run has only one.
    """
    if not between_hosts(summary.hosts, summary.traffic):
        return
    labels, columns = host_columns(summary)
    title = TITLE.format(f" of {part}" if part else "")
    show_table(console, title, labels, columns, corner="host")
    traffic = summary.traffic
    if traffic is not None and traffic.direct:
        show_table(console, DIRECT_TITLE, *direct_columns(traffic), corner="hosts")
    console.print(Text(" ".join(sentences_on_hosts(traffic))))
    if traffic is not None:
        console.print(Text(about_delays(traffic), style="dim"))
    console.print()


def about_delays(traffic: HostTraffic) -> str:
    """Return what a delay is, and why some are missing."""
    missing = any(one.delay_s is None for one in traffic.of_program)
    return f"{DELAY} {NOT_MEASURED}" if missing else DELAY
