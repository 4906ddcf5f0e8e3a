"""Random programs with collectives of groups give the values of a plain model, or an error.

Replicas may leave out a collective, exchange two collectives, or use another operation. The model
says whether such a program can end: the simulated cluster must then give the same values, and
otherwise an error, at once and in any order of messages.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.effort import many, thorough
from tests.replica_context import replica_id
from varsim.errors import DeadlockError, MismatchError
from varsim.testing import simulated_cluster

PROGRAMS = 125
"""The number of programs in `make test`, and of others in `make check`; each runs in the order of
another seed."""

OPERATIONS = ("SUM", "MEAN", "gather", "write")


@dataclass(frozen=True)
class Operation:
    """One replica's part in a collective."""

    members: tuple[int, ...]
    kind: str


Program = list[list[Operation]]
"""The collectives of each replica, in order."""


# ---------------------------------------------------------------- programs


def programs(numbers: Sequence[int]) -> Iterator[tuple[Program, int]]:
    """Yield random programs, each with a seed."""
    for number in numbers:
        chooser = random.Random(number)
        yield random_program(chooser, chooser.randint(2, 4)), number


def random_program(chooser: random.Random, count: int) -> Program:
    everyone = tuple(range(count))
    program: Program = [[] for _ in everyone]
    for _ in range(chooser.randint(2, 6)):
        members = tuple(sorted(chooser.sample(everyone, chooser.randint(1, count))))
        kind = chooser.choice(OPERATIONS)
        one = Operation(everyone if kind == "write" else members, kind)
        for replica in one.members:
            program[replica].append(one)
    if chooser.random() < 0.5:
        damage(chooser, chooser.choice([own for own in program if own] or [[]]))
    return program


def damage(chooser: random.Random, own: list[Operation]) -> None:
    """Let a replica do something else at one of its collectives."""
    index = chooser.randrange(len(own))
    match chooser.choice(["leave out", "exchange", "other"]):
        case "leave out":
            del own[index]
        case "exchange":
            other = chooser.randrange(len(own))
            own[index], own[other] = own[other], own[index]
        case "other":
            own[index] = Operation(own[index].members, chooser.choice(OPERATIONS[:3]))


# ---------------------------------------------------------------- the model


def model(program: Program) -> list[Any] | None:
    """Return the last value of each replica; None if the program cannot end."""
    values = [first(replica) for replica in range(len(program))]
    total = np.zeros(2)
    rest = [list(own) for own in program]
    while any(rest):
        ready = next((own[0] for own in rest if own and is_ready(own[0], rest)), None)
        if ready is None:
            return None
        given = [values[replica] for replica in ready.members]
        sum_ = reduce(np.add, given)
        if ready.kind == "write":
            total = total + sum_
        results = {
            "SUM": sum_,
            "MEAN": sum_ / len(given),
            "gather": np.concatenate(given),
            "write": total,
        }
        for replica in ready.members:
            values[replica] = after(values[replica], results[ready.kind])
            del rest[replica][0]
    return values


def is_ready(one: Operation, rest: Program) -> bool:
    return all(rest[replica] and rest[replica][0] == one for replica in one.members)


def first(replica: int) -> Any:
    return np.array([replica + 1.0, replica * 0.5])


def after(value: Any, result: Any) -> Any:
    """Return a replica's value after a collective."""
    return value * 0.25 + result[:2] * 0.5 + result[-2:] * 0.125


# ---------------------------------------------------------------- the simulated cluster


def simulated(program: Program, seed: int) -> list[Any] | None:
    """Return the last value of each replica; None if the call fails."""
    with simulated_cluster(seed):
        strategy = tf.distribute.MirroredStrategy([f"cpu:{i}" for i in range(len(program))])
        with strategy.scope():
            total = tf.Variable(
                np.zeros(2),
                synchronization=tf.VariableSynchronization.ON_WRITE,
                aggregation=tf.VariableAggregation.SUM,
            )

        def step() -> Any:
            context = tf.distribute.get_replica_context()
            value = first(replica_id())
            for one in program[replica_id()]:
                group = strategy.group(one.members)
                match one.kind:
                    case "write":
                        total.assign_add(value)
                        result = total.read_value()
                    case "gather":
                        result = context.all_gather(value, axis=0, group=group)
                    case op:
                        result = context.all_reduce(op, value, group=group)
                value = after(value, result)
            return value

        try:
            return list(strategy.experimental_local_results(strategy.run(step)))
        except (MismatchError, DeadlockError):
            return None


def check(numbers: Sequence[int]) -> Counter[bool]:
    """Compare the programs with the model; return how many end, and how many cannot."""
    outcomes = Counter[bool]()
    for program, seed in programs(numbers):
        expected, got = model(program), simulated(program, seed)
        outcomes[expected is not None] += 1
        assert (expected is None) == (got is None), (seed, program)
        for one, other in zip(expected or [], got or [], strict=True):
            assert np.array_equal(one, other), (seed, program)
    return outcomes


@pytest.mark.parametrize("first", [0, thorough(PROGRAMS)])
def test_programs_with_groups_give_the_values_of_the_model(first: int) -> None:
    outcomes = check(range(first, first + PROGRAMS))

    assert outcomes[True] > PROGRAMS / 2
    assert outcomes[False] > PROGRAMS / 10


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(4))
def test_thousands_of_programs_give_the_values_of_the_model(part: int) -> None:
    count = many(1000)
    first = 2 * PROGRAMS + part * count
    check(range(first, first + count))
