"""Pickle objects that have no other encoding. Variables and strategies are pickled as names."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from operator import attrgetter
from types import BuiltinFunctionType, CodeType, FunctionType
from typing import Any, Final

import cloudpickle

from varsim.errors import VarsimError
from varsim.protocol import classes
from varsim.protocol.limits import check_nesting
from varsim.protocol.references import Name, References
from varsim.spec import Array

_PROTOCOL: Final = 5  # the first protocol that keeps buffers outside the pickle
MAX_BUFFERS: Final = 2**12
"""Largest number of buffers outside a pickle, because each of them takes space in a header."""
_PLAIN: Final = (type(None), bool, int, float, str, bytes, tuple, list, dict)
_NEVER_NAMED: Final = frozenset((*_PLAIN, FunctionType, BuiltinFunctionType, CodeType))

_CODE_FIELDS: Final = (
    "co_argcount co_posonlyargcount co_kwonlyargcount co_nlocals co_stacksize co_flags co_code "
    "co_consts co_names co_varnames co_filename co_name co_qualname co_firstlineno co_linetable "
    "co_exceptiontable co_freevars co_cellvars"
).split()
"""All arguments of `CodeType.replace`; together they define a code object completely."""

_fields_of: Final = attrgetter(*_CODE_FIELDS)
_ANY_CODE: Final = (lambda: None).__code__


def dumps(value: object, references: References) -> tuple[bytes, list[memoryview]]:
    """Return a pickle of an object, and the buffers (such as arrays) that are outside the pickle.

    At most `MAX_BUFFERS` buffers are outside the pickle.

    Raises:
        TypeError: The object contains something that cannot be pickled.
        SizeError: Lists, tuples or dicts are nested too deeply.
    """
    stream = io.BytesIO()
    buffers: list[pickle.PickleBuffer] = []
    try:
        _Pickler(stream, references, buffers).dump(value)
    except VarsimError:
        raise
    except (pickle.PicklingError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        check_nesting(value)  # its error is clearer than Python's error about recursion
        kind = type(value).__name__
        raise TypeError(f"this {kind} cannot be sent to another process: {error}") from error
    return stream.getvalue(), [buffer.raw() for buffer in buffers]


def loads(pickled: bytes, buffers: Sequence[Array], references: References) -> Any:
    """Return the pickled object. Its arrays use the memory of `buffers`."""
    return _Unpickler(io.BytesIO(pickled), references, buffers).load()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no annotations
    def __init__(
        self, stream: io.BytesIO, references: References, buffers: list[pickle.PickleBuffer]
    ) -> None:
        def keeps(buffer: pickle.PickleBuffer) -> bool:
            if len(buffers) == MAX_BUFFERS:
                return True
            buffers.append(buffer)
            return False

        super().__init__(stream, protocol=_PROTOCOL, buffer_callback=keeps)
        self._references = references

    def persistent_id(self, value: object) -> Name | None:
        return None if type(value) in _NEVER_NAMED else self._references.name_of(value)

    def reducer_override(self, value: object) -> Any:
        """Return the reduced form of a value; for a code object, all its fields.

        varsim needs the field `co_filename` to show file:line of a function, and cloudpickle does
        not promise to keep it. A class keeps its `__qualname__`, which cloudpickle does not keep.
        A class also gets an id, so that an exception from a replica is of the program's own class.
        """
        if isinstance(value, CodeType):
            return _code, _fields_of(value)
        reduced = super().reducer_override(value)
        if isinstance(value, type):
            match reduced:
                case (make, args, (dict() as attributes, _), *rest):
                    attributes["__qualname__"] = value.__qualname__
                    return classes.received, (classes.id_of(value), make, *args), reduced[2], *rest
        return reduced


def _code(*fields: Any) -> CodeType:
    return _ANY_CODE.replace(**dict(zip(_CODE_FIELDS, fields, strict=True)))


class _Unpickler(pickle.Unpickler):
    def __init__(
        self, stream: io.BytesIO, references: References, buffers: Sequence[Array]
    ) -> None:
        super().__init__(stream, buffers=buffers)
        self._references = references

    def persistent_load(self, name: Name) -> object:
        return self._references.find(name)
