"""The error of the program names the replica that failed or ended, the reason and the location.

An exception is sent in a plain form (docs/adr/0048): values without code.
"""

from __future__ import annotations

import inspect
import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import varsim as tf
from tests.processes.conftest import Strategy, cluster, location_of, run_python, soon
from tests.processes.replicas import all_reduce, merge_call
from tests.replica_context import replica_id
from tests.waiting import MS, wait_for
from varsim.errors import ContextError, ReplicaError, WorkerLost

pytestmark = pytest.mark.processes


class OddError(Exception):
    """An error that cannot be unpickled: `__init__` needs more arguments than `args` has."""

    def __init__(self, row: int, *, column: int) -> None:
        super().__init__(f"row {row}, column {column}")
        self.column = column


class TemporaryError(Exception):
    """An error whose text depends on a value that is not sent to the program."""

    def __init__(self, rows: Any) -> None:
        super().__init__()
        self.rows = rows

    def __str__(self) -> str:
        return f"{len(self.rows)} rows"


class UnreadableError(Exception):
    """An error without a text, or without any attribute: its methods raise another exception."""

    def __init__(self, kind: type[BaseException], unreadable: str) -> None:
        super().__init__(kind, unreadable)

    def __str__(self) -> str:
        return self._read("text")

    def __getattribute__(self, name: str) -> Any:
        return BaseException.__getattribute__(self, "_read")("attributes", name)

    def _read(self, what: str, name: str = "__doc__") -> Any:
        kind, unreadable = BaseException.__getattribute__(self, "args")
        if what == unreadable:
            raise kind("not readable")
        return BaseException.__getattribute__(self, name)


def cause_of(error: BaseException) -> ReplicaError:
    assert isinstance(error.__cause__, ReplicaError)
    return error.__cause__


def test_an_exception_has_its_type_its_traceback_and_its_replica(strategy: Strategy) -> None:
    def step() -> None:
        if replica_id() == 1:
            raise LookupError("no such row", 7)

    with soon(), pytest.raises(LookupError) as caught:
        strategy.run(step)

    assert ("no such row", 7) == caught.value.args
    cause = cause_of(caught.value)
    assert 1 == cause.replica_id
    file, _, line = location_of(step, "raise").rpartition(":")
    assert f'{file}", line {line}, in step' in cause.traceback
    assert "LookupError: ('no such row', 7)" in cause.traceback
    assert str(cause).startswith("raised by replica 1:\nTraceback (most recent call last):\n")
    files = re.findall(r'File "([^"]+)"', cause.traceback)
    assert [inspect.getfile(step)] == files  # only the user's frames


def test_the_remote_traceback_shows_the_causes_of_the_exception(strategy: Strategy) -> None:
    def step() -> None:
        try:
            int("seven")
        except ValueError as error:
            raise RuntimeError("bad row") from error

    with pytest.raises(RuntimeError, match="bad row") as caught:
        strategy.run(step)

    assert "ValueError: invalid literal for int()" in cause_of(caught.value).traceback


def test_the_exception_of_the_lowest_replica_is_raised(strategy: Strategy) -> None:
    def step() -> None:
        all_reduce("SUM", 1.0)
        raise KeyError(replica_id())

    for _ in range(10):
        with soon(), pytest.raises(KeyError) as caught:
            strategy.run(step)
        assert (0,) == caught.value.args


def test_an_exception_of_the_program_itself_is_caught_by_its_class(strategy: Strategy) -> None:
    class OwnError(Exception):
        pass

    def step() -> None:
        raise OwnError(replica_id())

    with pytest.raises(OwnError) as caught:
        strategy.run(step)
    assert (0,) == caught.value.args


def new_error(limit: int) -> Any:
    class RetryError(Exception):
        retries = limit

    return RetryError


def test_a_handler_for_a_namesake_does_not_catch(
    strategy: Strategy,
) -> None:
    first, second = new_error(3), new_error(9)

    def step() -> None:
        raise first("disk")

    with pytest.raises(first, match="disk") as caught:
        strategy.run(step)
    assert not isinstance(caught.value, second)


