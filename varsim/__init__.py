"""A wind tunnel for distributed variables: `import varsim as tf`.

Modules are imported when their names are first used, so that importing varsim takes little time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from varsim import distribute
    from varsim.distribute import train
    from varsim.distribute.functions import function
    from varsim.distribute.indexed_slices import IndexedSlices
    from varsim.distribute.metrics import log
    from varsim.distribute.tensors import (
        bfloat16,
        bool,  # noqa: A004  # TensorFlow's name
        cast,
        complex64,
        complex128,
        constant,
        convert_to_tensor,
        double,
        float8_e4m3fn,
        float8_e5m2,
        float16,
        float32,
        float64,
        half,
        identity,
        int8,
        int16,
        int32,
        int64,
        ones,
        ones_like,
        uint8,
        uint16,
        uint32,
        uint64,
        zeros,
        zeros_like,
    )
    from varsim.distribute.variable import Variable, variable_creator_scope
    from varsim.errors import ConfigError, VarsimError, VarsimWarning
    from varsim.experiments.finished_run import (
        FinishedRun,
        compare_runs,
        open_run,
        run_experiment,
    )
    from varsim.spec import VariableAggregation, VariableSynchronization
    from varsim.sync.policies.bounded_staleness import BoundedStaleness
    from varsim.sync.policies.compressed import Compressed
    from varsim.sync.policies.custom import CustomPolicy
    from varsim.sync.policies.local_sgd import LocalSGD
    from varsim.workloads.job import Job

__version__ = "0.1.0"

_HOMES = {
    "BoundedStaleness": "varsim.sync.policies.bounded_staleness",
    "Compressed": "varsim.sync.policies.compressed",
    "ConfigError": "varsim.errors",
    "CustomPolicy": "varsim.sync.policies.custom",
    "FinishedRun": "varsim.experiments.finished_run",
    "IndexedSlices": "varsim.distribute.indexed_slices",
    "Job": "varsim.workloads.job",
    "LocalSGD": "varsim.sync.policies.local_sgd",
    "Variable": "varsim.distribute.variable",
    "VariableAggregation": "varsim.spec",
    "VariableSynchronization": "varsim.spec",
    "VarsimError": "varsim.errors",
    "VarsimWarning": "varsim.errors",
    "compare_runs": "varsim.experiments.finished_run",
    "distribute": "varsim.distribute",
    "function": "varsim.distribute.functions",
    "log": "varsim.distribute.metrics",
    "open_run": "varsim.experiments.finished_run",
    "run_experiment": "varsim.experiments.finished_run",
    "train": "varsim.distribute.train",
    "variable_creator_scope": "varsim.distribute.variable",
}

_TENSORS = (
    "bfloat16 bool cast complex128 complex64 constant convert_to_tensor double float16 float32 "
    "float64 float8_e4m3fn float8_e5m2 half identity int16 int32 int64 int8 ones "
    "ones_like uint16 uint32 uint64 uint8 zeros zeros_like"
).split()
_HOMES |= dict.fromkeys(_TENSORS, "varsim.distribute.tensors")

_MODULES = ("distribute", "train")

__all__ = [
    "BoundedStaleness",
    "Compressed",
    "ConfigError",
    "CustomPolicy",
    "FinishedRun",
    "IndexedSlices",
    "Job",
    "LocalSGD",
    "Variable",
    "VariableAggregation",
    "VariableSynchronization",
    "VarsimError",
    "VarsimWarning",
    "__version__",
    "bfloat16",
    "bool",
    "cast",
    "compare_runs",
    "complex64",
    "complex128",
    "constant",
    "convert_to_tensor",
    "distribute",
    "double",
    "float8_e4m3fn",
    "float8_e5m2",
    "float16",
    "float32",
    "float64",
    "function",
    "half",
    "identity",
    "int8",
    "int16",
    "int32",
    "int64",
    "log",
    "ones",
    "ones_like",
    "open_run",
    "run_experiment",
    "train",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "variable_creator_scope",
    "zeros",
    "zeros_like",
]


if not TYPE_CHECKING:  # with a `__getattr__`, a type checker would not report missing names

    def __getattr__(name: str) -> Any:
        home = _HOMES.get(name)
        if home is None:
            from varsim.errors import MissingName
            from varsim.nearest import misspelt

            raise MissingName("tf", name, misspelt(name, __all__, "tf."))
        module = importlib.import_module(home)
        return module if name in _MODULES else getattr(module, name)


def __dir__() -> list[str]:
    return __all__
