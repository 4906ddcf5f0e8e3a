"""The integrity of a history: whether its rows are valid."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

import numpy as np

from varsim.analysis import arithmetic, sparse
from varsim.analysis.combination import arguments_in
from varsim.analysis.promises import Promise, promise_of
from varsim.analysis.sampled import statistics_of
from varsim.errors import HistoryError
from varsim.extension_dtypes import named
from varsim.protocol.parts import CombineKind
from varsim.spec import ReduceOp
from varsim.texts.files import JUDGE
from varsim.tracing.history import KINDS, PROGRAM, Event, History
from varsim.tracing.kinds import OWN
from varsim.tracing.notices import NOTICES
from varsim.tracing.samples import MOST_ELEMENTS

_WRITES: Final = frozenset({None, "assign", "assign_add", "assign_sub"}) | sparse.OPERATIONS
_OPERATIONS: Final[Mapping[str, frozenset[str | None]]] = {
    "arrive": frozenset(
        {"merge_call", "cross_replica", "host_call", "join", *(kind.value for kind in CombineKind)}
    ),
    "read": frozenset({None, OWN}),
    "request": frozenset({"lock", "read_lock", "barrier", "send", "recv"}),
    "answer": frozenset(
        {"reduced", "merged", "joined", "host_result", "shared", "granted", "passed", "copy"}
    ),
    "take": frozenset({"run", "reduce", "gather"}),
    "sync": frozenset({"broadcast", *(f"sync_{op.value.lower()}" for op in ReduceOp)}),
    "ask": frozenset({"pull", "fetch", "copy"}),
    "advance": frozenset({"assign_add", "assign_sub"}),
    "renew": frozenset({None}),
    "obtain": frozenset({"pull", "fetch"}),
    "notice": frozenset(NOTICES),
}
"""The valid operations of each kind of event that is not a write."""

_OFTEN: Final = 4096
"""Largest number of value forms in the cache. A form is a variable, a dtype and a shape."""

_MANY: Final = 2**15
"""Largest number of row forms in the cache. A form is the part that valid rows often share."""

_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "create": ("variable", "version"),
    "forget": ("variable",),
    "call": ("call",),
    "begin": ("call", "cause"),
    "write": ("variable", "operation"),
    "compress": ("variable", "operation"),
    "commit": ("variable", "operation", "version"),
    "install": ("variable", "version", "cause"),
    "read": ("variable", "version"),
    "component": ("variable", "version"),
    "fetch": ("variable", "replica"),
    "wait": ("variable",),
    "arrive": ("operation",),
    "request": ("call", "operation", "note"),
    "release": ("call", "note"),
    "answer": ("operation",),
    "give": ("call", "position", "note", "dtype", "shape"),
    "result": ("call", "position", "replica", "dtype", "shape"),
    "receive": ("replica",),
    "take": ("operation", "note", "dtype", "shape"),
    "sync": ("variable", "operation"),
    "publish": ("variable",),
    "push": ("variable",),
    "ask": ("variable", "operation"),
    "advance": ("call", "variable", "operation", "version"),
    "renew": ("call", "variable", "version", "cause"),
    "carry": ("variable", "version"),
    "state": ("variable", "replica", "note"),
    "obtain": ("variable", "operation", "version"),
    "notice": ("operation", "note"),
    "abort": ("call",),
    "finish": ("call",),
}
"""The columns that an event of a kind must have."""

_OF_GROUPS: Final = frozenset({"sync", "arrive", "give", "answer", "result", "request"})
"""The kinds of events that can have a process group."""

_BY_PROGRAM: Final = frozenset(
    "create forget call commit fetch answer result receive carry state abort finish "
    "lost take".split()
)
_BY_REPLICA: Final = frozenset(
    "begin compress install component wait arrive give request release publish ask advance renew "
    "return raise".split()
)


_OF_OTHERS: Final = frozenset({"sync", "ask", "obtain"})
"""The kinds in which `replica` can be another replica than the process."""


class RowIntegrity:
    """Checks single rows of `events`."""

    def __init__(self, num_replicas: int, promises: Mapping[int, Promise]) -> None:
        self._num_replicas = num_replicas
        self._promises = promises
        self._sizes: dict[tuple[int, Any, Any], int] = {}  # value form → size in bytes
        self._sound: dict[tuple[Any, ...], int] = {}
        """Form of a valid row → size of its value; -1 if the size is unknown."""
        needed = {kind: ("process", "kind", *_NEEDS.get(kind, ())) for kind in KINDS}
        self._needs = {
            kind: (names, itemgetter(*map(Event._fields.index, names)))
            for kind, names in needed.items()
        }

    def flaw(self, event: Event) -> str | None:
        """Return what is wrong with a row; None if it is valid."""
        # This runs for every event. So all columns are unpacked in one statement. If an earlier
        # valid row had the same form, only the remaining columns are checked.
        (number, process, in_process, _, kind, call, variable, operation, version, position,
         replica, _, dtype, shape, digest, value, indices, cause, times, _, _,
         present, members, elements, statistics, ordinals) = event  # fmt: skip
        form = (process, kind, variable, operation, replica, dtype, shape,
                call is None, version is None, cause is None)  # fmt: skip
        size = self._sound.get(form)
        if (
            size is not None
            and indices is None
            and elements is None
            and statistics is None
            and ordinals is None
            and present is None
            and members is None
            and type(number) is type(process) is type(in_process) is int
            and (replica is None or type(replica) is int)
            and (call is None or (type(call) is int and call >= 0))
            and (version is None or (type(version) is int and version >= 0))
            and (position is None or (type(position) is int and position >= 0))
            and (cause is None or (type(cause) is int and 0 <= cause < number))
            and (digest is None or (type(digest) is int and digest >= 0))
            and (times is None or (type(times) is int and times > 0))
            and (
                value is None
                or (
                    type(value) is bytes
                    and len(value) == size
                    and (digest is None or digest == zlib.crc32(value))
                )
            )
        ):
            return None
        flaw = self._flaw(event) or _sample_flaw(event)
        if flaw is None and indices is None and len(self._sound) < _MANY:
            self._sound[form] = -1 if value is None else len(value)
        return flaw

    def _flaw(self, event: Event) -> str | None:
        """Return what is wrong with a row, after checking it column by column."""
        (number, process, in_process, _, kind, call, variable, operation, version, position,
         replica, _, dtype, shape, digest, value, indices, cause, times, _, _,
         present, members, _, _, _) = event  # fmt: skip
        if type(number) is not int or type(process) is not int or type(in_process) is not int:
            return "its numbers are not integers"
        if not PROGRAM <= process < self._num_replicas:
            return f"unknown process {process}"
        needs = self._needs.get(kind) if type(kind) is str else None
        if needs is None:
            return f"unknown kind {kind!r}"
        names, needed = needs
        if None in (found := needed(event)):
            return f"a {kind} needs {names[found.index(None)]}"
        if kind in (_BY_REPLICA if process == PROGRAM else _BY_PROGRAM):
            return f"process {process} cannot {kind}"
        if times is not None and (type(times) is not int or times < 1):
            return f"it happened {times!r} times"
        for count in (call, version, position, cause, digest):
            if count is not None and (type(count) is not int or count < 0):
                return f"{count!r} is not a valid number: expected an integer from 0"
        if replica is not None:
            if type(replica) is not int or not 0 <= replica < self._num_replicas:
                return f"unknown replica {replica!r}"
            if process not in (PROGRAM, replica) and kind not in _OF_OTHERS:
                return f"process {process} does not hold the component of replica {replica}"
        if operation not in _OPERATIONS.get(kind, _WRITES):
            return f"unknown operation {operation!r}"
        if present is not None and (kind != "call" or not self._can_be_present(present)):
            return f"{present!r} is not a valid number of replicas that take part in a {kind} event"
        if members is not None and not self._is_group(kind, process, members):
            return f"{members!r} is not a valid group of a collective of process {process}"
        if variable is not None and variable not in self._promises:
            return f"unknown variable {variable!r}"
        if cause is not None and cause >= number:
            return "its cause has a larger number"
        if kind in _OUTSIDE_VARIABLES or (kind == "notice" and dtype is not None):
            return self._wrong_array(event)
        if indices is not None or (value is not None and operation in sparse.OPERATIONS):
            return self._wrong_rows(event)
        if value is None:
            return None if shape is None else self._wrong_form(event)
        return self._wrong_value(variable, dtype, shape, digest, value)

    def _can_be_present(self, present: object) -> bool:
        return type(present) is int and 1 <= present <= self._num_replicas

    def _is_group(self, kind: str, process: int, members: object) -> bool:
        """Return whether the text lists some replicas in order, including that of the event."""
        if kind not in _OF_GROUPS or type(members) is not str:
            return False
        try:
            ids = json.loads(members)
        except ValueError:
            return False
        return (
            type(ids) is list
            and all(type(one) is int and 0 <= one < self._num_replicas for one in ids)
            and 0 < len(ids) < self._num_replicas
            and ids == sorted(set(ids))
            and process in (PROGRAM, *ids)
        )

    def _wrong_array(self, event: Event) -> str | None:
        """Return what is wrong with an array outside variables."""
        value, indices, dtype, shape = event.value, event.indices, event.dtype, event.shape
        operation = None if event.kind in {"take", "notice"} else event.operation
        if event.variable is not None or indices is not None or operation is not None:
            return "an array outside variables has a variable, an operation or indices"
        try:
            size = _size_of(named(str(dtype)), json.loads(str(shape)), dtype, shape)
        except (TypeError, ValueError):
            return "its array has no valid dtype and shape"
        if value is not None and (type(value) is not bytes or len(value) != size):
            return "its array does not fit its dtype and shape"
        if None not in (value, event.digest) and event.digest != zlib.crc32(bytes(value or b"")):
            return "its digest is not that of its array"
        if event.kind == "give" and arguments_in(event.note) is None:
            return f"{event.note!r} are not the arguments of a collective"
        return None

    def _wrong_form(self, event: Event) -> str | None:
        """Return what is wrong with the dtype and shape of a value that was not recorded."""
        if event.variable is None:
            return "its value belongs to no variable"
        promise = self._promises[event.variable]
        declared: Sequence[int | None] = promise.shape
        if event.operation in sparse.OPERATIONS and event.kind in _HAVE_ROWS:
            declared = (None, *declared[1:])
        if _size_of(promise.dtype, declared, event.dtype, event.shape) < 0:
            return "its value does not fit its variable"
        return None

    def _wrong_value(
        self, variable: int | None, dtype: Any, shape: Any, digest: int | None, value: Any
    ) -> str | None:
        if type(value) is not bytes or variable is None:
            return "its value belongs to no variable"
        form = variable, dtype, shape
        size = self._sizes.get(form)  # damaged columns are not in the cache
        if size is None:
            promise = self._promises[variable]
            size = _size_of(promise.dtype, promise.shape, dtype, shape)
            if len(self._sizes) < _OFTEN and size >= 0:
                self._sizes[form] = size
        if size != len(value):
            return "its value does not fit its variable"
        if digest is not None and digest != zlib.crc32(value):
            return "its digest is not that of its value"
        return None

    def _wrong_rows(self, event: Event) -> str | None:
        """Return what is wrong with the rows of a sparse write; None if they are valid."""
        indices, value, number = event.indices, event.value, event.variable
        if event.kind not in _HAVE_ROWS or event.operation not in sparse.OPERATIONS:
            return "it has rows, and is not a sparse write"
        if type(value) is not bytes or type(indices) is not bytes or number is None:
            return "its rows have no values, no indices or no variable"
        promise = self._promises[number]
        if not promise.shape or len(indices) % sparse.INDEX.itemsize:
            return "its rows do not fit its variable"
        where = np.frombuffer(indices, sparse.INDEX) if indices else np.empty(0, sparse.INDEX)
        rows = (len(where), *promise.shape[1:])
        if _size_of(promise.dtype, rows, event.dtype, event.shape) != len(value):
            return "its rows do not fit its variable"
        count = promise.shape[0]
        if len(where) and (where.min() < 0 or (count is not None and where.max() >= count)):
            return "it changes rows that its variable does not have"
        if event.digest is not None and event.digest != arithmetic.crc_of(value, indices):
            return "its digest is not that of its rows"
        return None


def _sample_flaw(event: Event) -> str | None:
    """Return what is wrong with the columns of a sample; None if they are valid."""
    elements, statistics, ordinals = event.elements, event.statistics, event.ordinals
    if elements is None and statistics is None and ordinals is None:
        return None
    if type(elements) is not bytes or event.value is not None or event.digest is None:
        return "its sample has no elements or no digest, or its value was recorded"
    try:
        count = math.prod(json.loads(str(event.shape)))
        size = named(str(event.dtype)).itemsize
        for one in statistics_of(event) or ():
            if one is not None and type(one) not in {int, float}:
                raise TypeError(one)
    except (TypeError, ValueError, AttributeError):
        return "its sample has no valid dtype, shape or statistics"
    if ordinals is None:
        expected = min(count, MOST_ELEMENTS) * size
    else:
        expected = len(ordinals) // sparse.INDEX.itemsize * size if type(ordinals) is bytes else -1
    return None if len(elements) == expected else "its sample has a wrong number of elements"


_OUTSIDE_VARIABLES: Final = frozenset({"give", "result", "take"})
_HAVE_ROWS: Final = frozenset({"write", "commit"})


def _size_of(
    dtype: np.dtype[Any], declared: Sequence[int | None], recorded: Any, shape: Any
) -> int:
    """Return the size of a value in bytes; -1 if its columns do not fit the declaration."""
    try:
        sizes = json.loads(shape)
        if named(recorded) != dtype or len(sizes) != len(declared):
            return -1
    except (TypeError, ValueError):
        return -1
    for size, expected in zip(sizes, declared, strict=True):
        if type(size) is not int or size < 0 or expected not in {None, size}:
            return -1
    return int(math.prod(sizes)) * dtype.itemsize


def valid_events(
    history: History,
    promises: Mapping[int, Promise] | None = None,
    where: str = "1",
    parameters: Iterable[Any] = (),
) -> Iterator[Event]:
    """Yield the events that satisfy an SQL condition; raise an error at an invalid row.

    Args:
        promises: The promises of the variables of these events. None means the promises of all
            variables of the history.
    Raises:
        HistoryError: A row is invalid.
        ConfigError: The row of a variable is invalid.
    """
    if promises is None:
        promises = {n: promise_of(row) for n, row in history.variables.items()}
    rows = RowIntegrity(history.num_replicas, promises)
    for event in history.events(where, parameters):
        flaw = rows.flaw(event)
        if flaw is not None:
            raise HistoryError(history.path, f"event {event.event} is invalid: {flaw}", JUDGE)
        yield event
