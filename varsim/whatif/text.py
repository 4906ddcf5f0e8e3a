"""Print the effects of other settings, and the advice."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from varsim.analysis.rounding import most_apart
from varsim.report.formatting import count, number, size, visible, wrapped
from varsim.report.grouping import grouped, name_of, short_names, without_numbers
from varsim.report.tables import GAP, Column, show_table
from varsim.report.variable_tables import IF_ALONE
from varsim.spec import Array
from varsim.sync.statistics import VariableStatistics
from varsim.texts.facts import element_text, index_of, times
from varsim.tracing.trace_format import name_process
from varsim.whatif.advice import Advice, Advised, in_words
from varsim.whatif.compare import ChangedRead, Effect, WhatIf

T = TypeVar("T")

_NAME_WIDTH: Final = 40
_HEADINGS: Final = ("merges", "messages\nif alone", "bytes\nif alone", "stale\nreads")


def print_what_if(
    console: Console,
    result: WhatIf,
    changed: Sequence[int],
    doubts: Sequence[str],
    *,
    everything: bool = False,
) -> None:
    """Print a table of the costs of the changed variables, then the effect on their reads.

    Args:
        everything: Whether to print similar variables one by one.
    """
    effects = [one for one in result.effects if one.variable in changed]
    groups = _groups(effects, _likeness, everything=everything)
    if groups:
        _print_costs(console, "costs in the run, and under the other settings", groups)
    for group in groups:
        for sentence in _effect(group[0]):
            _say(console, f"{_name(group, sentence)}: {sentence}")
    if result.failure:
        _say(console, f"The program would stop in {result.failure}")
    for text in (*result.warned, *doubts):
        _say(console, text)
    _say_of_groups(console, groups)
    console.print()
    _say(
        console,
        "The training was not repeated: the replay writes the values that the run wrote.",
    )


def print_advice(
    console: Console, advised: Advised, yaml: str, *, everything: bool = False
) -> None:
    """Print the choice for each variable, the reason, and the lines to paste.

    Args:
        yaml: The lines of an experiment.
        everything: Whether to print similar variables one by one.
    """
    for text in advised.doubts:
        _say(console, text)
    if advised.doubts:
        console.print()
    groups = _groups(advised.advice, _likeness_of_advice, everything=everything)
    for told in map(_told_as_one, groups):
        console.print(Text.assemble((visible(told.name), "bold"), f": {told.title}"))
        for heading, text in told.entries:
            _say(console, f"  {heading:6} {text}", indent=9)
        console.print()
    effects = [[one.effect for one in group] for group in groups]
    changes = [group for group in groups if not group[0].keeps]
    if changes:
        costs = [one.effect for group in changes for one in group]
        together = _groups(costs, _likeness, everything=everything)
        _print_costs(console, "all changes together", together)
        _print_lines(console, "in an experiment", yaml.splitlines())
        _print_lines(console, "in the program", advised.program)
    else:
        _say(console, _nothing_to_change(advised))
    if advised.differs:
        _say(console, advised.differs)
    _say_of_groups(console, effects)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldAdvice:
    """The advice for similar variables, as reports tell it."""

    name: str  # of the variables
    title: str  # the settings before and after
    keeps: bool  # whether the settings do not change
    entries: tuple[tuple[str, str], ...]  # headings, such as why and saves, and their texts


def told_advice(advised: Advised) -> tuple[list[ToldAdvice], list[str]]:
    """Return the advice for each group of similar variables, and sentences on all of it."""
    groups = _groups(advised.advice, _likeness_of_advice, everything=False)
    told = [*map(_told_as_one, groups)]
    said = [*advised.doubts, advised.differs]
    if all(one.keeps for one in told):
        said.append(_nothing_to_change(advised))
    return told, [one for one in said if one]


def _told_as_one(group: Sequence[Advice]) -> ToldAdvice:
    one = group[0]
    before, after = in_words(one.effect.before), in_words(one.effect.after)
    values = ""
    if not one.keeps and one.effect.changed:
        sentence = " ".join(_effect(one.effect))
        values = f"{sentence[0].upper()}{sentence[1:]}"
    entries = (
        ("why", one.proof),
        ("saves", one.saves),
        ("costs", one.costs),
        ("risks", one.risks),
        ("values", values),
    )
    return ToldAdvice(
        name=name_of([same.effect.name for same in group]),
        title=f"keep {before}" if one.keeps else f"{before} → {after}",
        keeps=one.keeps,
        entries=tuple(entry for entry in entries if entry[1]),
    )


_OF_FAILED: Final = (
    "No advice: the run failed, and its record does not show what the whole program needs. "
    "`varsim check` says what to do about the failure."
)


def _nothing_to_change(advised: Advised) -> str:
    if advised.failed:
        return _OF_FAILED
    nothing = "" if advised.differs else "Nothing to change: "
    text = f"{nothing}no cheaper setting is certain to keep all values."
    return f"{text[0].upper()}{text[1:]}"


def _groups(
    items: Sequence[T], likeness: Callable[[T], Hashable], *, everything: bool
) -> list[list[T]]:
    return [[item] for item in items] if everything else grouped(items, likeness)


def _likeness(effect: Effect) -> Hashable:
    """Return the key of similar effects: settings, costs, and texts without numbers."""
    costs = (effect.cost_before, effect.cost_after)
    return (
        (effect.before, effect.after, effect.stale_before, effect.stale_after),
        tuple((cost.merges, cost.messages, cost.size_bytes) for cost in costs),
        without_numbers(" ".join(_effect(effect)), effect.name),
    )


def _likeness_of_advice(one: Advice) -> Hashable:
    """Return the key of similar advice.

    The numbers of merges, messages and bytes may differ, because a table shows them.
    """
    name = one.effect.name
    texts = (one.proof, one.saves, one.costs, one.risks, " ".join(_effect(one.effect)))
    settings = (one.keeps, one.effect.before, one.effect.after)
    return settings, tuple(without_numbers(text, name) for text in texts)


def _name(group: Sequence[Effect], sentence: str) -> str:
    """Return the subject of a sentence: the names of the group.

    If the sentence has other numbers for other members, the subject also names the first member.
    """
    name = name_of([effect.name for effect in group])
    differ = any(sentence not in tuple(_effect(effect)) for effect in group)
    return f"{name}, such as {group[0].name}" if differ else name


def _say_of_groups(console: Console, groups: Sequence[Sequence[Effect]]) -> None:
    if any(len(group) > 1 for group in groups):
        _say(
            console,
            "Similar variables are shown once, with the figures of one of them; --all shows each.",
        )


def _print_costs(console: Console, title: str, groups: Sequence[Sequence[Effect]]) -> None:
    settings: list[tuple[str, str]] = []
    rows: list[list[str]] = []
    for effect, *_ in groups:
        after = in_words(effect.after) + (", refused" if effect.refusal else "")
        settings.append((f"  {in_words(effect.before)}", f"→ {after}"))
        rows += [[""] * len(_HEADINGS), _cells(effect.cost_before, effect.stale_before)]
        lacks_writes = effect.cost_after.writes < effect.cost_before.writes
        rows.append(_UNKNOWN if lacks_writes else _cells(effect.cost_after, effect.stale_after))
    columns = _columns(rows)
    is_stale = any(one.stale_before or one.stale_after for group in groups for one in group)
    if not is_stale:
        del columns[-1]
    # Shorten the names so that the table fits, but not below the width of the settings.
    room = console.width - sum(GAP + column.width for column in columns)
    broken = [line for pair in settings for one in pair for line in _broken(one, room)]
    fits = max(map(cell_len, broken)) <= room
    names = short_names(
        [name_of([one.name for one in group]) for group in groups],
        min(_NAME_WIDTH, max(room, *map(cell_len, broken))),
    )
    whole = [label for name, pair in zip(names, settings, strict=True) for label in (name, *pair)]
    labels: list[str] = []
    cells: list[list[str]] = []
    for label, row in zip(whole, rows, strict=True):
        lines = _broken(label, room) if fits else [label]
        labels += lines
        cells += [row, *[[""] * len(row)] * (len(lines) - 1)]
    show_table(console, title, labels, _columns(cells)[: len(columns)], whole=True)
    _say(console, IF_ALONE)
    if is_stale:
        _say(console, _STALE)
    if any(one.refusal for group in groups for one in group):
        _say(console, "refused: the settings refuse operations of this program; see below")
    console.print()


def _columns(rows: Sequence[Sequence[str]]) -> list[Column]:
    return [Column(*one) for one in zip(_HEADINGS, zip(*rows, strict=True), strict=True)]


def _broken(label: str, room: int) -> list[str]:
    """Return settings as one line, or as two lines if they are too wide."""
    policy, _, aggregation = label.partition(" with ")
    if cell_len(label) <= room or not aggregation:
        return [label]
    return [policy, f"  with {aggregation}"]


_STALE: Final = (
    "stale reads: reads of a replica whose values lack an earlier write of another replica, unless "
    "the replica then writes the variable itself, as with weights; `varsim check` counts them in "
    "the same way. Reads that would give another value are counted below, also if they are not "
    "stale."
)
_UNKNOWN: Final = ["–"] * len(_HEADINGS)
"""Cells that are shown instead of costs if the settings refuse writes.

