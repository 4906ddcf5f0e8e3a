"""The program counts the steps between its calls, not in the function of the replicas."""

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        global_step = tf.Variable(
            0,
            name="global_step",
            synchronization=tf.VariableSynchronization.ON_WRITE,
        )

    def train():
        return int(global_step.read_value()) * 2

    for number in range(5):
        strategy.run(train)
        global_step.assign(number + 1)
    return {"steps": int(global_step.read_value())}
