"""Local state of each replica (NONE): random numbers and counts that are never exchanged.

The replicas estimate pi by throwing darts. Each replica has its own random generators and counts
its own hits. Generators and counts are variables with synchronization NONE. TensorFlow's strategies
refuse such variables. varsim supports them, but leaves three things to the program:

    - All components start from the same value. The program must make them different: with
      `forget_to_seed` all replicas throw the same darts, so N replicas estimate no better than one.
    - There is no single value to read: a cross-replica read is an error. The program must say how
      it wants to read the components. Three ways are used below.
    - Code in which all replicas must call a collective, or must decide in the same way, must not
      depend on such a variable.
"""

from __future__ import annotations

import numpy as np

import varsim as tf

DARTS = 1000
"""Darts per replica and step; each dart has its own generator."""


def run(job: tf.Job, *, forget_to_seed: bool = False) -> dict[str, object]:
    """Throw darts for `job.steps` steps (default: 100), and compare the replicas' estimates."""
    strategy = job.strategy
    total = job.steps or 100
    seeds = np.random.default_rng(job.seed).integers(
        1, 2**32, size=(strategy.num_replicas_in_sync, DARTS), dtype=np.uint32
    )
    with strategy.scope():
        generators = local("generators", seeds[0])
        hits = local("hits", 0)

    @tf.function
    def seed() -> None:
        generators.assign(seeds[tf.distribute.get_replica_context().replica_id_in_sync_group])

    @tf.function
    def throw() -> None:
        x, y = next_random(generators), next_random(generators)
        hits.assign_add(np.sum(x * x + y * y < 1))

    @tf.function
    def agree() -> np.ndarray:
        context = tf.distribute.get_replica_context()
        own_pi = 4 * np.asarray(hits.read_value() / (total * DARTS))
        return np.asarray(context.all_reduce(tf.distribute.ReduceOp.MEAN, own_pi))

    if not forget_to_seed:
        strategy.run(seed)
    for step in job.each_step(total):
        strategy.run(throw)
        job.progress(step + 1, total)

    try:
        answer = f"{hits.read_value()}"
    except ValueError as refused:
        answer = str(refused).splitlines()[0]
    # 1: side by side.
    own_hits = [int(np.asarray(own)) for own in strategy.experimental_local_results(hits)]
    # 2: combined. The program names the operation, because the variable has no aggregation.
    all_hits = int(strategy.reduce(tf.distribute.ReduceOp.SUM, hits, axis=None))
    # 3: exchanged by the replicas themselves, so that every replica has the result.
    agreed = strategy.experimental_local_results(strategy.run(agree))
    return {
        "pi": 4 * all_hits / (total * DARTS * strategy.num_replicas_in_sync),
        "pi_of_each_replica": [4 * own / (total * DARTS) for own in own_hits],
        "pi_agreed_on": [float(own) for own in agreed],
        "read_from_outside": answer,
    }


def local(name: str, initial: int | np.ndarray) -> tf.Variable:
    """Create a variable whose components are never synchronised."""
    return tf.Variable(
        initial, name=name, trainable=False, synchronization=tf.VariableSynchronization.NONE
    )


def next_random(generators: tf.Variable) -> np.ndarray:
    """Return the next number from 0 to 1 of each generator: Marsaglia's xorshift on 32 bits."""
    bits = generators.read_value()
    bits = bits ^ (bits << 13)
    bits = bits ^ (bits >> 17)
    bits = bits ^ (bits << 5)
    generators.assign(bits)
    return np.asarray(bits / 2**32)
