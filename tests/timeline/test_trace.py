"""`varsim trace`: the file is valid, and shows calls, waits, reductions, messages and bytes."""

from __future__ import annotations

import copy
import gzip
import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import chdir, closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.cli.test_server_runs import SCRIPT as SERVERS
from tests.timeline.trace_event_format import Entry, problems
from tests.tracing.host_clusters import merged
from varsim.cli.main import main
from varsim.testing import simulated_cluster
from varsim.tracing.host_traffic import Moved

HEAD = """
import numpy as np
import varsim as tf

strategy = tf.distribute.MirroredStrategy(["a", "b", "c"])
with strategy.scope():
    kept = tf.Variable(0.0, name="kept", aggregation=tf.VariableAggregation.SUM)
    seen = tf.Variable([0, 0], name="seen", aggregation=tf.VariableAggregation.SUM,
                       synchronization=tf.VariableSynchronization.ON_READ)
"""
MERGES = f"""{HEAD}
def step():
    kept.assign_add(1.0)
    seen.assign_add([1, 2])
    return kept.read_value()

for _ in range(4):
    strategy.run(step)
print(seen.numpy())
"""
COLLECTIVES = f"""{HEAD}
def step():
    context = tf.distribute.get_replica_context()
    total = context.all_reduce("SUM", np.float32([1, 2]))
    context.merge_call(lambda strategy: kept.assign(3.0))
    with context.lock("one"):
        seen.assign_add([1, 1])
    return total

print(strategy.reduce("SUM", strategy.run(step), axis=None))
"""
STALE = f"""{HEAD}
def step():
    seen.read_value()
    seen.assign_add([1, 2])

for _ in range(3):
    strategy.run(step)
"""
FAILS = f"""{HEAD}
def step():
    if tf.distribute.get_replica_context().replica_id_in_sync_group == 1:
        raise ValueError("no data")
    kept.assign_add(1.0)
    kept.read_value()

strategy.run(step)
"""


pytestmark = pytest.mark.usefixtures("in_one_process")