def test_a_class_named_in_a_merge_function_is_still_caught(strategy: Strategy) -> None:
    """The replica sends the merge function by value, but the program uses its own class."""

    class StopError(Exception):
        __qualname__ = "StopError"  # as if the class were defined in the main program

    def inner() -> None:
        raise StopError("inner")

    def step() -> str:
        def merge(strategy: Any) -> str:
            try:
                strategy.run(inner)
            except StopError:
                return "caught"
            return "not caught"

        assert "caught" == merge_call(merge)
        raise StopError("outer")

    for _ in range(2):
        with pytest.raises(StopError, match="outer"):
            strategy.run(step)


@dataclass(frozen=True)
class FrozenError(Exception):
    """An error that refuses every attribute, even `__traceback__` and `__notes__`."""

    name: str


def test_an_exception_that_refuses_attributes_is_raised(strategy: Strategy) -> None:
    def step() -> None:
        raise FrozenError("x")

    def merge_step() -> None:
        def merge(strategy: Any) -> None:
            raise FrozenError("y")

        merge_call(merge)

    for raises in (step, merge_step):
        with pytest.raises(FrozenError) as caught:
            strategy.run(raises)
        assert isinstance(caught.value.name, str)
    assert strategy.run(lambda: True)


class Colour(Enum):
    RED = 1
    BLUE = 2


def test_a_key_error_with_any_key_can_be_caught(strategy: Strategy) -> None:
    rates = {Colour.RED: 0.1}
    with pytest.raises(KeyError) as caught:
        strategy.run(lambda: rates[Colour.BLUE])
    assert "<Colour.BLUE: 2>" == str(caught.value)


def test_arguments_without_a_plain_form_are_replaced_by_the_text(strategy: Strategy) -> None:
    def step() -> None:
        raise RuntimeError("broken pipe", (number for number in range(3)))

    with soon(), pytest.raises(RuntimeError) as caught:
        strategy.run(step)

    text, shown = caught.value.args
    assert "broken pipe" == text
    assert shown.startswith("<generator")
    assert 0 == cause_of(caught.value).replica_id


def test_an_exception_that_would_change_its_text_is_reported(strategy: Strategy) -> None:
    def step() -> None:
        raise TemporaryError({1, 2})

    with soon(), pytest.raises(ReplicaError) as caught:
        strategy.run(step)

    assert 0 == caught.value.replica_id
    assert "TemporaryError: 2 rows" in str(caught.value)
    reason = "TemporaryError would have another text here"
    assert f"(the exception itself cannot be raised here: {reason})" in str(caught.value)


def test_a_group_with_an_exception_of_another_kind_is_reported(strategy: Strategy) -> None:
    def step() -> None:
        raise ExceptionGroup("several", [ValueError(1), TemporaryError({1, 2})])

    with soon(), pytest.raises(ReplicaError, match="TemporaryError: 2 rows"):
        strategy.run(step)


def test_an_exception_is_raised_although_its_constructor_needs_a_keyword(
    strategy: Strategy,
) -> None:
    def step() -> None:
        raise OddError(3, column=4)

    with soon(), pytest.raises(OddError, match="row 3, column 4") as caught:
        strategy.run(step)

    assert 4 == caught.value.column


def test_an_exception_of_a_worker_runs_no_code_of_the_worker(
    strategy: Strategy, tmp_path: Path
) -> None:
    """`__reduce__` of the worker's class names a function that unpickling would call."""
    trap = tmp_path / "trap"

    class TrapError(Exception):
        def __reduce__(self) -> Any:
            return Path.touch, (trap,)

    def step() -> None:
        raise TrapError("x")

    with soon(), pytest.raises(TrapError, match="x"):
        strategy.run(step)
    assert not trap.exists()


