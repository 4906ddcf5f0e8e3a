"""Counting steps and examples: which settings count right, and which count once per replica.

Every replica adds 1 to each counter in every step. A step is one thing that all replicas do, so a
counter of steps takes the word of one of them (ONLY_FIRST_REPLICA); SUM counts every step as often
as there are replicas. With ON_READ the counter is as right, and sends nothing until it is read.

The rest is what surprises people about ON_READ and SUM. An initial value is every replica's, so it
is read back once per replica. A value assigned from outside is split among the replicas; an integer
that they do not divide loses the remainder: on 4 replicas, 13 becomes 3 + 3 + 3 + 3.
"""

from __future__ import annotations

import varsim as tf

ON_WRITE, ON_READ = tf.VariableSynchronization.ON_WRITE, tf.VariableSynchronization.ON_READ
SUM, FIRST = tf.VariableAggregation.SUM, tf.VariableAggregation.ONLY_FIRST_REPLICA


def run(job: tf.Job, *, initial: int = 10, restored: int = 13) -> dict[str, object]:
    """Counts for `job.steps` steps (100), and shows what each counter says afterwards.

    Args:
        job: The strategy to run under, and where to report progress.
        initial: What `starts_at` is created with.
        restored: What is assigned to `assigned` from outside, as restoring a checkpoint does.
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
        starts_at = tf.Variable(initial, name="starts_at", synchronization=ON_READ, aggregation=SUM)
        assigned = tf.Variable(0, name="assigned", synchronization=ON_READ, aggregation=SUM)

    @tf.function
    def count_step() -> None:
        for counter in counters.values():
            counter.assign_add(1)

    total = 100 if job.steps is None else job.steps
    for step in range(total):
        strategy.run(count_step)
        job.progress(step + 1, total)

    assigned.assign(restored)
    surprises = {f"created_with_{initial}": starts_at, f"assigned_{restored}": assigned}
    return {name: int(counter.read_value()) for name, counter in (counters | surprises).items()}
