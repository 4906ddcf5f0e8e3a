"""Lesson 1: a variable has one component per replica. What does a replica write and read?"""

import varsim as tf


def run(job: tf.Job) -> dict[str, object]:
    """Let each replica add its number to a variable and read the variable, in three steps."""
    strategy = job.strategy
    with strategy.scope():
        weight = tf.Variable(0.0, name="weight", aggregation=tf.VariableAggregation.MEAN)

    @tf.function
    def step() -> float:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        weight.assign_add(replica + 1.0)  # replica 0 adds 1, replica 1 adds 2, replica 2 adds 3
        return float(weight.read_value())  # a read in a replica returns its own component

    reads = {}
    for number in job.each_step(3):
        seen = strategy.run(step)
        reads[f"step {number + 1}"] = list(strategy.experimental_local_results(seen))
    return {"each replica reads": reads}
