"""Show the checks of `varsim doctor`: one paragraph for each subject, with the remedy below it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from varsim.launch.host_checks import Check, State
from varsim.report.formatting import wrapped

_STYLES: Final = {State.OK: "green", State.PROBLEM: "bold red", State.NOT_CHECKED: "yellow"}
_WIDTH: Final = max(len(state.value) for state in State) + 2


def show_checks(
    console: Console,
    checks: Sequence[Check],
    removed: Sequence[Path],
    hosts: Sequence[tuple[str, Sequence[Check]]] = (),
) -> None:
    """Print the removed paths, each check, and the number of checks in each state.

    Args:
        checks: Those of this machine.
        hosts: The name of each other host, and its checks.
    """
    for path in removed:
        _print(console, f"removed {path}")
    if hosts:
        _print(console, "this machine")
    _show(console, checks)
    for name, there in hosts:
        console.print()
        _print(console, f"host {name}")
        _show(console, there)
    console.print()
    every = [*checks, *(one for _, there in hosts for one in there)]
    bad = [name for name, there in hosts if any(one.state is State.PROBLEM for one in there)]
    said = _summary(every)
    if bad:
        said += f"; hosts with a problem: {', '.join(bad)}"
    _print(console, said)


def _show(console: Console, checks: Sequence[Check]) -> None:
    for check in checks:
        said = Text(check.state.value.ljust(_WIDTH), style=_STYLES[check.state])
        first, *others = wrapped(f"{check.subject}: {check.found}", console.width - _WIDTH)
        console.print(said.append(first, style="default"), soft_wrap=True)
        lines = others + wrapped(f"→ {check.remedy}", console.width - _WIDTH) * bool(check.remedy)
        for line in lines:
            console.print(Text(" " * _WIDTH + line), soft_wrap=True)


def _summary(checks: Sequence[Check]) -> str:
    counts = {state: sum(check.state is state for check in checks) for state in State}
    said = f"{counts[State.OK]} of {len(checks)} ok"
    if counts[State.PROBLEM]:
        said += f", {counts[State.PROBLEM]} with a problem"
    if counts[State.NOT_CHECKED]:
        said += f", {counts[State.NOT_CHECKED]} not checked on this system"
    return said


def _print(console: Console, text: str) -> None:
    for line in wrapped(text, console.width):
        console.print(Text(line), soft_wrap=True)
