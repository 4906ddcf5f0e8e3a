"""The judge and the record of collectives of process groups: only the members take part."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import varsim as tf
from tests.analysis.golden import verdicts
from tests.replica_context import replica_id
from varsim.analysis.examination import examine
from varsim.analysis.outcome import Outcome
from varsim.errors import HistoryError
from varsim.report.event_page import event_text
from varsim.testing import simulated_cluster
from varsim.tracing.history import HISTORY, Event, open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions
from varsim.whatif.play import play
from varsim.whatif.reading import recorded_program

GROUPS = """
replicas 3
program call call=1 as start
0 begin call=1 after start
1 begin call=1 after start
2 begin call=1 after start
0 arrive call=1 position=0 members=[0,2] operation=all_reduce as came0
1 arrive call=1 position=0 members=[1] operation=all_reduce as came1
program receive replica=1 after came1
program answer call=1 position=0 members=[1] operation=reduced
program receive replica=0 after came0
2 arrive call=1 position=0 members=[0,2] operation=all_reduce as came2
program receive replica=2 after came2
program answer call=1 position=0 members=[0,2] operation=reduced
0 return call=1 as end0
1 return call=1 as end1
2 return call=1 as end2
program receive replica=0 after end0
program receive replica=1 after end1
program receive replica=2 after end2
program finish call=1
"""


def wrong(text: str, folder: Path) -> dict[str, str]:
    """Return the reasons of the verdicts that are not VALID. The texts have no values to judge."""
    found = verdicts(text, folder)
    del found["collectives"]
    return {name: one.reason for name, one in found.items() if one.outcome is not Outcome.VALID}


def test_groups_with_equal_positions_are_valid(tmp_path: Path):
    assert {} == wrong(GROUPS, tmp_path)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            "program receive replica=2 after came2\n",
            "",
            {"atomic": "a collective is answered before all members have arrived"},
        ),
        (
            "position=0 members=[0,2] operation=all_reduce as came2",
            "position=0 members=[2] operation=all_reduce as came2",
            {"atomic": "a collective is answered before all members have arrived"},
        ),
        (
            "0 return call=1",
            "2 arrive call=1 position=0 members=[0,2] operation=all_reduce\n0 return call=1",
            {"atomic": "replica 2 arrives at position 0 after 0"},
        ),
    ],
)
def test_a_wrong_collective_of_a_group_is_invalid(before, after, expected, tmp_path: Path):
    assert 1 == GROUPS.count(before)
    assert expected == wrong(GROUPS.replace(before, after), tmp_path)


def with_members(members: str) -> str:
    """Return the history with another group at the arrival of replica 0."""
    text = GROUPS.replace("members=[0,2] operation=all_reduce as came0", f"members={members}")
    text = text.replace("position=0 members=", "position=0 operation=all_reduce members=", 1)
    return text.replace(" after came0", "")


@pytest.mark.parametrize("members", ["[2,0]", "[]", "[0,0]", "[0,1,2]", "[1]"])
def test_a_wrong_group_is_an_invalid_row(members: str, tmp_path: Path):
    reasons = wrong(with_members(members), tmp_path)

    assert "is not a valid group of a collective of process 0" in reasons["record"]


@pytest.mark.parametrize("members", ["[0,3]", "0", "[0", '["0"]', "[true]"])
def test_a_history_whose_group_is_no_list_of_replicas_is_not_opened(members: str, tmp_path: Path):
    with pytest.raises(HistoryError, match="must be a JSON list of replicas from 0 to 2"):
        wrong(with_members(members), tmp_path)


# ---------------------------------------------------------------- a recorded run


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record a run with collectives of groups and of all replicas; return its folder."""
    folder = tmp_path_factory.mktemp("groups")
    with simulated_cluster(7):
        devices = [f"cpu:{i}" for i in range(3)]
        strategy = tf.distribute.MirroredStrategy(devices, trace=TraceOptions(folder))
        with strategy.scope():
            own = tf.Variable(
                np.float32(0),
                name="own",
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.SUM,
            )
        pair = strategy.group([0, 2])

        def step() -> None:
            context = tf.distribute.get_replica_context()
            if replica_id() in pair:
                for name in ("first", "second"):
                    total = context.all_reduce("SUM", np.float32(1), name=name, group=pair)
                    own.assign_add(total)
                context.barrier("done", group=pair)
            mean = context.all_reduce("MEAN", np.float32(replica_id()), name="all")
            own.assign_sub(mean)

        for _ in range(3):
            strategy.run(step)
        assert 3 * (8.0 - 3.0) == float(own.read_value())
        strategy.close()
    merge(folder, folder)
    return folder


