"""Decide which value each component of a variable gets from a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from varsim.distribute.checkpoints.contents import Kept, SavedVariable
from varsim.distribute.checkpoints.saving import name_of
from varsim.distribute.distributed import DistributedVariable
from varsim.distribute.variable import Variable
from varsim.errors import CheckpointError
from varsim.location import user_location, warn
from varsim.spec import Array, Context, NamedArrays, Operation, VariableAggregation
from varsim.sync import policies, reduce
from varsim.texts import checkpoints as texts
from varsim.value_class import value_class


@value_class
class Placement:
    """The writes that restore one variable.

    Attributes:
        write: Performs the writes.
        note: A text about the changes to the value, if the number of replicas or the settings have
            changed; else "".
        is_mirrored: Whether every replica gets the saved value, and the number of replicas has
            changed.
    """

    write: Callable[[], None]
    note: str = ""
    is_mirrored: bool = False


def placement(
    path: str,
    saved: SavedVariable,
    arrays: Sequence[Array],
    states: Sequence[NamedArrays],
    variable: Variable,
) -> Placement:
    """Return the writes that restore a variable. This function writes nothing itself.

    Args:
        path: The path of the object, for texts.
        states: What the policy of the saved variable keeps beside each component; () for nothing.
    Raises:
        CheckpointError: The variable cannot hold the values.
    """
    _check(path, arrays, variable)
    if not isinstance(variable, DistributedVariable):
        return _to_one(path, saved, arrays, variable)
    values = _placed_values(path, saved, arrays, variable)
    if policies.state_rule(variable.spec) is None:
        return values
    restored = states if _is_same(saved, variable) else ()
    _check_states(path, restored, variable)

    def write() -> None:
        values.write()
        variable.strategy.cross.set_states(variable, restored)

    return replace(values, write=write)


def _is_same(saved: SavedVariable, variable: DistributedVariable) -> bool:
    """Return whether a variable has the settings and the replicas of the saved one."""
    settings = name_of(variable.synchronization), variable.aggregation.name
    count = variable.strategy.num_replicas_in_sync
    return saved.replicas == count and saved.settings == settings


def _check_states(path: str, states: Sequence[NamedArrays], variable: DistributedVariable) -> None:
    rule = policies.state_rule(variable.spec)
    assert rule is not None, "the caller has checked it"
    try:
        for state in states:
            rule.check(variable.spec, state)
    except ValueError as error:
        raise CheckpointError(
            texts.WRONG_STATE.format(path=path, name=variable.name, problem=error)
        ) from None


def _placed_values(
    path: str, saved: SavedVariable, arrays: Sequence[Array], variable: DistributedVariable
) -> Placement:
    """Return the writes of the components of a variable."""
    count = variable.strategy.num_replicas_in_sync
    if saved.kept is Kept.WITH_COPY and _is_same(saved, variable):
        return Placement(lambda: _write_with_copy(variable, arrays[:-1], arrays[-1]))
    if saved.kept is not Kept.VALUE and _is_same(saved, variable):
        components = arrays if saved.kept is Kept.EACH else [arrays[0]] * count
        return Placement(lambda: _write_components(variable, components))
    value = _combined(saved, arrays)
    moved = saved.replicas not in (0, count)
    if value is None:
        return _own_components(path, saved, arrays, variable)
    cell = policies.cell(variable.spec, Context.CROSS_REPLICA, Operation.ASSIGN)
    if cell.refused is not None:
        components = [value] * count
        return Placement(lambda: _write_components(variable, components), is_mirrored=moved)
    if not cell.shares:
        return Placement(lambda: variable.strategy.cross.restore(variable, value), "", moved)
    return _shares(path, saved, value, variable, moved=moved)


def _check(path: str, arrays: Sequence[Array], variable: Variable) -> None:
    for array in arrays:
        declared = variable.shape
        fits = len(declared) == array.ndim and all(
            size in (None, actual) for size, actual in zip(declared, array.shape, strict=True)
        )
        if not fits:
            raise CheckpointError(
                texts.OTHER_SHAPE.format(
                    path=path, saved=array.shape, name=variable.name, shape=declared
                )
            )
        if array.dtype != variable.dtype:
            raise CheckpointError(
                texts.OTHER_DTYPE.format(
                    path=path, saved=array.dtype, name=variable.name, dtype=variable.dtype
                )
            )


def _combined(saved: SavedVariable, arrays: Sequence[Array]) -> Array | None:
    """Return the value of a cross-replica read of the saved variable; None if it cannot be read."""
    if saved.kept in {Kept.VALUE, Kept.WITH_COPY} or saved.is_mirrored:
        return arrays[-1]
    aggregation = VariableAggregation[saved.aggregation]
    components = list(arrays) if saved.kept is Kept.EACH else [arrays[0]] * saved.replicas
    if aggregation is VariableAggregation.NONE:
        return None
    if aggregation is VariableAggregation.SUM and arrays[0].dtype.kind == "b":
        return None
    return np.asarray(reduce.aggregate(components, aggregation))


def _to_one(
    path: str, saved: SavedVariable, arrays: Sequence[Array], variable: Variable
) -> Placement:
    """Restore a variable that has one value."""
    value = _combined(saved, arrays)
    note = ""
    if value is None:
        value, note = arrays[0], f"{path}: it gets the component of replica 0"
    elif saved.kept is Kept.EACH:
        note = f"{path}: it gets the {saved.aggregation} of {saved.replicas} components"
    restored = value
    return Placement(lambda: variable.write(Operation.ASSIGN, restored, read_value=False), note)


def _own_components(
    path: str, saved: SavedVariable, arrays: Sequence[Array], variable: DistributedVariable
) -> Placement:
    """Restore components that no aggregation combines."""
    count = variable.strategy.num_replicas_in_sync
    given = list(arrays) if saved.kept is Kept.EACH else [arrays[0]] * saved.replicas
    if variable.is_mirrored:
        components = [given[0]] * count
        note = f"{path}: every replica gets the component of replica 0"
    else:
        components = [given[i] if i < len(given) else given[0] for i in range(count)]
        note = f"{path}: replicas 0 to {min(count, len(given)) - 1} get their own components"
        if count > len(given):
            note += f", and replicas {len(given)} to {count - 1} get the component of replica 0"
        elif count < len(given):
            note += f"; the components of replicas {count} to {len(given) - 1} are dropped"
    return Placement(lambda: _write_components(variable, components), note)


def _shares(
    path: str, saved: SavedVariable, value: Array, variable: DistributedVariable, *, moved: bool
) -> Placement:
    """Restore a variable whose components add up to the saved value."""
    count, spec = variable.strategy.num_replicas_in_sync, variable.spec
    if spec.dtype.kind == "b":
        raise CheckpointError(texts.NO_SHARE.format(path=path, name=variable.name, count=count))
    number = f" {value}" if value.ndim == 0 else ""
    note = f"{path}: the sum{number} is divided over {count}" if moved else ""
    lossy = reduce.loses_remainder(value, spec.dtype, count, spec.name)
    if not lossy or saved.kept is Kept.VALUE:
        location = user_location()

        def restore() -> None:
            if lossy:
                warn(_loss(value, variable), location)
            variable.strategy.cross.restore(variable, value)

        return Placement(restore, note)
    share = reduce.share_of(value, spec.dtype, count, spec.name)
    rest = np.asarray(value - share * spec.dtype.type(count - 1), spec.dtype)
    components = [rest, *[share] * (count - 1)]
    note = f"{note}, and replica 0 gets the remainder too" if note else ""
    return Placement(lambda: _write_components(variable, components), note)


def _loss(value: Array, variable: DistributedVariable) -> str:
    """Return the warning that integers lose their remainders."""
    count, spec = variable.strategy.num_replicas_in_sync, variable.spec
    share = reduce.share_of(value, spec.dtype, count, spec.name)
    reads = share * count
    if value.ndim == 0:
        return texts.LOSES_REMAINDER.format(
            name=spec.name, saved=value, count=count, share=share, reads=reads
        )
    lossy = np.count_nonzero(reads != value)
    return texts.LOSES_REMAINDERS.format(name=spec.name, count=count, lossy=lossy, size=value.size)


def _write_components(variable: DistributedVariable, components: Sequence[Array]) -> None:
    variable.strategy.cross.write_components(variable, dict(enumerate(components)))


def _write_with_copy(
    variable: DistributedVariable, components: Sequence[Array], copy: Array
) -> None:
    """Write the authoritative copy, which also changes all components, and then the components."""
    variable.strategy.cross.restore(variable, copy)
    _write_components(variable, components)
