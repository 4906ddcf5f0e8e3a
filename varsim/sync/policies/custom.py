"""Policies that TensorFlow does not have: what such a policy provides, and which are known.

A policy is a frozen dataclass whose fields are its parameters. Its class is found by its keyword:
among those of varsim, or in the entry-point group `varsim.policies` of installed packages. A class
of the program itself works too: it travels to the workers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import ClassVar, Final, Self

from varsim.spec import CustomSynchronization, VariableAggregation
from varsim.sync.policies.policy import Become, Rows


class CustomPolicy(ABC):
    """A synchronization policy beside TensorFlow's four.

    Subclass it as a frozen dataclass, give it a keyword, and use an object of it as the
    `synchronization` of a variable.
    """

    keyword: ClassVar[str]
    """The first word of its name: small letters, digits and underscores."""

    is_mirrored: ClassVar[bool] = False
    is_trainable: ClassVar[bool] = True

    summary: ClassVar[str] = ""
    """What it does, in a sentence, for `varsim explain`."""

    example: ClassVar[str] = ""
    """A name with parameters, for documents and errors."""

    aggregations: ClassVar[Mapping[VariableAggregation, VariableAggregation]] = {
        aggregation: aggregation for aggregation in VariableAggregation
    }
    """The aggregation in force, by the one that the program asks for; others are refused."""

    @property
    @abstractmethod
    def rows(self) -> Rows:
        """Return its rows of the policy table; `varsim.sync.policies.policy.rows` makes them."""

    @property
    def name(self) -> str:
        """Return the keyword and the parameters, as in local_sgd:8."""
        assert is_dataclass(self), "a policy is a dataclass"
        return ":".join([self.keyword, *(str(getattr(self, one.name)) for one in fields(self))])

    @property
    def becomes(self) -> Become:
        """Return itself: it stays what it is when a variable is created."""
        return Become(CustomSynchronization(self.name), aggregations=self.aggregations)

    @classmethod
    def parse(cls, parameters: list[str]) -> Self:
        """Return the policy with these parameters; by default all of them are integers.

        Raises:
            ValueError: They are not.
        """
        return cls(*map(int, parameters))


_KNOWN: Final[dict[str, CustomPolicy]] = {}


def register(policy: CustomPolicy) -> None:
    """Let variables of this process have the policy."""
    _KNOWN[policy.name] = policy


def known(synchronization: CustomSynchronization) -> CustomPolicy | None:
    """Return the policy of a synchronization; None if it was not registered in this process."""
    return _KNOWN.get(synchronization.name)
