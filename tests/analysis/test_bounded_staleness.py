"""The judge finds every wrong implementation of BoundedStaleness, from the record alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

import varsim as tf
from tests.analysis.golden import verdicts
from varsim.analysis.lens import moments
from varsim.analysis.outcome import Outcome
from varsim.analysis.verdict import Verdict, judge
from varsim.protocol.messages import FreshCopy
from varsim.report.lens_calls_page import print_calls
from varsim.report.page import print_page
from varsim.sync import reduce, replica_writes
from varsim.sync.bounded_copies import BoundedCopies
from varsim.sync.bounded_writes import BoundedWrites
from varsim.sync.policies.bounded_staleness import AddToCopy
from varsim.testing import simulated_cluster
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

CHECKER = "bounded-staleness"
Patch = Callable[[pytest.MonkeyPatch], None]


def judged(folder: Path, seed: int = 0, *, bound: int = 1) -> Verdict:
    """Run a program in a random order of events, and return the verdict of the checker."""
    with simulated_cluster(seed):
        strategy = tf.distribute.MirroredStrategy(
            ["cpu:0", "cpu:1", "cpu:2"], trace=TraceOptions(folder)
        )
        with strategy.scope():
            v = tf.Variable(
                np.zeros(2, np.float32),
                name="v",
                synchronization=tf.BoundedStaleness(bound),
                aggregation=tf.VariableAggregation.MEAN,
            )

        def step() -> None:
            context = tf.distribute.get_replica_context()
            me = context.replica_id_in_sync_group
            for turn in range(5):
                v.assign_add([0.1 + me + turn, 1.0], read_value=False)
                if turn != 2:
                    v.read_value()
            context.merge_call(lambda _: v.assign_add([100.0, 100.0], read_value=False))
            v.read_value()
            v.assign_sub([1.0, 1.0], read_value=False)

        for _ in range(2):
            strategy.run(step)
            v.read_value()
            v.assign_add([0.3, 0.3])
        strategy.close()
    merge(folder, folder)
    with open_history(folder) as history:
        (found,) = [one for one in judge(history) if one.checker == CHECKER]
    return found


def waits_one_write_later(patch: pytest.MonkeyPatch) -> None:
    plain = AddToCopy.write
    patch.setattr(AddToCopy, "bound", property(lambda self: self.staleness + 1))

    def write(self, *arguments):
        return plain(AddToCopy(self.staleness + 1), *arguments)

    patch.setattr(AddToCopy, "write", write)


def ignores_a_replica(patch: pytest.MonkeyPatch) -> None:
    plain = BoundedWrites.write

    def write(self, *arguments):
        self.ended.add(2)
        plain(self, *arguments)

    patch.setattr(BoundedWrites, "write", write)


def loses_a_delta(patch: pytest.MonkeyPatch) -> None:
    plain, count = BoundedCopies.admit, iter(range(1000))

    def admit(self, admitted):
        if next(count) != 3:
            plain(self, admitted)

    patch.setattr(BoundedCopies, "admit", admit)


def loses_a_delta_but_counts_it(patch: pytest.MonkeyPatch) -> None:
    plain, count = BoundedCopies.change, iter(range(1000))

    def change(self, variable, operation, value):
        plain(self, variable, operation, value * 0 if next(count) == 3 else value)

    patch.setattr(BoundedCopies, "change", change)


def applies_a_delta_twice(patch: pytest.MonkeyPatch) -> None:
    plain, count = BoundedCopies.change, iter(range(1000))

    def change(self, variable, operation, value):
        plain(self, variable, operation, value * 2 if next(count) == 3 else value)

    patch.setattr(BoundedCopies, "change", change)


def tears_a_value(patch: pytest.MonkeyPatch) -> None:
    plain = BoundedCopies.fresh

    def fresh(self, *arguments, **options):
        copy = plain(self, *arguments, **options)
        torn = copy.value.copy()
        torn[1] -= 1 / 3  # the last write has arrived only in the first element
        return _with(copy, value=torn)

    patch.setattr(BoundedCopies, "fresh", fresh)


def sends_an_old_copy(patch: pytest.MonkeyPatch) -> None:
    plain, last = BoundedCopies.fresh, list[FreshCopy]()

    def fresh(self, *arguments, **options):
        copy = plain(self, *arguments, **options)
        last.append(copy)
        old = last[-2] if len(last) > 1 else copy
        return _with(copy, value=old.value)

    patch.setattr(BoundedCopies, "fresh", fresh)


def sends_an_old_copy_with_its_version(patch: pytest.MonkeyPatch) -> None:
    plain, last = BoundedCopies.fresh, dict[tuple[int, int], FreshCopy]()

    def fresh(self, call_id, replica_id, *arguments, **options):
        copy = plain(self, call_id, replica_id, *arguments, **options)
        old = last.get((id(self), replica_id), copy)
        last[id(self), replica_id] = copy
        return _with(copy, value=old.value, version=old.version)

    patch.setattr(BoundedCopies, "fresh", fresh)


def _with(copy: FreshCopy, **changed) -> FreshCopy:
    fields = ("call_id", "variable_id", "version", "slowest", "value")
    return FreshCopy(**{name: changed.get(name, getattr(copy, name)) for name in fields})


def never_renews_a_cache_of_an_earlier_call(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(replica_writes.ReplicaWrites, "_distrust_caches", lambda *_: None)


def does_not_divide_a_mean(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reduce, "part_of", lambda value, *_: value)


def applies_held_writes_in_reverse(patch: pytest.MonkeyPatch) -> None:
    plain = BoundedWrites._admit

    def admit(self, *arguments):
        self._held.reverse()
        plain(self, *arguments)

    patch.setattr(BoundedWrites, "_admit", admit)


MUTANTS = [
    waits_one_write_later,
    ignores_a_replica,
    loses_a_delta,
    loses_a_delta_but_counts_it,
    applies_a_delta_twice,
    tears_a_value,
    sends_an_old_copy,
    sends_an_old_copy_with_its_version,
    never_renews_a_cache_of_an_earlier_call,
    does_not_divide_a_mean,
    applies_held_writes_in_reverse,
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_wrong_implementation_is_found(
    mutant: Patch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def outcome(seed: int) -> Outcome:
        folder = tmp_path / str(seed)
        folder.mkdir()
        return judged(folder, seed).outcome

    mutant(monkeypatch)

    assert Outcome.INVALID in map(outcome, range(4))


@pytest.mark.parametrize("bound", [0, 1, 3])
def test_the_right_implementation_is_valid(bound: int, tmp_path: Path) -> None:
    assert Outcome.VALID is judged(tmp_path, bound=bound).outcome


@pytest.mark.parametrize("joins", [False, True])
@pytest.mark.parametrize("bound", [0, 1, 3])
def test_a_call_inside_a_call_counts_its_own_writes(
    bound: int, joins: bool, tmp_path: Path
) -> None:
    """The inner call neither adds to the numbers of the outer call's writes nor restarts them."""
    context = tf.distribute.get_replica_context
    with simulated_cluster(2):
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], trace=TraceOptions(tmp_path))
        with strategy.scope():
            v = tf.Variable(
                0.0,
                name="v",
                synchronization=tf.BoundedStaleness(bound),
                aggregation=tf.VariableAggregation.SUM,
            )

        def inner() -> None:
            v.assign_add(1.0)
            if joins:
                context().join()
            v.assign_add(1.0)

        def step() -> None:
            v.assign_add(1.0)
            v.read_value()
            context().merge_call(lambda _: strategy.run(inner))
            v.assign_add(1.0)
            v.read_value()

        strategy.run(step)
        assert 8.0 == float(v)
        strategy.close()
    merge(tmp_path, tmp_path)
    with open_history(tmp_path) as history:
        numbers = defaultdict[tuple[int, int | None], list[int | None]](list)
        for event in history.events():
            if event.kind == "advance":
                numbers[event.process, event.call].append(event.version)
        found = {one.checker: one.outcome for one in judge(history)}

    of_inner = [1, 1] if joins else [1, 2]
    assert sorted([[1, 2], [1, 2], of_inner, of_inner]) == sorted(numbers.values())
    assert {Outcome.VALID} == set(found.values())


