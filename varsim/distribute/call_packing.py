"""Pack the function and the arguments of a call for the replicas."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from varsim.distribute import generators
from varsim.distribute.functions import Function
from varsim.distribute.naming import PROGRAM, new_id
from varsim.distribute.values import is_distributed, select_replica
from varsim.launch.link import Codec
from varsim.protocol.messages import Payload
from varsim.protocol.structure import function_id
from varsim.sync.call_site import CallSite


class PackedCall(NamedTuple):
    """A call that is ready to be sent."""

    function_id: str
    function: Payload
    arguments: list[Payload]  # one per replica that takes part
    warnings: list[str]  # one for each random generator of which several replicas get a copy


class CallPacker:
    """Packs the calls of one strategy. A `tf.function` is packed only once."""

    def __init__(self, num_replicas: int) -> None:
        self._num_replicas = num_replicas
        self._shipped: weakref.WeakKeyDictionary[Function, tuple[str, Payload, list[object]]] = (
            weakref.WeakKeyDictionary()
        )

    def packed(
        self,
        codec: Codec,
        fn: Callable[..., Any],
        arguments: tuple[tuple[Any, ...], dict[str, Any]],
        site: CallSite,
        present: int,
        wrapper: Callable[..., Any] | None = None,
    ) -> PackedCall:
        """Pack a function and its arguments.

        Args:
            fn: The program's function, which warnings are about.
            arguments: (args, kwargs), which may contain distributed values.
            present: The number of replicas that take part in the call.
            wrapper: What the replicas call instead of the function, if it is not None.
        """
        kinds = generators.kinds() if self._num_replicas > 1 else ()
        copied = PROGRAM.note(kinds)
        try:
            number, function = self._ship(codec, wrapper or fn)
            captured = list(copied)
            sent = arguments if any(arguments) else None
            packed, passed = self._pack_per_replica(codec, sent, copied, present)
        finally:
            PROGRAM.note(())
        return PackedCall(number, function, packed, list(_warnings(fn, site, captured, passed)))

    def _ship(self, codec: Codec, fn: Callable[..., Any]) -> tuple[str, Payload]:
        if isinstance(fn, Function):
            if fn not in self._shipped:
                with PROGRAM.recording() as used:
                    self._shipped[fn] = *_packed(codec, fn.python_function), used
            number, function, _ = self._shipped[fn]
            return number, function
        return _packed(codec, fn)

    def _pack_per_replica(
        self, codec: Codec, structure: Any, copied: list[object], present: int
    ) -> tuple[list[Payload], list[object]]:
        """Pack each replica's part of a structure; also return generators that several parts have.

        Packing adds the random generators of a part to `copied`.
        """
        before = len(copied)
        if not is_distributed(structure):
            payload = codec.pack(structure)
            return [payload] * present, copied[before:]
        packed, noted = [], [before]
        for i in range(present):
            packed.append(codec.pack(select_replica(structure, i, self._num_replicas)))
            noted.append(len(copied))
        return packed, generators.in_common([copied[i:j] for i, j in pairwise(noted)])


def _packed(codec: Codec, fn: Callable[..., Any]) -> tuple[str, Payload]:
    payload = codec.pack(fn)
    if callable(payload.tree):  # not packed, because replicas are in this process
        return f"live-{new_id()}", payload
    return function_id(payload), payload


def _warnings(
    fn: Callable[..., Any], site: CallSite, captured: list[object], passed: list[object]
) -> Iterator[str]:
    for one in (*captured, *passed):
        yield generators.copies(fn, site, one, captured=one in captured)