The replay counts only the costs of writes that were not refused, so these costs are incomplete.
"""


def _cells(cost: VariableStatistics, stale: int) -> list[str]:
    return [count(cost.merges), count(cost.messages), size(cost.size_bytes), count(stale)]


def _effect(effect: Effect) -> Iterator[str]:
    """Yield the effect on a variable's reads, in sentences."""
    if effect.refusal is not None:
        refusal = effect.refusal
        yield (
            f"{in_words(effect.after)} refuses {times(refusal.count, 'operation')}, the first in "
            f"step {refusal.step} at {refusal.location}: {refusal.text.rstrip('.')}."
        )
    if effect.first is not None:
        yield (
            f"{effect.changed:,} of {times(effect.reads, 'read')} would give another value. "
            f"{_difference(effect.first)}"
        )
    elif not effect.reads:
        yield "it is never read in this record."
    elif not effect.unknown:
        yield f"{times(effect.reads, 'read')} would give the same value as before."
    if effect.rounded:
        yield f"{times(effect.rounded, 'read')} would differ by rounding."
    if effect.nan:
        yield (
            f"{times(effect.nan, 'read')} would have NaN as before, so it is not known whether "
            "their values depend on the settings."
        )
    # `doubts` already has texts about the unrecorded reads and the astray reads.
    further = effect.unknown - effect.nan - effect.unrecorded - effect.astray
    if further:
        yield f"{times(further, 'read')} would depend on values that were not recorded."


