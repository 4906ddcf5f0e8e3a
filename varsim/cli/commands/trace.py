"""`varsim trace`: write a run as a timeline for Perfetto or chrome://tracing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from varsim.cli import completion
from varsim.cli.exit_codes import NotWritten, WrongUse
from varsim.cli.output import say
from varsim.cli.record import check_output, find_records, open_record

if TYPE_CHECKING:
    from varsim.analysis.findings.model import Finding
    from varsim.experiments.run_records import RunRecord
    from varsim.timeline.trace_events import TraceFile
    from varsim.tracing.history import History

_SIMULATED = (
    "The run was a simulated cluster: its replicas took turns in one process. So the order of the "
    "events is that of the run, but their times do not show how long replicas wait."
)


@click.command(short_help="Write a run as a timeline for Perfetto.")
@click.argument("run", default="runs/latest", shell_complete=completion.runs)
@click.option(
    "-o",
    "--output",
    "file",
    metavar="FILE",
    default="trace.json",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write; with a name that ends with .gz it is compressed. "
    "[default: trace.json]",
)
@click.option(
    "--calls",
    metavar="A:B",
    help="Only from the A-th call of strategy.run to the last one before the B-th, with what "
    "the program does between them.",
)
def trace(*, run: str, file: Path, calls: str | None) -> None:
    """Write RUN into FILE as a timeline, which https://ui.perfetto.dev and chrome://tracing open.

    RUN is a run's directory or its history.db, `latest`, or the beginning of a run's name; by
    default the last run. The file has a track for the program and one for each replica: slices for
    calls, waits, reductions and each read and write; arrows for messages, and from each write to
    its reduction, the commit, and the first read of the new value; marks for failures and findings;
    counters of the bytes that the replicas have given to the program, by variable. The number of an
    event is that of `varsim check --event`. A call can do several steps of a training, as in the
    built-in job.

    \b
    varsim trace
    varsim trace latest -o trace.json.gz --calls 100:110
    """  # noqa: D301  # \b keeps the lines below it apart
    from varsim.errors import ConfigError
    from varsim.experiments.trace_settings import window_of
    from varsim.interrupts import Interrupts
    from varsim.timeline.trace_events import trace_file

    check_output(file)
    try:
        window = window_of(calls)
    except ValueError as error:
        raise WrongUse(f"--calls: {error}") from None
    try:
        records = find_records(run)
        shown = records.every if records.is_whole else (records.named,)
        with Interrupts(), trace_file(file) as writer:
            told = [_write(writer, record, window, pid) for pid, record in enumerate(shown, 1)]
            events = sum(number for number, _ in told)
            if window is not None and not events:
                raise ConfigError(_outside(shown, window))
            writer.finish({"program": "varsim", "events": events})
    except ConfigError as error:
        raise WrongUse(str(error)) from error
    except OSError as error:
        raise NotWritten(f"{file} cannot be written: {error.strerror}") from error
    say(f"{file}: {file.stat().st_size:,} bytes, {events:,} events")
    say("Open it with https://ui.perfetto.dev or chrome://tracing: the file stays on this machine.")
    for note in dict.fromkeys(note for _, notes in told for note in notes):
        say(note)


def _write(
    writer: TraceFile, record: RunRecord, window: tuple[int, int] | None, pid: int
) -> tuple[int, list[str]]:
    """Write one record of a run; return its number of events, and what a reader should know."""
    from varsim.cli.examined import examined_history
    from varsim.errors import ConfigError
    from varsim.experiments.reported_run import to_judge
    from varsim.timeline.run_timeline import RunTimeline
    from varsim.timeline.served_timeline import ServedTimeline
    from varsim.tracing.call_window import NO_CALLS_OF_SERVERS
    from varsim.tracing.served_record import server_records

    title = _title(record)
    if record.of_servers:
        if window is not None:
            raise ConfigError(NO_CALLS_OF_SERVERS)
        served = ServedTimeline(server_records(record.folder), pid, title, writer.numbers)
        for entry in served.entries():
            writer.write(entry)
        return served.events, []
    with open_record(record.path) as (history, oracle):
        findings: Sequence[Finding] = ()
        if to_judge(history, record):
            findings = examined_history(history, oracle, record, tries=False).findings
        timeline = RunTimeline(history, pid, title, writer.numbers, findings)
        for entry in timeline.entries(window, writer.start_of(history.run["began"])):
            writer.write(entry)
        return timeline.events, _notes(history)


def _title(record: RunRecord) -> str:
    """Return the name of a record's group of tracks."""
    strategy = f"strategy {record.strategy}" if record.strategy > 1 else ""
    return ", ".join(filter(None, (record.folder.name, strategy, record.part)))


def _notes(history: History) -> list[str]:
    """Return what the reader of a timeline should know about its record."""
    from varsim.analysis.completeness import incompleteness

    flaw = incompleteness(history)
    notes = [f"The record is not whole, so the timeline is not: {flaw}."] if flaw else []
    return [*notes, _SIMULATED] if history.run.get("simulated") else notes


def _outside(records: Sequence[RunRecord], window: tuple[int, int]) -> str:
    """Return what is wrong with a window without calls."""
    from varsim.tracing.call_window import outside

    last = 0
    for record in records:
        with open_record(record.path) as (history, _):
            last = max(last, history.last_call)
    return outside(window, last)
