"""The judge of parameter servers: every value is recomputed, and lost updates are counted."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import varsim as tf
from tests.effort import many
from varsim.analysis.outcome import Outcome
from varsim.analysis.served import REPEATED_WRITE, ServedExamination, examine_servers
from varsim.cli.main import main
from varsim.errors import ConfigError, StartError, TraceError
from varsim.spec import Rows
from varsim.testing import simulated_cluster
from varsim.tracing.recorded_values import FRAME_LIMIT_BYTES
from varsim.tracing.served_record import server_records
from varsim.tracing.trace import Trace, TraceOptions, open_server_trace

Strategy = tf.distribute.ParameterServerStrategy
FixedShards = tf.distribute.experimental.partitioners.FixedShardsPartitioner
NOT_READ = -1


def recorded(folder: Path, seed: int | None, steps_of: Any, count: int = 20) -> tuple[Any, Any]:
    """Run closures on 3 workers; return the final value of the variable, and its judgement."""
    with simulated_cluster(seed):
        strategy = Strategy(workers=3, servers=2, trace=TraceOptions(folder))
        coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
        with strategy.scope():
            v = tf.Variable(0.0, name="v")
        step = steps_of(v)
        for _ in range(count):
            coordinator.schedule(step)
        coordinator.join()
        final = float(v.numpy())
        strategy.close()
    return final, examine_servers(server_records(folder))


@pytest.mark.parametrize("seed", range(many(8)))
def test_lost_updates_are_counted_exactly(tmp_path: Path, seed: int) -> None:
    final, found = recorded(tmp_path, seed, lambda v: lambda: v.assign(v + 1.0))

    (account,) = found.accounts
    assert 20 - final == account.lost
    assert Outcome.VALID is found.outcome
    assert 20 == account.writes == sum(often for _, often in account.behind)
    assert [account.lost] * bool(account.lost) == [one.count for one in found.findings]


def test_the_finding_says_how_many_and_where(tmp_path: Path) -> None:
    final, found = recorded(tmp_path, 1, lambda v: lambda: v.assign(v + 1.0))

    (finding,) = found.findings
    lost = int(20 - final)
    assert lost > 0
    assert finding.what.startswith(
        f"20 assigns came after a read in the same closure: {lost} of 20 updates are lost"
    )
    assert ("v", lost) == (finding.variable, finding.locations[0][1])
    assert "test_served.py:" in finding.locations[0][0]
    assert "v.assign_add(change)" in finding.remedy


@pytest.mark.parametrize("seed", range(many(4)))
def test_atomic_writes_lose_nothing(tmp_path: Path, seed: int) -> None:
    final, found = recorded(tmp_path, seed, lambda v: lambda: v.assign_add(1.0))

    assert 20.0 == final
    assert (0, ()) == (found.accounts[0].lost, found.findings)


def test_an_addition_on_an_older_version_is_stale_but_not_lost(tmp_path: Path) -> None:
    """Asynchronous training: a gradient is computed from a value that others then change."""
    _, found = recorded(tmp_path, 1, lambda v: lambda: v.assign_sub(v.read_value() * 0 - 1.0))

    (account,) = found.accounts
    assert max(behind for behind, _ in account.behind) > 0
    assert (0, ()) == (account.lost, found.findings)


@pytest.mark.filterwarnings("ignore::varsim.VarsimWarning")
def test_writes_of_closures_that_ran_again_are_counted_exactly(tmp_path: Path) -> None:
    """Whenever the worker is lost, the value is the number of closures and of repeated writes."""
    repeated = set()
    for death in range(1, 12):
        folder = tmp_path / str(death)
        with simulated_cluster(deaths={1: death}):
            strategy = Strategy(workers=2, trace=TraceOptions(folder))
            coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
            with strategy.scope():
                v = tf.Variable(0.0, name="v")
            for _ in range(10):
                coordinator.schedule(lambda v=v: v.assign_add(1.0))
            coordinator.join()
            final = float(v.numpy())
            strategy.close()
        found = examine_servers(server_records(folder))
        (account,) = found.accounts
        assert final == 10 + account.repeated
        assert [REPEATED_WRITE] * bool(account.repeated) == [one.kind for one in found.findings]
        repeated.add(account.repeated)
        for finding in found.findings:
            assert "1 closure ran again (on workers 0, 1)" in finding.what
            assert "1 of 11 writes happened twice" in finding.what

    assert {0, 1} == repeated


def test_an_assign_without_a_read_overwrites_on_purpose(tmp_path: Path) -> None:
    _, found = recorded(tmp_path, 1, lambda v: lambda: v.assign(7.0))

    assert () == found.findings


@pytest.mark.filterwarnings("ignore::varsim.VarsimWarning")
@pytest.mark.parametrize("seed", range(many(15)))
def test_every_program_is_judged_valid(tmp_path: Path, seed: int) -> None:
    """Dense and sparse writes, reads, shards and the program's own operations, in any order."""
    chance = random.Random(seed)
    with simulated_cluster(seed, deaths={0: 60} if seed % 3 == 0 else {}):
        strategy = Strategy(
            None, FixedShards(2), workers=3, servers=2, trace=TraceOptions(tmp_path)
        )
        coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
        with strategy.scope():
            dense = tf.Variable(np.float32(1.0), name="dense")
            table = tf.Variable(np.ones((5, 2), "i4"), name="table")
            half = tf.Variable(np.ones(3, "f2"), name="half")

        def step(kind: int, number: int) -> Any:
            rows = tf.IndexedSlices(np.full((2, 2), number, "i4"), [number % 5, 4])
            match kind:
                case 0:
                    dense.assign(dense * 0.5 + number)
                case 1:
                    table.scatter_add(rows)
                case 2:
                    table.scatter_update(rows)
                case 3:
                    half.assign_sub(half.read_value())
                case _:
                    table.assign_add(np.full((5, 2), number, "i4"))
            return table.numpy().sum()

        for number in range(30):
            coordinator.schedule(step, (chance.randrange(5), number))
        coordinator.join()
        half.assign([1.0, 2.0, 3.0])
        strategy.close()

    found = examine_servers(server_records(tmp_path))
    assert {Outcome.VALID} == {one.outcome for one in found.verdicts}, found.verdicts
    assert {"dense", "table/part_0", "table/part_1", "half/part_0", "half/part_1"} == {
        one.variable for one in found.accounts
    }


