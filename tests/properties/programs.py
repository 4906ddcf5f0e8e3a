"""Random programs, and their outcomes in varsim and in the model.

A program makes variables and then takes steps. A step happens in cross-replica context, or is one
`strategy.run` in which all replicas do the same actions in the same order, each with its own
values. Every step and action has an outcome: the values that it read, or a refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, assert_never

import numpy as np

import varsim as tf
from tests.properties import model
from tests.properties.model import REFUSED, ModelVariable, RefusedError, outcome
from tests.properties.steps import (
    AllGatherStep,
    AllReduceStep,
    BareRows,
    CombineStep,
    CrossRead,
    ReadAction,
    ScatterAction,
    WriteAction,
)
from varsim.errors import WorkerLost
from varsim.protocol.parts import CombineKind
from varsim.spec import Operation, ReduceOp, VariableAggregation, VariableSynchronization

DONE: Final = "done"
"""The outcome of a write that was not refused."""

ABSENT: Final = "absent"
"""The outcome of an action on a replica that does not take part in it."""


@dataclass(frozen=True, slots=True)
class Creation:
    """`tf.Variable(…)` under the strategy's scope."""

    synchronization: VariableSynchronization
    aggregation: VariableAggregation
    initial: Any


# ---------------------------------------------------------------- in cross-replica context


@dataclass(frozen=True, slots=True)
class Locals:
    """A read of all components."""

    variable: int


@dataclass(frozen=True, slots=True)
class ReduceVariable:
    """`strategy.reduce(op, variable, axis=None)`."""

    variable: int
    op: ReduceOp


@dataclass(frozen=True, slots=True)
class ReduceValues:
    """`strategy.reduce(op, a PerReplica, axis=None)`."""

    op: ReduceOp
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class CrossWrite:
    """A write of one value, or of a PerReplica if there are several values."""

    variable: int
    operation: Operation
    values: tuple[Any, ...]
    per_replica: bool


@dataclass(frozen=True, slots=True)
class UpdateStep:
    """`strategy.extended.update` with one value for each component."""

    variable: int
    operation: Operation
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class CrossScatter:
    """A sparse write of the same rows to all components, or of a PerReplica with rows for each."""

    variable: int
    operation: Operation
    rows: tuple[BareRows, ...]


Step = CrossRead | Locals | ReduceVariable | ReduceValues | CrossWrite | UpdateStep | CrossScatter


# ---------------------------------------------------------------- on the replicas


@dataclass(frozen=True, slots=True)
class WriteAlone:
    """Some replicas write, each with its own operation, to a variable that does not merge."""

    variable: int
    operations: tuple[Operation | None, ...]
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ScatterOwn:
    """Each replica writes rows of its component of a variable that does not merge."""

    variable: int
    operation: Operation
    rows: tuple[BareRows, ...]


