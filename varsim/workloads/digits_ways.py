"""The digits job with one way of synchronising: by a policy, by collectives, by hand, by locks.

The model, the data and the steps are those of `digits`. `way` selects what a step does after the
gradients of the replica's part of the batch are known:

    policy      write the free variables; `--mode` sets their synchronization. After each epoch
                but the last one, the program averages the copies of ON_READ variables
    all_reduce  average the gradients by one all_reduce, and write a private copy
    horovod     the same by `varsim.horovod`
    torch       the same by `varsim.torch_distributed`
    merge_call  combine the gradients in the program's process, and update all copies, as the
                optimizers of TensorFlow do
    sync        write a private copy, and average the copies by hand at every k-th step (`every`)
    groups      the same, but average the copies of each pair of replicas at all other steps
    push_pull   pull an authoritative copy, and push the change; no replica waits for another
    lock        the same under a lock, so that one replica after the other does its step
    publish     publish the own copy, and average it with the last published copy of the next
                replica

`python -m benchmarks.ways` runs all experiments of configs/ways, and prints one table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

import varsim as tf
import varsim.horovod as hvd
import varsim.torch_distributed as dist
from varsim.workloads.data import load_digits
from varsim.workloads.digits import average_copies
from varsim.workloads.softmax import (
    classifier,
    count_hits,
    in_batches,
    learn,
    log_losses,
    scores,
    split_evenly,
    steps_of,
)

Arrays = list[np.ndarray]
"""The weights and the bias, or their gradients."""


@dataclass
class Model:
    """The variables of one way, with the settings of its steps."""

    variables: tuple[tf.Variable, tf.Variable]  # weights, bias
    rate: float
    every: int  # the number of steps from one exchange of all replicas to the next
    pairs: list[Any] = field(default_factory=list)  # groups of two replicas


class Way(NamedTuple):
    """One way of synchronising: how a replica reads the model, and what it does after a step."""

    make: Callable[[], tuple[tf.Variable, tf.Variable]]
    read: Callable[[Model], Arrays]
    apply: Callable[[Model, Arrays, int], None]  # model, gradients, number of the step from 1
    lock: str = ""  # the lock of a whole step; "" for no lock
    after_epoch: Callable[..., None] = lambda *_: None  # called in the program with the variables


def run(
    job: tf.Job,
    *,
    way: str = "policy",
    epochs: int = 10,
    learning_rate: float = 0.5,
    batch_size: int = 64,
    every: int = 8,
) -> dict[str, object]:
    """Train for `epochs` (or for `job.steps` steps), and test the copy of each replica.

    Returns:
        The loss of the last step; the accuracy on the test images, on average over the replicas'
        copies; and the largest difference of an element of two copies (`drift`).
    """
    if way not in WAYS:
        raise ValueError(f"there is no way {way!r}: use one of {', '.join(WAYS)}")
    if every < 1:
        raise ValueError("every must be at least 1")
    strategy, (train_set, test_set) = job.strategy, load_digits()
    count, synchronise = strategy.num_replicas_in_sync, WAYS[way]
    with strategy.scope():
        model = Model(synchronise.make(), learning_rate, every)
    model.pairs = [strategy.group([*range(i, min(i + 2, count))]) for i in range(0, count, 2)]

    @tf.function
    def train(batches: list[tuple[np.ndarray, np.ndarray]], first: int) -> np.ndarray:
        losses = []
        for number, (images, labels) in enumerate(batches, first):
            if synchronise.lock:
                with tf.distribute.get_replica_context().lock(synchronise.lock):
                    loss = train_step(model, synchronise, images, labels, number)
            else:
                loss = train_step(model, synchronise, images, labels, number)
            losses.append(loss)
        return np.stack(losses)

    @tf.function
    def copies() -> Arrays:
        return synchronise.read(model)

    batches = split_evenly(strategy, in_batches(*train_set, batch_size))
    total, losses = steps_of(job, epochs, batches), np.zeros(count, np.float32)
    for step in job.each_step(total, keep={"losses": losses}):
        if (position := step % len(batches)) == 0:  # do all steps of this epoch
            some = batches[: total - step]
            parts = strategy.run(train, args=(some, step + 1))
            of_steps = np.stack(strategy.experimental_local_results(parts), axis=1)
            losses[:] = of_steps[-1]
            log_losses(job, step, of_steps.mean(axis=1))
            job.progress(step - position + len(some), total)
            if step + len(some) < total:
                synchronise.after_epoch(*model.variables)
    held = strategy.experimental_local_results(strategy.run(copies))
    hits = [
        int(count_hits(scores(weights, bias, test_set[0]), test_set[1])) for weights, bias in held
    ]
    return {
        "steps": total,
        "train_loss": float(losses.mean()),
        "test_accuracy": sum(hits) / (len(test_set[1]) * count),
        "drift": drift(held),
    }


def train_step(
    model: Model, way: Way, images: np.ndarray, labels: np.ndarray, number: int
) -> np.float32:
    """Do one step on this replica, and return the loss of its part of the batch."""
    weights, bias = way.read(model)
    loss, _, by_weights, by_bias = learn(weights, bias, images, labels)
    way.apply(model, [by_weights, by_bias], number)
    return loss


def drift(copies: Any) -> float:
    """Return the largest difference of an element of two copies of the model."""
    each = [np.concatenate([part.ravel() for part in copy]) for copy in copies]
    return float(np.max(np.ptp(each, axis=0)))


# ---------------------------------------------------------------- variables


def _with(
    synchronization: tf.VariableSynchronization, aggregation: tf.VariableAggregation
) -> Callable[[], tuple[tf.Variable, tf.Variable]]:
    """Return a function that creates weights and bias with these settings."""

    def make() -> tuple[tf.Variable, tf.Variable]:
        weights, bias = (
            tf.Variable(
                np.zeros(shape, np.float32),
                name=name,
                synchronization=synchronization,
                aggregation=aggregation,
            )
            for name, shape in (("weights", (64, 10)), ("bias", (10,)))
        )
        return weights, bias

    return make


_MEAN: Final = tf.VariableAggregation.MEAN
_ON_READ: Final = tf.VariableSynchronization.ON_READ
_PRIVATE: Final = _with(_ON_READ, tf.VariableAggregation.ONLY_FIRST_REPLICA)
"""Copies that the program keeps equal itself, like those of separate processes."""

_AVERAGED: Final = _with(_ON_READ, _MEAN)
_MIRRORED: Final = _with(tf.VariableSynchronization.ON_WRITE, tf.VariableAggregation.NONE)


def _own(model: Model) -> Arrays:
    """Return the replica's own copy."""
    return [np.asarray(variable) for variable in model.variables]


