"""`varsim lens`: show what a variable held on every replica, call by call."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from varsim.cli import completion
from varsim.cli.exit_codes import WrongUse
from varsim.cli.output import say_json
from varsim.cli.plain_lens import lens_of_plain, plain_to_show
from varsim.cli.record import find_records, open_record
from varsim.cli.server_records import lens_of_servers
from varsim.cli.shown_records import say_of_ending, say_of_others

if TYPE_CHECKING:
    from rich.console import Console

    from varsim.analysis.lens import Moment
    from varsim.experiments.run_records import RunRecord, RunRecords
    from varsim.tracing.history import History, VariableRow

_ELEMENTS: Final = 3
"""Number of informative elements that the text names. The table shows the first of them."""


@click.command(short_help="Show what a variable held, call by call.")
@click.argument("run", default="runs/latest", shell_complete=completion.runs)
@click.argument("variable", required=False, shell_complete=completion.variables)
@click.option(
    "--at",
    metavar="I,J,…",
    help="The element of an array, or `mean`; by default the most informative element.",
)
@click.option("--all", "everything", is_flag=True, help="Show every call, even of long runs.")
@click.option("--json", "as_json", is_flag=True, help="Print the values as JSON, and only that.")
def lens(
    *, run: str, variable: str | None, at: str | None, everything: bool, as_json: bool
) -> None:
    """Show what VARIABLE held on every replica at the end of each call of RUN.

    RUN is a run's directory or its history.db, `latest`, or the beginning of a run's name; by
    default the last run. VARIABLE is a name, or a number if several variables have the same
    name. By default VARIABLE is the most informative variable: one with a finding of `varsim
    check`, or else one that differs from a single device (--oracle), or the one whose replicas
    differ most. For a long run, only the differences of replicas count. A call is a strategy.run
    of the program, counted over all incarnations; the first row is the variable's
    creation. If workers were lost, each incarnation has a table, and the first row of a later one
    has the values that the restart put back. Each row has the components, the value of a
    cross-replica read and, for a run with --oracle, the value on a single device.

    For a variable on a parameter server, each row is a version: who made it, on which version it is
    based, its value, and how often it was read. RUN can also be a directory with the traces of
    parameter servers (trace=).

    For a variable that was created outside the scope, each row is an operation of a replica: the
    call, the replica, the operation, the value after it, and the line.

    \b
    varsim lens
    varsim lens latest weights
    varsim lens latest weights --at 0,3
    """  # noqa: D301  # \b keeps the lines below it apart
    from varsim.errors import ConfigError
    from varsim.experiments.variable_lookup import find_variable, most_telling, shape_of
    from varsim.report.page import print_page

    index_of = partial(_index_of_one, at)
    options = {"everything": everything, "as_json": as_json}
    try:
        records = find_records(run)
        first, *later = records.incarnations
        if first.of_servers:
            _say_of_first(records, as_json=as_json)
            lens_of_servers(first, variable, index_of, **options)
            return
        with open_record(first.path) as (history, oracle):
            if plain := plain_to_show(history, variable):
                _say_of_first(records, as_json=as_json)
                lens_of_plain(history, oracle, plain, index_of, **options)
                return
            if variable is None:
                row, why = most_telling(history, first.path, oracle, first.ending)
            else:
                row, why = find_variable(history, variable), ""
            shape = shape_of(row)
            element = None if at is None or at == "mean" else _element(at, shape, row.name)
            shown = [_Shown(first, row, *_moments(history, row, oracle))]
        shown += _later(later, variable or row.name)
    except ConfigError as error:
        raise WrongUse(str(error)) from error
    if shown[0].problem:
        raise WrongUse(shown[0].problem)
    say_of_others(records, [one.record for one in shown], as_json=as_json)
    say_of_ending(shown[-1].record, as_json=as_json)
    if as_json:
        say_json([_plain(moment, one) for one in shown for moment in one.found], 1)
        return
    if why:
        why = f"No variable was named. {row.name} is shown: {why}."

    def show(console: Console) -> None:
        _show(console, shown, element, why=why, free=at is None, everything=everything)

    print_page(show, sys.stdout)


def _say_of_first(records: RunRecords, *, as_json: bool) -> None:
    """Say what is not shown besides the first record, and how the first record ended."""
    first = records.incarnations[0]
    say_of_others(records, [first], as_json=as_json)
    say_of_ending(first, as_json=as_json)


class _Shown(NamedTuple):
    """A variable in one record of a run."""

    record: RunRecord
    row: VariableRow | None
    found: Sequence[Moment] = ()
    problem: str = ""  # why there are no moments
    flaw: str = ""  # why the record is not whole
    unknown: str = ""  # why the promise of the variable's policy is not known
    places: Sequence[tuple[str, str]] = ()  # the host and device of each replica; () on one host


def _moments(
    history: History, row: VariableRow, oracle: History | None
) -> tuple[Sequence[Moment], str, str, str, Sequence[tuple[str, str]]]:
    from varsim.analysis.completeness import incompleteness
    from varsim.analysis.lens import moments
    from varsim.analysis.promises import promise_of
    from varsim.analysis.unknown_policies import why_unknown

    found = list(moments(history, row, oracle))
    problem = f"the record of this run does not have the creation of {row.name!r}"
    unknown = "" if promise_of(row).is_known else why_unknown(row, history.run)
    places = [history.place_of(i) for i in range(history.num_replicas)] if history.hosts else []
    return found, "" if found else problem, incompleteness(history), unknown, places


def _later(records: Sequence[RunRecord], variable: str) -> Iterator[_Shown]:
    """Yield the variable in the later incarnations of its strategy."""
    from varsim.errors import ConfigError
    from varsim.experiments.variable_lookup import find_variable

    for record in records:
        try:
            with open_record(record.path) as (history, oracle):
                row = find_variable(history, variable)
                yield _Shown(record, row, *_moments(history, row, oracle))
        except ConfigError as error:
            yield _Shown(record, None, problem=str(error))


def _show(
    console: Console,
    shown: Sequence[_Shown],
    element: int | None,
    *,
    why: str,
    free: bool,
    everything: bool,
) -> None:
    """Print a table for each record, and an explanation.

    Args:
        why: Why this variable is shown, if the user did not name one.
        free: Whether to show the most informative element of an array.
    """
    from rich.text import Text

    from varsim.analysis.component_distance import telling_of
    from varsim.analysis.promises import promise_of
    from varsim.experiments.variable_lookup import shape_of
    from varsim.report.hosts_table import places_text
    from varsim.report.lens_calls_page import UNKNOWN, print_calls, title_of, why_element

    if why:
        console.print(Text(f"{why}\n"))
    for number, (record, row, found, problem, flaw, unknown, places) in enumerate(shown):
        if len(shown) > 1:
            console.print(Text("\n" * bool(number) + record.part, style="bold"))
        if row is None or problem:
            console.print(Text(problem))
            continue
        shape = shape_of(row)
        told = telling_of(found, _ELEMENTS) if free and shape else None
        index = element if told is None else told.indices[0]
        title = title_of(row.name, f"({row.synchronization}, {row.aggregation})", shape, index)
        print_calls(
            console,
            title,
            found,
            index,
            aggregation=row.aggregation,
            parts=promise_of(row).has_parts,
            flaw=flaw,
            everything=everything,
        )
        if unknown:
            console.print(Text(UNKNOWN.format(unknown)))
        if told is not None:
            console.print(Text(why_element(told, shape)))
        if where := places_text(*map(list, zip(*places, strict=True))) if places else "":
            console.print(Text(where))


def _index_of_one(at: str | None, shape: Sequence[int], name: str) -> int | None:
    """Return the index of the element that is shown of a variable with one value, or None."""
    if not shape:
        return 0
    return None if at is None or at == "mean" else _element(at, shape, name)


def _element(text: str, shape: Sequence[int | None], name: str) -> int:
    """Return the index of an element in the flat value."""
    try:
        index = [int(part) for part in text.split(",")]
    except ValueError:
        raise WrongUse(f"--at {text!r}: give whole numbers, as in --at 0,3, or `mean`") from None
    fits = len(index) == len(shape) and all(
        size is not None and 0 <= one < size for one, size in zip(index, shape, strict=False)
    )
    if not fits:
        raise WrongUse(f"--at {text}: {name} has the shape {list(shape)}")
    flat = 0
    for one, size in zip(index, shape, strict=True):
        assert size is not None, "it fits"
        flat = flat * size + one
    return flat


def _plain(moment: Moment, shown: _Shown) -> dict[str, Any]:
    from varsim.analysis.sampled import Sample

    known = (*moment.components, moment.value)
    return {
        "incarnation": shown.record.incarnation,
        "step": moment.step,
        "time_s": moment.time_s,
        "components": [None if one is None else one.tolist() for one in moment.shown],
        "value": None if moment.value is None else moment.value.tolist(),
        "oracle": None if moment.oracle is None else moment.oracle.tolist(),
        "sample_of": next((one.count for one in known if isinstance(one, Sample)), None),
        "lacks": moment.lacks,
        "lost": list(moment.lost),
        "unexchanged": moment.unexchanged,
        "interrupted": moment.interrupted,
        "present": moment.present or len(moment.components),
        "diverged": moment.diverged or (False if moment.is_known else None),
        "unlike": moment.unlike or (False if moment.is_compared else None),
        "hosts": [host for host, _ in shown.places],
        "devices": [device for _, device in shown.places],
    }
