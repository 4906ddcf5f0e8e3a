"""Code that is pickled by value keeps its location in the program."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from types import CodeType
from typing import Any

from tests.protocol.test_structure import Things
from varsim.protocol.structure import function_id, pack, unpack


def travelled(value: Any) -> Any:
    things = Things()
    return unpack(pack(value, things), things)


def fields(code: CodeType) -> dict[str, object]:
    """Return all attributes of a code object that programs can read, with nested code objects."""
    names = [name for name in dir(code) if name.startswith("co_") and name != "co_lnotab"]
    values = {name: getattr(code, name) for name in names}
    found: dict[str, object] = {k: v for k, v in values.items() if not callable(v)}
    found["co_consts"] = [
        fields(constant) if isinstance(constant, CodeType) else constant
        for constant in code.co_consts
    ]
    found["lines"] = list(code.co_lines())
    found["positions"] = list(code.co_positions())
    return found


def sample(scale: int) -> Callable[..., Any]:
    """Return a function that uses most features of code objects."""

    def outer(first, /, second=2, *rest, third: int = 3, **more):
        def inner():
            yield first * scale
            yield from rest

        class LocalClass:
            def method(self):
                return [second + one for one in rest[1:3]], third, sorted(more)

        try:
            return list(inner()), LocalClass().method()
        except ZeroDivisionError:
            return None

    return outer


def test_pickled_code_is_equal():
    """The file, lines, constants and nested functions of the code are equal."""
    function = sample(10)

    arrived = travelled(function)

    assert fields(function.__code__) == fields(arrived.__code__)
    assert __file__ == arrived.__code__.co_filename
    assert function(1, 2, 3, 4, 5, x=6) == arrived(1, 2, 3, 4, 5, x=6)


def test_an_error_in_a_pickled_function_shows_its_line():
    """The traceback names this file, and shows the source."""

    def fails():
        raise LookupError("here")  # this line

    try:
        travelled(fails)()
    except LookupError as error:
        last = traceback.extract_tb(error.__traceback__)[-1]

    assert (__file__, "fails") == (last.filename, last.name)
    assert 'raise LookupError("here")  # this line' == last.line


def test_methods_of_a_pickled_class_keep_their_file():
    class LocalClass:
        def method(self):
            return 1

    assert __file__ == travelled(LocalClass).method.__code__.co_filename


def test_equal_functions_have_the_same_id():
    """A function is sent only once, even if the program creates it again for each call."""
    things = Things()

    first, second = (function_id(pack(sample(10), things)) for _ in range(2))

    assert first == second
