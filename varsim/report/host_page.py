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


def show_checks(console: Console, checks: Sequence[Check], removed: Sequence[Path]) -> None:
    """Print the removed paths, each check, and the number of checks in each state."""
    for path in removed:
        _print(console, f"removed {path}")
    for check in checks:
        said = Text(check.state.value.ljust(_WIDTH), style=_STYLES[check.state])
        first, *others = wrapped(f"{check.subject}: {check.found}", console.width - _WIDTH)
        console.print(said.append(first, style="default"), soft_wrap=True)
        lines = others + wrapped(f"→ {check.remedy}", console.width - _WIDTH) * bool(check.remedy)
        for line in lines:
            console.print(Text(" " * _WIDTH + line), soft_wrap=True)
    console.print()
    _print(console, _summary(checks))


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
