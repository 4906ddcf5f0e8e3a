"""Manual operations in random order: what was pushed, published, pulled and fetched agrees."""

from __future__ import annotations

import warnings
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest

import varsim as tf
from tests.effort import many
from varsim.analysis.outcome import Outcome
from varsim.analysis.verdict import judge
from varsim.testing import simulated_cluster
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

NONE = tf.VariableSynchronization.NONE
ON_READ = tf.VariableSynchronization.ON_READ
MEAN = tf.VariableAggregation.MEAN

SEEN = list[tuple[str, Any]]
"""The operations of one replica: a pushed number, or the version and the value that it read."""


def act(v: tf.Variable, rng: Random, replica_id: int, count: int, seen: SEEN) -> None:
    """Perform one random operation."""
    choice = rng.randrange(5)  # syncs are collectives: see `meet`
    if choice == 0:
        number = rng.randint(-9, 9)
        v.push(number)
        seen.append(("push", number))
    elif choice == 1:
        found = v.pull()
        assert found.age_s >= 0
        seen.append(("pull", (found.version, int(found.value))))
    elif choice == 2:
        v.assign(1000 * replica_id + len(seen))
    elif choice == 3:
        v.publish()
        seen.append(("publish", int(v.read_value())))
    else:
        owner = rng.randrange(count)
        found = v.fetch(owner)
        seen.append((f"fetch {owner}", (found.version, int(found.value))))


def meet(v: tf.Variable, w: tf.Variable, rng: Random, count: int) -> None:
    """Perform the same collective on all replicas, and compare its result with the component."""
    choice = rng.randrange(5)
    if choice == 0:
        tf.distribute.get_replica_context().all_reduce("SUM", 1.0)
    elif choice == 1:
        assert v.broadcast(rng.randrange(count)) == v.read_value()
    elif choice == 2:
        assert v.sync(rng.choice(["SUM", "MIN", "MAX", "PROD"])) == v.read_value()
    else:
        w.assign_add(0.1 * own_id())
        assert w.sync(rng.choice(["SUM", "MEAN", None])) == w.read_value()


def own_id() -> int:
    replica_id: int = tf.distribute.get_replica_context().replica_id_in_sync_group
    return replica_id


def run(seed: int, folder: Path) -> list[SEEN]:
    """Run a random program; return what each replica did, and what the program saw at last."""
    rng = Random(seed)
    count = rng.randint(2, 4)
    everything: list[SEEN] = [[] for _ in range(count)]
    with simulated_cluster(rng.choice([None, seed])):
        strategy = tf.distribute.MirroredStrategy(
            [f"cpu:{i}" for i in range(count)], trace=TraceOptions(folder)
        )
        with strategy.scope():
            v = tf.Variable(7, name="v", synchronization=rng.choice([NONE, ON_READ]))
            w = tf.Variable(1.0, name="w", synchronization=NONE, aggregation=MEAN)

        def step(step_seed: int, meetings: int) -> None:
            replica_id = tf.distribute.get_replica_context().replica_id_in_sync_group
            own, common = Random(f"{step_seed} {replica_id}"), Random(step_seed)
            for _ in range(meetings):
                for _ in range(own.randrange(6)):
                    act(v, own, replica_id, count, everything[replica_id])
                meet(v, w, common, count)

        for _ in range(3):
            strategy.run(step, (rng.randrange(2**32), rng.randrange(3)))
            if rng.random() < 0.5:
                v.push(100)
                everything[0].append(("push", 100))
            if rng.random() < 0.5:
                assert float(w.sync()) == float(w.values[count - 1].read_value())
                assert int(v.broadcast(rng.randrange(count))) == int(v.values[0].read_value())
        last = v.pull()
        outside: SEEN = [("pull", (last.version, int(last.value)))]
        for i in range(count):
            fetched = v.fetch(i)
            outside.append((f"fetch {i}", (fetched.version, int(fetched.value))))
        strategy.close()
    return [*everything, outside]


@pytest.mark.parametrize("seed", range(many(8)))
def test_reads_agree_with_pushes_and_publications(seed: int):
    """The sum of all pushes arrives, versions never go back, and the judge finds no fault."""
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", tf.VarsimWarning)
        *replicas, outside = run(seed, Path(folder))
        merge(Path(folder), Path(folder))
        with open_history(Path(folder)) as history:
            verdicts = judge(history)
    pushed = [number for seen in replicas for what, number in seen if what == "push"]

    assert [] == [one for one in verdicts if one.outcome is not Outcome.VALID]
    assert ("pull", (len(pushed), 7 + sum(pushed))) == outside[0]
    for owner, published in enumerate(replicas):
        values = [7, *(value for what, value in published if what == "publish")]
        assert (f"fetch {owner}", (len(values) - 1, values[-1])) == outside[1 + owner]
        for seen in replicas:
            fetched = [read for what, read in seen if what == f"fetch {owner}"]
            assert fetched == sorted(fetched, key=lambda read: read[0])
            assert all(value == values[version] for version, value in fetched)
    for seen in replicas:
        versions = [read[0] for what, read in seen if what == "pull"]
        assert versions == sorted(versions)
