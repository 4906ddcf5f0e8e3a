"""Random programs of locks that cannot deadlock end, and locks exclude replicas in them."""

from __future__ import annotations

import random

import pytest

import varsim as tf
from tests.effort import many
from tests.locking.programs import Holders, run, variables
from varsim.testing.simulation import simulated_cluster

LOCKS = "abcd"

TOGETHER = ("barrier", "barrier x", "reduce", "gather", "merge", "write w")
"""Operations in which all replicas take part."""


def programs_of(chance: random.Random, num_replicas: int) -> tuple[str, ...]:
    """Return programs without a deadlock.

    Each replica takes its locks in the order of their names, and holds none when it needs others.
    """
    steps: list[list[str]] = [[] for _ in range(num_replicas)]
    for _ in range(chance.randint(1, 4)):
        for own in steps:
            for _ in range(chance.randint(0, 3)):
                own.extend(_section(chance))
        if chance.random() < 0.5:
            together = chance.choice(TOGETHER)
            for own in steps:
                own.append(together)
        else:
            sender, receiver = chance.sample(range(num_replicas), 2)
            steps[sender].append(f"send {receiver}")
            steps[receiver].append(f"recv {sender}")
    return tuple(", ".join(own) for own in steps)


def _section(chance: random.Random) -> list[str]:
    locks = sorted(chance.sample(LOCKS, chance.randint(1, 3)))
    inside = ["write n"] * chance.randint(0, 2)
    takes = [f"{chance.choice(('lock', 'lock', 'read_lock'))} {lock}" for lock in locks]
    leaves = [f"unlock {lock}" for lock in chance.sample(locks, len(locks))]
    return [*takes, *inside, *leaves]


def check_programs(first: int, count: int) -> None:
    """Run random programs; an error names the seed and the programs."""
    for seed in range(first, first + count):
        chance = random.Random(seed)
        num_replicas = chance.randint(2, 5)
        programs = programs_of(chance, num_replicas)
        with simulated_cluster(seed):
            strategy = tf.distribute.MirroredStrategy([f"cpu:{i}" for i in range(num_replicas)])
            with strategy.scope():
                own = variables()
            holders = Holders()
            try:
                strategy.run(run, args=(programs, own, holders))
            except Exception as error:
                error.add_note(f"seed {seed}: {programs}")
                raise
            assert not holders.writers, seed
            assert not any(holders.readers.values()), seed
            written = sum(program.count("write n") for program in programs)
            assert written == own["n"].numpy(), seed


def test_some_lock_programs_end() -> None:
    check_programs(0, 25)


@pytest.mark.thorough
def test_many_lock_programs_end() -> None:
    check_programs(25, many(475))
