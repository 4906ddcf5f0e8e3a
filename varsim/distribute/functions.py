"""Provide `tf.function`: the decorated function is sent to the workers only once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from varsim.location import location_of_code, user_location
from varsim.sync.call_site import CallSite


class Function:
    """A function whose code and captured values are fixed when it first runs on the replicas.

    This class replaces `tf.function`, which fixes code and captured values when it traces the
    function. Captured numbers and arrays are sent once, so later changes of them have no effect. A
    captured variable is sent as a name, so the function always uses the variable's current value.
    """

    python_function: Callable[..., Any]
    """The decorated function."""

    def __init__(self, python_function: Callable[..., Any]) -> None:
        self.python_function = python_function
        functools.update_wrapper(self, python_function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function in this process."""
        return self.python_function(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __repr__(self) -> str:
        return f"<varsim.function {getattr(self.python_function, '__qualname__', '?')}>"


def function(func: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Decorate a function so that it is sent to the workers only once.

    The decorator is used with or without arguments. TensorFlow's options (`jit_compile`,
    `reduce_retracing`, …) are accepted and ignored.
    """
    if func is None:
        return Function
    return Function(func)


def bare(function: Any) -> Any:
    """Return the Python function that a `Function`, partial, method or callable object calls.

    Return any other object unchanged, such as a builtin.
    """
    while True:
        match function:
            case Function():
                function = function.python_function
            case functools.partial():
                function = function.func
            case _ if inspect.ismethod(function):
                function = function.__func__
            case _:
                call = getattr(type(function), "__call__", None)  # noqa: B004  # to see its code
                return function if not inspect.isfunction(call) else call


def site_of(function: Any) -> CallSite:
    """Return the name and the locations of a call of `strategy.run`, for errors."""
    own = getattr(function, "call_site", None)
    if isinstance(own, CallSite):
        return own
    inner = bare(function)
    code = getattr(inner, "__code__", None)
    name = str(getattr(inner, "__qualname__", type(inner).__name__))
    return CallSite(
        function=name.rpartition("<locals>.")[2],
        defined_at="" if code is None else location_of_code(code),
        called_at=user_location(),
    )
