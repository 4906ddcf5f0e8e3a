"""`tf.Variable`: what a program writes, whatever strategy it runs under."""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from varsim.distribute.context import get_strategy
from varsim.errors import OperationError, SynchronizationError, ValueTypeError
from varsim.spec import (
    Array,
    Operation,
    Shape,
    VariableAggregation,
    VariableSynchronization,
)

Creator = Callable[..., "Variable"]

_creators: ContextVar[tuple[Callable[..., Any], ...]] = ContextVar("varsim_creators", default=())


@contextmanager
def variable_creator_scope(creator: Callable[..., Any]) -> Iterator[None]:
    """Within the block every `Variable(...)` is made by `creator(next_creator, **kwargs)`.

    Source: `tf.variable_creator_scope`.
    """
    token = _creators.set((*_creators.get(), creator))
    try:
        yield
    finally:
        _creators.reset(token)


def create(**kwargs: Any) -> Variable:
    """Makes a variable where the program stands, through all creator scopes, innermost first."""
    next_creator: Creator = lambda **kw: get_strategy().create_variable(**kw)  # noqa: E731
    for creator in _creators.get():
        next_creator = _bind(creator, next_creator)
    return next_creator(**kwargs)


def _bind(creator: Callable[..., Any], next_creator: Creator) -> Creator:
    return lambda **kwargs: creator(next_creator, **kwargs)


