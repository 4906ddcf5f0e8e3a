"""Translate between Ray's words and varsim's: what to reserve, and errors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Final

_COLOURS: Final = re.compile("\x1b\\[[0-9;]*m")
_IN_TRACEBACKS: Final = ("File ", "^^^")


def said_by(error: BaseException) -> str:
    """Return the type and the text of an error of Ray, in one line.

    Of a traceback, only the last line is kept. Of the fields of an actor, which are indented by a
    tab, only its address is kept.
    """
    lines = _COLOURS.sub("", str(error)).strip().splitlines()
    if any(line.lstrip().startswith(_IN_TRACEBACKS) for line in lines):
        lines = lines[-1:]
        if "ImportError" in lines[0] or "ModuleNotFoundError" in lines[0]:
            lines.append("(varsim must be installed on all nodes, or be named in runtime_env)")
    kept = [line for line in lines if not line.startswith("\t") or line.startswith("\tip:")]
    return f"{type(error).__name__}: {' '.join(' '.join(kept).split())}"


def reserving(resources: Mapping[str, float]) -> dict[str, Any]:
    """Return the options of an actor or a task that reserve these resources."""
    named = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}
    options: dict[str, Any] = {"num_cpus": 0}
    options |= {named[name]: amount for name, amount in resources.items() if name in named}
    others = {name: amount for name, amount in resources.items() if name not in named}
    return options | ({"resources": others} if others else {})


def bundles_text(bundles: Sequence[Mapping[str, float]]) -> str:
    """Return what is to be reserved: "3 × {CPU: 1}"; equal neighbours are counted."""
    return ", ".join(
        f"{len(list(same))} × {{{', '.join(f'{name}: {one:g}' for name, one in bundle.items())}}}"
        for bundle, same in groupby(bundles)
    )
