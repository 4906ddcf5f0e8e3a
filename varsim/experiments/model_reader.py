"""Read the variables of a Keras model, a SavedModel or a checkpoint: `PYTHON model_reader.py`.

This file is a separate program, for an interpreter that has TensorFlow but may not have varsim.
The arguments are a kind (a key of `_READERS`) and a path. The program prints a JSON object with
`variables`, `missing` (a module that is not installed) or `error`. A variable has a name, a shape
(null if the shape is not known), a dtype, and the settings that the format contains. If no step
writes the variable, it also has a `role`, which says why. Output of libraries goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

OPTIMIZER, SAVING, COPY, OTHER_STATE = "optimizer", "saving", "copy", "other state"
"""The roles of variables that no step writes, or that each replica's optimizer writes locally."""

_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_SYNCHRONIZATIONS = (
    "auto",
    "none",
    "on_write",
    "on_read",
)  # in the order of their numbers in TensorFlow
_AGGREGATIONS = "none", "sum", "mean", "only_first_replica"

Entry = dict[str, Any]


def main() -> None:
    """Print the answer for the kind and the path of the command line."""
    kind, path = sys.argv[1:]
    del sys.path[0]  # this file's folder: a library must not import modules of varsim from there
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answer:
        os.dup2(2, 1)
        json.dump(_answer(kind, path), answer)


def _answer(kind: str, path: str) -> dict[str, Any]:
    try:
        return {"variables": list(_READERS[kind](path))}
    except ModuleNotFoundError as error:
        return {"missing": error.name}
    except Exception as error:  # loading a file of any kind may raise anything
        return {"error": f"{type(error).__name__}: {error}"}


# ---------------------------------------------------------------- Keras


def _of_keras(path: str) -> Iterable[Entry]:
    import keras

    # The model is not compiled, because its loss may be a function of the program that saved it.
    for variable in keras.models.load_model(path, compile=False).variables:
        settings = {
            key: _word(getattr(variable, key))
            for key in ("synchronization", "aggregation", "trainable")
            if getattr(variable, key, None) is not None
        }
        yield {
            "name": getattr(variable, "path", variable.name),
            "shape": [int(dimension) for dimension in variable.shape],
            "dtype": _word(variable.dtype),
            **settings,
        }


def _word(value: Any) -> Any:
    """Return the lower-case name of an enum's member or a dtype; return a bool unchanged."""
    return value if isinstance(value, bool) else str(getattr(value, "name", value)).lower()


# ---------------------------------------------------------------- TensorFlow


def _of_checkpoint(path: str) -> Iterable[Entry]:
    import tensorflow as tf
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

    reader = tf.train.load_checkpoint(path)
    shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    names, roles = {}, {}
    if _GRAPH in shapes:
        nodes = TrackableObjectGraph.FromString(reader.get_tensor(_GRAPH)).nodes
        by_node = _roles(nodes)
        for number, node in enumerate(nodes):
            for attribute in node.attributes:
                names[attribute.checkpoint_key] = attribute.full_name
                roles[attribute.checkpoint_key] = by_node.get(number)
    else:
        # In TensorFlow 1, a session saved each variable under its name. The name of an optimizer's
        # slot for a variable w begins with w/, such as w/Adam.
        roles = {key: OPTIMIZER for key in shapes if key.rpartition("/")[0] in shapes}
    for key in sorted(shapes):
        if key == _GRAPH:
            continue
        role = OTHER_STATE if "/.ATTRIBUTES/" in key.removesuffix(_SUFFIX) else roles.get(key)
        yield _with_role(
            {
                "name": names.get(key) or key.removesuffix(_SUFFIX),
                "shape": [int(dimension) for dimension in shapes[key]],
                "dtype": dtypes[key].name,
            },
            role,
        )


def _of_saved_model(path: str) -> Iterable[Entry]:
    import tensorflow as tf
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    with open(os.path.join(path, "saved_model.pb"), "rb") as file:  # noqa: PTH118, PTH123
        graphs = SavedModel.FromString(file.read()).meta_graphs
    nodes = graphs[0].object_graph_def.nodes
    if not nodes:  # TensorFlow 1 saved no objects
        yield from _of_checkpoint(os.path.join(path, "variables", "variables"))  # noqa: PTH118
        return
    roles = _roles(nodes)
    for number, node in enumerate(nodes):
        if node.WhichOneof("kind") == "variable":
            found = node.variable
            shape = tf.TensorShape(found.shape)
            yield _with_role(
                {
                    "name": found.name,
                    "shape": None if shape.rank is None else shape.as_list(),
                    "dtype": tf.as_dtype(found.dtype).name,
                    "synchronization": _SYNCHRONIZATIONS[found.synchronization],
                    "aggregation": _AGGREGATIONS[found.aggregation],
                    "trainable": found.trainable,
                },
                roles.get(number),
            )


def _with_role(entry: Entry, role: str | None) -> Entry:
    return entry if role is None else {**entry, "role": role}


def _roles(nodes: Sequence[Any]) -> dict[int, str]:
    """Return number of a node → role. A node's role follows from its name in its owner."""
    roles: dict[int, str] = {}
    children = [{child.local_name: child.node_id for child in node.children} for node in nodes]

    def give(role: str, owner: int | None, but: int | None = None) -> None:
        kept = () if but is None else children[but].values()
        members = () if owner is None else children[owner].values()
        roles.update({member: role for member in members if member not in kept})

    root = children[0] if children else {}
    if "save_counter" in root:
        roles[root["save_counter"]] = SAVING
    if "variables" in root:  # `model.export` saves each variable of a Keras model twice
        give(COPY, root.get("_all_variables"), but=root["variables"])
    for number, node in enumerate(nodes):
        names = children[number]
        if "_variables" in names and "_iterations" in names:  # an optimizer of Keras 2.11 or later
            give(OPTIMIZER, names["_variables"], but=names.get("_trainable_variables"))
            roles.update(
                {names[key]: OPTIMIZER for key in ("_iterations", "_learning_rate") if key in names}
            )
        if node.slot_variables:  # an older optimizer: its slots, and its hyperparameters
            roles.update({slot.slot_variable_node_id: OPTIMIZER for slot in node.slot_variables})
            give(OPTIMIZER, number)
    return roles


_READERS: dict[str, Callable[[str], Iterable[Entry]]] = {
    "keras": _of_keras,
    "checkpoint": _of_checkpoint,
    "saved_model": _of_saved_model,
}

if __name__ == "__main__":
    main()
