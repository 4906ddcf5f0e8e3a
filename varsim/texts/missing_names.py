"""Say what to use instead of the names of TensorFlow that varsim does not have.

The tables have no entry for a name that works. `tests/distribute/test_public_names.py` checks all
public names of TensorFlow 2.21 that concern variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_NUMPY: Final = {
    "abs": "np.abs(x)",
    "add": "a + b",
    "add_n": "sum(values)",
    "argmax": "np.argmax(x, axis)",
    "argmin": "np.argmin(x, axis)",
    "argsort": "np.argsort(x)",
    "boolean_mask": "x[mask]",
    "broadcast_to": "np.broadcast_to(x, shape)",
    "clip_by_value": "np.clip(x, low, high)",
    "complex": "a + 1j * b",
    "concat": "np.concatenate(values, axis)",
    "cumsum": "np.cumsum(x, axis)",
    "divide": "a / b",
    "einsum": "np.einsum(equation, *inputs)",
    "equal": "a == b",
    "exp": "np.exp(x)",
    "expand_dims": "np.expand_dims(x, axis)",
    "eye": "np.eye(n, dtype=np.float32)",
    "fill": "np.full(shape, value)",
    "gather": "np.take(x, indices, axis=0)",
    "gather_nd": "x[tuple(np.moveaxis(indices, -1, 0))]",
    "greater": "a > b",
    "less": "a < b",
    "linspace": "np.linspace(start, stop, num)",
    "logical_and": "a & b",
    "logical_not": "~a",
    "logical_or": "a | b",
    "matmul": "a @ b",
    "maximum": "np.maximum(a, b)",
    "meshgrid": "np.meshgrid(*inputs)",
    "minimum": "np.minimum(a, b)",
    "multiply": "a * b",
    "negative": "-x",
    "norm": "np.linalg.norm(x)",
    "not_equal": "a != b",
    "one_hot": "np.eye(depth, dtype=np.float32)[indices]",
    "pad": "np.pad(x, paddings)",
    "pow": "a**b",
    "range": "np.arange(start, stop, step)",
    "rank": "np.ndim(x)",
    "reduce_all": "np.all(x, axis)",
    "reduce_any": "np.any(x, axis)",
    "reduce_max": "np.max(x, axis)",
    "reduce_mean": "np.mean(x, axis)",
    "reduce_min": "np.min(x, axis)",
    "reduce_prod": "np.prod(x, axis)",
    "reduce_sum": "np.sum(x, axis)",
    "repeat": "np.repeat(x, repeats, axis)",
    "reshape": "np.reshape(x, shape)",
    "reverse": "np.flip(x, axis)",
    "round": "np.round(x)",
    "shape": "np.shape(x)",
    "sigmoid": "1 / (1 + np.exp(-x))",
    "sign": "np.sign(x)",
    "size": "np.size(x)",
    "slice": "x[start:stop]",
    "sort": "np.sort(x, axis)",
    "split": "np.array_split(x, parts, axis)",
    "sqrt": "np.sqrt(x)",
    "square": "np.square(x)",
    "squeeze": "np.squeeze(x)",
    "stack": "np.stack(values, axis)",
    "subtract": "a - b",
    "tanh": "np.tanh(x)",
    "tensordot": "np.tensordot(a, b, axes)",
    "tile": "np.tile(x, multiples)",
    "transpose": "np.transpose(x)",
    "unique": "np.unique(x)",
    "unstack": "list(x)",
    "where": "np.where(condition, a, b)",
}
"""Functions of tensors, and the NumPy expressions that replace them."""

_NO_GRADIENTS: Final = (
    "varsim computes no gradients; compute them in NumPy, PyTorch or JAX on each replica, and give "
    "them to assign_sub"
)
_PYTHON_RUNS: Final = "functions run as plain Python; use Python's"
_MODEL: Final = "varsim has no layers and no models; write the model in NumPy, PyTorch or JAX"
_CHECKPOINT: Final = "use tf.train.Checkpoint, which saves and restores variables"

_TENSORFLOW: Final = {
    **{name: f"use {instead}" for name, instead in _NUMPY.items()},
    "DType": "dtypes are those of NumPy: np.dtype",
    "GradientTape": _NO_GRADIENTS,
    "Graph": "there are no graphs; functions run as plain Python",
    "Module": "use a class of your own, and keep the variables in its attributes",
    "Operation": "there are no graphs; functions run as plain Python",
    "RaggedTensor": "use a list of NumPy arrays",
    "SparseTensor": "use tf.IndexedSlices for rows, or a NumPy array",
    "Tensor": "values are NumPy arrays: np.ndarray",
    "TensorArray": "use a list, and np.stack at the end",
    "TensorShape": "shapes are tuples",
    "TensorSpec": "NumPy arrays have a shape and a dtype; leave it out",
    "as_dtype": "use np.dtype(name)",
    "autograph": "functions run as plain Python; leave it out",
    "bitcast": "use x.view(dtype)",
    "compat": "varsim has only names of TensorFlow 2, for variables and strategies",
    "cond": f"{_PYTHON_RUNS} if",
    "config": 'devices are simulated: use tf.distribute.MirroredStrategy(["gpu:0", "gpu:1"])',
    "control_dependencies": "operations run in the program's order; leave it out",
    "custom_gradient": _NO_GRADIENTS,
    "data": (
        "a dataset is any Python iterable of batches; give it to "
        "strategy.experimental_distribute_dataset"
    ),
    "debugging": "use assert, or np.testing",
    "device": "the strategy's devices hold the variables; leave it out",
    "dtypes": "tf.float32, tf.int64 and so on are NumPy's dtypes",
    "estimator": _MODEL,
    "executing_eagerly": "everything runs eagerly; leave it out",
    "gradients": _NO_GRADIENTS,
    "group": "operations run immediately; leave it out",
    "image": "use a library for images",
    "init_scope": "functions run as plain Python; leave it out",
    "initializers": "give tf.Variable a NumPy array, or a function that returns one",
    "io": "use Python's files",
    "keras": _MODEL,
    "linalg": "use np.linalg",
    "losses": "compute the loss in NumPy, PyTorch or JAX",
    "map_fn": "use np.stack([fn(x) for x in elements])",
    "math": "use NumPy's function with that name, such as np.exp",
    "metrics": (
        "keep total and count in variables with synchronization=ON_READ and aggregation=SUM, and "
        "divide them outside strategy.run"
    ),
    "name_scope": "leave it out, and give each variable its full name",
    "nest": "use loops over lists, tuples and dicts",
    "newaxis": "use np.newaxis",
    "nn": "compute it in NumPy, PyTorch or JAX",
    "no_op": "operations run immediately; leave it out",
    "numpy_function": "call the function itself",
    "ones_initializer": "give tf.Variable the value: np.ones(shape, np.float32)",
    "optimizers": "write the update: v.assign_sub(rate * gradient)",
    "print": "use print",
    "profiler": "varsim run records every message; varsim check and varsim lens read the record",
    "py_function": "call the function itself",
    "random": "use np.random.default_rng(seed) on each replica",
    "random_normal_initializer": "use np.random.default_rng(seed).normal(size=shape)",
    "raw_ops": "use NumPy",
    "saved_model": _CHECKPOINT,
    "scan": f"{_PYTHON_RUNS} for",
    "stop_gradient": _NO_GRADIENTS,
    "strings": "use Python's str",
    "summary": "varsim run keeps the values of all variables in the run's record",
    "test": "use pytest and np.testing; varsim.testing has a simulated cluster",
    "tpu": 'devices are simulated: use tf.distribute.MirroredStrategy(["tpu:0", "tpu:1"])',
    "vectorized_map": "use np.stack([fn(x) for x in elements])",
    "while_loop": f"{_PYTHON_RUNS} while",
    "zeros_initializer": "give tf.Variable the value: np.zeros(shape, np.float32)",
}

_LOCAL: Final = (
    "one program starts all workers, so it needs no address of a cluster; use "
    "tf.distribute.MirroredStrategy(devices)"
)
_TPU: Final = 'devices are simulated; use tf.distribute.MirroredStrategy(["tpu:0", "tpu:1"])'

_DISTRIBUTE: Final = {
    "Server": _LOCAL,
    "TPUStrategy": _TPU,
}

_NO_PLATFORM: Final = (
    "varsim starts the workers itself; use TFConfigClusterResolver, which reads the TF_CONFIG that "
    "varsim exec --spmd sets, or strategy.cluster_resolver"
)

_CLUSTER_RESOLVER: Final = dict.fromkeys(
    "GCEClusterResolver KubernetesClusterResolver KubernetesExecutableLocation "
    "SlurmClusterResolver TPUClusterResolver UnionResolver".split(),
    _NO_PLATFORM,
)

_EXPERIMENTAL: Final = {
    "PreemptionCheckpointHandler": _CHECKPOINT,
    "PreemptionWatcher": "workers are processes of this host; if one ends, WorkerLost is raised",
    "TPUStrategy": _TPU,
    "TerminationConfig": _CHECKPOINT,
    "rpc": "use strategy.run to run a function on the workers",
}

_TRAIN: Final = {
    "checkpoints_iterator": "use tf.train.latest_checkpoint in a loop",
    "get_checkpoint_state": "use tf.train.CheckpointManager(...).checkpoints",
    "list_variables": 'the file is safetensors: use safetensors.safe_open(path, "np").keys()',
    "load_checkpoint": "the file is safetensors: use safetensors.numpy.load_file(path)",
    "load_variable": "the file is safetensors: use safetensors.numpy.load_file(path)[name]",
}

_FIRST_VERSION: Final = "this name belongs to TensorFlow 1"

_STRATEGY: Final = {
    "configure": f"{_FIRST_VERSION}; pass the settings to MirroredStrategy",
    "experimental_run": f"{_FIRST_VERSION}; use strategy.run(fn, args=(next(iterator),))",
    "make_dataset_iterator": (
        f"{_FIRST_VERSION}; use iter(strategy.experimental_distribute_dataset(dataset))"
    ),
    "make_input_fn_iterator": (
        f"{_FIRST_VERSION}; use iter(strategy.distribute_datasets_from_function(dataset_fn))"
    ),
    "update_config_proto": f"{_FIRST_VERSION}; there is no session to configure",
}

_EXTENDED: Final = {
    "experimental_make_numpy_dataset": "use strategy.experimental_distribute_dataset",
    "experimental_run_steps_on_iterator": (
        f"{_FIRST_VERSION}; call strategy.run for each batch of the iterator"
    ),
    "update_non_slot": "call the function itself, or keep the state in a variable and use update",
}

_ELEMENTS: Final = {
    "element_spec": "batches are NumPy arrays of any shape; leave the input signature out",
}

_DATASET: Final = {
    **_ELEMENTS,
    **dict.fromkeys(
        "batch cardinality concatenate filter map prefetch reduce repeat shard shuffle skip take "
        "unbatch zip".split(),
        "change the dataset before strategy.experimental_distribute_dataset splits it",
    ),
}

_ITERATOR: Final = {
    **_ELEMENTS,
    "get_next_as_optional": "use next(iterator, None)",
    "initializer": f"{_FIRST_VERSION}; an iterator is ready when it is made",
}

_VALUE_OF_EACH: Final = dict.fromkeys(
    "consumers device dtype eval get_shape graph name ndim numpy op set_shape shape".split(),
    "it has one value for each replica; use x.values[i], or strategy.reduce(op, x, axis=None)",
)

_NO_GRAPH: Final = "there is no graph; the value is v.numpy()"
_NO_GRAPH_OF_SLICES: Final = "there is no graph; the rows are in slices.values"
_NO_FILE: Final = "a variable has no protocol buffer; save v.numpy()"
_NO_RESOURCE: Final = (
    "a variable is not a resource of TensorFlow's runtime; pass the variable itself, or its value "
    "v.read_value()"
)

_VARIABLE: Final = {
    "SaveSliceInfo": "every replica has the whole variable",
    "eval": f"{_FIRST_VERSION}; use v.numpy()",
    "experimental_ref": "it was renamed; use v.ref()",
    "from_proto": _NO_FILE,
    "graph": _NO_GRAPH,
    "handle": _NO_RESOURCE,
    "initialized_value": f"{_FIRST_VERSION}; use v.read_value()",
    "initializer": f"{_FIRST_VERSION}; a variable has its initial value from the start",
    "load": f"{_FIRST_VERSION}; use v.assign(value)",
    "op": _NO_GRAPH,
    "set_shape": "give the shape when you create the variable: tf.Variable(value, shape=...)",
    "to_proto": _NO_FILE,
}

_INDEXED_SLICES: Final = {
    "consumers": _NO_GRAPH_OF_SLICES,
    "numpy": "the rows are in slices.values; np.asarray(slices) needs a dense_shape",
    "device": "the rows are a NumPy array; leave it out",
    "graph": _NO_GRAPH_OF_SLICES,
    "name": "the rows are a NumPy array, which has no name",
    "op": _NO_GRAPH_OF_SLICES,
}

_MISSING: Final[Mapping[str, Mapping[str, str]]] = {
    "tf": _TENSORFLOW,
    "tf.IndexedSlices": _INDEXED_SLICES,
    "tf.distribute": _DISTRIBUTE,
    "tf.distribute.cluster_resolver": _CLUSTER_RESOLVER,
    "tf.distribute.coordinator": {},
    "tf.distribute.experimental": _EXPERIMENTAL,
    "tf.distribute.experimental.coordinator": {},
    "tf.distribute.experimental.partitioners": {},
    "tf.distribute.DistributedDataset": _DATASET,
    "tf.distribute.DistributedIterator": _ITERATOR,
    "tf.distribute.DistributedValues": _VALUE_OF_EACH,
    "tf.distribute.Strategy": _STRATEGY,
    "tf.distribute.StrategyExtended": _EXTENDED,
    "tf.train": _TRAIN,
    "tf.Variable": _VARIABLE,
}

_OTHER_TENSORFLOW: Final = (
    "it has TensorFlow's variables and strategies; for tensors and arithmetic use NumPy"
)


def names_missing_from(owner: str) -> frozenset[str]:
    """Return the names of a module or class of TensorFlow that the tables have a text for."""
    return frozenset(_MISSING[owner])


def instead_of(owner: str, name: str) -> str:
    """Return the text about a missing name, such as "handle" of the owner "tf.Variable"."""
    other = _OTHER_TENSORFLOW if owner == "tf" else f"dir({owner}) lists the names that it has"
    return _MISSING[owner].get(name, other)
