"""Define the array interface of variables: operators, indexing and conversion."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from varsim.errors import OperationError, PartError, ShapeError, ValueTypeError
from varsim.extension_dtypes import is_extension
from varsim.location import user_location
from varsim.spec import Array


def _binary(function: Callable[[Any, Any], Any], *, arithmetic: bool = True) -> Any:
    def method(self: ArrayLike, other: Any) -> Any:
        mine = self.convert()
        if arithmetic and mine.dtype.kind == "b":
            raise ValueTypeError(self.label, "bools have no arithmetic", "Use an integer dtype.")
        operand = _operand(other, mine.dtype)
        try:
            return function(mine, operand)
        except TypeError:
            if not hasattr(type(operand), "__dlpack__"):
                raise
            # For an array and a tensor, NumPy and PyTorch both return NotImplemented.
            return function(mine, np.asarray(operand))

    return method


def _reflected(function: Callable[[Any, Any], Any]) -> Any:
    def method(self: ArrayLike, other: Any) -> Any:
        mine = self.convert()
        if mine.dtype.kind == "b":
            raise ValueTypeError(self.label, "bools have no arithmetic", "Use an integer dtype.")
        return function(_operand(other, mine.dtype), mine)

    return method


def _operand(value: Any, dtype: np.dtype[Any]) -> Any:
    if isinstance(value, ArrayLike):
        return value.convert()
    if type(value) in {float, int} and is_extension(dtype):
        return dtype.type(float(value))  # NumPy's result would be float32
    return value


class ArrayLike:
    """An object with a NumPy value in the current context."""

    @property
    def name(self) -> str:
        """Return the object's name."""
        raise NotImplementedError

    @property
    def label(self) -> str:
        """Return the name that errors contain."""
        return self.name

    @property
    def slice_remedy(self) -> str:
        """Return how to write a part of the value if a slice cannot be assigned."""
        return "Assign the whole value."

    @property
    def is_distributed(self) -> bool:
        """Return whether the object is a distributed variable, or a component of one."""
        raise NotImplementedError

    @property
    def takes_slices(self) -> bool:
        """Return whether a slice of the value can be assigned in the current context."""
        return not self.is_distributed

    def convert(self) -> Array:
        """Return the value as an operand; read-only."""
        raise NotImplementedError

    def assign(self, value: Any) -> Any:
        """Set the value."""
        raise NotImplementedError

    def operand(self, value: Any) -> Array:
        """Return a value as an array of this object's dtype."""
        raise NotImplementedError

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        value = self.convert()
        if dtype is not None and np.dtype(dtype) != value.dtype:
            return value.astype(dtype)
        return np.array(value) if copy else value

    def __getitem__(self, key: Any) -> Any:
        try:
            part = self.part(key)
        except IndexError as error:
            raise self._without_part(error) from None
        return Slice.of(self, part, key)

    def _without_part(self, error: IndexError) -> PartError:
        """Return the error about an index for which the value has no part."""
        refused = error if isinstance(error, PartError) else PartError(self.label, str(error))
        refused.location = refused.location or user_location()
        return refused

    def part(self, key: Any) -> Array:
        """Return the part of the value that `key` selects.

        If `key` has integer arrays, the part is a copy.
        """
        return np.asarray(self.convert()[key])

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
    __hash__ = None  # type: ignore[assignment]  # == compares elements, as in TensorFlow

    def __invert__(self) -> Any:
        return ~self.convert()

    def __neg__(self) -> Any:
        return -self.convert()

    def __abs__(self) -> Any:
        return abs(self.convert())


class Slice(np.ndarray[Any, Any]):
    """The result of indexing a variable: an array with the additional method `assign`."""

    _variable: ArrayLike | None = None
    _key: Any = None

    @staticmethod
    def of(variable: ArrayLike, value: Array, key: Any) -> Slice:
        """Return the part of a variable's value that `key` selects."""
        part = value.view(Slice)
        part.__dict__.update(_variable=variable, _key=key)
        return part

    def assign(self, value: Any) -> ArrayLike:
        """Set this part of a plain variable, or of a replica's own component (ON_READ, NONE).

        Raises:
            OperationError: The variable is distributed, and this is not a replica's own component
                (difference D12 in docs/semantics.md).
        """
        variable = self._variable
        if variable is None:
            raise TypeError("only a slice that indexing a variable returned can be assigned")
        if variable.takes_slices:
            whole, part = np.array(variable.convert()), variable.operand(value)
            try:
                whole[self._key] = part
            except ValueError as error:
                raise ShapeError(
                    variable.label,
                    f"a value of shape {list(part.shape)} cannot be assigned to a slice of shape "
                    f"{list(self.shape)}",
                ) from error
            variable.assign(whole)
            return variable
        refused = OperationError(
            variable.label,
            "a slice of a distributed variable cannot be assigned: TensorFlow writes one "
            "component and skips the aggregation (difference D12 in docs/semantics.md)",
            variable.slice_remedy,
        )
        refused.location = user_location()
        raise refused
