"""Random programs of locks that cannot deadlock end, and locks exclude replicas in them."""

from __future__ import annotations

import random
import warnings

import pytest

import varsim as tf
from tests.effort import many
from tests.locking.programs import Holders, run, variables
from varsim.errors import WorkerLost
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


def check_losses(first: int, count: int) -> int:
    """Kill a worker of each program at a random message; return how many calls it ended."""
    ended = 0
    for seed in range(first, first + count):
        chance = random.Random(seed)
        num_replicas = chance.randint(2, 4)
        programs = programs_of(chance, num_replicas)
        after = ["lock a, lock b, lock c, lock d"] * num_replicas
        deaths = {chance.randrange(num_replicas): chance.randint(0, 12)}
        with simulated_cluster(seed, deaths=deaths) as clusters, warnings.catch_warnings():
            warnings.simplefilter("ignore", tf.VarsimWarning)
            devices = [f"cpu:{i}" for i in range(num_replicas)]
            strategy = tf.distribute.MirroredStrategy(devices, on_worker_lost="restart")
            with strategy.scope():
                own = variables()
            losses = 0
            for each in (programs, after, after):
                try:
                    strategy.run(run, args=(each, own))
                except WorkerLost:
                    losses += 1
            assert losses <= 1, seed
            ended += losses
            assert clusters.networks[0].now_s() < 1, seed
    return ended


def test_the_loss_of_a_holder_releases_its_locks() -> None:
    assert check_losses(0, 20) > 5


@pytest.mark.thorough
def test_the_losses_of_many_holders_release_their_locks() -> None:
    assert check_losses(20, many(130)) > many(30)


def test_joined_replicas_take_no_part_in_barriers() -> None:
    """Only replicas 0 and 1 have rows; replica 2 has joined."""
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1", "cpu:2"])
        programs = ("barrier x, recv 1", "barrier x, send 0", "raise never")
        rows = tf.distribute.PerReplica([None, None], 1)

        def step(_: object) -> str:
            with pytest.raises(IndexError, match="give an id from 0 to 1"):
                tf.distribute.get_replica_context().send(1, to=2)
            return run(programs, {})

        assert ("from 1", "") == strategy.experimental_local_results(strategy.run(step, (rows,)))


def test_some_lock_programs_end() -> None:
    check_programs(0, 25)


@pytest.mark.thorough
def test_many_lock_programs_end() -> None:
    check_programs(25, many(475))
