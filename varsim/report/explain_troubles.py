"""The warnings and errors of a variable, with the texts that varsim gives a program."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np

from varsim.errors import VariableError, VarsimError
from varsim.protocol.messages import Create, Payload, Returned, Write
from varsim.report.explain_rows import SparseExample
from varsim.report.explain_worked import START, WRITES, Worked, example_spec
from varsim.report.formatting import number
from varsim.spec import Context, Operation, VariableSpec
from varsim.sync import mismatch, policies, reduce
from varsim.sync.actions import Send
from varsim.sync.creation import adds_up, in_force
from varsim.sync.mismatch_fixes import of_mismatch
from varsim.sync.policies.legality import check_arithmetic, check_gather
from varsim.sync.replica_events import FunctionBegins, FunctionReturns, ReplicaWrite
from varsim.sync.replica_state import ReplicaState
from varsim.texts.checkpoints import starts_on_each
from varsim.texts.mismatches import Mismatch, Uneven, in_short

_CALL_ID: Final = 1
_WARNING: Final = "VarsimWarning"


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error or a warning: when it occurs, and its text with the remedy."""

    kind: str  # the class of the error or warning
    operations: tuple[Operation, ...]  # the operations that can cause it; empty for none
    when: str  # the condition, as a clause: "when the variable is created"
    text: str


# ---------------------------------------------------------------- warnings


def warnings(spec: VariableSpec, warning: str, num_replicas: int) -> Iterator[Trouble]:
    """Yield the warnings for a program that uses a variable with these settings.

    Args:
        warning: The policy's warning when the variable is created; empty for none.
    """
    if warning:
        yield Trouble(_WARNING, (), "when the variable is created", warning)
    start = np.asarray(START, spec.dtype)
    if adds_up(spec, start, num_replicas):
        text = starts_on_each(spec.name, start, num_replicas)
        when = "when the variable is created with another value than 0"
        yield Trouble(_WARNING, (), when, text)
    for text in _warnings_of_a_write(spec, num_replicas):
        yield Trouble(_WARNING, (), "at the first write in replica context", _flat(text))
    cell = policies.cell(spec, Context.CROSS_REPLICA, Operation.ASSIGN)
    if cell.shares and num_replicas > 1:
        lost = _lost_remainder(spec, num_replicas)
        yield Trouble(
            _WARNING,
            (Operation.ASSIGN,),
            "of an integer that is not a multiple of the number of replicas",
            lost,
        )


def _warnings_of_a_write(spec: VariableSpec, num_replicas: int) -> list[str]:
    """Return the warnings of replica 0 when it assigns 1 to the variable, if this is legal."""
    if policies.cell(spec, Context.REPLICA, Operation.ASSIGN).refused is not None:
        return []
    replica = ReplicaState(0, num_replicas)
    start = np.asarray(START, spec.dtype)
    replica.handle(Create(spec=spec, value=start))
    replica.handle(FunctionBegins(_CALL_ID))
    value = np.asarray(1, spec.dtype)
    replica.handle(ReplicaWrite(spec.variable_id, Operation.ASSIGN, value))
    *_, sent = replica.handle(FunctionReturns(Payload(None)))
    assert isinstance(sent, Send)
    assert isinstance(sent.message, Returned)
    return [text for text, _ in sent.message.report.warnings]


def _lost_remainder(spec: VariableSpec, num_replicas: int) -> str:
    value, whole = np.asarray(3 * num_replicas + 1), np.dtype("int32")
    share = reduce.share_of(value, whole, num_replicas, spec.name)
    total = reduce.fold([share] * num_replicas)
    return (
        f"assign({value}) in cross-replica context to an int32 variable with aggregation="
        f"{spec.aggregation.name} gives each of {num_replicas} components {number(int(share))}, "
        f"and a read then returns {number(int(total))}: the remainder is lost, as in "
        "TensorFlow. Use a float dtype, or a multiple of the number of replicas."
    )


# ---------------------------------------------------------------- errors


