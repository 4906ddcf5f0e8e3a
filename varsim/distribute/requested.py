"""Find the settings and the initial value with which a program requests a variable."""

from __future__ import annotations

from typing import Any

from varsim.distribute.conversion import as_shape, initial_array
from varsim.distribute.naming import new_id
from varsim.distribute.policies import know
from varsim.location import user_location
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
        created_at=user_location(),
    )
    return spec, array
