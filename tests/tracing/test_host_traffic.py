"""What hosts sent to each other: amounts by links, and delays without the difference of clocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tracing.host_clusters import S, merged
from varsim.tracing import round_trips, run_entries
from varsim.tracing.history import PROGRAM
from varsim.tracing.host_traffic import (
    CountedHost,
    CountedTraffic,
    Delay,
    HostTraffic,
    Moved,
    traffic_of,
)
from varsim.tracing.round_trips import IDLE_NS, MAX_KEPT, RoundTrips
from varsim.tracing.trace_format import RecordKind

A, B, C = (
    CountedHost(*one) for one in (("a", range(2), 0), ("b", range(2, 3), 1), ("c", range(3, 5), 2))
)
MS = 1_000_000
COUNTS = [Moved(10, 100), Moved(10, 101), Moved(7, 70), Moved(5, 50), Moved(4, 40)]

DELAYS = {0: Delay(4e-3, 3e-3), 1: Delay(3e-2, 2.5e-2), 2: Delay(2e-2, 1e-3)}


def counted(direct: Any = None, exchange: str = "star") -> CountedTraffic:
    return CountedTraffic(replicas=COUNTS, exchange=exchange, direct=direct)


def test_messages_are_within_the_programs_host_or_between_two() -> None:
    found = traffic_of([A, B, C], counted({}), DELAYS)

    assert [["", "a"], ["", "b"], ["", "c"]] == [one.ends for one in found.links]
    assert [True, False, False] == [one.within for one in found.links]
    assert [(20, 201), (7, 70), (9, 90)] == [(one.messages, one.size_bytes) for one in found.links]
    assert (20, 201, 16, 160) == (
        found.messages_within,
        found.bytes_within,
        found.messages_between,
        found.bytes_between,
    )
    assert (["a"], ["", "b"], "") == (found.program_on, found.slowest, found.uncounted)
    assert found.is_between_hosts
    assert found == HostTraffic.unpacked(found.packed())


def test_a_link_that_is_not_clearly_slower_is_not_named() -> None:
    """A quarter of its messages took less than the half of those of another link."""
    near = {**DELAYS, 1: Delay(3e-2, 1.9e-2)}
    found = traffic_of([A, B, C], counted({}), near)
    assert [3e-2, 2e-2] == [one.delay_s for one in found.links[1:]]
    assert [] == found.slowest
    busy = {**DELAYS, 0: Delay(6e-3, 3e-3)}
    assert [] == traffic_of([A, B, C], counted({}), busy).slowest, "waits for processes do as much"
    fast = {
        number: Delay(one.median_s / 100, one.quartile_s / 100) for number, one in DELAYS.items()
    }
    assert [] == traffic_of([A, B, C], counted({}), fast).slowest, "so does any busy host"
    alone = {2: DELAYS[2]}
    assert [] == traffic_of([A, B, C], counted({}), alone).slowest, "the other one is not known"
    assert ["", "b"] == traffic_of([A, B], counted({}), {1: DELAYS[1]}).slowest


def test_a_program_on_no_host_has_only_messages_between_hosts() -> None:
    hosts = [one._replace(machine=number) for number, one in enumerate((A, B, C), start=1)]
    found = traffic_of(hosts, counted({}))

    assert ([], 0, 36) == (found.program_on, found.messages_within, found.messages_between)
    assert [] == found.slowest, "no delay is known"


def test_agents_on_one_machine_are_not_two_machines() -> None:
    found = traffic_of([one._replace(machine=0) for one in (A, B, C)], counted({}))
    assert not found.is_between_hosts
    assert (["a", "b", "c"], 0) == (found.program_on, found.messages_between)


def test_what_an_exchange_moves_outside_messages_is_added_by_links() -> None:
    """The first host gives to the second one and gets back; workers of one host share memory."""
    direct = {(0, 1): Moved(2, 1_000), (1, 0): Moved(1, 500), (2, 2): Moved(3, 30)}
    found = traffic_of([A, B, C], counted(direct, "chain"))

    assert [(["a", "b"], False, 3, 1_500), (["c", "c"], True, 3, 30)] == [
        (one.ends, one.within, one.messages, one.size_bytes) for one in found.direct
    ]
    assert (231, 1_660) == (found.bytes_within, found.bytes_between)


def test_an_exchange_that_counts_nothing_is_named() -> None:
    assert "mine" == traffic_of([A, B, C], counted(None, "mine")).uncounted


@pytest.mark.parametrize("direct", [None, {}, {(0, 1): Moved(2, 3)}])
def test_counts_are_kept_as_json(direct: Any) -> None:
    assert counted(direct) == CountedTraffic.unpacked(counted(direct).packed())


@pytest.mark.parametrize("ahead_ns", [0, 3_600 * S, -(10**15)])
def test_the_difference_of_clocks_is_not_in_the_delay(ahead_ns: int) -> None:
    """Each message takes 5 ms there and 7 ms back; the replica has it for 100 ms."""
    trips = RoundTrips()
    trips.take(0, [int(RecordKind.BEGUN), ahead_ns - MS])
    for start in (0, 1_000 * MS):
        for process, kind, peer, at_ns in (
            (PROGRAM, RecordKind.SENT, 0, start),
            (0, RecordKind.RECEIVED, PROGRAM, start + 5 * MS + ahead_ns),
            (0, RecordKind.SENT, PROGRAM, start + 105 * MS + ahead_ns),
            (0, RecordKind.SENT, PROGRAM, start + 106 * MS + ahead_ns),  # answers nothing
            (PROGRAM, RecordKind.RECEIVED, 0, start + 112 * MS),
            (PROGRAM, RecordKind.RECEIVED, 0, start + 500 * MS),
        ):
            trips.take(process, [int(kind), at_ns, peer])
    trips.take(PROGRAM, [int(RecordKind.RECEIVED), 0, 1])  # the sender's record ends too early

    assert Delay(6e-3, 6e-3) == trips.delay([0])
    assert None is trips.delay([1])


@pytest.mark.parametrize("busy", [PROGRAM, 0])
def test_a_message_that_waits_for_a_busy_receiver_is_not_measured(busy: int) -> None:
    """Just before the receipt, the receiver did something else."""
    trips = RoundTrips()
    trips.take(0, [int(RecordKind.BEGUN), -MS])
    for process, kind, peer, at_ns in (
        (PROGRAM, RecordKind.SENT, 0, 0),
        (0, RecordKind.RECEIVED, PROGRAM, 5 * MS),
        (0, RecordKind.SENT, PROGRAM, 6 * MS),
        (PROGRAM, RecordKind.RECEIVED, 0, 12 * MS),
    ):
        if process == busy and kind is RecordKind.RECEIVED:
            trips.take(process, [int(RecordKind.READ), at_ns - IDLE_NS + 1])
        trips.take(process, [int(kind), at_ns, peer])

    assert None is trips.delay([0])


def test_few_of_very_many_round_trips_are_kept() -> None:
    trips = RoundTrips()
    for start in range(3 * MAX_KEPT):
        now_ns = start * MS
        trips.take(PROGRAM, [int(RecordKind.SENT), now_ns, 0])
        trips.take(0, [int(RecordKind.RECEIVED), now_ns, PROGRAM])
        trips.take(0, [int(RecordKind.SENT), now_ns, PROGRAM])
        trips.take(PROGRAM, [int(RecordKind.RECEIVED), now_ns + IDLE_NS + 2 * start, 0])

    assert MAX_KEPT / 4 <= len(trips._kept[0].times_ns) <= MAX_KEPT
    delay = trips.delay([0])
    assert delay is not None
    assert 1.5 * MAX_KEPT + IDLE_NS / 2 == pytest.approx(delay.median_s * S, rel=0.01)
    assert 0.75 * MAX_KEPT + IDLE_NS / 2 == pytest.approx(delay.quartile_s * S, rel=0.01)


def test_a_history_has_the_traffic_of_its_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster whose replicas 0 and 1 are on two hosts; the program is on the first one."""
    monkeypatch.setattr(round_trips, "IDLE_NS", 0)  # in a simulated cluster, nothing waits
    with merged(tmp_path, COUNTS[:2]) as history:
        traffic = history.traffic
        assert traffic is not None
        assert [("cpu:0", "a"), ("cpu:1", "b")] == [history.place_of(i)[::-1] for i in range(2)]
    assert ([["", "a"], ["", "b"]], ["a"], ["", "b"]) == (
        [one.ends for one in traffic.links],
        traffic.program_on,
        traffic.slowest,
    )


def test_a_history_of_a_version_that_counted_nothing_has_no_traffic(tmp_path: Path) -> None:
    with merged(tmp_path, None) as history:
        assert None is history.traffic
        assert ["a", "b"] == [one["name"] for one in history.hosts]


@pytest.mark.parametrize(
    ("key", "value"),
    [("links", [7]), ("links", [{}]), ("slowest", [1]), ("bytes_between", -1), ("more", 1)],
)
def test_a_damaged_traffic_is_found(key: str, value: object) -> None:
    raw = traffic_of([A, B, C], counted({})).packed()
    valid, _ = run_entries.ENTRIES["traffic"]
    assert valid(raw)
    assert not valid({**raw, key: value})
    assert not valid([raw])