HISTORY = """\
variable v bounded_staleness:1 SUM float32 []

program create v v=0 = 0.0
program call call=1 as start
0 begin call=1 after start
1 begin call=1 after start
0 advance v assign_add call=1 v=1 = 1.0 as first
program receive replica=0 after first
0 advance v assign_add call=1 v=2 note=waits = 1.0 as second
program receive replica=0 after second
1 advance v assign_add call=1 v=1 = 10.0 as other
program receive replica=1 after other
program answer call=1 replica=0 operation=copy as copy
0 renew v call=1 v=3 = 12.0 after copy
0 read v call=1 v=3 = 12.0
1 ask v call=1 operation=copy as asked
program receive replica=1 after asked
program answer call=1 replica=1 operation=copy as answer
1 renew v call=1 v=3 = 12.0 after answer
1 read v call=1 v=3 = 12.0
0 return call=1 as end0
1 return call=1 as end1
program receive replica=0 after end0
program receive replica=1 after end1
program finish call=1
program read v v=3 = 12.0
"""


def test_the_written_out_history_is_valid_for_every_checker(tmp_path: Path) -> None:
    assert {Outcome.VALID} == {one.outcome for one in verdicts(HISTORY, tmp_path).values()}


@pytest.mark.parametrize(
    ("right", "forged", "reason"),
    [
        ("v=2 note=waits", "v=2", "replica 0 is 2 writes ahead of the slowest, and does not wait"),
        (
            "1 advance v assign_add call=1 v=1 = 10.0 as other",
            "1 ask v call=1 operation=copy as other",
            "its write must still wait for slower replicas",
        ),
        (
            "0 renew v call=1 v=3 = 12.0",
            "0 renew v call=1 v=3 = 11.0",
            "another value than the sum",
        ),
        ("0 renew v call=1 v=3", "0 renew v call=1 v=2", "version 2 of the copy instead of 3"),
        ("1 read v call=1 v=3 = 12.0", "1 read v call=1 v=3 = 2.0", "another value than the sum"),
        ("1 renew v call=1 v=3 = 12.0 after answer\n", "", "that it has not renewed in this call"),
        ("read v v=3 = 12.0", "read v v=3 = 11.0", "the program has another value than the sum"),
        ("v=2 note", "v=3 note", "replica 0 numbers its write 2 in the call as 3"),
        (
            "bounded_staleness:1",
            "bounded_staleness:0",
            "1 writes ahead of the slowest",
        ),
    ],
)
def test_a_forged_history_is_found(right: str, forged: str, reason: str, tmp_path: Path) -> None:
    assert right in HISTORY

    verdict = verdicts(HISTORY.replace(right, forged), tmp_path)[CHECKER]

    assert Outcome.INVALID is verdict.outcome
    assert reason in verdict.reason


