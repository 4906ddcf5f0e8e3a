"""Send raised exceptions in a plain form: the receiver runs no code that the sender chose.

The form has the exception's class as a name and an id (see `classes`), its `args`, its attributes
and a digest of its text.
The receiver makes an object of this class with the constructor of the built-in exception from which
the class inherits. The receiver runs no `__reduce__`, `__setstate__`, `__new__` or `__init__` of
the class, and unpickles nothing. An exception is refused if its class does not exist, or if the new
object has another text. Then the program gets a `ReplicaError` with the traceback as text.

Besides the values that `structure` sends without a pickle, an exception can contain dtypes, paths,
other exceptions, and varsim's own enums and dataclasses.
"""

from __future__ import annotations

import builtins
import hashlib
import sys
from contextlib import suppress
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import MemberDescriptorType
from typing import Any, Final, Self

import numpy as np

from varsim.errors import ProtocolError, SizeError
from varsim.extension_dtypes import is_supported, key_of, named
from varsim.extent import is_writable
from varsim.protocol.classes import exception_class, identity_of
from varsim.protocol.messages import Payload
from varsim.protocol.packer import ITEM_BYTES, LargePacker, Packer
from varsim.protocol.references import References
from varsim.protocol.structure import MAX_TREE_BYTES, Unpacker
from varsim.protocol.tree import NoTreeError, Tag

_OURS: Final = "varsim."

_PYTHONS: Final = frozenset(
    cls
    for cls in vars(builtins).values()
    if isinstance(cls, type) and issubclass(cls, BaseException)
)

MAX_EXCEPTIONS: Final = 1_000
"""Largest number of exceptions in a payload: each reference to an exception adds a copy."""

_PATH: Final = type(Path())

_NOTES: Final = "__notes__"  # the attribute that `add_note` changes
_LEFT_OUT: Final = (
    "the attribute {name!r} of type {kind} is missing here, because it is too large or contains an "
    "object that cannot be sent"
)
_USUALLY_PLAIN: Final = (list, tuple, dict, np.ndarray)
"""Types of attributes that are sent, unless a limit or an item prevents it."""

_FIELDS: Final = ("name", "path", "name_from")
"""Fields of Python's own exceptions that are keyword arguments, and so are not in `args`."""


class ShownValue(str):
    """The text of a value that has no plain form; `repr` returns the text of the value's `repr`.

    So an exception with this argument has the same text as with the value itself, even if the text
    contains the `repr` of the argument, as for `KeyError`.
    """

    __slots__ = ("shown",)
    shown: str

    def __new__(cls, text: str, shown: str = "") -> Self:
        """Return the object for a value whose `str` is `text`, and whose `repr` is `shown`."""
        made = super().__new__(cls, text)
        made.shown = shown
        return made

    def __repr__(self) -> str:
        return self.shown


def pack(error: BaseException, references: References) -> Payload:
    """Return a raised exception as a payload that contains no pickle.

    An argument that has no plain form is replaced by a `ShownValue`. If the arguments are too large
    together, one `ShownValue` of the exception's text replaces them all. Other attributes that have
    no plain form are left out. If such an attribute is a container or an array, a note names it.

    Raises:
        TypeError: The exception has no plain form.
    """
    packer = _ExceptionPacker(references, MAX_TREE_BYTES)
    try:
        tree = packer.opaque(error, 0)
    except NoTreeError as reason:
        raise TypeError(f"this {type(error).__name__} has no plain form") from reason
    return Payload(tree, tuple(packer.arrays))


def unpack(payload: Payload, references: References) -> BaseException:
    """Return a new exception with the class, `args`, attributes and text of the packed exception.

    Raises:
        ProtocolError: The payload is malformed.
        LookupError: This process does not have the class, and cannot import it.
        ValueError: The new exception has another text.
        Exception: The class refuses its arguments.
    """
    if type(payload.tree) is not list or payload.tree[:1] != [Tag.EXCEPTION]:
        raise ProtocolError("a payload is not a raised exception")
    error = _ExceptionUnpacker(payload.arrays, references).value(payload.tree, 0)
    assert isinstance(error, BaseException)
    return error


