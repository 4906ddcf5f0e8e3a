"""A value class behaves as a frozen dataclass with slots, except that fields can be assigned."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from varsim.value_class import value_class


@dataclass(frozen=True, slots=True)
class Frozen:
    """What a value class is compared with."""

    x: int
    name: str = "n"
    seen: list[int] = field(default_factory=list, compare=False)
    hidden: int = field(default=0, repr=False)


@value_class
class Value:
    """The same fields as `Frozen`."""

    x: int
    name: str = "n"
    seen: list[int] = field(default_factory=list, compare=False)
    hidden: int = field(default=0, repr=False)


@value_class(kw_only=True, eq=False)
class Distinct:
    """Objects of this class equal only themselves."""

    x: int


@value_class
class Own:
    """It has methods that a value class otherwise shares."""

    x: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own)

    def __hash__(self) -> int:
        return 7

    def __repr__(self) -> str:
        return "own"


@value_class
class Inner(Value):
    """A value class below another one."""

    inner: Any = None


@pytest.mark.parametrize("cls", [Frozen, Value])
def test_both_kinds_of_class_behave_alike(cls: Any):
    one = cls(1, seen=[3])

    assert f"{cls.__name__}(x=1, name='n', seen=[3])" == repr(one)
    assert one == cls(1, seen=[4])
    assert hash(one) == hash(cls(1)) == hash((1, "n", 0))
    assert one not in (cls(2), cls(1, "m"), cls(1, hidden=1), Inner(1), (1, "n", 0))
    assert cls(2, seen=[3]) == replace(one, x=2)
    assert one == copy.deepcopy(one) == pickle.loads(pickle.dumps(one))
    assert cls.__match_args__ == ("x", "name", "seen", "hidden")
    assert not hasattr(one, "__dict__")


def test_objects_without_eq_equal_only_themselves():
    one = Distinct(x=1)

    assert one != Distinct(x=1)
    assert {one: 1}[one] == 1
    with pytest.raises(TypeError):
        Distinct(1)  # type: ignore[call-arg]


def test_a_class_keeps_its_own_methods():
    assert Own(1) == Own(2)
    assert hash(Own(1)) == 7
    assert repr(Own(1)) == "own"


def test_a_value_class_can_inherit_and_contain_itself():
    one = Inner(1)
    object.__setattr__(one, "inner", one)

    assert repr(one) == "Inner(x=1, name='n', seen=[], inner=...)"
    assert Inner(1) == Inner(1) != Inner(1, inner=2)
