"""The value lens: the components of every replica at the end of each step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import varsim as tf
from tests.analysis.build import parse_history
from varsim.analysis.component_distance import ElementReason, TellingElements, telling_of
from varsim.analysis.lens import Moment, moments
from varsim.protocol.messages import OWN_CALLS
from varsim.report.lens_calls_page import print_calls, why_element
from varsim.report.page import print_page
from varsim.testing import simulated_cluster
from varsim.tracing.history import Event, History, VariableRow, open_history
from varsim.tracing.history_file import write_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions


class LensHistory:
    """Build the history of a run with two replicas, event by event."""

    def __init__(self, synchronization: str, aggregation: str) -> None:
        self.events: list[Event] = []
        setting = (synchronization, synchronization, aggregation, 1, "p.py:1")
        self.variables = [VariableRow(1, "v", "[2]", "float32", *setting)]
        self.add(-1, "create", version=0, **_value(0, 0))

    def add(self, process: int, kind: str, **fields: Any) -> None:
        """Append an event."""
        number = sum(event.process == process for event in self.events)
        about = {} if kind in {"call", "finish", "lost"} else {"variable": 1}
        event = len(self.events) + 1
        self.events.append(Event(event, process, number, event / 10, kind, **about, **fields))

    def step(self, call: int, *written: tuple[float, float]) -> None:
        """Append a step in which each replica adds to its component."""
        self.add(-1, "call", call=call)
        for replica, pair in enumerate(written):
            add = {"operation": "assign_add", "replica": replica}
            self.add(replica, "write", call=call, **add, **_value(*pair))
        self.add(-1, "finish", call=call)

    @contextmanager
    def history(self, folder: Path, num_replicas: int = 2) -> Iterator[History]:
        """Write the history, and read it."""
        file = folder / "history.db"
        run = {"num_replicas": num_replicas, "level": "ops", "complete": True, "window": None}
        write_history(file, run, self.variables, self.events)
        with open_history(file) as history:
            yield history

    def seen(self, folder: Path) -> list[Moment]:
        """Return the moments of the lens."""
        with self.history(folder) as history:
            return list(moments(history, history.variables[1]))


def _value(*elements: float) -> dict[str, Any]:
    content = np.array(elements, np.float32).tobytes()
    return {"dtype": "float32", "shape": "[2]", "value": content}


def plain(moment: Moment) -> tuple[int, list[Any], Any, bool]:
    parts = [None if one is None else one.tolist() for one in moment.components]
    value = None if moment.value is None else moment.value.tolist()
    return moment.step, parts, value, moment.diverged


def test_a_moment_has_the_components_and_the_cross_replica_value(tmp_path: Path) -> None:
    story = LensHistory("ON_READ", "SUM")
    story.step(1, (1, 0), (2, 0))
    story.step(2, (1, 5), (0, 5))

    assert [
        (0, [[0, 0], [0, 0]], [0, 0], False),
        (1, [[1, 0], [2, 0]], [3, 0], True),
        (2, [[2, 5], [2, 5]], [4, 10], False),
    ] == [plain(one) for one in story.seen(tmp_path)]


def test_steps_are_calls_of_the_program_in_all_incarnations(tmp_path: Path) -> None:
    """This record begins after three calls, and has a call of varsim itself."""
    history = LensHistory("ON_READ", "SUM")
    history.step(4, (1, 1), (2, 2))
    history.step(OWN_CALLS)
    history.step(5, (1, 1), (2, 2))
    seen = history.seen(tmp_path)
    assert [(3, [0, 0]), (4, [3, 3]), (5, [6, 6])] == [
        (one.step, list(one.value)) for one in seen if one.value is not None
    ]
    assert "first differ at the end of call 4; they differ at the end of 2 of 2 calls." in " ".join(
        shown(seen)
    )


def test_an_interrupted_call_is_named(tmp_path: Path) -> None:
    history = LensHistory("ON_READ", "SUM")
    history.step(1, (1, 1), (2, 2))
    history.step(2, (1, 1), (2, 2))
    history.events[-1] = history.events[-1]._replace(error="KeyboardInterrupt")
    seen = history.seen(tmp_path)

    assert [False, False, True] == [one.interrupted for one in seen]
    said = "Call 2 was interrupted: what its replicas had already written is in its values."
    assert said in " ".join(" ".join(shown(seen)).split())


def test_unexchanged_writes_have_no_cross_replica_value(tmp_path: Path) -> None:
    """A read would exchange the writes first; the component of replica 0 is not the value."""
    history = LensHistory("AUTO", "SUM")
    history.step(1, (1, 1), (2, 2))
    history.add(-1, "commit", version=1, operation="assign", **_value(3, 3))
    history.step(2)
    history.step(3, (1, 1), (1, 1))
    seen = history.seen(tmp_path)

    assert [False, True, False, True] == [one.unexchanged for one in seen]
    values = [None if one.value is None else list(one.value) for one in seen]
    assert [[0, 0], None, [3, 3], None] == values
    assert [[4, 4], [4, 4]] == [list(one) for one in seen[3].components if one is not None]


def test_a_mirror_shows_the_commits(tmp_path: Path) -> None:
    story = LensHistory("ON_WRITE", "MEAN")
    story.add(-1, "call", call=1)
    for replica in range(2):
        add = {"operation": "assign_add", "position": 0}
        story.add(replica, "write", call=1, **add, **_value(replica, 1))
    commit = {"operation": "assign", "version": 1, "position": 0}
    story.add(-1, "commit", call=1, **commit, **_value(0.5, 1))
    story.add(-1, "finish", call=1)

    assert (1, [[0.5, 1]] * 2, [0.5, 1], False) == plain(story.seen(tmp_path)[-1])


def test_a_sparse_write_changes_rows_of_a_component(tmp_path: Path) -> None:
    text = """
