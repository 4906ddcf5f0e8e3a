"""Find what a program requests of a new variable, and create variables with one value."""

from __future__ import annotations

from typing import Any

from varsim.distribute.context import current_frame, strategy_in_force
from varsim.distribute.conversion import as_shape, initial_array
from varsim.distribute.naming import PROGRAM, new_id
from varsim.distribute.policies import know
from varsim.distribute.resource import HeldHere, ResourceVariable
from varsim.location import program_location
from varsim.spec import Array, VariableSpec
from varsim.sync import policies


def requested(kwargs: dict[str, Any]) -> tuple[VariableSpec, Array]:
    """Return the spec that the arguments of `tf.Variable` describe, and the initial value.

    If the initial value is a function, it is called.

    Raises:
        VariableError: The initial value cannot have the dtype or the shape.
    """
    initial_value = kwargs["initial_value"]
    name = kwargs["name"] or "Variable"
    value = initial_value() if callable(initial_value) else initial_value
    shape = as_shape(kwargs["shape"])
    array = initial_array(value, kwargs["dtype"], shape, name)
    synchronization, trainable = kwargs["synchronization"], kwargs["trainable"]
    know(synchronization)  # if a replica creates the variable, its policy can be unknown here
    spec = VariableSpec(
        variable_id=new_id(),
        name=name,
        shape=array.shape if shape is None else shape,
        dtype=array.dtype,
        requested=synchronization,
        synchronization=synchronization,
        aggregation=kwargs["aggregation"],
        trainable=policies.is_trainable(synchronization) if trainable is None else bool(trainable),
        created_at=program_location(),
    )
    return spec, array


def create_plain(**kwargs: Any) -> ResourceVariable:
    """Create a variable with one value, in the process of the program or of a worker."""
    spec, array = requested(kwargs)
    variable = ResourceVariable(HeldHere(spec, array), spec)
    variable.constraint = kwargs["constraint"]
    variable.created_under = strategy_in_force()
    frame = current_frame()
    if frame is not None and frame.replica is not None and frame.replica.runs_program:
        variable.owner = frame.replica
    PROGRAM.know("plain", spec.variable_id, variable)
    return variable
