"""The messages of one-sided operations: the coordinator answers them without any other replica."""

from __future__ import annotations

from varsim.protocol.parts import Message
from varsim.spec import Array
from varsim.value_class import value_class


@value_class(kw_only=True, eq=False)
class Publish(Message):
    """Replica → coordinator: store this component for later fetches of any process.

    It replaces the replica's last published component. It also takes effect after its call has
    failed.
    """

    call_id: int
    variable_id: int
    value: Array  # shape and dtype of the component
    location: str


@value_class(kw_only=True, eq=False)
class Push(Message):
    """Replica → coordinator: add this delta to the authoritative copy of a variable.

    It also takes effect after its call has failed.
    """

    call_id: int
    variable_id: int
    delta: Array  # shape and dtype of the variable
    location: str


@value_class(kw_only=True, eq=False)
class FetchPublished(Message):
    """Replica → coordinator: send the last published component of a replica.

    The answer is a `SharedValue`.
    """

    call_id: int
    variable_id: int
    replica_id: int  # the owner of the component
    location: str


@value_class(kw_only=True, eq=False)
class Pull(Message):
    """Replica → coordinator: send the authoritative copy of a variable.

    The answer is a `SharedValue`.
    """

    call_id: int
    variable_id: int
    location: str


@value_class(kw_only=True, eq=False)
class SharedValue(Message):
    """Coordinator → replica: a published component, or the authoritative copy.

    The answer to a `FetchPublished` or a `Pull`.
    """

    call_id: int
    variable_id: int
    version: int  # how often the component was published, or the number of applied pushes
    age_ns: int  # time since the publication or the last push; since the creation for version 0
    value: Array
