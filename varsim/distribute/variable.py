"""Provide `tf.Variable`, the base class of the variables of all strategies."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

from varsim.distribute.array_like import ArrayLike
from varsim.distribute.context import strategy_in_force
from varsim.distribute.conversion import as_operand
from varsim.distribute.manual import ManualOperations
from varsim.distribute.missing import explains_missing
from varsim.distribute.policies import know, synchronization_of
from varsim.distribute.sparse import SparseWrites
from varsim.errors import SynchronizationError, VariableError
from varsim.location import user_location
from varsim.nearest import did_you_mean
from varsim.shown_as_html import ShownAsHtml
from varsim.spec import (
    Array,
    CustomSynchronization,
    Operation,
    Shape,
    Synchronization,
    VariableAggregation,
    VariableSynchronization,
)
from varsim.sync.policies.custom import CustomPolicy

Creator = Callable[..., "Variable"]

_ASSIGN, _ASSIGN_ADD, _ASSIGN_SUB = (
    Operation.ASSIGN,
    Operation.ASSIGN_ADD,
    Operation.ASSIGN_SUB,
)

_creators: ContextVar[tuple[Callable[..., Any], ...]] = ContextVar("varsim_creators", default=())


@contextmanager
def variable_creator_scope(creator: Callable[..., Any]) -> Iterator[None]:
    """Create each `Variable(...)` in the `with` block by `creator(next_creator, **kwargs)`.

    Source: `tf.variable_creator_scope`.
    """
    token = _creators.set((*_creators.get(), creator))
    try:
        yield
    finally:
        _creators.reset(token)


def create(**kwargs: Any) -> Variable:
    """Create a variable in the current context; call the innermost scope's creator first."""
    next_creator: Creator = lambda **kw: strategy_in_force().create_variable(**kw)  # noqa: E731
    for creator in _creators.get():
        next_creator = _bind(creator, next_creator)
    try:
        return next_creator(**kwargs)
    except VariableError as error:
        error.location = error.location or user_location()
        raise


def _bind(creator: Callable[..., Any], next_creator: Creator) -> Creator:
    return lambda **kwargs: creator(next_creator, **kwargs)


