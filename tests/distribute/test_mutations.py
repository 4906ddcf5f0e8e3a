"""Changes by a function to objects of the program; the objects are compared before and after."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.processes.conftest import location_of
from varsim.distribute.mutations import MAX_ITEMS, Watch, watch_of

losses: list[float] = []
count = 0
table = np.zeros(3)


def changed(function: Any, *args: Any, **kwargs: Any) -> list[str]:
    """Run a function; return the objects that the warnings name, as `kind name`."""
    watch = Watch()
    watch.look_at(function, args, kwargs)
    function(*args, **kwargs)
    return [one.warning.partition(" of the program: ")[0] for one in watch.changes()]


def log(loss: float) -> None:
    losses.append(loss)


def counts() -> None:
    global count  # noqa: PLW0603  # the case under test
    count += 1
    log(1.0)


def test_changes_by_a_function_are_reported_with_the_line() -> None:
    watch = Watch()
    watch.look_at(counts, (), {})
    counts()

    first, second = watch.changes()
    assert location_of(counts, "count +=") == first.location
    assert location_of(log, "append") == second.location
    assert first.warning.startswith(
        f"global 'count' of the program: a replica changed its own copy at {first.location}; the "
        "program's global did not change\n"
    )
    assert second.warning.startswith("list 'losses' of the program")


class StatefulModel:
    def __init__(self) -> None:
        self.steps = 0
        self.log: list[int] = []
        self.weights = np.zeros(2)
        self.settings = {"rate": 0.1}

    def step(self) -> None:
        self.steps += 1
        self.log.append(1)
        self.weights[0] -= 0.1
        self.extra = True

    def __call__(self) -> None:
        self.settings["rate"] /= 2

    def reads(self) -> float:
        return self.steps + sum(self.log) + float(self.weights.sum()) * self.settings["rate"]


def test_attributes_of_the_programs_objects_are_checked() -> None:
    expected = [
        "attribute 'self.steps'",
        "attribute 'self.extra'",
        "list 'self.log'",
        "array 'self.weights'",
    ]
    assert expected == changed(StatefulModel().step)
    assert ["dict 'self.settings'"] == changed(StatefulModel())
    assert [] == changed(StatefulModel().reads)
    model = StatefulModel()
    by_name = [one.replace("self", "model") for one in expected]
    assert by_name == changed(lambda: model.step())  # noqa: PLW0108  # a closure
    assert ["attribute 'self.steps'", *expected[2:]] == changed(functools.partial(model.step))


class Callback:
    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {"loss": []}

    def on_batch_end(self, **logs: float) -> None:
        for key, value in logs.items():
            self.history[key].append(value)


def test_an_item_of_an_attribute_is_checked_with_the_line_of_the_method() -> None:
    callback = Callback()

    def step() -> None:
        callback.on_batch_end(loss=1.0)

    watch = Watch()
    watch.look_at(step, (), {})
    step()
    (one,) = watch.changes()
    assert "callback.history['loss']" == one.name
    assert location_of(Callback.on_batch_end, "append") == one.location
    assert location_of(step, "callback.") == one.named_at


def test_containers_of_all_kinds_are_checked_even_if_nested() -> None:
    history: dict[str, list[int]] = {"loss": []}
    seen, last, by_kind = {1}, deque([1]), Counter("a")
    grouped: defaultdict[str, list[int]] = defaultdict(list)
    raw = bytearray(3)

    def step() -> None:
        history["loss"].append(3)
        seen.add(2)
        last.popleft()
        by_kind["a"] += 1
        grouped["b"].append(1)
        raw[0] = 1

    assert {
        "list \"history['loss']\"",
        "set 'seen'",
        "deque 'last'",
        "Counter 'by_kind'",
        "defaultdict 'grouped'",
        "bytearray 'raw'",
    } == set(changed(step))


def test_a_variable_of_the_enclosing_function_is_checked() -> None:
    number, unbound = 0, None
    del unbound

    def step() -> None:
        nonlocal number, unbound
        number += 1
        unbound = 1

    assert {"variable 'number'", "variable 'unbound'"} == set(changed(step))


def test_arguments_are_checked_except_arrays() -> None:
    def step(found: list[int], batch: Any, *, more: dict[str, int]) -> None:
        found.append(1)
        batch += 1
        more["x"] = 1

    assert ["list 'found'", "dict 'more'"] == changed(step, [], np.zeros(3), more={})


def unharmed() -> None:
    made = [1]
    made.append(2)
    held = {"a": made}
    held["b"] = []
    assert table.sum() + len(losses) + count + len(held) >= 0


def test_objects_that_are_only_read_or_created_are_not_reported() -> None:
    assert [] == changed(unharmed)


cache: dict[int, int] = {}


def remembers() -> int:
    return cache.setdefault(1, 2)


@functools.lru_cache
def remembered(number: int) -> int:
    return number


def test_caches_are_not_reported() -> None:
    assert [] == changed(remembers)
    assert [] == changed(lambda: remembered(3))
    assert [] == changed(lambda: Counter("of the standard library").update("x"))


def test_variables_are_not_checked() -> None:
    v = tf.Variable(0.0)

    def step() -> None:
        v.assign_add(1.0)

    assert [] == changed(step)


def test_keys_are_not_shown_by_their_own_methods() -> None:
    """The text of a variable would read the variable, which needs messages."""

    class Key:
        def __repr__(self) -> str:
            raise AssertionError

    held: dict[Key, list[int]] = {Key(): []}

    def step() -> None:
        for one in held.values():
            one.append(1)

    assert any("held[<Key>]" in one for one in changed(step))


def test_only_the_length_of_a_large_container_is_checked() -> None:
    many = [0.0] * (MAX_ITEMS + 1)

    def sets() -> None:
        many[0] = 1.0

    def grows() -> None:
        many.append(1.0)

    assert [] == changed(sets)
    assert ["list 'many'"] == changed(grows)


@pytest.mark.parametrize("function", [print, len, int, np.sum, functools.partial(print, "x")])
def test_functions_without_the_users_code_are_not_checked(function: Callable[..., Any]) -> None:
    watch = Watch()
    watch.look_at(function, (), {})
    assert [] == list(watch.changes())


def test_an_object_that_contains_itself_is_checked_once() -> None:
    endless: list[Any] = []
    endless.append(endless)
    model: Any = StatefulModel()
    model.itself = model

    def step() -> None:
        endless.append(model)

    assert ["list 'endless'"] == changed(step)


class NotIterable(list[int]):
    def __iter__(self) -> Any:
        raise RuntimeError("not iterable")


def test_an_object_that_cannot_be_checked_is_skipped() -> None:
    not_iterable = NotIterable([1])

    def step() -> None:
        not_iterable.append(2)

    assert [] == watch_of(step, (), {}).found()


def test_a_change_of_an_array_without_dimensions_is_reported() -> None:
    scalar = np.array(1.0)

    def step() -> None:
        scalar[...] = 2.0

    assert ["array 'scalar'"] == changed(step)