def test_each_strategy_needs_a_directory_of_its_own(tmp_path: Path) -> None:
    recorded(tmp_path, None, lambda v: lambda: v.assign_add(1.0))

    with pytest.raises(StartError, match=r"server-0\.trace exists already"):
        recorded(tmp_path, None, lambda v: lambda: v.assign_add(1.0))


# ---------------------------------------------------------------- records that are wrong


class Recording:
    """The record of a server, written by hand."""

    def __init__(self, folder: Path) -> None:
        trace = open_server_trace(TraceOptions(folder), 0, 2, 3)
        assert trace is not None
        self.trace: Trace = trace
        self.folder = folder
        trace.served_variable(1, "v", "a.py:1")
        self.add("create", 0, 0.0)

    def add(self, operation: str, version: int, value: Any, read: int = NOT_READ) -> Recording:
        operand = value if isinstance(value, Rows) else np.array([value], np.float32)
        self.trace.served(0, 1, 1, operation, version, read, "a.py:2", operand)
        return self

    def judged(self) -> ServedExamination:
        self.trace.close()
        return examine_servers(server_records(self.folder))


def test_a_wrong_value_is_invalid(tmp_path: Path) -> None:
    record = Recording(tmp_path).add("assign_add", 1, 2.0).add("read", 1, 3.0)

    (verdict,) = record.judged().verdicts
    assert Outcome.INVALID is verdict.outcome
    assert "a read at a.py:2 got another value of version 1 (event 3" in verdict.reason


def test_a_read_of_an_old_version_is_invalid(tmp_path: Path) -> None:
    found = Recording(tmp_path).add("assign", 1, 2.0).add("read", 0, 0.0).judged()

    assert Outcome.INVALID is found.outcome
    assert "got version 0, but 1 was current" in found.verdicts[0].reason


def test_a_version_that_is_left_out_is_invalid(tmp_path: Path) -> None:
    found = Recording(tmp_path).add("assign", 2, 2.0).judged()

    assert Outcome.INVALID is found.outcome


def test_a_write_on_a_version_that_did_not_exist_is_invalid(tmp_path: Path) -> None:
    found = Recording(tmp_path).add("assign", 1, 2.0, read=5).judged()

    assert Outcome.INVALID is found.outcome


def test_an_update_that_a_second_lost_update_restores_is_not_lost(tmp_path: Path) -> None:
    """Version 2 was made from version 0, and version 3 from version 1: only version 2 is lost."""
    record = Recording(tmp_path).add("assign", 1, 1.0, read=0).add("assign", 2, 1.0, read=0)
    found = record.add("assign", 3, 2.0, read=1).judged()

    assert 1 == found.accounts[0].lost