def varsim(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def traced(script: str, *words: str, code: int = 0) -> dict[str, Any]:
    Path("script.py").write_text(script)
    assert code == varsim("exec", "script.py").exit_code
    result = varsim("trace", *words)
    assert 0 == result.exit_code, result.output
    document = json.loads(Path("trace.json").read_text())
    assert [] == problems(document)
    assert isinstance(document, dict)
    return document


@pytest.fixture(scope="module")
def timeline(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run `MERGES` one time, and return its timeline. Tests do not change it."""
    with chdir(tmp_path_factory.mktemp("merges")), simulated_cluster():
        return traced(MERGES)


def entries(document: dict[str, Any], phase: str) -> list[Entry]:
    return [one for one in document["traceEvents"] if one["ph"] == phase]


def tracks(document: dict[str, Any]) -> dict[int, str]:
    named = [one for one in entries(document, "M") if one["name"] == "thread_name"]
    return {one["tid"]: one["args"]["name"] for one in named}


def test_each_contribution_leads_to_its_reduction_the_commit_and_the_read(
    timeline: dict[str, Any],
):
    replicas = {2: "replica 0", 3: "replica 1", 4: "replica 2"}
    assert {1: "program", **replicas} == tracks(timeline)
    slices = entries(timeline, "X")
    assert 4 * (1 + 3) == sum(one["cat"] == "call" for one in slices)
    assert 4 == sum(one["name"] == "reduce kept" for one in slices)
    assert 4 * 3 == sum(one["name"] == "wait for kept" for one in slices)
    flows = [one for one in timeline["traceEvents"] if one.get("cat") == "flow"]
    merges = {one["id"] for one in flows if one["name"] == "merge"}
    assert 4 * 3 == len(merges)
    for number in merges:
        first, *middle, last = [one for one in flows if one["id"] == number]
        assert [1, 1, first["tid"]] == [one["tid"] for one in middle]
        on = {one["name"]: one for one in slices if holds(one, first) or holds(one, last)}
        assert {"assign_add kept", "read kept"} <= on.keys()


def holds(one: Entry, point: Entry) -> bool:
    on_track = (one["pid"], one["tid"]) == (point["pid"], point["tid"])
    return on_track and one["ts"] <= point["ts"] < one["ts"] + one["dur"]


@pytest.mark.parametrize("script", [MERGES, COLLECTIVES])
def test_no_arrow_goes_back_in_time(script: str):
    """Each process notes its times by itself: here those of replicas are too early."""
    traced(script)
    with closing(sqlite3.connect("runs/latest/history.db")) as connection:
        connection.execute("UPDATE events SET time_s = time_s - 10 * (process >= 0)")
        connection.commit()

    assert 0 == varsim("trace").exit_code
    assert [] == problems(json.loads(Path("trace.json").read_text()))


def test_the_bytes_of_each_variable_are_counted(timeline: dict[str, Any]):
    last = {one["name"]: one["args"]["bytes"] for one in entries(timeline, "C")}
    assert {"given by replicas: kept": 4 * 3 * 4, "given by replicas: seen": 3 * 2 * 4} == last


def test_a_number_in_the_file_is_that_of_check():
    (read, *_) = [one for one in entries(traced(MERGES), "X") if one["name"] == "read kept"]

    shown = varsim("check", "--event", str(read["args"]["event"])).output
    assert "kept" in shown
    assert read["args"]["location"].split(":")[0].endswith("script.py")


def test_collectives_locks_and_merge_calls_are_slices():
    names = {one["name"] for one in entries(traced(COLLECTIVES), "X")}

    assert {"wait at all_reduce", "wait at merge_call", "wait for lock one"} <= names
    assert {"reduce for reduced", "release"} <= names


def test_a_failure_is_marked():
    document = traced(FAILS, code=1)

    marks = [(one["name"], one["tid"]) for one in entries(document, "i")]
    assert ("raise", 3) in marks


def test_findings_are_marks_at_the_events_that_show_them():
    document = traced(STALE)

    marks = [one for one in entries(document, "i") if one["cat"] == "finding"]
    assert {"stale read: seen"} == {one["name"] for one in marks}
    assert {2, 3, 4} == {one["tid"] for one in marks}, "one on the track of each replica"
    slices = {one["args"]["event"]: one for one in entries(document, "X") if one["cat"] == "read"}
    for mark in marks:
        read = slices[mark["args"]["event"]]
        assert (mark["tid"], mark["ts"]) == (read["tid"], read["ts"])
        assert re.fullmatch(r"script.py:\d+ \(6 x\)", Path(mark["args"]["at"]).name)
    windowed = traced(STALE, "--calls", "1:2")
    assert [] == [one for one in entries(windowed, "i") if one["cat"] == "finding"]


@pytest.mark.parametrize(
    ("after", "expected"),
    [(4, {"call 2", "call 3"}), (10**23, {"call 2", "call 3", "call 4"})],
)
def test_a_window_has_only_its_calls(after: int, expected: set[str]):
    """An end beyond the record may be larger than the integers of SQLite."""
    document = traced(MERGES, "--calls", f"2:{after}")

    calls = {one["name"] for one in entries(document, "X") if one["cat"] == "call"}
    assert expected == calls


def test_a_compressed_file_has_the_same_entries():
    document = traced(MERGES)
    varsim("trace", "-o", "trace.json.gz")

    assert document == json.loads(gzip.decompress(Path("trace.json.gz").read_bytes()))


def test_each_parameter_server_has_a_track():
    document = traced(SERVERS)

    assert {1: "parameter server 0"} == tracks(document)
    names = [one["name"] for one in entries(document, "X")]
    assert 20 == names.count("assign v")
    assert 20 == names.count("scatter_add table")
    assert 20 == len(entries(document, "s"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--calls", "7:9"), "--calls 7:9: the record has the calls 1 to 4"),
        (("--calls", f"{10**22}:{10**23}"), "0: the record has the calls 1 to 4"),
        (("--calls", "7"), "--calls: invalid window '7': write 100:200"),
        (("-o", "none/trace.json"), "none does not exist; name a file in a folder"),
        (("elsewhere",), "there is no run 'elsewhere'"),
    ],
)
def test_wrong_arguments_leave_no_file(words: tuple[str, ...], said: str):
    Path("script.py").write_text(MERGES)
    varsim("exec", "script.py")
    result = varsim("trace", *words)

    assert result.exit_code == (6 if "-o" in words else 2)
    assert said in " ".join(result.output.split())
    assert not [*Path().glob("*trace.json*"), *Path().glob(".*trace*")]


def test_servers_have_no_window():
    traced(SERVERS)
    result = varsim("trace", "--calls", "1:2")

    assert 2 == result.exit_code
    assert "has no calls of strategy.run" in " ".join(result.output.split())


def _first(phase: str, change: Callable[[Entry], Any]) -> Callable[[list[Entry]], Any]:
    return lambda found: change(next(one for one in found if one["ph"] == phase))


def _last_slice_early(found: list[Entry]) -> None:
    """Let a slice begin in the middle of the first call, and end after it."""
    slices = [one for one in found if one["ph"] == "X" and one["tid"] == 1]
    first = next(one for one in slices if one["cat"] == "call")
    slices[-1].update(ts=first["ts"] + first["dur"] / 2, dur=first["dur"])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_first("X", lambda one: one.update(tid=0)), "the viewer drops"),
        (_last_slice_early, "overlaps another slice"),
        (_first("X", lambda one: one.pop("dur")), "lacks ['dur']"),
        (_first("X", lambda one: one.update(tid=9)), "has no name"),
        (_first("s", lambda one: one.update(ts=1e9)), "is in no slice"),
        (_first("s", lambda one: one.update(ts=1e9)), "goes back in time"),
        (_first("f", lambda one: one.update(id=10**6)), "has the points"),
        (_first("C", lambda one: one["args"].update(bytes=10**6)), "is less than before"),
    ],
)
def test_the_validator_finds_faults(
    timeline: dict[str, Any], damage: Callable[[list[Entry]], Any], said: str
):
    document = copy.deepcopy(timeline)
    damage(document["traceEvents"])

    assert said in " ".join(problems(document))


def test_tracks_have_hosts_and_devices_and_the_label_has_the_bytes_between_hosts(tmp_path: Path):
    with merged(tmp_path / "run", [Moved(7, 1_024), Moved(5, 2_048)]):
        pass
    out = tmp_path / "trace.json"
    result = CliRunner().invoke(main, ["trace", str(tmp_path / "run"), "-o", str(out)])
    assert 0 == result.exit_code, result.output

    document = json.loads(out.read_text())
    assert [] == problems(document)
    assert {"program", "replica 0 on a (cpu:0)", "replica 1 on b (cpu:1)"} == set(
        tracks(document).values()
    )
    (labels,) = (
        one["args"]["labels"] for one in document["traceEvents"] if one["name"] == "process_labels"
    )
    assert "between hosts 2.00 KiB, within a host 1.00 KiB" == labels
