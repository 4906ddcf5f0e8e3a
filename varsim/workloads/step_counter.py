"""Counting steps and examples: which settings count right, and which count once per replica.

Every replica adds 1 to each counter of steps. All replicas do each step together, so a counter
of steps uses the value of one replica (ONLY_FIRST_REPLICA). With N replicas, SUM counts every step
N times. With ON_READ the counter has the same value, and nothing is sent until the program reads
it. Examples are the opposite: each replica counts its own part of a batch, and SUM counts right.

The other variables show two surprises of ON_READ with SUM. Every component starts at the initial
value, so a read returns N times the initial value. A cross-replica assign splits the value among
the replicas, and integers lose the remainder: with 4 replicas, 13 becomes 3 + 3 + 3 + 3.
"""

from __future__ import annotations

import varsim as tf

ON_WRITE, ON_READ = tf.VariableSynchronization.ON_WRITE, tf.VariableSynchronization.ON_READ
SUM, FIRST = tf.VariableAggregation.SUM, tf.VariableAggregation.ONLY_FIRST_REPLICA


def run(
    job: tf.Job, *, batch: int = 10, initial: int = 10, restored: int = 13
) -> dict[str, object]:
    """Count for `job.steps` steps (default: 100), and return the values of all counters.

    Args:
        job: The strategy, and a function to report progress.
        batch: The number of examples of a step, of all replicas together.
        initial: The initial value of `starts_at`.
        restored: The value that `assigned` gets in cross-replica context, as from a checkpoint.
    """
    strategy = job.strategy
    with strategy.scope():
        counters = {
            "steps": tf.Variable(0, name="steps", synchronization=ON_WRITE, aggregation=FIRST),
            "steps_lazily": tf.Variable(
                0, name="steps_lazily", synchronization=ON_READ, aggregation=FIRST
            ),
            "steps_summed": tf.Variable(
                0, name="steps_summed", synchronization=ON_WRITE, aggregation=SUM
            ),
        }
        examples = tf.Variable(0, name="examples", synchronization=ON_READ, aggregation=SUM)
        starts_at = tf.Variable(initial, name="starts_at", synchronization=ON_READ, aggregation=SUM)
        assigned = tf.Variable(0, name="assigned", synchronization=ON_READ, aggregation=SUM)

    @tf.function
    def count_step() -> None:
        for counter in counters.values():
            counter.assign_add(1)
        context = tf.distribute.get_replica_context()
        size, rest = divmod(batch, context.num_replicas_in_sync)
        examples.assign_add(size + (context.replica_id_in_sync_group < rest))

    total = job.steps or 100
    for step in job.each_step(total):
        strategy.run(count_step)
        job.progress(step + 1, total)

    assigned.assign(restored)
    others = {
        "examples": examples,
        f"created_with_{initial}": starts_at,
        f"assigned_{restored}": assigned,
    }
    return {name: int(counter.read_value()) for name, counter in (counters | others).items()}
