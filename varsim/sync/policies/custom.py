"""Define the base class of policies that TensorFlow does not have, and register such policies.

A policy is a frozen dataclass; the fields are its parameters. The class is found by its keyword in
varsim, or in the entry-point group `varsim.policies` of installed packages. A program can also
define the class itself: the class is then sent to the workers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import ClassVar, Final, Self

import numpy as np

from varsim.spec import CustomSynchronization, Shape, VariableAggregation
from varsim.sync.policies.manual import BY_POLICY, ManualRow
from varsim.sync.policies.policy import Become, Rows
from varsim.sync.policies.state import StateRule


class CustomPolicy(ABC):
    """A synchronization policy in addition to TensorFlow's four.

    Make a subclass that is a frozen dataclass, and give it a keyword. Use an object of the subclass
    as the `synchronization` of a variable.
    """

    keyword: ClassVar[str]
    """The first part of the policy's name: lower-case letters, digits and underscores."""

    is_mirrored: ClassVar[bool] = False
    is_trainable: ClassVar[bool] = True
    has_one_copy: ClassVar[bool] = False
    keeps_copy: ClassVar[bool] = False

    manual: ClassVar[ManualRow] = BY_POLICY
    """The manual operations that the policy allows; by default none, because the policy itself
    decides when components are exchanged."""

    summary: ClassVar[str] = ""
    """The effect of the policy in one sentence, for `varsim explain`."""

    example: ClassVar[str] = ""
    """The name of the policy with example parameters, for documents and errors."""

    aggregations: ClassVar[Mapping[VariableAggregation, VariableAggregation]] = {
        aggregation: aggregation for aggregation in VariableAggregation
    }
    """Requested aggregation → aggregation that applies. Missing aggregations are refused."""

    @property
    @abstractmethod
    def rows(self) -> Rows:
        """Return the policy's rows of the table, made with `varsim.sync.policies.policy.rows`."""

    @property
    def state(self) -> StateRule | None:
        """Return the rules for what the policy keeps beside a component.

        By default None: the cells of the policy do not use `policy_state`.
        """
        return None

    @property
    def name(self) -> str:
        """Return the keyword and the parameters, for example local_sgd:8."""
        assert is_dataclass(self), "a policy is a dataclass"
        return ":".join([self.keyword, *(str(getattr(self, one.name)) for one in fields(self))])

    @property
    def becomes(self) -> Become:
        """Return settings that keep this synchronization when a variable is created."""
        return Become(CustomSynchronization(self.name), aggregations=self.aggregations)

    def check(self, name: str, shape: Shape, dtype: np.dtype[np.generic]) -> None:  # noqa: B027
        """Refuse a new variable that cannot have this policy; by default none.

        Raises:
            VariableError: The policy does not support the shape or the dtype.
        """

    @classmethod
    def parse(cls, parameters: list[str]) -> Self:
        """Return the policy with these parameters. By default, all parameters must be integers.

        Raises:
            ValueError: A parameter is not an integer.
        """
        return cls(*map(int, parameters))


_KNOWN: Final[dict[str, CustomPolicy]] = {}


def register(policy: CustomPolicy) -> None:
    """Register the policy for variables of this process."""
    _KNOWN[policy.name] = policy


def known(synchronization: CustomSynchronization) -> CustomPolicy | None:
    """Return the policy of a synchronization; None if it is not registered in this process."""
    return _KNOWN.get(synchronization.name)