class _VariableMeta(type):
    """Lets `Variable(...)` return an instance of the class that the current strategy selects."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is not Variable:
            return super().__call__(*args, **kwargs)
        unknown = next((name for name in kwargs if name not in _SIGNATURE.parameters), None)
        if unknown is not None:
            near = did_you_mean(unknown, list(_SIGNATURE.parameters)[1:])
            raise TypeError(f"tf.Variable has no argument {unknown!r}{near}")
        bound = _SIGNATURE.bind(None, *args, **kwargs)
        bound.apply_defaults()
        asked = {name: bound.arguments[name] for name in _KEPT}
        label = asked["name"] or "Variable"
        asked["synchronization"] = _synchronization(asked["synchronization"], label)
        asked["aggregation"] = _member(VariableAggregation, asked["aggregation"], "NONE", label)
        return create(**asked)


_KEPT = (
    "initial_value",
    "trainable",
    "name",
    "dtype",
    "shape",
    "constraint",
    "synchronization",
    "aggregation",
)
"""The arguments of `tf.Variable` that have an effect; other arguments are accepted and ignored."""


def _synchronization(value: Any, variable: str) -> Synchronization:
    if isinstance(value, CustomPolicy):
        return synchronization_of(value)
    if isinstance(value, CustomSynchronization):
        know(value)
        return value
    or_policy = ", or an object of a policy, such as tf.LocalSGD(8)"
    member: VariableSynchronization = _member(
        VariableSynchronization, value, "AUTO", variable, or_policy
    )
    return member


def _member(kind: Any, value: Any, default: str, variable: str, also: str = "") -> Any:
    if value is None:
        return kind[default]
    if isinstance(value, kind):
        return value
    raise SynchronizationError(
        variable,
        f"invalid {kind.__name__} {value!r}",
        f"Use one of {', '.join(f'{kind.__name__}.{m.name}' for m in kind)}{also}.",
    )


class Reference:
    """A variable as a key of a dict or a member of a set: `Variable.ref()`.

    Source: `tf.experimental.Reference`.
    """

    def __init__(self, variable: Variable) -> None:
        self._variable = variable

    def deref(self) -> Variable:
        """Return the variable."""
        return self._variable

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and self._variable is other._variable

    def __hash__(self) -> int:
        return id(self._variable)

    def __repr__(self) -> str:
        return f"<Reference of {self._variable!r}>"


@explains_missing("tf.Variable")
class Variable(SparseWrites, ManualOperations, ArrayLike, ShownAsHtml, metaclass=_VariableMeta):
    """`tf.Variable`: a value that a program can change.

    Args:
        initial_value: A number, nested list, array or variable; or a callable that returns such a
            value. The callable is called once, in the program's process.
        trainable: Whether training should change the variable. The default is True, but False if
            `synchronization` is ON_READ.
        name: The name of the variable in texts for users.
        dtype: One of `varsim.extension_dtypes.NAMES`; by default the dtype of the initial value.
        shape: The shape, if it is more general than the shape of the initial value. A dimension
            that is None can be changed by an assign.
        synchronization, aggregation: See `VariableSynchronization` and `VariableAggregation`.
    Raises:
        ValueError: The initial value does not match the shape, or the strategy refuses the
            settings.
        TypeError: A variable cannot hold the initial value.
    Source: `tf.Variable` of TensorFlow 2.21; `docs/semantics.md` lists the differences.
    """

    is_variable = True
    container: Variable | None = None  # for a component: its distributed variable
    replica_id: int = 0

    _name: str
    _dtype: np.dtype[np.generic]
    _shape: Shape
    _trainable: bool
    _synchronization: Synchronization
    _aggregation: VariableAggregation
    constraint: Callable[..., Any] | None = None

    def __init__(
        self,
        initial_value: Any = None,
        trainable: bool | None = None,
        validate_shape: bool = True,
        caching_device: Any = None,
        name: str | None = None,
        variable_def: Any = None,
        dtype: Any = None,
        import_scope: Any = None,
        constraint: Callable[..., Any] | None = None,
        synchronization: Synchronization | CustomPolicy | None = VariableSynchronization.AUTO,
        aggregation: VariableAggregation | None = VariableAggregation.NONE,
        shape: Any = None,
        experimental_enable_variable_lifting: bool = True,
    ) -> None:
        raise AssertionError("the metaclass creates an instance of a subclass instead")

    if TYPE_CHECKING:

        @property
        def values(self) -> tuple[Variable, ...]:
            """Return the components; only a distributed variable has components."""

    # ------------------------------------------------------------ attributes

    @property
    def name(self) -> str:
        """Return the variable's name with TensorFlow's suffix, like "weights:0"."""
        return f"{self._name}:0"

    @property
    def label(self) -> str:
        """Return the variable's name as the program gave it."""
        return self._name

    @property
    def is_distributed(self) -> bool:
        """Return whether the variable has a component on every replica, or is a component."""
        return self.container is not None

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Return the NumPy dtype of the value."""
        return self._dtype

    @property
    def shape(self) -> Shape:
        """Return the shape of the value, with None for a dimension that an assign can change."""
        return self._shape

    def get_shape(self) -> Shape:
        """Return `shape`; `get_shape` is its earlier name."""
        return self._shape

    def ref(self) -> Reference:
        """Return a key for dicts. A variable itself cannot be a key, because == compares values."""
        return Reference(self)

    @property
    def trainable(self) -> bool:
        """Return whether training should change the variable. varsim does not use this setting."""
        return self._trainable

    @property
    def synchronization(self) -> Synchronization:
        """Return the synchronization that applies.

        It is AUTO only if writes are adaptive, or if the setting has no effect.
        """
        return self._synchronization

    @property
    def aggregation(self) -> VariableAggregation:
        """Return the aggregation that the program requested."""
        return self._aggregation

    @property
    def device(self) -> str:
        """Return the device of the value."""
        return "/device:CPU:0"

    @property
    def initial_value(self) -> Any:
        """Raise an error: a variable does not keep its initial value, as in eager TensorFlow."""
        raise RuntimeError("a variable does not keep its initial value")

    def is_initialized(self) -> Array:
        """Return True: every variable has a value from the start."""
        return np.asarray(True)

    # ------------------------------------------------------------ reading and writing

    def read_value(self) -> Array:
        """Return the value in the current context; read-only."""
        raise NotImplementedError

    def convert(self) -> Array:
        """Return the value as an operand; read-only.

        Under another strategy, `read_value` can raise an error while `convert` is allowed.
        """
        raise NotImplementedError

    def write(self, operation: Operation, value: Any, read_value: bool = True) -> None:
        """Apply an assign, assign_add or assign_sub."""
        raise NotImplementedError

    def value(self) -> Array:
        """Return the value in the current context; read-only."""
        return self.convert()

    def numpy(self) -> Array:
        """Return the value in the current context, as a new array that the caller can change."""
        return np.array(self.read_value())

    def update_buffer(self) -> Array:
        """Return an uninitialised array of the variable's shape and dtype, for the next update.

        Fill the array, then pass it to `assign`, `assign_add` or `assign_sub` of this variable in
        the same call. If the array is large, it is not copied, but becomes read-only. Get a new
        array for each update: this is cheap, because the memory of unused arrays is reused.
        """
        return np.empty(self.convert().shape, self._dtype)

    def operand(self, value: Any) -> Array:
        """Return a value as an array of the variable's dtype.

        Raises:
            VariableError: The dtype cannot hold the value.
        """
        return as_operand(value, self._dtype, self._name)

    def assign(
        self,
        value: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> Variable | Any:
        """Set the value; return the variable, or None if `read_value` is false.

        Source: The returned value is difference D6 in docs/semantics.md.
        """
        self.write(_ASSIGN, value, read_value)
        return self if read_value else None

    def assign_add(
        self,
        delta: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> Variable | Any:
        """Add to the value. Return the same as `assign`."""
        self.write(_ASSIGN_ADD, delta, read_value)
        return self if read_value else None

    def assign_sub(
        self,
        delta: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> Variable | Any:
        """Subtract from the value. Return the same as `assign`."""
        self.write(_ASSIGN_SUB, delta, read_value)
        return self if read_value else None

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(
            f"variable {self._name!r} cannot be pickled, because the workers of its strategy hold "
            "its value. Functions for strategy.run can use it; elsewhere, pickle its numpy()."
        )


_SIGNATURE = inspect.signature(Variable.__init__)
