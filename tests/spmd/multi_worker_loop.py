"""TensorFlow's tutorial "Custom training loop with MultiWorkerMirroredStrategy", without Keras.

Run it in an empty folder: `varsim exec -n 2 --spmd multi_worker_loop.py`. A second run goes on
where the first one ended. The structure is the tutorial's. Its model is a softmax regression in
NumPy, and its data are random points of three classes.
"""

import json
import os
import shutil
from pathlib import Path

import numpy as np

import varsim as tf

num_epochs = int(os.environ.get("EPOCHS", "2"))
num_steps_per_epoch = 5
per_worker_batch_size = 8
checkpoint_dir = "ckpt"

tf_config = json.loads(os.environ["TF_CONFIG"])
num_workers = len(tf_config["cluster"]["worker"])
global_batch_size = per_worker_batch_size * num_workers


def dataset_fn(global_batch_size, input_context):
    """Yield the batches of one worker; different workers have different points."""
    batch_size = input_context.get_per_replica_batch_size(global_batch_size)
    generator = np.random.default_rng(input_context.input_pipeline_id)
    centers = np.array([[2.0, 0.0], [-2.0, 1.0], [0.0, -2.0]], np.float32)
    while True:
        labels = generator.integers(3, size=batch_size)
        yield centers[labels] + generator.normal(size=(batch_size, 2)).astype(np.float32), labels


def _is_chief(task_type, task_id, cluster_spec):
    return (
        task_type is None
        or task_type == "chief"
        or (task_type == "worker" and task_id == 0 and "chief" not in cluster_spec.as_dict())
    )


def write_filepath(filepath, task_type, task_id, cluster_spec):
    if _is_chief(task_type, task_id, cluster_spec):
        return filepath
    return Path(filepath) / f"workertemp_{task_id}"


strategy = tf.distribute.MultiWorkerMirroredStrategy()

with strategy.scope():
    multi_worker_dataset = strategy.distribute_datasets_from_function(
        lambda input_context: dataset_fn(global_batch_size, input_context)
    )
    weights = tf.Variable(tf.zeros([2, 3]), name="weights", aggregation=tf.VariableAggregation.MEAN)
    correct, seen = (
        tf.Variable(
            0.0,
            name=name,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        for name in ("correct", "seen")
    )


@tf.function
def train_step(iterator):
    def step_fn(inputs):
        x, y = inputs
        logits = x @ weights.read_value()
        predictions = np.exp(logits - logits.max(axis=1, keepdims=True))
        predictions /= predictions.sum(axis=1, keepdims=True)
        per_example_loss = -np.log(predictions[np.arange(len(y)), y])
        gradient = x.T @ (predictions - np.eye(3, dtype=np.float32)[y]) / len(y)
        weights.assign_sub(np.float32(0.5) * gradient.astype(np.float32))
        correct.assign_add(np.float32((predictions.argmax(axis=1) == y).sum()))
        seen.assign_add(np.float32(len(y)))
        return per_example_loss.sum() / global_batch_size

    per_replica_losses = strategy.run(step_fn, args=(next(iterator),))
    return strategy.reduce(tf.distribute.ReduceOp.SUM, per_replica_losses, axis=None)


task_type, task_id, cluster_spec = (
    strategy.cluster_resolver.task_type,
    strategy.cluster_resolver.task_id,
    strategy.cluster_resolver.cluster_spec(),
)
epoch = tf.Variable(initial_value=tf.constant(0, dtype=tf.int64), name="epoch")
step_in_epoch = tf.Variable(initial_value=tf.constant(0, dtype=tf.int64), name="step_in_epoch")
checkpoint = tf.train.Checkpoint(weights=weights, epoch=epoch, step_in_epoch=step_in_epoch)
write_checkpoint_dir = write_filepath(checkpoint_dir, task_type, task_id, cluster_spec)
checkpoint_manager = tf.train.CheckpointManager(
    checkpoint, directory=write_checkpoint_dir, max_to_keep=1
)
latest_checkpoint = tf.train.latest_checkpoint(checkpoint_dir)
if latest_checkpoint:
    checkpoint.restore(latest_checkpoint)

while epoch.numpy() < num_epochs:
    iterator = iter(multi_worker_dataset)
    total_loss, num_batches = 0.0, 0
    while step_in_epoch.numpy() < num_steps_per_epoch:
        total_loss += train_step(iterator)
        num_batches += 1
        step_in_epoch.assign_add(1)
    train_loss = total_loss / num_batches
    accuracy = correct.numpy() / seen.numpy()
    print(f"Epoch: {epoch.numpy()}, accuracy: {accuracy:.3f}, train_loss: {train_loss:.4f}.")
    correct.assign(0.0)
    seen.assign(0.0)
    epoch.assign_add(1)
    step_in_epoch.assign(0)
    checkpoint_manager.save()
    if not _is_chief(task_type, task_id, cluster_spec):
        shutil.rmtree(write_checkpoint_dir)
