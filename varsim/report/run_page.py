"""The report of a run, on a terminal or in a file, readable in 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, TextIO

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from varsim.errors import StartError
from varsim.report.formatting import (
    bounded,
    columns,
    count,
    dimensions,
    flat_rows,
    is_scalar,
    names,
    number,
    ranges,
    seconds,
    visible,
    wrapped,
)
from varsim.report.grouping import short
from varsim.report.hosts_table import places_text, print_hosts
from varsim.report.lens_page import print_lens
from varsim.report.lock_table import print_locks
from varsim.report.metric_facts import metric_facts
from varsim.report.page import print_page
from varsim.report.plain_table import print_plain
from varsim.report.run_sentences import sentences_on_synchronisation
from varsim.report.summary import Phase, Plain, RunStatus, Summary
from varsim.report.tables import GAP, flowing, new_table, print_table
from varsim.report.variable_tables import print_variables
from varsim.report.verdict_text import (
    NOT_COMPILED,
    NOT_JUDGED,
    NOT_STARTED,
    NOTHING_RECORDED,
    not_looked_at,
    verdict_text,
)
from varsim.texts.facts import headline, times

_NOT_COMPILED: Final = {one.__name__ for one in (SyntaxError, IndentationError, TabError)}
_LEAST_VALUE: Final = 12  # columns beside a name; with less room, a value is below the name
_MAX_LISTED: Final = 16  # elements of a list on one line
_MAX_TEXT: Final = 1_000  # characters of a text; summary.json has more
_WORTH_SAYING_S: Final = 0.005  # a shorter time would be shown as 0.00

_UNTIL_MEASURED: Final = (Phase.PILOT, Phase.START_UP, Phase.TRAINING)
"""The phases before the first part of the report is printed."""

_IN_WORDS: Final = {
    Phase.MERGING.value: "merging its record",
    Phase.ORACLE.value: "running its oracle",
    Phase.JUDGING.value: "judging its record",
    Phase.WRITING.value: "saving it",
}

_WHOLE_SCRIPT: Final = "every worker ran the whole script"
_INTERRUPTED_CALL: Final = (
    "Call {call} was interrupted: what its replicas had already written is in these values, and "
    "the table of costs may lack it."
)

_LEFT_UNDONE: Final = {
    Phase.MERGING.value: "The traces of the processes are kept, but they were neither merged nor "
    "judged: `varsim check` does both.",
    Phase.ORACLE.value: "The oracle did not finish, and the run was not judged: `varsim check` "
    "judges it without an oracle; run the program again with --oracle for a comparison.",
    Phase.JUDGING.value: "The run was not judged: `varsim check` judges it.",
}
"""For each phase: the text instead of a verdict, if Ctrl-C interrupted the phase."""


def print_report(
    summary: Summary, file: TextIO, width: int | None = None, *, everything: bool = False
) -> None:
    """Print a run: its result, its cost, its variables' values, its verdict, its directory.

    Args:
        width: Number of columns; by default that of `file`.
        everything: Whether to print each variable. If not, similar variables share a row.
    """
    print_measured(summary, file, width, everything=everything)
    print_endings([summary], file, width)


def print_measured(
    summary: Summary, file: TextIO, width: int | None = None, *, everything: bool = False
) -> None:
    """Print the first part of the report, which is known when the program has ended."""
    print_page(
        lambda console: _print_measured(console, summary, everything=everything), file, width
    )


def print_endings(summaries: Sequence[Summary], file: TextIO, width: int | None = None) -> None:
    """Print the second part of the report: the verdict on each record, and where the run is saved.

    Args:
        summaries: A summary for each strategy and incarnation; the first one is in the run's
            directory.
    """
    print_page(lambda console: _print_endings(console, summaries), file, width)


def _print_measured(console: Console, summary: Summary, *, everything: bool) -> None:
    console.print(Text(run_headline(summary), style="bold"))
    workers = len(summary.devices)
    several = summary.incarnations > 1
    texts = summary.faults if several else summary.experiment.get("faults", ())
    faults = [f"fault: {text}" for text in texts]
    part = [f"incarnation {summary.incarnation} of {summary.incarnations}"] if several else []
    resumed = [f"resumed: {summary.resumed}"] if summary.resumed else []
    took = _took(summary, _UNTIL_MEASURED)
    replicas = f"{workers} worker{'s' * (workers != 1)}{_places(summary.hosts)}"
    exchange = [f"exchange {summary.exchange}"] if summary.hosts and summary.exchange else []
    servers = [times(summary.servers, "parameter server")] if summary.servers else []
    _print_dim(console, [*part, *resumed, replicas, *exchange, *servers, *faults, *took])
    if summary.failure is not None and summary.is_of_last:
        said = bounded(headline(summary.failure.text), "summary.json")
        console.print(Text(f"{summary.failure.kind}: {said}"))
    console.print()
    if summary.result and summary.is_of_last:
        _print_result(console, summary.result)
    variables = summary.variables
    if summary.status is RunStatus.DONE or any(variable.writes for variable in variables):
        print_variables(console, variables, len(summary.devices), everything=everything)
        print_lens(console, variables, everything=everything)
        if where := places_text(summary.hosts, summary.devices):
            console.print(Text(where, style="dim"))
            console.print()
        print_plain(console, summary.outside_scope)
        print_locks(console, summary.locks, everything=everything)
        for line in wrapped(visible(summary.interrupted_in), console.width, indent="  "):
            console.print(Text(line))
        if summary.interrupted_call is not None and any(one.lens for one in variables):
            console.print(Text(_INTERRUPTED_CALL.format(call=count(summary.interrupted_call))))
            console.print()
    for advice in summary.advice:
        console.print(Text(f"advised: {advice}"))
    if summary.advice:
        console.print()
    facts = metric_facts(summary) if summary.is_of_last else []
    in_metrics = [f"Look at the metrics: {'; '.join(facts)}."] if facts else []
    for sentence in [*sentences_on_synchronisation(summary), *in_metrics]:
        console.print(Text(sentence))
        console.print()


def _print_endings(console: Console, summaries: Sequence[Summary]) -> None:
    for position, one in enumerate(summaries, start=1):
        part = _part(one, position) if len(summaries) > 1 else ""
        print_hosts(console, one, part)
        if part:
            console.print(Text(f"verdict on {part}", style="bold"))
        _print_verdict(console, one)
    first, last = summaries[0], summaries[-1]
    _print_dim(console, _took(last, [part for part in Phase if part not in _UNTIL_MEASURED]))
    saved = "what could be saved is" if first.unfinished else "saved"
    console.print(Text(f"{saved} in {typed(first.directory)}"), soft_wrap=True)


def _part(summary: Summary, position: int) -> str:
    """Return which record of a run a summary is about, with its folder in the run."""
    folder = f" ({Path(summary.directory).name})" if position > 1 else ""
    if summary.incarnations == 1:
        return f"strategy {summary.strategy}{folder}"
    return f"incarnation {summary.incarnation} of {summary.incarnations}{folder}"


def _places(hosts: Sequence[str]) -> str:
    """Return which replicas ran on which host, as in " on a (0–2) and b (3–5)"; "" for one host."""
    replicas: dict[str, list[int]] = {}
    for replica_id, host in enumerate(hosts):
        replicas.setdefault(host, []).append(replica_id)
    told = [f"{visible(host)} ({', '.join(ranges(ids))})" for host, ids in replicas.items()]
    return f" on {names(told, len(told))}" if told else ""


def run_headline(summary: Summary) -> str:
    """Return the name of the workload, and the number of its steps or calls."""
    done, planned, what = summary.step, summary.total_steps, "step"
    if not summary.is_of_last:  # the steps are those of the whole run
        done_in_part = "a part of the script" if summary.script_reached else ""
        return f"{summary.experiment['name']}: {done_in_part or times(summary.calls, 'call')}"
    name, reached = summary.experiment["name"], summary.script_reached
    afterwards = any(part in _IN_WORDS for part in summary.interrupted)
    early = summary.status is RunStatus.FAILED or (
        summary.status is RunStatus.INTERRUPTED and not afterwards
    )
    if reached:
        return f"{name}: {summary.status.value} {reached}" if early else f"{name}: {_WHOLE_SCRIPT}"
    if planned is None and not done:  # the workload does not report steps
        done, what = summary.calls, "call"
        if summary.servers:
            done, what = summary.ended_closures, "closure"
            planned = summary.closures if done < summary.closures else None
    of_all = "" if planned is None else f" of {count(planned)}"
    what += "s" * ((done if planned is None else planned) != 1)
    if early:
        return f"{name}: {summary.status.value} after {count(done)}{of_all} {what}"
    if what.startswith("closure"):  # a program that catches an error has cancelled closures
        return f"{name}: {count(done)}{of_all} {what}"
    return f"{name}: {count(done)} {what}"


def _took(summary: Summary, phases: Iterable[Phase]) -> list[str]:
    """Return the duration of each phase that took some time.

    The phases are those of the whole run, so only the page of the last incarnation has them.
    """
    if not summary.is_of_last:
        return []
    of_run = "whole run: " if summary.incarnations > 1 else ""
    return [
        f"{of_run}{part.value.replace('_', '-')} {seconds(summary.seconds[part.value])} s"
        for part in phases
        if summary.seconds.get(part.value, 0.0) >= _WORTH_SAYING_S
    ]


def _print_dim(console: Console, words: Sequence[str]) -> None:
    for line in flowing(words, console.width, separator=" · "):
        console.print(Text(line, style="dim"))


def _print_verdict(console: Console, summary: Summary) -> None:
    """Print findings, the comparison with the oracle, the verdict, and what was not looked at."""
    verdict = summary.verdict
    if verdict is None:
        cut_short = [one for one in summary.interrupted if one in _LEFT_UNDONE]
        said = NOTHING_RECORDED
        if cut_short:
            while_doing = " and ".join(_IN_WORDS[part] for part in cut_short)
            said = f"Interrupted while {while_doing}. {_LEFT_UNDONE[cut_short[-1]]}"
        elif summary.unfinished:
            said = NOT_JUDGED
        if summary.failure is not None and summary.failure.kind == StartError.__name__:
            said = NOT_STARTED
        elif summary.failure is not None and summary.failure.kind in _NOT_COMPILED:
            said = NOT_COMPILED if Phase.START_UP.value not in summary.seconds else said
        console.print(Text(said))
        console.print()
        return
    for finding in verdict.findings:
        console.print(Text(f"found: {finding}"))
    if verdict.compared:
        console.print(Text(f"oracle: {verdict.compared}"))
    if verdict.findings:
        console.print(Text("`varsim check` explains the findings, and says what to do."))
        console.print()
    elif verdict.compared:
        console.print(Text("`varsim check` shows the whole comparison."))
        console.print()
    console.print(Text(verdict_text(verdict.outcome, verdict.reasons)))
    console.print()
    if verdict.not_looked_at:
        for line in not_looked_at(verdict.not_looked_at, console.width):
            console.print(Text(line))
        console.print()


def typed(directory: str) -> str:
    """Return the path of a directory, as a relative path if it is in the working directory."""
    path = Path(directory)
    try:
        return f"{path.absolute().relative_to(Path.cwd())}/"
    except ValueError:
        return f"{path}/"


# ---------------------------------------------------------------- result


def _print_result(console: Console, result: Mapping[str, Plain]) -> None:
    title = "result of the training"
    matrix = _matrix(console, result)
    if matrix is not None:
        print_table(console, title, matrix)
        return
    console.print(Text(title, style="bold"))
    rows = flat_rows("", result)
    beside = max(columns(name) for name, _ in rows)
    room = console.width - beside - GAP
    if room >= _LEAST_VALUE:
        table = new_table()
        table.show_header = False
        table.add_column("", no_wrap=True)
        table.add_column("", overflow="fold")
        for name, value in rows:
            table.add_row(name, _one_line(value))
        console.print(table)
    else:
        for name, value in rows:
            console.print(Text(short(name, console.width)))
            console.print(Padding(Text(_one_line(value)), (0, 0, 0, GAP)))
    console.print()


def _matrix(console: Console, result: Mapping[str, Plain]) -> Table | None:
    """Return a table for a dict of dicts with the same keys; None if no such table fits."""
    rows = list(result.values())
    if len(rows) < 2 or not all(isinstance(row, dict) and row for row in rows):
        return None
    keys = list(rows[0])
    if not all(list(row) == keys and all(map(is_scalar, row.values())) for row in rows):
        return None
    upright = [["", *keys], *([name, *map(number, result[name].values())] for name in result)]
    for cells in (upright, [list(column) for column in zip(*upright, strict=True)]):
        widths = [max(map(columns, column)) for column in zip(*cells, strict=True)]
        if sum(widths) + GAP * (len(widths) - 1) <= console.width:
            table = new_table()
            table.add_column("")
            for heading in cells[0][1:]:
                table.add_column(heading, justify="right")
            for row in cells[1:]:
                table.add_row(*row)
            return table
    return None


def _one_line(value: Plain) -> str:
    if isinstance(value, str):
        more = len(value) - _MAX_TEXT
        return f"{value[:_MAX_TEXT]}… and {count(more)} more characters" if more > 0 else value
    if not isinstance(value, list):
        return number(value)
    shape = _shape(value)
    flat = value
    for _ in shape[1:]:
        flat = [one for part in flat for one in part]
    if not all(map(is_scalar, flat)):
        return number(value)
    more = len(flat) - _MAX_LISTED
    shown = "  ".join(map(number, flat[:_MAX_LISTED]))
    said = f"{dimensions(shape)}  {shown}" if len(shape) > 1 else shown
    return f"{said}  and {count(more)} more" if more > 0 else said


def _shape(value: Plain) -> list[int]:
    """Return the shape of nested lists of equal lengths, or the length of the outermost list."""
    shape, level = [], [value]
    while all(isinstance(one, list) for one in level) and len(set(map(len, level))) == 1:
        shape.append(len(level[0]))
        level = [one for part in level for one in part]
        if not level:
            break
    return shape
