"""Record results of TensorFlow in bfloat16, in `answers.json`.

`PYTHON tests/distribute/bfloat16/record.py`, with an interpreter that has TensorFlow 2.21, writes
the file. `test_extension_dtypes.py` compares varsim's results with it, bit for bit. A case is a
mapping; an array is a list with the 16 bits of each element, as an integer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf

HERE: Final = Path(__file__).resolve().parent
WRITES: Final = ("assign", "assign_add", "assign_sub")
SCATTERS: Final = ("scatter_add", "scatter_sub", "scatter_mul", "scatter_div")
ROWS: Final = (0, 2, 0)
SHAPE: Final = (4, 2)


def bits(value: Any) -> list[int]:
    """Return the bits of each element."""
    found: list[int] = np.asarray(value).reshape(-1).view(np.uint16).tolist()
    return found


def numbers(seed: int, *shape: int) -> Any:
    """Return random numbers whose sums are rounded in bfloat16."""
    return np.random.default_rng(seed).normal(0, 3, shape).astype(tf.bfloat16.as_numpy_dtype)


def per_replica(strategy: Any, values: list[Any]) -> Any:
    """Return a value for each replica."""
    return strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(values[context.replica_id_in_sync_group])
    )


def writes(strategy: Any) -> Iterator[dict[str, Any]]:
    """Yield cases of writes in replica context, dense and sparse."""
    count = strategy.num_replicas_in_sync
    settings = [
        (mode, way, name)
        for mode in ("ON_WRITE", "ON_READ")
        for way in ("SUM", "MEAN", "ONLY_FIRST_REPLICA")
        for name in WRITES + (SCATTERS if mode == "ON_WRITE" else ())
    ]
    for seed, (sync, way, operation) in enumerate(settings):
        sparse = operation in SCATTERS
        start = numbers(10 * seed, *SHAPE)
        shape = (len(ROWS), SHAPE[1]) if sparse else SHAPE
        values = [numbers(10 * seed + 1 + i, *shape) for i in range(count)]
        with strategy.scope():
            v = tf.Variable(
                tf.constant(start),
                synchronization=tf.VariableSynchronization[sync],
                aggregation=tf.VariableAggregation[way],
            )

        def write(value: Any, v: Any = v, name: str = operation, sparse: bool = sparse) -> None:
            getattr(v, name)(tf.IndexedSlices(value, tf.constant(ROWS)) if sparse else value)

        strategy.run(write, args=(per_replica(strategy, values),))
        yield {
            "replicas": count,
            "synchronization": sync,
            "aggregation": way,
            "operation": operation,
            "start": bits(start),
            "values": list(map(bits, values)),
            "read": bits(v.numpy()),
        }


def reductions(strategy: Any) -> Iterator[dict[str, Any]]:
    """Yield cases of strategy.reduce, without an axis and along an axis."""
    count = strategy.num_replicas_in_sync
    for seed, (operation, axis) in enumerate(
        (op, axis) for op in ("SUM", "MEAN") for axis in (None, 0)
    ):
        values = [numbers(1000 + 10 * seed + i, 40) for i in range(count)]
        reduced = strategy.reduce(operation, per_replica(strategy, values), axis=axis)
        yield {
            "replicas": count,
            "operation": operation,
            "axis": axis,
            "values": list(map(bits, values)),
            "read": bits(reduced.numpy()),
        }


def main() -> None:
    """Write the file."""
    devices = 3
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * devices
    )
    cases: dict[str, list[Any]] = {"writes": [], "reductions": []}
    for count in range(2, devices + 1):
        strategy = tf.distribute.MirroredStrategy([f"cpu:{i}" for i in range(count)])
        cases["writes"] += writes(strategy)
        cases["reductions"] += reductions(strategy)
    lines = [
        f'"{key}": [\n' + ",\n".join(map(json.dumps, found)) + "\n]" for key, found in cases.items()
    ]
    text = f'{{"tensorflow": "{tf.__version__}",\n' + ",\n".join(lines) + "\n}\n"
    (HERE / "answers.json").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
