"""Define the base class of policies that TensorFlow does not have, and register such policies.

A policy is a frozen dataclass; the fields are its parameters. The class is found by its keyword in
varsim, or in the entry-point group `varsim.policies` of installed packages. A program can also
define the class itself: the class is then sent to the workers.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, ClassVar, Final, Self

import numpy as np

from varsim.spec import CustomSynchronization, Shape, VariableAggregation
from varsim.sync.policies.manual import BY_POLICY, ManualRow
from varsim.sync.policies.policy import Become, Rows
from varsim.sync.policies.state import StateRule
from varsim.texts.facts import times
from varsim.texts.modes import are_missing


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

    form_of_name: ClassVar[str] = ""
    """The name with a word in capitals for each parameter, as in local_sgd:K; by default the
    keyword and the names of the fields."""

    meaning_of_parameters: ClassVar[str] = ""
    """What these words stand for, as a clause for errors: "K is a positive integer"."""

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
            TypeError: There are too few or too many parameters.
        """
        words = _words_of(cls)
        for word, text in zip(words, parameters, strict=False):
            if not _INTEGER.fullmatch(text):
                raise ValueError(f"{word} is {text!r}, which is not an integer")
        return cls(*map(int, parameters))


_INTEGER: Final = re.compile("[+-]?[0-9]+")


def form_of(kind: type[CustomPolicy]) -> str:
    """Return the form of a policy's name, as in local_sgd:K."""
    if kind.form_of_name:
        return kind.form_of_name
    return ":".join([kind.keyword, *(one.name.upper() for one in _fields_of(kind))])


def how_to_write(kind: type[CustomPolicy]) -> str:
    """Return, for errors, the form of a policy's name, its parameters, and an example."""
    said = f"Write {form_of(kind)}"
    if kind.meaning_of_parameters:
        said += f", where {kind.meaning_of_parameters}"
    return f"{said}; for example {kind.example}" if ":" in kind.example else said


def problem_of(kind: type[CustomPolicy], parameters: list[str], error: Exception) -> str:
    """Return what is wrong with the parameters that `parse` has refused.

    Args:
        error: The error of `parse`. Its text is used if the number of parameters is right.
    """
    words = _words_of(kind)
    has_default = [
        one.default is not MISSING or one.default_factory is not MISSING for one in _fields_of(kind)
    ]
    needed = len(words) - sum(has_default)
    absent = [*words[len(parameters) : needed]]
    empty = [word for word, text in zip(words, parameters, strict=False) if not text]
    if empty or absent:
        return are_missing([*empty, *absent])
    if len(parameters) > len(words):
        return f"{times(len(parameters), 'parameter')} instead of {len(words) or 'none'}"
    return str(error)


def _fields_of(kind: Any) -> tuple[Field[Any], ...]:
    """Return the fields of a policy; none if it is not a dataclass."""
    return fields(kind) if is_dataclass(kind) else ()


def _words_of(kind: type[CustomPolicy]) -> list[str]:
    """Return the words that stand for the parameters in the form of a policy's name."""
    return form_of(kind).split(":")[1:]


_KNOWN: Final[dict[str, CustomPolicy]] = {}


def register(policy: CustomPolicy) -> None:
    """Register the policy for variables of this process."""
    _KNOWN[policy.name] = policy


def known(synchronization: CustomSynchronization) -> CustomPolicy | None:
    """Return the policy of a synchronization; None if it is not registered in this process."""
    return _KNOWN.get(synchronization.name)