def arrivals(file: Path) -> list[Event]:
    with open_history(file) as history:
        events = history.events("position IS NOT NULL AND call = 1")
        return [one for one in events if one.kind in {"arrive", "answer"}]


def test_a_record_has_the_members_of_each_collective(recorded: Path):
    found = {(one.process, one.position, one.group, one.note) for one in arrivals(recorded)}

    assert {
        (0, 0, (0, 2), "first"),
        (2, 0, (0, 2), "first"),
        (-1, 0, (0, 2), None),
        (0, 1, (0, 2), "second"),
        (2, 1, (0, 2), "second"),
        (-1, 1, (0, 2), None),
        (0, 0, (), "all"),
        (1, 0, (), "all"),
        (2, 0, (), "all"),
        (-1, 0, (), None),
    } == found


def test_a_record_has_the_members_of_each_barrier(recorded: Path):
    with open_history(recorded) as history:
        found = [
            (one.process, one.group, one.note)
            for one in history.events("kind = 'request' AND call = 1")
        ]

    assert [(0, (0, 2), "done"), (2, (0, 2), "done")] == sorted(found)


@pytest.mark.parametrize(("changed", "group"), [("process = 2", "[2]"), ("process = 0", "[0,1]")])
def test_a_barrier_that_ends_without_a_member_is_found(
    changed: str, group: str, recorded: Path, tmp_path: Path
):
    file = tmp_path / HISTORY
    file.write_bytes((recorded / HISTORY).read_bytes())
    with closing(sqlite3.connect(file)) as connection:
        update = f"UPDATE events SET members = ? WHERE kind = 'request' AND call = 2 AND {changed}"
        connection.execute(update, (group,))
        connection.commit()

    with open_history(file) as history:
        found = {one.checker: one for one in examine(history).verdicts}
    assert Outcome.INVALID is found["coordination"].outcome
    assert "before all members have arrived" in found["coordination"].reason


def test_a_recorded_run_with_groups_is_valid_and_has_no_findings(recorded: Path):
    with open_history(recorded) as history:
        found = examine(history)

    assert {Outcome.VALID} == {verdict.outcome for verdict in found.verdicts}
    assert () == tuple(found.findings)


def test_an_answer_without_the_arrival_of_a_member_is_found(recorded: Path, tmp_path: Path):
    file = tmp_path / HISTORY
    file.write_bytes((recorded / HISTORY).read_bytes())
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(
            "UPDATE events SET members = '[2]' WHERE kind = 'arrive' AND process = 2 AND call = 2 "
            "AND position = 0 AND members IS NOT NULL"
        )
        connection.commit()

    with open_history(file) as history:
        found = {one.checker: one for one in examine(history).verdicts}
    assert Outcome.INVALID is found["atomic"].outcome
    assert "before all members have arrived" in found["atomic"].reason


def test_an_event_of_a_group_names_its_members(recorded: Path):
    with open_history(recorded) as history:
        (first, *_) = history.events("kind = 'arrive' AND members IS NOT NULL")
        text = " ".join(" ".join(event_text(history, first.event, 100)).split())

    assert "number 0 of this call, in the group of replicas 0, 2" in text
    assert "all_reduce (group of replicas 0, 2)" in text


def test_a_recorded_run_with_groups_can_be_played_again(recorded: Path):
    with open_history(recorded) as history:
        program = recorded_program(history)
        (read,) = history.events("kind = 'read' AND process = -1")

    played = play(program, program.settings())
    assert 15.0 == float(played.values[read.event])