def errors(spec: VariableSpec, examples: Iterable[Worked], num_replicas: int) -> Iterator[Trouble]:
    """Yield the errors that these settings can cause, with varsim's own texts."""
    new = partial(_of_creation, spec, num_replicas)
    yield from new("created with an integer or bool dtype", "int32")
    yield from new("created with strict=True", "float32", strict=True)
    for example in examples:
        if example.refused is not None:
            yield _trouble(example.refused, f"in {example.context.value}", example.operation)
    written = policies.cell(spec, Context.REPLICA, Operation.ASSIGN)
    if num_replicas > 1 and written.combines and written.refused is None:
        uneven = _uneven(spec, num_replicas)
        yield Trouble("MismatchError", (), "when replicas do different things", uneven)
    yield from _of_bools(spec, num_replicas)


def of_sparse_writes(examples: Iterable[SparseExample]) -> Iterator[Trouble]:
    """Yield the errors of refused sparse writes."""
    for example in examples:
        if example.refused is not None:
            yield _trouble(example.refused, f"in {example.context.value}", example.operation)


def _trouble(error: VarsimError, when: str, *operations: Operation) -> Trouble:
    text, fixes = str(error), "; ".join(map(str, error.fixes))
    ways = f"Possible fixes: {fixes}" if fixes else ""
    if isinstance(error, VariableError):
        ways = ways or error.remedy.removesuffix(".")
        text = f"variable {error.variable!r}: {error.problem}." + (f" {ways}." if ways else "")
    return Trouble(type(error).__name__, operations, when, _flat(text))


def _flat(text: str) -> str:
    """Return a text on one line."""
    return " ".join(text.split())


def _joined(text: str) -> str:
    """Return a text and the list of fixes below the text, on one line."""
    said, *fixes = map(_flat, text.split("\n  - "))
    return f"{said} Possible fixes: {'; '.join(fixes)}." if fixes else said


def _caught(attempt: Callable[[], object], when: str, *operations: Operation) -> Iterator[Trouble]:
    try:
        attempt()
    except VarsimError as error:
        yield _trouble(error, when, *operations)


def _of_creation(
    spec: VariableSpec, num_replicas: int, when: str, dtype: str, *, strict: bool = False
) -> Iterator[Trouble]:
    asked = replace(spec, dtype=np.dtype(dtype), synchronization=spec.requested)
    start = np.asarray(START, dtype)
    return _caught(partial(in_force, asked, start, num_replicas, strict=strict), when)


def _of_bools(spec: VariableSpec, num_replicas: int) -> Iterator[Trouble]:
    """Yield the errors of arithmetic with bool variables, if such a variable can be created."""
    if any(_of_creation(spec, num_replicas, "", "bool")):
        return
    bools = example_spec(spec.synchronization, spec.aggregation, "bool")
    for operation in WRITES:
        alone = partial(check_arithmetic, bools, operation, 1)
        together = partial(check_arithmetic, bools, operation, num_replicas)
        everywhere = list(_caught(alone, "of dtype bool", operation))
        if not everywhere and policies.merges(bools):
            yield from _caught(together, "of dtype bool in replica context", operation)
        yield from everywhere
    if policies.cell(bools, Context.CROSS_REPLICA, Operation.READ).gathers:
        attempt = partial(check_gather, bools, num_replicas)
        yield from _caught(attempt, "of dtype bool in cross-replica context", Operation.READ)


def _uneven(spec: VariableSpec, num_replicas: int) -> str:
    """Return the error text for replicas that write differently: the problem and the remedy.

    Replica 0 assigns 1, and all other replicas add 1.
    """
    specs = {spec.variable_id: spec}
    if policies.defers(spec):
        counts = [1, *[0] * (num_replicas - 1)]
        fact = mismatch.uneven(spec, counts, counts, (), specs, sparse=False).fact
        assert isinstance(fact, Uneven), "it is uneven"
        return _flat(f"{fact.headline}. {fact.remedy}")
    first, second = (Write(spec.variable_id, operation, (), "") for operation in WRITES[:2])
    points = [first, *[second] * (num_replicas - 1)]
    ways = of_mismatch(points, [[np.asarray(1, spec.dtype)]] * num_replicas, specs)
    fixes = "; ".join(map(str, ways))
    return _flat(f"{in_short(Mismatch.OPERATION)} Possible fixes: {fixes}.")
