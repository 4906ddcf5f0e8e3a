"""The messages for what a policy keeps beside a component, such as a count of writes."""

from __future__ import annotations

from dataclasses import dataclass

from varsim.protocol.parts import Message
from varsim.spec import Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FetchPolicyState(Message):
    """Coordinator → replica: send what the policy keeps beside your component of a variable.

    The answer is a `ShownPolicyState`.
    """

    request_id: int
    variable_id: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShownPolicyState(Message):
    """Replica → coordinator: what the policy keeps beside this replica's component.

    It answers a `FetchPolicyState`.
    """

    request_id: int
    variable_id: int
    names: tuple[str, ...]  # sorted, without duplicates
    arrays: tuple[Array, ...]  # one array for each name


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SetPolicyState(Message):
    """Coordinator → replica: replace what the policy keeps beside your component of a variable.

    A second delivery changes nothing.
    """

    variable_id: int
    names: tuple[str, ...]  # sorted, without duplicates
    arrays: tuple[Array, ...]  # one array for each name
