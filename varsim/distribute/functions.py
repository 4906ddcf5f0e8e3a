"""`varsim.function`: a function that is shipped to the workers once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


class Function:
    """A function whose code and closure are fixed when it first runs on the replicas.

    Source: it stands where `tf.function` stands, which fixes them when it traces. What it closes
    over by value (numbers, arrays) is sent once; variables are always the live ones.
    """

    python_function: Callable[..., Any]
    """What was decorated."""

    def __init__(self, python_function: Callable[..., Any]) -> None:
        self.python_function = python_function
        functools.update_wrapper(self, python_function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function here."""
        return self.python_function(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __repr__(self) -> str:
        return f"<varsim.function {getattr(self.python_function, '__qualname__', '?')}>"


def function(func: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Marks a function to be shipped to the workers once; a decorator, with or without arguments.

    TensorFlow's options (`jit_compile`, `reduce_retracing`, …) are taken and mean nothing here.
    """
    if func is None:
        return Function
    return Function(func)