class _ExceptionPacker(Packer):
    _exceptions_left = MAX_EXCEPTIONS

    def __init__(self, references: References, limit_bytes: int) -> None:
        super().__init__(references, limit_bytes)
        self._large = LargePacker(references, self)

    def opaque(self, value: Any, depth: int) -> Any:
        cls = type(value)
        if isinstance(value, BaseException):
            return self._exception(value, depth)
        if isinstance(value, np.dtype) and is_supported(value):
            return [Tag.DTYPE, key_of(value)]
        if cls is _PATH:
            return [Tag.PATH, self.tree(str(value), depth + 1)]
        if cls is ShownValue:
            return self._shown(value, depth)
        if not cls.__module__.startswith(_OURS):
            raise NoTreeError
        if isinstance(value, Enum):
            return [Tag.MEMBER, cls.__module__, cls.__qualname__, value.name]
        if not is_dataclass(value):
            raise NoTreeError
        values = [self.tree(getattr(value, field.name), depth + 1) for field in fields(value)]
        return [Tag.RECORD, cls.__module__, cls.__qualname__, *values]

    def _exception(self, error: BaseException, depth: int) -> Any:
        if not self._exceptions_left:
            raise NoTreeError
        self._exceptions_left -= 1
        cls = type(error)
        args = self._args(error, depth + 1)
        values = vars(error) | _values(error)
        notes = values.pop(_NOTES, [])
        state: list[Any] = []
        for name, value in values.items():
            tree = self._tree_if_plain(value, depth + 2)  # the dict of attributes is at depth + 1
            if tree is not None:
                state += (name, tree[0])
            elif type(value) in _USUALLY_PLAIN and type(notes) is list:
                notes = [*notes, _LEFT_OUT.format(name=name, kind=type(value).__name__)]
        if notes:
            tree = self._tree_if_plain(notes, depth + 2)
            state += () if tree is None else (_NOTES, tree[0])
        parts = identity_of(cls), _digest(error), args, [Tag.DICT, *state]
        return [Tag.EXCEPTION, cls.__module__, cls.__qualname__, *parts]

    def _args(self, error: BaseException, depth: int) -> Any:
        before = self.mark()
        args = _constructor_args(error)
        try:
            self._grow(len(args) * ITEM_BYTES)
            return [Tag.TUPLE, *[self._arg(arg, depth + 1) for arg in args]]
        except (NoTreeError, SizeError):
            self.return_to(before)
            tree = self._tree_if_plain(args, depth)
            text = _text(error) or ""
            return self.tree((ShownValue(text, text),), depth) if tree is None else tree[0]

    def _arg(self, arg: Any, depth: int) -> Any:
        tree = self._tree_if_plain(arg, depth)
        return self._shown(arg, depth) if tree is None else tree[0]

    def _shown(self, value: Any, depth: int) -> Any:
        texts = (object.__repr__(value),) * 2
        with suppress(BaseException):  # methods of a user's class can raise anything
            if is_writable(value):
                texts = str(value), repr(value)
        # `str` and `repr` can return an object of a subclass of str: make it a plain str.
        return [Tag.SHOWN, *[self.tree(str.__str__(text), depth + 1) for text in texts]]

    def _tree_if_plain(self, value: Any, depth: int) -> tuple[Any] | None:
        """Return a tuple with the tree of a value; None if the value has no plain form."""
        before = self.mark()
        for tree in (self.tree, self._large.large_tree):
            try:
                return (tree(value, depth),)
            except (NoTreeError, SizeError):
                self.return_to(before)
        return None


def _constructor_args(error: BaseException) -> tuple[Any, ...]:
    """Return the arguments for the constructor: `args`, and the files of an OSError."""
    if not isinstance(error, OSError) or len(error.args) != 2 or error.filename is None:
        return error.args
    if error.filename2 is None:
        return (*error.args, error.filename)
    return (*error.args, error.filename, None, error.filename2)


def _fields(cls: type[BaseException]) -> dict[str, Any]:
    """Return the descriptors of `_FIELDS`, and those of the slots of a user's class."""
    return {
        name: field
        for base in cls.__mro__
        for name, field in vars(base).items()
        if isinstance(field, MemberDescriptorType) and (base not in _PYTHONS or name in _FIELDS)
    }


def _values(error: BaseException) -> dict[str, Any]:
    values = {}
    for name, field in _fields(type(error)).items():
        with suppress(AttributeError):  # a slot can be empty
            values[name] = field.__get__(error)
    return values


def _digest(error: BaseException) -> bytes | None:
    """Return a digest of the text, which can be very long; None if there is no text."""
    text = _text(error)
    if text is None:
        return None
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _text(error: BaseException) -> str | None:
    if not is_writable(error):
        return None
    try:
        return str(error)
    except BaseException:  # the `__str__` of a user's class can raise anything, even SystemExit
        return None


class _ExceptionUnpacker(Unpacker):
    def opaque(self, tag: int, parts: list[Any], depth: int) -> Any:
        match tag, parts:
            case Tag.DTYPE, [str(key)]:
                return named(key)
            case Tag.PATH, [tree]:
                return Path(str(self.value(tree, depth + 1)))
            case Tag.MEMBER, [str(module), str(name), str(member)]:
                cls = _our_class(module, name)
                if issubclass(cls, Enum) and member in cls.__members__:
                    return cls[member]
            case Tag.RECORD, [str(module), str(name), *trees]:
                cls = _our_class(module, name)
                if is_dataclass(cls) and len(fields(cls)) == len(trees):
                    return _record(cls, [self.value(tree, depth + 1) for tree in trees])
            case Tag.SHOWN, [*trees] if len(trees) == 2:
                return ShownValue(*[str(self.value(tree, depth + 1)) for tree in trees])
            case Tag.EXCEPTION, [str(module), str(name), identity, digest, *trees]:
                values = [self.value(tree, depth + 1) for tree in trees]
                match identity, values:
                    case str() | bool(), [tuple() as args, dict() as state]:
                        cls = exception_class(module, name, identity)
                        return _rebuilt(cls, args, state, digest)
        raise ProtocolError("a raised exception is malformed, or contains a pickle")


def _our_class(module: str, name: str) -> type:
    """Return a class of varsim that is not an exception."""
    found = vars(sys.modules[module]).get(name) if module.startswith(_OURS) else None
    if not isinstance(found, type):
        raise ProtocolError(f"varsim has no class {module}.{name}")
    return found


def _record(cls: type, values: list[Any]) -> Any:
    made: Any = object.__new__(cls)
    for field, value in zip(fields(cls), values, strict=True):
        object.__setattr__(made, field.name, value)
    return made


def _rebuilt(
    cls: type[BaseException], args: tuple[Any, ...], state: dict[str, Any], digest: bytes | None
) -> BaseException:
    base: Any = cls
    while base not in _PYTHONS:
        base = base.__base__
    error: BaseException = base.__new__(cls, *args)
    pythons = [vars(one) for one in cls.__mro__ if one in _PYTHONS]
    next(one["__init__"] for one in pythons if "__init__" in one)(error, *args)
    for name, field in _fields(cls).items():
        if name in state:
            field.__set__(error, state.pop(name))
    error.__dict__.update(state)
    if digest is not None and digest != _digest(error):
        raise ValueError(f"{cls.__qualname__} would have another text here")
    return error