class _VariableMeta(type):
    """Makes `Variable(...)` give an instance of the class that the strategy in force asks for."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is Variable:
            return create(**_signature(*args, **kwargs))
        return super().__call__(*args, **kwargs)


def _signature(
    initial_value: Any = None,
    trainable: bool | None = None,
    validate_shape: bool = True,
    caching_device: Any = None,
    name: str | None = None,
    variable_def: Any = None,
    dtype: Any = None,
    import_scope: Any = None,
    constraint: Callable[..., Any] | None = None,
    synchronization: VariableSynchronization | str | None = VariableSynchronization.AUTO,
    aggregation: VariableAggregation | str | None = VariableAggregation.NONE,
    shape: Any = None,
) -> dict[str, Any]:
    """The arguments of `tf.Variable`, in its order; those that only mean something to it go."""
    del validate_shape, caching_device, variable_def, import_scope
    label = name or "Variable"
    return {
        "initial_value": initial_value,
        "trainable": trainable,
        "name": name,
        "dtype": dtype,
        "shape": shape,
        "constraint": constraint,
        "synchronization": _member(VariableSynchronization, synchronization, "AUTO", label),
        "aggregation": _member(VariableAggregation, aggregation, "NONE", label),
    }


def _member(kind: Any, value: Any, default: str, variable: str) -> Any:
    if value is None:
        return kind[default]
    if isinstance(value, kind):
        return value
    raise SynchronizationError(
        variable,
        f"{value!r} is no {kind.__name__}",
        f"Use one of {', '.join(f'{kind.__name__}.{m.name}' for m in kind)}.",
    )


def _binary(function: Callable[[Any, Any], Any], *, arithmetic: bool = True) -> Any:
    def method(self: Variable, other: Any) -> Any:
        mine = self.convert()
        if arithmetic and mine.dtype.kind == "b":
            raise ValueTypeError(self.name, "bools have no arithmetic", "Use an integer dtype.")
        return function(mine, _operand(other))

    return method


def _reflected(function: Callable[[Any, Any], Any]) -> Any:
    def method(self: Variable, other: Any) -> Any:
        mine = self.convert()
        if mine.dtype.kind == "b":
            raise ValueTypeError(self.name, "bools have no arithmetic", "Use an integer dtype.")
        return function(_operand(other), mine)

    return method


def _operand(value: Any) -> Any:
    return value.convert() if isinstance(value, Variable) else value


class Variable(metaclass=_VariableMeta):
    """A value that a program changes: `tf.Variable`.

    Args:
        initial_value: A number, nested list, array or variable, or a callable that gives one; it
            is called once, by the program.
        trainable: True unless said otherwise, or unless `synchronization` is ON_READ.
        name: For people.
        dtype: Any of `varsim.spec.DTYPES`; from the initial value if None.
        shape: Wider than the initial value's, with None for an open dimension.
        synchronization, aggregation: See `VariableSynchronization` and `VariableAggregation`.
    Raises:
        ValueError: The initial value does not fit, or the settings do not fit the strategy.
        TypeError: The initial value is nothing that a variable can hold.
    Source: `tf.Variable` of TensorFlow 2.21; `docs/semantics.md` says where varsim differs.
    """

    is_variable = True
    container: Variable | None = None  # of a component: the distributed variable
    replica_id: int = 0

    _name: str
    _dtype: np.dtype[np.generic]
    _shape: Shape
    _trainable: bool
    _synchronization: VariableSynchronization
    _aggregation: VariableAggregation
    constraint: Callable[..., Any] | None = None

    # ------------------------------------------------------------ attributes

    @property
    def name(self) -> str:
        """The variable's name with TensorFlow's suffix, like "weights:0"."""
        return f"{self._name}:0"

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The NumPy dtype of its value."""
        return self._dtype

    @property
    def shape(self) -> Shape:
        """The shape of its value; None for a dimension that an assign may change."""
        return self._shape

    @property
    def trainable(self) -> bool:
        """Whether training is meant to change it. Never changes a value."""
        return self._trainable

    @property
    def synchronization(self) -> VariableSynchronization:
        """The synchronization in force; AUTO only where nothing is distributed."""
        return self._synchronization

    @property
    def aggregation(self) -> VariableAggregation:
        """The aggregation, as the program asked for it."""
        return self._aggregation

    @property
    def device(self) -> str:
        """Where the value is."""
        return "/device:cpu:0"

    @property
    def initial_value(self) -> Any:
        """Not kept, as in eager TensorFlow."""
        raise RuntimeError("a variable does not keep its initial value")

    def is_initialized(self) -> Array:
        """True: every variable has a value from the start."""
        return np.asarray(True)

    # ------------------------------------------------------------ reading and writing

    @abstractmethod
    def read_value(self) -> Array:
        """The value where the program stands; read-only."""

    @abstractmethod
    def convert(self) -> Array:
        """The value as an operand; read-only. Differs from `read_value` under another strategy."""

    @abstractmethod
    def write(self, operation: Operation, value: Any, *, read_value: bool = True) -> None:
        """Does one of the three assigns."""

    def value(self) -> Array:
        """The value where the program stands; read-only."""
        return self.convert()

    def numpy(self) -> Array:
        """The value where the program stands, as an array of the caller's own."""
        return np.array(self.read_value())

    def assign(
        self, value: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> Variable | None:
        """Sets the value; returns the variable itself (D6), or None without `read_value`."""
        self.write(Operation.ASSIGN, value, read_value=read_value)
        return self if read_value else None

    def assign_add(
        self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> Variable | None:
        """Adds to the value; returns the variable itself (D6), or None without `read_value`."""
        self.write(Operation.ASSIGN_ADD, delta, read_value=read_value)
        return self if read_value else None

    def assign_sub(
        self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> Variable | None:
        """Subtracts from the value; returns the variable (D6), or None without `read_value`."""
        self.write(Operation.ASSIGN_SUB, delta, read_value=read_value)
        return self if read_value else None

    # ------------------------------------------------------------ as an array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        value = self.convert()
        if dtype is not None and np.dtype(dtype) != value.dtype:
            return value.astype(dtype)
        return np.array(value) if copy else value

    def __getitem__(self, key: Any) -> Any:
        return Slice.of(self, self.convert(), key)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.convert())

    def __len__(self) -> int:
        return len(self.convert())

    def __bool__(self) -> bool:
        return bool(self.convert())

    def __float__(self) -> float:
        return float(self.convert())

    def __int__(self) -> int:
        return int(self.convert())

    def __index__(self) -> int:
        return operator.index(self.convert())

    def __format__(self, spec: str) -> str:
        return format(self.convert()[()], spec) if spec else str(self)

    __add__, __radd__ = _binary(operator.add), _reflected(operator.add)
    __sub__, __rsub__ = _binary(operator.sub), _reflected(operator.sub)
    __mul__, __rmul__ = _binary(operator.mul), _reflected(operator.mul)
    __truediv__, __rtruediv__ = _binary(operator.truediv), _reflected(operator.truediv)
    __floordiv__, __rfloordiv__ = _binary(operator.floordiv), _reflected(operator.floordiv)
    __mod__, __rmod__ = _binary(operator.mod), _reflected(operator.mod)
    __pow__, __rpow__ = _binary(operator.pow), _reflected(operator.pow)
    __matmul__, __rmatmul__ = _binary(operator.matmul), _reflected(operator.matmul)
    __lt__ = _binary(operator.lt, arithmetic=False)
    __le__ = _binary(operator.le, arithmetic=False)
    __gt__ = _binary(operator.gt, arithmetic=False)
    __ge__ = _binary(operator.ge, arithmetic=False)
    __eq__ = _binary(operator.eq, arithmetic=False)
    __ne__ = _binary(operator.ne, arithmetic=False)
    __and__ = _binary(operator.and_, arithmetic=False)
    __or__ = _binary(operator.or_, arithmetic=False)
    __xor__ = _binary(operator.xor, arithmetic=False)
    __hash__ = None  # type: ignore[assignment]  # == is elementwise, as in TensorFlow

    def __invert__(self) -> Any:
        return ~self.convert()

    def __neg__(self) -> Any:
        return -self.convert()

    def __abs__(self) -> Any:
        return abs(self.convert())

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(
            f"variable {self._name!r} cannot be pickled: it lives in its strategy's workers. "
            "Functions given to strategy.run may use it; elsewhere, pickle its numpy()."
        )


class Slice(np.ndarray[Any, Any]):
    """What indexing a variable gives: an array that can also be assigned to."""

    _variable: Variable | None = None
    _key: Any = None

    @staticmethod
    def of(variable: Variable, value: Array, key: Any) -> Slice:
        """The part of a variable's value that `key` selects."""
        part = np.asarray(value[key]).view(Slice)
        part._variable, part._key = variable, key
        return part

    def assign(self, value: Any) -> Variable:
        """Sets this part of a plain variable; refused for a distributed one (D12)."""
        variable = self._variable
        if variable is None:
            raise TypeError("only what indexing a variable gave can be assigned to")
        if variable.container is None and not hasattr(variable, "strategy"):
            whole = variable.numpy()
            whole[self._key] = value
            variable.assign(whole)
            return variable
        raise OperationError(
            variable._name,
            "a slice of a distributed variable cannot be assigned: TensorFlow writes one "
            "component past the aggregation (D12)",
            "Assign the whole value: x = v.numpy(); x[...] = ...; v.assign(x).",
        )