@pytest.mark.parametrize(("element", "outcome"), [(0.0, "VALID"), (1.0, "INVALID")])
def test_large_values_are_compared_in_a_sample(
    tmp_path: Path, element: float, outcome: str
) -> None:
    record = Recording(tmp_path)
    large = np.zeros(FRAME_LIMIT_BYTES, np.float32)
    record.trace.served(0, 1, 1, "assign", 1, NOT_READ, "a.py:2", large)
    record.trace.served(0, 1, 1, "assign_add", 2, NOT_READ, "a.py:2", large)
    large[-1] = element
    record.trace.served(0, 1, 1, "read", 2, NOT_READ, "a.py:3", large)

    found = record.judged()

    assert outcome == found.outcome.value
    assert outcome != "VALID" or "1 of 1 read was not recomputed" in found.verdicts[0].reason


def test_a_record_that_was_not_closed_is_not_searched(tmp_path: Path) -> None:
    record = Recording(tmp_path).add("assign", 1, 1.0, read=0).add("assign", 2, 1.0, read=0)
    record.trace.abandon()

    found = examine_servers(server_records(tmp_path))

    assert (Outcome.UNKNOWN, (), False) == (found.outcome, found.findings, found.is_whole)
    assert "it was not closed, as after a kill" in found.not_looked_at[0].text


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    record = Recording(tmp_path).add("assign", 1, 1.0)
    record.trace.close()
    path = tmp_path / "server-0.trace"
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)

    with pytest.raises(TraceError, match=r"server-0\.trace"):
        examine_servers(server_records(tmp_path))


def test_a_directory_without_records_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no record of a parameter server"):
        examine_servers(server_records(tmp_path))


# ---------------------------------------------------------------- varsim check


def test_check_judges_the_records_and_shows_the_finding(tmp_path: Path) -> None:
    final, _ = recorded(tmp_path, 1, lambda v: lambda: v.assign(v + 1.0))

    result = CliRunner().invoke(main, ["check", str(tmp_path)])

    assert 0 == result.exit_code
    assert "VALID    v  every value" in result.output
    assert "lost update: v" in result.output
    assert f"{20 - int(final)} of 20 updates are lost" in " ".join(result.output.split())


def test_check_exits_with_5_if_it_should_fail_on_lost_updates(tmp_path: Path) -> None:
    recorded(tmp_path, 1, lambda v: lambda: v.assign(v + 1.0))

    assert (
        5
        == CliRunner().invoke(main, ["check", str(tmp_path), "--fail-on", "lost-update"]).exit_code
    )
    assert 5 == CliRunner().invoke(main, ["check", str(tmp_path), "--fail-on", "any"]).exit_code


def test_check_prints_json(tmp_path: Path) -> None:
    recorded(tmp_path, None, lambda v: lambda: v.assign_add(1.0))

    told = json.loads(CliRunner().invoke(main, ["check", str(tmp_path), "--json"]).output)

    assert ("VALID", []) == (told["outcome"], told["findings"])
    assert ("v", 20, 0) == tuple(
        told["variables"][0][key] for key in ("variable", "writes", "lost")
    )


def test_check_exits_with_3_after_a_wrong_value(tmp_path: Path) -> None:
    Recording(tmp_path).add("read", 0, 3.0).trace.close()

    assert 3 == CliRunner().invoke(main, ["check", str(tmp_path)]).exit_code


def test_a_directory_of_traces_has_events_and_a_lens(tmp_path: Path) -> None:
    """Operations are numbered over all servers; `varsim lens` needs no run."""
    Recording(tmp_path).add("assign_add", 1, 2.0).trace.close()

    event = CliRunner().invoke(main, ["check", str(tmp_path), "--event", "2"])
    lens = CliRunner().invoke(main, ["lens", str(tmp_path)])

    assert "assign_add by closure 1 on worker 0: version 1" in event.output
    assert "mean of the elements of every version" in " ".join(lens.output.split())


def test_a_cut_record_without_variables_is_unknown(tmp_path: Path) -> None:
    trace = open_server_trace(TraceOptions(tmp_path), 0, 2, 3)
    assert trace is not None
    trace.abandon()

    assert Outcome.UNKNOWN is examine_servers(server_records(tmp_path)).outcome