def _difference(first: ChangedRead) -> str:
    where = f"The first, in step {first.step} at {first.location} by {name_process(first.process)}"
    if first.after is None:
        at = f" at {_element(first.before, 0)}" if first.before.size > 1 else ""
        return f"{where}, returned {_shown(first.before)}{at}, and would fail."
    comparable = first.before.size and first.before.shape == first.after.shape
    index = most_apart(np.ravel(first.before), np.ravel(first.after)) if comparable else 0
    before, after = (_shown(one, index) for one in (first.before, first.after))
    what = _element(first.before, index) if first.before.size > 1 else "it"
    return f"{where}: {what} was {before}, and would be {after}."


def _element(value: Array, index: int) -> str:
    return element_text(index_of(index, value.shape))


def _shown(value: Array, index: int = 0) -> str:
    if not value.size:
        return "nothing"
    return number(np.ravel(value)[index].item())


def _print_lines(console: Console, title: str, lines: Sequence[str]) -> None:
    console.print(Text(title, style="bold"))
    for line in lines:
        console.print(Text(line), soft_wrap=True)
    console.print()


def _say(console: Console, text: str, indent: int = 0) -> None:
    """Print a text. Its lines keep their indentation when they are broken.

    Args:
        indent: The column of all lines after the first one.
    """
    first, *others = text.splitlines() or [""]
    begin = len(first) - len(first.lstrip())
    lines = wrapped(first, console.width, " " * (indent - begin))
    for other in others:
        lines += wrapped(" " * indent + other, console.width)
    for line in lines:
        console.print(Text(line))
