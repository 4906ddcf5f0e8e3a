"""What a replay tells, and the advice that comes of it: 80 columns are enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from rich.console import Console
from rich.text import Text

from varsim.analysis.findings.found import times
from varsim.report.alike import short_names
from varsim.report.tables import Column, show_table
from varsim.report.words import count, number, size
from varsim.spec import Array
from varsim.sync.statistics import VariableStatistics
from varsim.tracing.history import PROGRAM
from varsim.whatif.advice import Advised, in_words
from varsim.whatif.compare import Difference, Effect, WhatIf

_NAME_WIDTH: Final = 40
_HEADINGS: Final = ("merges", "messages\nif alone", "bytes\nif alone", "stale")


def print_what_if(
    console: Console, result: WhatIf, changed: Sequence[int], doubts: Sequence[str]
) -> None:
    """A table of what the changed variables cost, then what becomes of their reads."""
    effects = [one for one in result.effects if one.variable in changed]
    _print_costs(console, "as it was, and under the other settings", effects)
    for effect in effects:
        for sentence in _effect(effect):
            _say(console, f"{effect.name}: {sentence}")
    if result.failure:
        _say(console, f"The program would stop in {result.failure}")
    for text in (*result.warned, *doubts):
        _say(console, text)
    console.print()
    _say(
        console,
        "Nothing was trained again: what replicas and the program wrote is as it was recorded.",
    )


def print_advice(console: Console, advised: Advised, yaml: str) -> None:
    """What to choose for each variable, why, and the lines to paste: an experiment's are `yaml`."""
    for one in advised.advice:
        before, after = in_words(one.effect.before), in_words(one.effect.after)
        title = f"keep {before}" if one.keeps else f"{before} → {after}"
        console.print(Text.assemble((one.effect.name, "bold"), f": {title}"))
        for heading, text in (("why", one.proof), ("saves", one.saves), ("risks", one.risks)):
            if text:
                _say(console, f"  {heading:6} {text}", indent=9)
        if not one.keeps and one.effect.changed:
            sentence = " ".join(_effect(one.effect))
            _say(console, f"  values {sentence[0].upper()}{sentence[1:]}", indent=9)
        console.print()
    changes = [one for one in advised.advice if not one.keeps]
    if changes:
        _print_costs(console, "all of it together", [one.effect for one in changes])
        _print_lines(console, "in an experiment", yaml.splitlines())
        _print_lines(console, "in the program", advised.program)
    else:
        _say(console, "Nothing to change: no other setting is cheaper and changes nothing.")
    for text in advised.doubts:
        _say(console, text)


def _print_costs(console: Console, title: str, effects: Sequence[Effect]) -> None:
    labels: list[str] = []
    rows: list[list[str]] = []
    names = short_names([effect.name for effect in effects], _NAME_WIDTH)
    for name, effect in zip(names, effects, strict=True):
        was, would = effect.cost_before, effect.cost_after
        labels += [name, f"  {in_words(effect.before)}", f"→ {in_words(effect.after)}"]
        rows += [[""] * len(_HEADINGS), _cells(was, effect.stale_before)]
        rows.append(_cells(would, effect.stale_after))
    columns = [Column(*one) for one in zip(_HEADINGS, zip(*rows, strict=True), strict=True)]
    show_table(console, title, labels, columns, whole=True)


def _cells(cost: VariableStatistics, stale: int) -> list[str]:
    return [count(cost.merges), count(cost.messages), size(cost.size_bytes), count(stale)]


def _effect(effect: Effect) -> Iterator[str]:
    """What becomes of a variable's reads, in sentences."""
    if effect.refusal is not None:
        refusal = effect.refusal
        yield (
            f"{times(refusal.count, 'operation')} would be refused, the first in step "
            f"{refusal.step} at {refusal.place}: {refusal.text}"
        )
    if effect.first is not None:
        yield (
            f"{effect.changed:,} of {times(effect.reads, 'read')} would give another value. "
            f"{_difference(effect.first)}"
        )
    elif not effect.reads:
        yield "nobody reads it."
    elif not effect.unknown:
        yield f"{times(effect.reads, 'read')} would give the same value as before."
    if effect.rounded:
        yield f"{times(effect.rounded, 'read')} would differ by rounding."
    if effect.unknown:
        yield f"{times(effect.unknown, 'read')} would depend on values that were not recorded."


def _difference(first: Difference) -> str:
    who = "the program" if first.process == PROGRAM else f"replica {first.process}"
    where = f"The first, in step {first.step} at {first.place} by {who}"
    if first.after is None:
        return f"{where}, read {_shown(first.before)}, and would fail."
    place = _most_apart(first.before, first.after)
    before, after = (_shown(one, place) for one in (first.before, first.after))
    return f"{where}: {before}, and would be {after}."


def _most_apart(one: Array, other: Array) -> int:
    """The flat index at which two values differ most."""
    if one.shape != other.shape or not one.size:
        return 0
    with np.errstate(all="ignore"):
        distance = np.abs(np.ravel(one).astype(complex) - np.ravel(other).astype(complex))
    return int(np.nan_to_num(distance, nan=np.inf).argmax())


def _shown(value: Array, place: int = 0) -> str:
    if not value.size:
        return "nothing"
    shown = number(np.ravel(value)[place].item())
    return shown if value.size == 1 else f"{shown} at element {place}"


def _print_lines(console: Console, title: str, lines: Sequence[str]) -> None:
    console.print(Text(title, style="bold"))
    for line in lines:
        console.print(Text(line), soft_wrap=True)
    console.print()


def _say(console: Console, text: str, indent: int = 0) -> None:
    lines = Text(text).wrap(console, console.width - indent)
    for place, line in enumerate(lines):
        line.rstrip()
        console.print(Text(" " * indent) + line if place else line)