@pytest.mark.thorough
def test_exceptions_of_the_main_program_and_of_groups_are_raised(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(MAIN_PROGRAM)
    assert "row 3; 3\nKeyError('w') ValueError(1)\nNo such file a.csv\n" == run_python(str(program))


MAIN_PROGRAM = """
import varsim as tf

class Errors:
    class RowError(LookupError):
        def __init__(self, *, row):
            super().__init__(f"row {row}")
            self.row = row

def missing():
    raise Errors.RowError(row=3)

def group():
    raise ExceptionGroup("several", [KeyError("w"), ValueError(1)])

def file():
    raise OSError(2, "No such file", "a.csv")

with tf.distribute.MirroredStrategy(["cpu:0"]) as strategy:
    try:
        strategy.run(missing)
    except Errors.RowError as error:
        print(error, error.row, sep="; ")
    try:
        strategy.run(group)
    except* LookupError as errors:
        print(*map(repr, errors.exceptions), end=" ")
    except* ValueError as errors:
        print(*map(repr, errors.exceptions))
    try:
        strategy.run(file)
    except FileNotFoundError as error:
        print(error.strerror, error.filename)
"""


def test_an_unpicklable_result_is_an_exception_of_the_replica(strategy: Strategy) -> None:
    with soon(), pytest.raises(TypeError, match="this generator cannot be sent") as caught:
        strategy.run(lambda: (number for number in range(3)))
    assert 0 == cause_of(caught.value).replica_id


def test_an_argument_that_cannot_be_pickled_is_refused_before_the_call(
    strategy: Strategy,
) -> None:
    with pytest.raises(TypeError, match="this generator cannot be sent"):
        strategy.run(list, args=((number for number in range(3)),))
    assert 3 == strategy.run(len, args=([1, 2, 3],))


@pytest.mark.thorough
def test_the_text_of_an_exception_may_have_any_length(strategy: Strategy) -> None:
    def step() -> None:
        if replica_id() == 1:
            raise ValueError("begin" + "x" * 70_000_000 + "end")

    with pytest.raises(ValueError) as caught:
        strategy.run(step)
    assert 70_000_008 == len(str(caught.value))
    assert len(str(caught.value.__cause__)) < 2**21
    assert 3 == strategy.run(lambda: int(all_reduce("SUM", 1)))


def test_endless_recursion_is_an_exception(strategy: Strategy) -> None:
    def step(depth: int) -> int:
        return step(depth + 1)

    with soon(), pytest.raises(RecursionError):
        strategy.run(step, args=(0,))
    assert strategy.run(lambda: True)


# ---------------------------------------------------------------- merge_call


def test_an_exception_in_a_merge_call_reaches_the_program(strategy: Strategy) -> None:
    def step() -> None:
        def merge(strategy: Any) -> None:
            raise LookupError("in the middle")

        merge_call(merge)

    with soon(), pytest.raises(LookupError, match="in the middle"):
        strategy.run(step)
    assert strategy.run(lambda: True)


def test_an_exception_in_a_nested_run_reaches_the_program(strategy: Strategy) -> None:
    with strategy.scope():
        v = tf.Variable(1.0, name="v", aggregation=tf.VariableAggregation.SUM)

    def inner() -> None:
        v.assign_add(1.0)
        if replica_id() == 2:
            raise LookupError("inner")
        float(v)

    def step() -> None:
        merge_call(lambda strategy: strategy.run(inner))

    with soon(), pytest.raises(LookupError, match="inner") as caught:
        strategy.run(step)
    assert 2 == cause_of(caught.value).replica_id
    assert 7.0 == strategy.run(lambda: float(v.assign_add(1.0))) or 4.0 == float(v)


def test_a_merge_call_may_run_on_the_replicas(strategy: Strategy) -> None:
    with strategy.scope():
        v = tf.Variable(1.0, name="v", aggregation=tf.VariableAggregation.SUM)

    def inner(factor: float) -> float:
        return float(v.assign_add(factor))

    def step() -> tuple[float, float]:
        v.assign(0.0)
        inside = merge_call(lambda strategy: strategy.run(inner, args=(2.0,)))
        return inside, float(v.assign_add(1.0))

    assert (6.0, 9.0) == strategy.run(step)


def test_a_merge_call_may_create_a_variable(strategy: Strategy) -> None:
    def merge(strategy: Any) -> Any:
        with strategy.scope():
            return tf.Variable(1.0, aggregation=tf.VariableAggregation.SUM)

    def step() -> float:
        made = merge_call(merge)
        return float(made.assign_add(1.0))

    assert 4.0 == strategy.run(step)


def test_a_merge_call_may_continue_after_a_run_that_failed(strategy: Strategy) -> None:
    """The inner call has ended on all replicas, but the outer call continues."""
    with strategy.scope():
        v = tf.Variable(1.0, name="v", aggregation=tf.VariableAggregation.SUM)

    def inner() -> None:
        if replica_id() == 1:
            raise LookupError
        float(v.assign_add(100.0))

    def merge(strategy: Any) -> str:
        with pytest.raises(LookupError):
            strategy.run(inner)
        return "caught"

    def step() -> tuple[str, float]:
        v.assign(1.0)
        return merge_call(merge), float(v.assign_add(1.0))

    assert ("caught", 6.0) == strategy.run(step)


@pytest.mark.parametrize("depth", [1, 3])
def test_runs_and_merge_calls_can_be_nested(strategy: Strategy, depth: int) -> None:
    def dive(left: int) -> int:
        if not left:
            return all_reduce("SUM", 1)
        return merge_call(lambda strategy: strategy.run(dive, args=(left - 1,)))

    result = strategy.run(dive, args=(depth,))
    assert [3, 3, 3] == [int(one) for one in strategy.experimental_local_results(result)]


def test_a_merge_call_inside_a_merge_call_is_refused(strategy: Strategy) -> None:
    """Cross-replica context has no current replica, as in TensorFlow."""

    def step() -> None:
        merge_call(lambda strategy: merge_call(lambda strategy: None))

    with soon(), pytest.raises(AttributeError, match="merge_call"):
        strategy.run(step)
    assert strategy.run(lambda: True)


def test_an_unpicklable_argument_of_merge_call_can_be_caught(
    strategy: Strategy,
) -> None:
    """A merge_call that did not happen is not counted as a collective."""
    with strategy.scope():
        v = tf.Variable(1.0, name="v", aggregation=tf.VariableAggregation.SUM)

    def step() -> float:
        with pytest.raises(TypeError, match="cannot be sent"):
            merge_call(lambda strategy, rows: None, (number for number in range(3)))
        return float(v.assign(1.0))

    assert 3.0 == strategy.run(step)


# ---------------------------------------------------------------- output and effects


def test_output_before_an_exception_is_shown(
    strategy: Strategy, capsys: pytest.CaptureFixture[str]
) -> None:
    def step() -> None:
        print("in", replica_id())
        all_reduce("SUM", 1.0)
        if replica_id() == 2:
            raise LookupError

    with pytest.raises(LookupError):
        strategy.run(step)

    assert [f"[replica {i}] in {i}" for i in range(3)] == capsys.readouterr().out.splitlines()


def test_output_before_a_mismatch_is_shown(
    strategy: Strategy, capsys: pytest.CaptureFixture[str]
) -> None:
    def step() -> None:
        print("in", replica_id())
        all_reduce("SUM", 1.0)
        if replica_id():
            all_reduce("SUM", 1.0)

    with pytest.raises(RuntimeError):
        strategy.run(step)
    shown = capsys.readouterr().out.splitlines()
    strategy.run(replica_id)  # shows the output of replicas that were stopped

    shown += capsys.readouterr().out.splitlines()
    assert [f"[replica {i}] in {i}" for i in range(3)] == sorted(shown)


@pytest.mark.parametrize("slow", [2])
def test_a_collective_write_before_an_exception_takes_effect(strategy: Strategy, slow: int) -> None:
    """In TensorFlow a write waits for all replicas, so a later line raises after the write."""
    with strategy.scope():
        v = tf.Variable(0.0, name="v", aggregation=tf.VariableAggregation.SUM)

    def step() -> None:
        if replica_id() == slow:
            sum(range(3_000_000))  # takes some tens of milliseconds
        v.assign(1.0)
        if replica_id() == 1:
            raise LookupError

    with soon(), pytest.raises(LookupError):
        strategy.run(step)
    assert 3.0 == float(v)


# ---------------------------------------------------------------- the end of a worker


def ends(strategy: Strategy, step: Any) -> WorkerLost:
    with soon(), pytest.raises(WorkerLost) as caught:
        strategy.run(step)
    assert not caught.value.definite
    assert 1 == caught.value.replica_id
    return caught.value


@pytest.mark.parametrize(
    ("ending", "reason", "said"),
    [
        ("os._exit(5)", "exited with code 5", "last words"),
        pytest.param(
            "os.kill(os.getpid(), 9)",
            "was killed by SIGKILL",
            "last words",
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            "os.kill(os.getpid(), 15)",
            "was killed by SIGTERM",
            "last words",
            marks=pytest.mark.thorough,
        ),
    ],
)
def test_the_error_for_a_lost_worker_says_how_it_ended(
    mortal: Strategy, ending: str, reason: str, said: str
) -> None:
    def step() -> None:
        if replica_id() == 1:
            print("last words", file=sys.stderr, flush=True)
            eval(ending, {"os": os, "sys": sys})
        all_reduce("SUM", 1.0)

    lost = ends(mortal, step)

    assert (reason, said) == (lost.reason, lost.stderr_tail)
    assert f"replica 1: worker {reason}; it printed:\n{said}" in str(lost)
    with soon(), pytest.raises(WorkerLost, match=reason):
        mortal.run(lambda: None)  # the cluster has ended


def test_the_log_of_a_lost_worker_is_named(tmp_path: Path) -> None:
    def step() -> None:
        if replica_id() == 1:
            print("bye", flush=True)
            os._exit(3)
        all_reduce("SUM", 1.0)

    with cluster(2, log_dir=tmp_path) as strategy:
        lost = ends(strategy, step)
    log = Path(lost.log_path)
    assert ("exited with code 3", "bye") == (lost.reason, lost.stderr_tail)
    assert (tmp_path / "worker-1.log", "bye\n") == (log, log.read_text())
    assert f"full log: {log}" in str(lost)


def test_the_next_call_reports_a_lost_worker(mortal: Strategy) -> None:
    pids = mortal.run(os.getpid)
    os.kill(mortal.experimental_local_results(pids)[1], signal.SIGKILL)

    with soon(), pytest.raises(WorkerLost, match="replica 1: worker was killed by SIGKILL"):
        mortal.run(lambda: None)


def test_a_lost_worker_is_reported_by_a_read(mortal: Strategy) -> None:
    with mortal.scope():
        v = tf.Variable(
            1.0,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
    pids = mortal.experimental_local_results(mortal.run(lambda: v.assign(2.0) and os.getpid()))
    os.kill(pids[1], signal.SIGKILL)

    with soon(), pytest.raises(WorkerLost, match="SIGKILL"):
        wait_for(lambda: float(v) < 0, 900 * MS)


def test_closing_after_a_loss_does_not_wait_for_waiting_replicas(mortal: Strategy) -> None:
    def step() -> None:
        all_reduce("SUM", 1.0) if replica_id() == 0 else os._exit(3)

    ends(mortal, step)
    with soon():
        mortal.close()


# ---------------------------------------------------------------- after the end


def test_a_closed_strategy_refuses_use_and_changes_nothing(mortal: Strategy) -> None:
    on_read = {"synchronization": tf.VariableSynchronization.ON_READ}
    with mortal.scope():
        v = tf.Variable(0.0, aggregation=tf.VariableAggregation.SUM, **on_read)
        mirrored = tf.Variable(1.0)
    mortal.run(lambda: v.assign(1.0))
    mortal.close()
    mortal.close()  # closing twice does nothing

    for use in (
        lambda: mortal.run(lambda: None),
        v.numpy,
        lambda: v.assign(4.0),
        lambda: mirrored.assign(2.0),
    ):
        with pytest.raises(ContextError, match="has been closed"):
            use()
    assert 1.0 == float(mirrored)


class UnreadableArgument:
    def __init__(self, kind: type[BaseException]) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        raise self.kind


def test_an_exception_whose_methods_raise_is_not_a_crash(strategy: Strategy) -> None:
    def step(error: Callable[[], BaseException]) -> None:
        if replica_id() == 1:
            raise error()

    for kind in (RuntimeError, SystemExit, KeyboardInterrupt, GeneratorExit):
        with soon(), pytest.raises(UnreadableError):
            strategy.run(step, args=(partial(UnreadableError, kind, "text"),))
        with soon(), pytest.raises(ReplicaError) as caught:
            strategy.run(step, args=(partial(UnreadableError, kind, "attributes"),))
        assert "in step\n" in str(caught.value)
        assert "UnreadableError object at" in str(caught.value)
        assert f"a method of its class raised <{kind.__name__} object at" in str(caught.value)
        with soon(), pytest.raises(ValueError, match="UnreadableArgument object at"):
            strategy.run(step, args=(partial(ValueError, UnreadableArgument(kind)),))
    assert 2 == strategy.run(lambda: 2)


def test_an_exception_of_a_merge_function_needs_no_text(strategy: Strategy) -> None:
    def merged(_: Any) -> None:
        raise UnreadableError(SystemExit, "text")

    with soon(), pytest.raises(UnreadableError):
        strategy.run(lambda: merge_call(merged))
    assert 2 == strategy.run(lambda: 2)