def _pulled(model: Model) -> Arrays:
    """Return the authoritative copy."""
    return [variable.pull().value for variable in model.variables]


def _write(model: Model, gradients: Arrays) -> None:
    for variable, gradient in zip(model.variables, gradients, strict=True):
        variable.assign_sub(model.rate * gradient)


# ---------------------------------------------------------------- after a step


def _by_policy(model: Model, gradients: Arrays, _: int) -> None:
    _write(model, gradients)


def _by_all_reduce(model: Model, gradients: Arrays, _: int) -> None:
    context = tf.distribute.get_replica_context()
    _write(model, context.all_reduce(tf.distribute.ReduceOp.MEAN, gradients))


def _by_horovod(model: Model, gradients: Arrays, _: int) -> None:
    hvd.init()
    _write(model, hvd.grouped_allreduce(gradients, op=hvd.Average))


def _by_torch(model: Model, gradients: Arrays, _: int) -> None:
    if not dist.is_initialized():
        dist.init_process_group("gloo")
    for gradient in gradients:
        dist.all_reduce(gradient, op=dist.ReduceOp.SUM)
    _write(model, [gradient / dist.get_world_size() for gradient in gradients])


def _by_merge_call(model: Model, gradients: Arrays, _: int) -> None:
    def apply(strategy: tf.distribute.Strategy, *each: Any) -> None:
        for variable, gradient in zip(model.variables, each, strict=True):
            mean = strategy.reduce(tf.distribute.ReduceOp.MEAN, gradient, axis=None)
            strategy.extended.update(
                variable, lambda copy, change: copy.assign_sub(change), args=(model.rate * mean,)
            )

    tf.distribute.get_replica_context().merge_call(apply, args=tuple(gradients))


def _by_hand(model: Model, gradients: Arrays, number: int) -> None:
    _write(model, gradients)
    if number % model.every == 0:
        for variable in model.variables:
            variable.sync(tf.distribute.ReduceOp.MEAN)


def _in_groups(model: Model, gradients: Arrays, number: int) -> None:
    _write(model, gradients)
    me = tf.distribute.get_replica_context().replica_id_in_sync_group
    (pair,) = (pair for pair in model.pairs if me in pair)
    group = None if number % model.every == 0 else pair
    for variable in model.variables:
        variable.sync(tf.distribute.ReduceOp.MEAN, group=group)


def _by_push(model: Model, gradients: Arrays, _: int) -> None:
    count = tf.distribute.get_replica_context().num_replicas_in_sync
    for variable, gradient in zip(model.variables, gradients, strict=True):
        variable.push(-model.rate / count * gradient)


def _by_publication(model: Model, gradients: Arrays, _: int) -> None:
    context = tf.distribute.get_replica_context()
    after = (context.replica_id_in_sync_group + 1) % context.num_replicas_in_sync
    _write(model, gradients)
    for variable in model.variables:
        variable.publish()
        fetched = variable.fetch(after)
        if fetched.version:  # else the next replica has not published its copy yet
            variable.assign((np.asarray(variable) + fetched.value) / 2)


WAYS: Final[dict[str, Way]] = {
    "policy": Way(classifier, _own, _by_policy, after_epoch=average_copies),
    "all_reduce": Way(_PRIVATE, _own, _by_all_reduce),
    "horovod": Way(_PRIVATE, _own, _by_horovod),
    "torch": Way(_PRIVATE, _own, _by_torch),
    "merge_call": Way(_MIRRORED, _own, _by_merge_call),
    "sync": Way(_AVERAGED, _own, _by_hand),
    "groups": Way(_AVERAGED, _own, _in_groups),
    "push_pull": Way(_AVERAGED, _pulled, _by_push),
    "lock": Way(_AVERAGED, _pulled, _by_push, lock="model"),
    "publish": Way(_AVERAGED, _own, _by_publication),
}
"""The name of a way → what its steps do. A further way is one line here, and one experiment."""
