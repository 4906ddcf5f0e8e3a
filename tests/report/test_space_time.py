"""Space-time diagrams of events."""

from __future__ import annotations

import pytest

from tests.analysis.build import HistoryBuilder
from varsim.report.space_time import MOST_ROWS, space_time, without_column

NAMES = {1: "w"}


def story(replicas: int) -> HistoryBuilder:
    told = HistoryBuilder(replicas)
    told.variable("w", "ON_WRITE", "SUM", "float32", "[]")
    return told


def test_every_process_has_a_column():
    told = story(2)
    told.add(-1, "write", "w", 3.0, operation="assign", replica=1)
    told.add(-1, "commit", "w", 3.0, operation="assign", version=4, replica=1)
    told.add(1, "install", "w", operation="assign", version=4)
    told.add(1, "read", "w", digest_of=3.0, version=4)

    assert (
        """\
event  program                              replica 1
─────  ───────────────────────────────────  ───────────────────────────────────
    1  write w of replica 1 assign 3
    2  commit w of replica 1 assign v4 3
    3                                       install w v4
    4                                       read w v4 #3e0f0fc9""".splitlines()[:-1]
        == (lines := space_time(told.events, NAMES))[:-1]
    )
    assert "read w v4 #" in lines[-1]


def test_a_sparse_write_shows_its_indices():
    told = HistoryBuilder(1)
    told.variable("w", "NONE", "NONE", "float32", "[9]")
    told.add(0, "write", "w", [1.0, 2.0, 3.0, 4.0], at=[7, 0, 7, 2], operation="scatter_add")
    lines = space_time(told.events, NAMES)

    assert "rows [7 0 7 …]: [1 2 3 …]" in " ".join(" ".join(lines).split())


def test_an_arrival_shows_the_operation_of_all_workers_or_the_name_of_the_collective():
    told = HistoryBuilder(1)
    for columns in (
        {"operation": "cross_replica", "note": "read of variable 'w'"},
        {"operation": "all_reduce", "note": "loss"},
        {"operation": "merge_call"},
    ):
        told.add(0, "arrive", None, call=1, position=0, **columns)

    assert [
        "1  arrive call 1 read of variable 'w'",
        "2  arrive call 1 all_reduce 'loss'",
        "3  arrive call 1 merge_call",
    ] == [line.strip() for line in space_time(told.events, {})[2:]]


@pytest.mark.parametrize("replicas", [1, 2, 3, 4, 5, 40])
def test_a_table_fits_in_80_columns(replicas: int):
    told = story(replicas)
    told.variable("a_variable_with_a_very_long_name_indeed", "NONE", "NONE", "float64", "[9]")
    for replica in range(replicas):
        name = "a_variable_with_a_very_long_name_indeed"
        value = [1e300 / 3] * 9
        columns = {"operation": "assign_sub", "call": 10**9, "position": 10**6}
        told.add(replica, "write", name, value, **columns)
    lines = space_time(told.events, {2: "a_variable_with_a_very_long_name_indeed"})

    assert max(map(len, lines)) <= 80
    assert len(lines) >= replicas + 2 if replicas <= MOST_ROWS else "16 more" in "\n".join(lines)


@pytest.mark.parametrize(("replicas", "width"), [(2, 80), (3, 100), (4, 100), (5, 80)])
def test_a_wider_table_is_used_only_for_a_column_of_each_process(replicas: int, width: int):
    told = story(replicas)
    for process in range(-1, replicas):
        told.add(process, "read", "w", 0.0, version=0)
    head, rule, *_ = space_time(told.events, NAMES, widest=100)

    assert (replicas < 5) == (f"replica {replicas - 1}" in head)
    assert len(rule) <= width
    assert (len(rule) > 80) == (width > 80)


def test_the_middle_of_many_events_is_left_out():
    told = story(1)
    for _ in range(100):
        told.add(0, "read", "w", 0.0, version=0)
    lines = space_time(told.events, NAMES)

    assert 2 + MOST_ROWS + 1 == len(lines)
    assert "⋮  76 more" == lines[2 + MOST_ROWS // 2].strip()


@pytest.mark.parametrize(
    ("processes", "absent"),
    [
        ([-1, 0, 1, 2], ""),
        ([-1, 0, 2], "replica 1"),
        ([1], "the program and replicas 0, 2"),
        ([0, 1, 2], "the program"),
    ],
)
def test_processes_without_a_column_are_named(processes: list[int], absent: str):
    told = story(3)
    for process in processes:
        told.add(process, "read", "w", 0.0, version=0)
    said = without_column(told.events, range(-1, 3))

    wanted = f"No column for {absent}: nothing happened there during these events."
    assert (wanted if absent else "") == said


def test_an_unreadable_value_is_shown_as_unreadable():
    told = story(1)
    told.add(0, "read", "w", 0.0, version=0)
    event = told.events[0]._replace(dtype="x", variable=9)

    assert "read variable 9 v0 (unreadable)" in space_time([event], NAMES)[-1]
    assert [] == space_time([], NAMES)