def test_without_values_the_verdict_is_unknown(tmp_path: Path) -> None:
    verdict = verdicts(HISTORY.replace("v=1 = 10.0", "v=1"), tmp_path)[CHECKER]

    assert Outcome.UNKNOWN is verdict.outcome
    assert "not all values of the copy were recorded" in verdict.reason


@pytest.mark.parametrize(
    "name", ["bounded_staleness:-1", "bounded_staleness", "bounded_staleness:x"]
)
def test_impossible_parameters_make_the_verdict_unknown(name: str, tmp_path: Path) -> None:
    verdict = verdicts(HISTORY.replace("bounded_staleness:1", name), tmp_path)["reduction"]

    assert Outcome.UNKNOWN is verdict.outcome


def test_the_lens_shows_the_copy_after_every_call(tmp_path: Path) -> None:
    judged(tmp_path)
    with open_history(tmp_path) as history:
        (row,) = history.variables.values()
        values = [one.value for one in moments(history, row)]

        found = list(moments(history, row))
    second = [float(one[1]) for one in values if one is not None]

    assert [0.0, 104.0, 208.3] == pytest.approx(second)
    assert [0, 15, 15] == [one.paced.reads for one in found if one.paced is not None]
    assert all(0 < one.paced.behind for one in found[1:] if one.paced is not None)
    out = StringIO()
    print_page(lambda console: print_calls(console, "v", found, None), out)
    assert "waited: how long the replicas of the call waited" in " ".join(out.getvalue().split())