variable w NONE NONE float32 [3]
program create w v=0 = [1,1,1]
program call call=1
0 write w scatter_add call=1 at [2,0,2] = [1,2,4]
program finish call=1
"""
    with parse_history(text).history(tmp_path) as history:
        _, after = moments(history, history.variables[1])

    assert [[3.0, 1.0, 6.0], [1.0, 1.0, 1.0]] == [
        None if one is None else one.tolist() for one in after.components
    ]


def test_a_variable_with_synchronization_none_has_no_cross_replica_value(tmp_path: Path) -> None:
    story = LensHistory("NONE", "MEAN")
    story.step(1, (1, 0), (2, 0))

    assert (1, [[1, 0], [2, 0]], None, True) == plain(story.seen(tmp_path)[-1])


def test_missing_values_are_shown_as_missing(tmp_path: Path) -> None:
    story = LensHistory("ON_READ", "SUM")
    story.add(0, "write", operation="assign_add", replica=0, dtype="float32", shape="[2]")
    story.step(1, (1, 0), (2, 0))

    assert (1, [None, [2, 0]], None, False) == plain(story.seen(tmp_path)[-1])


def test_the_first_difference_from_the_oracle_is_marked(
    tmp_path: Path,
) -> None:
    story, oracle = LensHistory("ON_READ", "SUM"), LensHistory("ON_READ", "SUM")
    for call in range(1, 4):
        story.step(call, (1, 0), (1 + 1e-7, 0))
        oracle.step(call, (2, 0) if call < 3 else (1, 0))
    (tmp_path / "oracle").mkdir()
    with story.history(tmp_path) as history, oracle.history(tmp_path / "oracle", 1) as single:
        seen = list(moments(history, history.variables[1], single))

    assert [0, 2, 4, 5] == [one.oracle[0] for one in seen if one.oracle is not None]
    assert [False, False, False, True] == [one.unlike for one in seen]
    lines = shown(seen, element=0)
    first = ["oracle:", "first", "difference"]
    assert ["3", "3", "3", "6", "≠", "5", "≠", *first] == lines[6].split()
    said = "The value first differs from a single device's at the end of call 3"
    assert said in " ".join(" ".join(lines).split())


def shown(seen: list[Moment], element: int | None = None, width: int = 80) -> list[str]:
    file = StringIO()
    print_page(lambda console: print_calls(console, "t", seen, element), file, width)
    return file.getvalue().splitlines()


def test_a_long_run_shows_both_ends_and_the_first_difference(tmp_path: Path) -> None:
    story = LensHistory("ON_READ", "SUM")
    for call in range(1, 51):
        story.step(call, (1, 0), (1, call // 25))
    lines = shown(story.seen(tmp_path), element=1)
    steps = [line.split()[0] for line in lines[3 : lines.index("")]]

    assert [*"01234", "…", "23", "24", "25", "26", "27", "…", *map(str, range(46, 51))] == steps
    assert ["25", "0", "1", "1", "≠", "first", "difference"] == next(
        line.split() for line in lines if "first difference" in line
    )
    said = "The replicas first differ at the end of call 25; they differ at the end of 26 of 50"
    assert said in " ".join(lines)


@pytest.mark.parametrize("count", [2, 4, 8, 64])
def test_a_table_fits_into_eighty_columns(count: int) -> None:
    part = np.array([-1.2345e-10], np.float32)
    parts = (*[part] * (count - 1), 2 * part)
    for oracle in (None, 3 * part):
        seen = [Moment(step, 0.0, parts, part, oracle) for step in range(3)]
        assert 80 >= max(map(len, shown(seen)))


def test_all_replicas_are_shown_if_they_fit() -> None:
    """The text about the first difference is left out if it does not fit."""
    parts = [np.array([part], np.float32) for part in (0.1234, 0.2345, 0.3456, 0.4567)]
    seen = [Moment(step, 0.0, tuple(parts), parts[0]) for step in range(3)]

    assert "call  replica 0  replica 1  replica 2  replica 3   value" == shown(seen, width=80)[1]
    assert shown(seen, width=60)[1] == shown(seen, width=80)[1]
    assert "call       0       1       2       3   value" == shown(seen, width=50)[1]
    assert "call  replica 0  …  replica 3   value" == shown(seen, width=40)[1]
    assert "Shown: replicas 0 and 3 of 4; there is no room for more." in " ".join(
        shown(seen, width=40)[-3:]
    )


def test_the_element_in_which_replicas_differ_most_is_shown(tmp_path: Path) -> None:
    """If the replicas never differ, the element that changes most is shown.

    If no element changes, the largest element is shown.
    """
    story = LensHistory("ON_READ", "SUM")
    story.step(1, (1, 5), (2, 9))
    story.step(2, (1, 4), (0, 0))
    assert TellingElements(ElementReason.DIFFERS, (1, 0), (4.0, 1.0)) == telling_of(
        story.seen(tmp_path), 3
    )

    alike = LensHistory("ON_READ", "SUM")
    alike.step(1, (3, -5), (3, -5))
    assert TellingElements(ElementReason.CHANGES, (1, 0), (5.0, 3.0)) == telling_of(
        alike.seen(tmp_path), 3
    )

    part = np.array([1, -2, 0], np.float32)
    still = [Moment(step, 0.0, (part, part), part) for step in range(2)]
    assert TellingElements(ElementReason.IS_LARGE, (1, 0), (2.0, 1.0)) == telling_of(still, 3)
    assert (
        "Element [0, 1] is shown: it is the largest: 2. The next elements are [0, 0] (1)."
    ) in why_element(TellingElements(ElementReason.IS_LARGE, (1, 0), (2.0, 1.0)), [1, 3])


def test_a_changing_shape_has_no_most_informative_element() -> None:
    long, short = np.zeros(3, np.float32), np.zeros(2, np.float32)

    assert None is telling_of(
        [Moment(0, 0.0, (long, long), long), Moment(1, 0.0, (short,), short)], 1
    )


def said_of(known: Sequence[bool], *, oracle: bool = False) -> str:
    """Return the sentences below a table of steps, of which `known` have recorded values."""
    one = np.ones(1)
    shown = [
        Moment(
            step=step,
            time_s=0.0,
            components=(one, one if is_known else None),
            value=one if is_known else None,
            oracle=one if oracle else None,
        )
        for step, is_known in enumerate(known)
    ]
    out = StringIO()
    print_calls(Console(width=200, file=out), "v", shown, 0)
    return out.getvalue()


def test_the_lens_does_not_say_that_unrecorded_values_are_equal():
    assert "The replicas never differ at the end of a call." in said_of([True, True])
    assert "Whether the replicas differ is unknown" in said_of([False, False])
    some = said_of([True, False, True])
    assert "do not differ in the 2 of 3 calls" in some
    assert "`--trace messages`" in some
    assert "The value equals a single device's" in said_of([True, True], oracle=True)
    assert "was compared with a single device's in 1 of 2 calls" in said_of(
        [True, False], oracle=True
    )


def sentences_of(moments: Sequence[Moment], aggregation: str) -> str:
    """Return what is printed below the table of steps, without line breaks."""
    out = StringIO()
    print_calls(Console(width=200, file=out), "v", moments, 0, aggregation=aggregation)
    return out.getvalue()


def test_the_lens_says_how_many_replicas_a_mean_combines(tmp_path: Path):
    story = LensHistory("ON_WRITE", "MEAN")
    for call, joins in enumerate((False, True, True), 1):
        story.add(-1, "call", call=call, present=1 if joins else None)
        for replica in range(1 if joins else 2):
            write = {"operation": "assign", "position": 0}
            story.add(replica, "write", call=call, **write, **_value(call, 1))
        commit = {"operation": "assign", "version": call, "position": 0}
        story.add(-1, "commit", call=call, **commit, **_value(call, 1))
        story.add(-1, "finish", call=call)
    seen = story.seen(tmp_path)

    assert [None, None, 1, 1] == [one.present for one in seen]
    assert [3, 1] == seen[-1].components[1].tolist()
    said = "over 1 of 2 replicas in calls 2 and 3; the others had joined."
    assert f"MEAN {said}" in sentences_of(seen, "MEAN")
    assert f"SUM {said}" in sentences_of(seen, "SUM")


def test_the_lens_says_when_a_replica_could_not_write_its_component(tmp_path: Path):
    story = LensHistory("ON_READ", "MEAN")
    story.step(1, (1, 0), (2, 0))
    story.add(-1, "call", call=2, present=1)
    story.add(-1, "finish", call=2)

    assert "1 of 2 replicas took part in call 2; the others had joined." in sentences_of(
        story.seen(tmp_path), "MEAN"
    )
    assert "joined" not in sentences_of(story.seen(tmp_path)[:-1], "MEAN")


def lost_in_step_two(synchronization: str, aggregation: str) -> LensHistory:
    """Return a history in which replica 1 is lost in step 2, after its last recorded write."""
    story = LensHistory(synchronization, aggregation)
    story.step(1, (1, 0), (2, 0))
    story.add(-1, "call", call=2)
    add = {"operation": "assign_add", "call": 2}
    for replica in range(2):
        story.add(replica, "write", replica=replica, **add, **_value(1, 0))
    story.add(-1, "lost", replica=1, note="was killed by SIGKILL")
    story.add(-1, "finish", call=2, error="WorkerLost", note="WorkerLost: replica 1")
    return story


@pytest.mark.parametrize(("aggregation", "value"), [("SUM", None), ("ONLY_FIRST_REPLICA", [2, 0])])
def test_a_lost_component_has_no_value(tmp_path: Path, aggregation: str, value: Any) -> None:
    """The program cannot read a lost component, so the last recorded value would be wrong."""
    seen = lost_in_step_two("ON_READ", aggregation).seen(tmp_path)

    assert (2, [[2, 0], None], value, False) == plain(seen[-1])
    assert [(), (), (1,)] == [one.lost for one in seen]
    said = sentences_of(seen, aggregation)
    assert "From call 2 on, – means that the component is lost with the worker of replica 1" in said
    assert "not recorded" not in said
    assert "--trace" not in said


def test_a_mirrored_value_is_not_lost(tmp_path: Path) -> None:
    story = LensHistory("ON_WRITE", "SUM")
    story.add(-1, "call", call=1)
    story.add(-1, "lost", replica=1, note="was killed by SIGKILL")
    story.add(-1, "finish", call=1, error="WorkerLost", note="WorkerLost: replica 1")

    assert (1, [[0, 0], [0, 0]], [0, 0], False) == plain(story.seen(tmp_path)[-1])


def test_the_lens_of_a_record_that_is_not_whole_says_so(tmp_path: Path) -> None:
    story = LensHistory("ON_WRITE", "MEAN")
    story.step(1)
    story.add(-1, "lost", replica=1, note="was killed by SIGKILL")
    story.step(2)
    out = StringIO()
    flaw = "the record of replica 1 was not closed: its worker was killed by SIGKILL"
    print_calls(Console(width=400, file=out), "v", story.seen(tmp_path), 0, flaw=flaw)

    said = out.getvalue()
    assert (
        f"do not differ at the end of the recorded calls. The record is not whole: {flaw}." in said
    )
    assert "never" not in said
    assert (
        "From call 2 on, the component of replica 1 is the program's: its worker was lost." in said
    )


def test_unexchanged_writes_are_lost_with_a_worker(tmp_path: Path) -> None:
    story = LensHistory("AUTO", "MEAN")
    story.step(1, (1, 1), (2, 2))
    story.add(-1, "lost", replica=1, note="was killed by SIGKILL")
    story.step(2)
    seen = story.seen(tmp_path)

    assert [(0, 0, False), (1, 2, True)] == [
        (*(one[0] for one in moment.components if one is not None), moment.unexchanged)
        for moment in seen[:2]
    ]
    assert (None, None, (1,)) == (seen[2].components[1], seen[2].value, seen[2].lost)
    assert (
        "From call 2 on, no read can exchange these writes, because they are lost with the worker "
        "of replica 1."
    ) in " ".join(sentences_of(seen, "MEAN").split())


def test_the_copy_of_an_exchanged_value_is_not_lost_with_a_worker(tmp_path: Path) -> None:
    story = LensHistory("AUTO", "SUM")
    story.step(1, (1, 1), (2, 2))
    story.add(-1, "commit", version=1, operation="assign", **_value(3, 3))
    story.add(-1, "lost", replica=1, note="was killed by SIGKILL")
    story.step(2)
    last = story.seen(tmp_path)[-1]

    assert ((), (1,), [3, 3]) == (last.lost, last.ended, list(last.value))


@pytest.mark.filterwarnings("ignore::varsim.errors.VarsimWarning")
def test_the_lens_shows_the_copy_and_the_staleness_of_reads(tmp_path: Path):
    none = tf.VariableSynchronization.NONE
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], trace=TraceOptions(tmp_path))
        with strategy.scope():
            v = tf.Variable(1.0, synchronization=none, name="v")

        def step() -> None:
            if tf.distribute.get_replica_context().replica_id_in_sync_group:
                v.push(2.0)
                v.push(3.0)
            else:
                v.pull()

        strategy.run(step)
        strategy.run(step)
        strategy.close()
    merge(tmp_path, tmp_path)
    with open_history(tmp_path) as history:
        (row,) = history.variables.values()
        created, first, second = moments(history, row)

    shared = [one.shared for one in (created, first, second)]
    assert [1.0, 6.0, 11.0] == [float(one.copy[0]) for one in shared]
    assert [(0, 0), (1, 0), (1, 2)] == [(one.reads, one.behind) for one in shared]
    assert shared[2].age_s > 0
    out = StringIO()
    print_page(lambda console: print_calls(console, "v", [created, first, second], None), out)
    assert "copy: the authoritative copy" in " ".join(out.getvalue().split())


def test_the_reason_for_an_element_names_nan() -> None:
    told = TellingElements(ElementReason.CHANGES, (1, 0, 2), (float("inf"), float("inf"), 2.0))

    said = why_element(told, [3])
    assert "is shown: it has NaN or infinity on a replica, or after a call. The next" in said
    assert "elements are [0] (NaN or infinity) and [2] (2). `--at I` shows" in said


def test_the_option_for_another_element_has_an_index_for_each_dimension() -> None:
    told = TellingElements(ElementReason.CHANGES, (1, 0), (2.0, 1.0))

    assert "`varsim lens x w --at I,J,K` shows" in why_element(told, [1, 3, 2], "varsim lens x w ")
