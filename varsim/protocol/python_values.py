"""Convert Python values and raised exceptions to payloads, and back."""

from __future__ import annotations

from typing import Any

from varsim.protocol import exceptions, structure
from varsim.protocol.messages import Payload
from varsim.protocol.references import References


class StructureCodec:
    """Packs and unpacks values. Variables and strategies are sent as names."""

    def __init__(self, references: References) -> None:
        self._references = references

    def pack(self, value: Any) -> Payload:
        """Return a structure of Python values as a payload."""
        return structure.pack(value, self._references)

    def unpack(self, payload: Payload) -> Any:
        """Return the structure that the other end packed."""
        return structure.unpack(payload, self._references)

    def pack_exception(self, error: BaseException) -> Payload:
        """Return a raised exception as a payload without a pickle."""
        return exceptions.pack(error, self._references)

    def unpack_exception(self, payload: Payload) -> BaseException:
        """Return the exception that the other end packed; see `exceptions.unpack`."""
        return exceptions.unpack(payload, self._references)


class LiveCodec:
    """Passes values unchanged, for replicas in the program's own process."""

    def pack(self, value: Any) -> Payload:
        """Return the value itself in a payload."""
        return Payload(value)

    def unpack(self, payload: Payload) -> Any:
        """Return the value itself."""
        return payload.tree

    pack_exception = pack
    unpack_exception = unpack
