"""Times of other hosts are converted to the program's clock, with an error that is stated."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.judged import not_valid
from tests.tracing.host_clusters import AHEAD, S, trained
from varsim.errors import TraceError
from varsim.tracing.history import HISTORY, open_history
from varsim.tracing.host_clocks import (
    HOSTS,
    ClockReading,
    RecordedHost,
    RecordedHosts,
    conversions,
    read_hosts,
    write_hosts,
)
from varsim.tracing.host_traffic import CountedTraffic, Moved
from varsim.tracing.merge import merge


@given(
    st.integers(0, 10**15),
    st.integers(-(10**15), 10**15),
    st.integers(0, 10**9),
    st.integers(0, 10**9),
)
def test_the_error_of_a_reading_is_a_bound(
    asked_ns: int, ahead_ns: int, there_ns: int, back_ns: int
) -> None:
    """However the time of a question is divided into the ways there and back."""
    answer_ns = asked_ns + there_ns + ahead_ns
    reading = ClockReading.of(asked_ns, answer_ns, asked_ns + there_ns + back_ns)
    assert abs(reading.ahead_ns - ahead_ns) <= reading.error_ns


def test_a_clock_that_drifts_is_converted_between_two_readings() -> None:
    """The host's clock is 100 s ahead, and gains 1 ms in 10 s."""
    first, last = ClockReading(100 * S, 100 * S, 5), ClockReading(110 * S, 100 * S + S // 1000, 9)
    host = RecordedHost("b", 2, 4, (first, last))

    assert 0 == host.on_program_clock(100 * S)
    assert 5 * S - S // 2000 == host.on_program_clock(105 * S)
    assert 10 * S - S // 1000 == host.on_program_clock(110 * S)
    assert 20 * S - S // 1000 == host.on_program_clock(120 * S), "afterwards, as at the last one"
    assert 9 == host.error_ns
    assert {2, 3} == conversions([host]).keys()
    assert {} == conversions([RecordedHost("b", 2, 4, ())])
    times = [host.on_program_clock(one) for one in range(99 * S, 121 * S, S // 7)]
    assert sorted(times) == times


def test_the_hosts_are_kept_beside_the_traces(tmp_path: Path) -> None:
    assert RecordedHosts() == read_hosts(tmp_path)
    first = RecordedHost("a", 0, 2, (ClockReading(1, -2, 3),), ("cpu:0", "cpu:1"), 1)
    counted = CountedTraffic(replicas=[Moved(1, 2)] * 3, exchange="star", direct={})
    for counts in (None, counted):
        hosts = RecordedHosts((first, RecordedHost("b", 2, 3, ())), counts)
        write_hosts(tmp_path, hosts)
        assert hosts == read_hosts(tmp_path)
    (tmp_path / HOSTS).write_text('[{"name": "b", "first": 2, "end": 3, "readings": []}]')
    assert RecordedHosts((RecordedHost("b", 2, 3, ()),)) == read_hosts(tmp_path), "an older one"
    for damaged in ("", "{}", "[7]", '[{"name": "a"}]', '{"hosts": [], "counted": {}}'):
        (tmp_path / HOSTS).write_text(damaged)
        with pytest.raises(TraceError, match="it is damaged"):
            read_hosts(tmp_path)


def test_a_history_has_all_times_on_the_programs_clock(tmp_path: Path) -> None:
    """The record of a cluster, as if replica 1 had run on a host that started an hour earlier."""
    traces = tmp_path / "traces"
    trained(traces)

    merge(traces, tmp_path / "as_it_was.db")
    hosts = RecordedHost("a", 0, 1, ()), RecordedHost("b", 1, 2, (AHEAD,))
    write_hosts(traces, RecordedHosts(hosts))
    merge(traces, tmp_path / HISTORY)

    with open_history(tmp_path) as history:
        assert [("a", [0], None), ("b", [1], 0.002)] == [
            (one["name"], one["replicas"], one["clock_error_s"]) for one in history.hosts
        ]
        assert ["", "a", "b", ""] == [history.host_of(one) for one in (-1, 0, 1, 2)]
    with (
        closing(sqlite3.connect(tmp_path / "as_it_was.db")) as before,
        closing(sqlite3.connect(tmp_path / HISTORY)) as after,
    ):
        query = "SELECT min(time_s) FROM events WHERE process = 1"
        ((was,),), ((now,),) = before.execute(query), after.execute(query)
    assert was - 3_600 == pytest.approx(now)
    assert [] == not_valid(traces), "the causes of events do not depend on the clocks"
