"""Warn if several replicas get copies of one random generator of the program."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

from varsim.distribute.functions import bare
from varsim.sync.call_site import CallSite

_NUMPY: Final = "numpy.random"


def kinds() -> tuple[type, ...]:
    """Return the classes of generators that this process has imported."""
    numpy = sys.modules.get(_NUMPY)
    return (
        (random.Random,) if numpy is None else (random.Random, numpy.Generator, numpy.RandomState)
    )


def in_common(by_replica: Sequence[Iterable[object]]) -> list[object]:
    """Return the objects that occur in the arguments of more than one replica."""
    each = [{id(one): one for one in objects} for objects in by_replica]
    counts = Counter(number for objects in each for number in objects)
    return [one for number, one in each[0].items() if counts[number] > 1]


def copies(function: Any, site: CallSite, generator: object, *, captured: bool) -> str:
    """Return the warning that every replica gets a copy of a generator.

    Args:
        captured: True if the function captures the generator; False if an argument contains it.
    """
    name = _name_in(function, generator) if captured else None
    called = f" {name!r}" if name else ""
    through = "" if captured else "the arguments of "
    kind = f"{type(generator).__module__.partition('.')[0]}'s {type(generator).__name__}"
    return _TEXT.format(kind=kind, called=called, through=through, function=site.described)


_TEXT: Final = (
    "random generator{called} ({kind}): every replica gets a copy of it with {through}{function}, "
    "so all replicas that draw from it draw the same numbers\n"
    "  - np.random.default_rng([seed, replica_id]) in the function, with replica_id = "
    "tf.distribute.get_replica_context().replica_id_in_sync_group: each replica draws its own "
    "numbers\n"
    "  - a PerReplica of generators as an argument, from "
    "strategy.experimental_distribute_values_from_function(lambda context: "
    "np.random.default_rng([seed, context.replica_id_in_sync_group])): each replica draws its own "
    "numbers\n"
    "  - np.random.default_rng(seed) in the function, if all replicas should draw the same numbers"
)


def _name_in(function: Any, wanted: object) -> str | None:
    """Return the name of an object that a function captures, such as `rng` or `self.rng`."""
    inner = bare(function)
    code = getattr(inner, "__code__", None)
    if code is None:
        return None
    named: dict[str, Any] = {name: inner.__globals__.get(name) for name in code.co_names}
    for name, cell in zip(code.co_freevars, inner.__closure__ or (), strict=True):
        try:
            named[name] = cell.cell_contents
        except ValueError:  # the captured variable is not bound yet
            continue
    defaults = inner.__defaults__ or ()
    positional = code.co_varnames[: code.co_argcount]
    named |= zip(positional[len(positional) - len(defaults) :], defaults, strict=True)
    named |= inner.__kwdefaults__ or {}
    while isinstance(function, partial):
        function = function.func
    owner = getattr(function, "__self__", None)
    for name, value in (("self", owner), *named.items()):
        if value is wanted or getattr(value, "__self__", None) is wanted:
            return name
        attributes = getattr(value, "__dict__", None)
        if isinstance(attributes, dict):
            for attribute, held in attributes.items():
                if held is wanted:
                    return f"{name}.{attribute}"
    return None