@dataclass(frozen=True, slots=True)
class MergeWrite:
    """`merge_call` of a function that writes the replicas' arguments."""

    variable: int
    operation: Operation
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class MergeSteps:
    """`merge_call` of a function that does several steps."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class UpdateOnReplicas:
    """`extended.update` in replica context. Each replica passes its value."""

    variable: int
    operation: Operation
    values: tuple[Any, ...]


Action = (
    ReadAction
    | WriteAction
    | WriteAlone
    | ScatterAction
    | ScatterOwn
    | AllReduceStep
    | AllGatherStep
    | CombineStep
    | MergeWrite
    | MergeSteps
    | UpdateOnReplicas
)


@dataclass(frozen=True, slots=True)
class RunStep:
    """One `strategy.run`. The actions have values for all replicas."""

    actions: tuple[Action, ...]
    present: int | None = None  # the number of replicas that take part; None for all


@dataclass(frozen=True, slots=True)
class RandomProgram:
    """Variables and steps, in order."""

    num_replicas: int
    creations: tuple[Creation, ...]
    steps: tuple[Step | RunStep, ...]

    def auto(self, drawn: str) -> str:
        """Return `drawn`, or on_write: a call without some replicas refuses deferred writes."""
        absent = any(isinstance(step, RunStep) and step.present for step in self.steps)
        return "on_write" if absent else drawn


# ---------------------------------------------------------------- outcomes in varsim


def run_program(program: RandomProgram, strategy: tf.distribute.Strategy) -> list[Any]:
    """Return all outcomes of a program in varsim."""
    variables = create(program, strategy)
    created = [REFUSED if v is REFUSED else DONE for v in variables]
    return [*created, *run_steps(program, strategy, variables)]


def create(program: RandomProgram, strategy: tf.distribute.Strategy) -> list[Any]:
    """Return the variables of a program, with REFUSED in place of a refused variable."""
    with strategy.scope():
        return [attempt(partial(make, creation)) for creation in program.creations]


def run_steps(
    program: RandomProgram, strategy: tf.distribute.Strategy, variables: Sequence[Any]
) -> Iterator[Any]:
    """Run the steps of a program one by one; yield the outcome of each step.

    Raises:
        WorkerLost: A replica was lost in a step.
    """
    for step in program.steps:
        if isinstance(step, RunStep):
            count = strategy.num_replicas_in_sync
            present = count if step.present is None else step.present
            nothing = tf.distribute.PerReplica([None] * present, count - present)
            result = strategy.run(take_actions, args=(step.actions, tuple(variables), nothing))
            yield list(strategy.experimental_local_results(result))[:present]
        else:
            yield attempt(partial(take_step, step, strategy, variables))


def attempt(operation: Callable[[], Any]) -> Any:
    """Return the result of an operation, or REFUSED."""
    try:
        return operation()
    except WorkerLost:
        raise
    except tf.VarsimError:
        return REFUSED


def make(creation: Creation) -> tf.Variable:
    """Create a variable."""
    return tf.Variable(
        creation.initial,
        synchronization=creation.synchronization,
        aggregation=creation.aggregation,
    )


def write(variable: Any, operation: Operation, value: Any) -> str:
    """Do an assign, assign_add or assign_sub."""
    getattr(variable, operation.value)(value)
    return DONE


def scatter(variable: Any, operation: Operation, rows: Sequence[BareRows]) -> str:
    """Do a sparse write of one set of rows, or of a PerReplica of several sets."""
    slices = [tf.IndexedSlices(values, [*indices]) for indices, values in rows]
    each = slices[0] if len(slices) == 1 else tf.distribute.PerReplica(slices)
    getattr(variable, operation.value)(each)
    return DONE


def take_step(step: Step, strategy: Any, variables: Sequence[Any]) -> Any:
    """Return the outcome of a step, in cross-replica context or in a merge_call."""
    count = strategy.num_replicas_in_sync
    match step:
        case CrossRead():
            return variables[step.variable].numpy()
        case Locals():
            parts = strategy.experimental_local_results(variables[step.variable])
            return [np.asarray(part) for part in parts]
        case ReduceVariable():
            return np.asarray(strategy.reduce(step.op, variables[step.variable], axis=None))
        case ReduceValues():
            return np.asarray(
                strategy.reduce(step.op, tf.distribute.PerReplica(step.values), axis=None)
            )
        case CrossWrite():
            many = tf.distribute.PerReplica(step.values[:count])
            value = many if step.per_replica else step.values[0]
            return write(variables[step.variable], step.operation, value)
        case CrossScatter():
            return scatter(variables[step.variable], step.operation, step.rows)
        case UpdateStep():
            variable = variables[step.variable]
            per_replica = tf.distribute.PerReplica(step.values)
            strategy.extended.update(variable, write, args=(step.operation, per_replica))
            return DONE
        case _:
            assert_never(step)


def take_actions(actions: Sequence[Action], variables: Sequence[Any], _: None) -> list[Any]:
    """Return the outcomes of all actions on one replica."""
    replica = tf.distribute.get_replica_context()
    return [attempt(partial(take_action, action, replica, variables)) for action in actions]


def take_action(action: Action, replica: Any, variables: Sequence[Any]) -> Any:
    """Return the outcome of an action on one replica."""
    mine = replica.replica_id_in_sync_group
    match action:
        case ReadAction():
            return variables[action.variable].numpy() if action.who[mine] else ABSENT
        case WriteAction():
            return write(variables[action.variable], action.operation, action.values[mine])
        case WriteAlone():
            operation = action.operations[mine]
            if operation is None:
                return ABSENT
            return write(variables[action.variable], operation, action.values[mine])
        case ScatterAction():
            rows = [action.rows[mine]]
            return scatter(variables[action.variable], action.operation, rows)
        case ScatterOwn():
            own = variables[action.variable].values[mine]
            return scatter(own, action.operation, [action.rows[mine]])
        case AllReduceStep():
            return replica.all_reduce(action.op, action.values[mine])
        case AllGatherStep():
            return replica.all_gather(action.values[mine], axis=0)
        case CombineStep():
            return combine(replica, action, mine)
        case MergeWrite():
            merge = partial(write_merged, operation=action.operation)
            value = action.values[mine]
            return replica.merge_call(merge, args=(variables[action.variable], value))
        case MergeSteps():
            take = partial(take_steps_merged, steps=action.steps)
            return replica.merge_call(take, args=(tuple(variables),))
        case UpdateOnReplicas():
            update = replica.strategy.extended.update
            arguments = (action.operation, action.values[mine])
            return update(variables[action.variable], write_or_not, args=arguments)
        case _:
            assert_never(action)


def write_or_not(variable: Any, operation: Operation, value: Any) -> str:
    """Do a write whose refusal is an outcome, not an exception that ends the call."""
    return str(attempt(partial(write, variable, operation, value)))


def combine(replica: Any, step: CombineStep, mine: int) -> Any:
    """Do a collective; see `model.combined` for the values."""
    value, count = step.values[mine], replica.num_replicas_present
    match step.kind:
        case CombineKind.REDUCE_SCATTER:
            return replica.reduce_scatter(step.op, np.stack([value] * count))
        case CombineKind.ALL_TO_ALL:
            return replica.all_to_all([np.atleast_1d(value)[:to] for to in range(count)])
        case CombineKind.BROADCAST:
            return replica.broadcast(value, root=step.root % count)
        case CombineKind.SCAN:
            return replica.scan(step.op, value, exclusive=step.exclusive)
        case _:
            return replica.all_reduce("MEAN", value, weight=step.weights[mine])


def write_merged(strategy: Any, variable: Any, value: Any, operation: Operation) -> str:
    """Do a write inside merge_call."""
    return write_or_not(variable, operation, value)


def take_steps_merged(strategy: Any, variables: Sequence[Any], steps: Sequence[Step]) -> list[Any]:
    """Do steps inside merge_call. The result of each step is one value for all replicas."""
    return [attempt(partial(take_step, step, strategy, variables)) for step in steps]


# ---------------------------------------------------------------- outcomes in the model


def model_program(program: RandomProgram) -> list[Any]:
    """Return all outcomes that the rules require."""
    variables = model_variables(program)
    created = [REFUSED if v is REFUSED else DONE for v in variables]
    steps = (model_outcome(step, variables, program.num_replicas) for step in program.steps)
    return [*created, *steps]


def model_variables(program: RandomProgram) -> list[Any]:
    """Return the variables of a program, with REFUSED in place of a refused variable."""
    return [
        outcome(
            partial(
                ModelVariable,
                creation.synchronization,
                creation.aggregation,
                np.asarray(creation.initial),
                program.num_replicas,
            )
        )
        for creation in program.creations
    ]


def model_outcome(step: Step | RunStep, variables: Sequence[Any], count: int) -> Any:
    """Return the outcome of a step."""
    if isinstance(step, RunStep):
        present = count if step.present is None else step.present
        parts = [model_action(action, variables, present) for action in step.actions]
        return [[part[i] for part in parts] for i in range(present)]
    return outcome(partial(model_step, step, variables))


def model_parts(step: Step | RunStep, variables: Sequence[Any], count: int) -> Iterator[None]:
    """Do a step part by part; yield after each part. A loss can come between two parts."""
    if not isinstance(step, RunStep):
        return
    present = count if step.present is None else step.present
    for action in step.actions:
        if isinstance(action, MergeSteps):
            for inner in action.steps:
                outcome(partial(model_step, inner, variables))
                yield
        else:
            model_action(action, variables, present)
            yield


def model_step(step: Step, variables: Sequence[Any]) -> Any:
    """Return the outcome of a step."""
    if isinstance(step, ReduceValues):
        return model.reduced(step.values, step.op, len(step.values))
    variable: ModelVariable = variables[step.variable]
    match step:
        case CrossRead():
            return variable.read()
        case Locals():
            return list(variable.components)
        case ReduceVariable():
            return variable.reduce(step.op)
        case CrossWrite(per_replica=True):
            variable.write_each(step.operation, step.values)
        case CrossWrite():
            variable.write(step.operation, step.values[0])
        case UpdateStep():
            variable.update(step.operation, step.values)
        case CrossScatter():
            variable.scatter(step.operation, step.rows)
        case _:
            assert_never(step)
    return DONE


def model_action(action: Action, variables: Sequence[Any], count: int) -> list[Any]:
    """Return the outcomes of an action on the first `count` replicas, which take part."""
    match action:
        case ReadAction():
            components = variables[action.variable].components
            both = zip(components, action.who, strict=True)
            return [c if who else ABSENT for c, who in both][:count]
        case WriteAlone():
            return [_model_alone(action, variables, i) for i in range(count)]
        case CombineStep():
            return model.combined(action, count)
        case MergeSteps():
            inner = [outcome(partial(model_step, step, variables)) for step in action.steps]
            return [inner] * count
        case _:
            return [outcome(partial(_model_together, action, variables, count))] * count


def _model_alone(action: WriteAlone, variables: Sequence[Any], replica_id: int) -> Any:
    operation = action.operations[replica_id]
    if operation is None:
        return ABSENT
    variable: ModelVariable = variables[action.variable]

    def write_it() -> str:
        variable.write_on(replica_id, operation, action.values[replica_id])
        return DONE

    return outcome(write_it)


def _model_together(
    action: (
        WriteAction
        | ScatterAction
        | ScatterOwn
        | AllReduceStep
        | AllGatherStep
        | MergeWrite
        | UpdateOnReplicas
    ),
    variables: Sequence[Any],
    count: int,
) -> Any:
    match action:
        case WriteAction():
            variables[action.variable].write_on_replicas(action.operation, action.values[:count])
        case ScatterAction():
            variables[action.variable].scatter_on_replicas(action.operation, action.rows[:count])
        case ScatterOwn():
            variables[action.variable].scatter_each(action.operation, action.rows[:count])
        case AllReduceStep():
            return model.reduced(action.values[:count], action.op, len(action.values))
        case AllGatherStep():
            return np.concatenate(action.values[:count])
        case MergeWrite():
            first = action.values[0]
            number = not isinstance(first, np.ndarray)
            # 0.0 and -0.0 compare as equal, but are two values
            alike = number and all(repr(v) == repr(first) for v in action.values)
            if alike or len(action.values) == 1:  # one value for all replicas, not a PerReplica
                variables[action.variable].write(action.operation, first)
            else:
                variables[action.variable].write_each(action.operation, action.values)
        case UpdateOnReplicas():
            variables[action.variable].update(action.operation, action.values)
        case _:
            assert_never(action)
    return DONE


__all__ = ["RandomProgram", "RefusedError", "model_program", "run_program"]
