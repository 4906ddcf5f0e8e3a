"""The messages of policies: results of exchanges, and what is kept beside components."""

from __future__ import annotations

from varsim.protocol.parts import Message
from varsim.spec import Array
from varsim.value_class import value_class


@value_class(kw_only=True, eq=False)
class FetchPolicyState(Message):
    """Coordinator → replica: send what the policy keeps beside your component of a variable.

    The answer is a `ShownPolicyState`.
    """

    request_id: int
    variable_id: int


@value_class(kw_only=True, eq=False)
class ShownPolicyState(Message):
    """Replica → coordinator: what the policy keeps beside this replica's component.

    It answers a `FetchPolicyState`.
    """

    request_id: int
    variable_id: int
    names: tuple[str, ...]  # sorted, without duplicates
    arrays: tuple[Array, ...]  # one array for each name


@value_class(kw_only=True, eq=False)
class SetPolicyState(Message):
    """Coordinator → replica: replace what the policy keeps beside your component of a variable.

    A second delivery changes nothing.
    """

    variable_id: int
    names: tuple[str, ...]  # sorted, without duplicates
    arrays: tuple[Array, ...]  # one array for each name


@value_class(kw_only=True, eq=False)
class ComponentCommit(Message):
    """Coordinator → replica: your component of a variable, as the policy has computed it.

    In an exchange every replica gets such a message with the same version, and each with a value of
    its own. The variable does not change if the replica already has this version or a later one.
    """

    call_id: int  # the call to which the merge belongs
    settled: int  # see `Commit`
    variable_id: int
    replica_id: int  # the receiver, whose component it is
    version: int  # counts the variable's commits from 1
    value: Array  # shape and dtype of the variable
