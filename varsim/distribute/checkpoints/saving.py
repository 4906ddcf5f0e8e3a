"""Write checkpoints: read the values of variables as the program does, and save them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from varsim.distribute.checkpoints import archive
from varsim.distribute.checkpoints.contents import (
    Contents,
    Kept,
    SavedNode,
    SavedVariable,
    same_components,
)
from varsim.distribute.checkpoints.object_graph import Node, graph_of
from varsim.distribute.context import current_frame, entered, frame_within
from varsim.distribute.distributed import DistributedVariable
from varsim.distribute.ports import ClusterPort
from varsim.distribute.variable import Variable
from varsim.errors import CheckpointError, ContextError, VariableError
from varsim.spec import Array, Context, Operation, Synchronization
from varsim.sync import policies
from varsim.texts import checkpoints as texts
from varsim.value_class import value_class


def require_program(what: str) -> None:
    """Refuse to save or restore on a replica.

    Raises:
        ContextError: The program is on a replica of a strategy with workers.
    """
    frame = current_frame()
    if frame is None or frame.replica is None or frame.replica.session is None:
        return
    replica = frame.replica
    raise ContextError(
        texts.ON_A_REPLICA.format(
            what=what,
            replica_id=replica.replica_id_in_sync_group,
            count=replica.num_replicas_in_sync,
        )
    )


@contextmanager
def as_program(what: str, root: Mapping[str, object]) -> Iterator[None]:
    """Save or restore in the `with` block as the program, which can be one of several workers.

    Args:
        root: What is saved. If a replica runs the program of its variables' strategy, the block is
            in this strategy's scope.
    Raises:
        ContextError: The program is on a replica.
    """
    frame = current_frame()
    strategy = None
    if frame is not None and frame.replica is not None:
        held = (node.held for node in graph_of(root))
        strategies = (one.strategy for one in held if isinstance(one, DistributedVariable))
        strategy = next((one for one in strategies if one.below is frame.replica), None)
    if strategy is None:
        require_program(what)
        yield
        return
    with entered(frame_within(strategy)):
        yield


@value_class
class Saved:
    """The components of a strategy's variables in a checkpoint."""

    path: str
    names: Mapping[int, tuple[str, ...]]  # variable_id → the array of each replica


def write(
    path: str | os.PathLike[str],
    root: Mapping[str, object],
    *,
    exact: bool,
    extra: Mapping[str, Any] | None = None,
    more: Mapping[str, Array] | None = None,
) -> str:
    """Save the variables below a root to a file, and return its path without the suffix.

    Args:
        exact: Whether to keep the component of every replica. If it is false, the checkpoint has
            one value for each variable, the value of a cross-replica read, as in TensorFlow.
        extra: Plain JSON values to keep with the variables.
        more: Arrays to keep with the variables.
    Raises:
        CheckpointError: A variable has no value in TensorFlow's form, there is no variable, or the
            file cannot be written.
    """
    nodes = graph_of(root)
    variables: list[SavedVariable] = []
    arrays: dict[str, Array] = {}
    numbers: dict[int, int] = {}  # the number of a node → the number of its variable
    for number, node in enumerate(nodes):
        if isinstance(node.held, Variable):
            saved, values = _exact(node) if exact else _one_value(node)
            numbers[number] = len(variables)
            variables.append(saved)
            arrays.update(zip(saved.array_names, values, strict=True))
            if exact and isinstance(node.held, DistributedVariable):
                saved, states = _with_states(saved, node.held)
                variables[-1] = saved
                arrays.update(states)
    if not variables:
        raise CheckpointError(texts.WITHOUT_VARIABLES)
    saved_nodes = [
        SavedNode(node.children, numbers.get(number)) for number, node in enumerate(nodes)
    ]
    contents = Contents(saved_nodes, variables, {**arrays, **(more or {})}, extra or {})
    archive.write(path, contents.as_archive())
    _note_saved(
        str(archive.file_of(path).absolute()),
        [(nodes[number].held, variables[at]) for number, at in numbers.items()],
    )
    return os.fspath(path).removesuffix(archive.SUFFIX)


def _note_saved(path: str, pairs: Iterable[tuple[Variable, SavedVariable]]) -> None:
    """Record which components a file has, so that a strategy can read lost components from it."""
    by_strategy: dict[int, tuple[ClusterPort, dict[int, tuple[str, ...]]]] = {}
    for variable, saved in pairs:
        if isinstance(variable, DistributedVariable) and saved.kept is not Kept.VALUE:
            strategy = variable.strategy
            _, names = by_strategy.setdefault(id(strategy), (strategy, {}))
            names[variable.spec.variable_id] = saved.component_names
    for strategy, names in by_strategy.values():
        strategy.note_saved(Saved(path, names))


def _one_value(node: Node) -> tuple[SavedVariable, tuple[Array, ...]]:
    """Return a variable with the value of a cross-replica read."""
    variable = node.held
    try:
        if isinstance(variable, DistributedVariable):
            value = variable.strategy.cross.read(variable)
        else:
            value = variable.read_value()
    except VariableError as error:
        raise CheckpointError(
            texts.NOT_READABLE.format(path=node.shown, problem=error.problem)
        ) from error
    return _saved(node, Kept.VALUE, (value,))


def _exact(node: Node) -> tuple[SavedVariable, tuple[Array, ...]]:
    """Return a variable with its components."""
    variable = node.held
    if not isinstance(variable, DistributedVariable):
        return _saved(node, Kept.SAME, (variable.read_value(),))
    count = variable.strategy.num_replicas_in_sync
    components = variable.strategy.cross.components(variable, range(count))
    if policies.keeps_copy(variable.spec):
        if not policies.cell(variable.spec, Context.CROSS_REPLICA, Operation.READ).uses_copy:
            synchronization = name_of(variable.spec.synchronization)
            problem = texts.WITHOUT_COPY.format(path=node.shown, synchronization=synchronization)
            raise CheckpointError(problem)
        (copy,) = _one_value(node)[1]
        return _saved(node, Kept.WITH_COPY, (*components, copy))
    if same_components(components):
        return _saved(node, Kept.SAME, components[:1])
    return _saved(node, Kept.EACH, components)


def _with_states(
    saved: SavedVariable, variable: DistributedVariable
) -> tuple[SavedVariable, dict[str, Array]]:
    """Return a variable with what its policy keeps beside the components, and the arrays of it."""
    states = variable.strategy.cross.states(variable)
    if not states:
        return saved, {}
    kinds = tuple(tuple((name, array.dtype.name) for name, array in state) for state in states)
    saved = replace(saved, states=kinds)
    keys = [key for each in saved.state_keys for key in each]
    return saved, dict(zip(keys, (array for each in states for _, array in each), strict=True))


def name_of(synchronization: Synchronization) -> str:
    """Return the name of a synchronization."""
    return str(synchronization.name)


def _saved(
    node: Node, kept: Kept, values: tuple[Array, ...]
) -> tuple[SavedVariable, tuple[Array, ...]]:
    variable: Variable = node.held
    replicas, is_mirrored = 0, True
    if isinstance(variable, DistributedVariable):
        replicas = variable.strategy.num_replicas_in_sync
        is_mirrored = variable.is_mirrored
    saved = SavedVariable(
        key=node.key,
        name=variable.name.removesuffix(":0"),
        dtype=variable.dtype.name,
        synchronization=name_of(variable.synchronization),
        aggregation=variable.aggregation.name,
        replicas=replicas,
        kept=kept,
        is_mirrored=is_mirrored,
    )
    return saved, values
