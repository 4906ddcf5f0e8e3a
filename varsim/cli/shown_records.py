"""Say which records of a run a command shows, and how the run ended."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from varsim.experiments.run_records import RunRecord, RunRecords

_MOST_NAMED: Final = 3  # other records in one sentence


def say_of_others(records: RunRecords, shown: Sequence[RunRecord], *, as_json: bool) -> None:
    """Say which of a run's records a command shows, if it does not show all.

    Args:
        as_json: Whether stdout is only for JSON; then stderr gets the sentence.
    """
    _say(_about_others(records, shown), as_json=as_json)


def say_of_ending(record: RunRecord, *, as_json: bool) -> None:
    """Say that the run ended early, if it did, because the record lacks the rest of the program.

    Args:
        as_json: Whether stdout is only for JSON; then stderr gets the sentence.
    """
    early = "" if record.ending is None else record.ending.early
    if early:
        _say(
            f"{early}: the following is about the operations until then. The rest of the program "
            "may read or write the variables in another way.",
            as_json=as_json,
        )


def _say(said: str, *, as_json: bool) -> None:
    from rich.text import Text

    from varsim.cli.output import say
    from varsim.report.page import print_page

    if said and as_json:
        say(said, err=True)
    elif said:
        print_page(lambda console: console.print(Text(f"{said}\n")), sys.stdout)


def _about_others(records: RunRecords, shown: Sequence[RunRecord]) -> str:
    """Return a sentence about the records that a command does not show; "" if it shows all."""
    places = {one.place for one in shown}
    others = [one for one in records.every if one.place not in places]
    if not others:
        return ""
    parts = ", ".join(one.part or "the record of one strategy" for one in shown)
    only = "only one is" if len(shown) == 1 else f"only {len(shown)} are"
    named = [_name_of(one, records) for one in others[:_MOST_NAMED]]
    more = len(others) - len(named)
    listed = " or ".join(named) + (f", or {more} more" if more else "")
    return (
        f"This run has {len(records.every)} records, and {only} shown: {parts}. To see another "
        f"record, give it instead of the run: {listed}."
    )


def _name_of(record: RunRecord, records: RunRecords) -> str:
    """Return the word that names a record on the command line."""
    from varsim.report.run_page import typed
    from varsim.tracing.history import HISTORY

    name = typed(str(record.path))
    if not record.part:
        return name
    # The folder of a run stands for all its incarnations, or for the last one.
    return f"{name}{HISTORY if record is records.every[0] else ''} ({record.part})"
