"""Describe how a run ended: its failure, and the ending that a judge of its history needs."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Final

import varsim
from varsim.analysis.examination import Examination, examine
from varsim.analysis.failures import DONE, Ending
from varsim.analysis.returned import ReturnedValue, compare_returned
from varsim.analysis.served import ServedExamination, examine_servers
from varsim.distribute.scripts import ScriptExit
from varsim.errors import (
    CallTimeout,
    ConfigError,
    ReplicaError,
    VarsimError,
    WorkerLost,
)
from varsim.experiments.store import SUMMARY, load_summary
from varsim.extent import is_writable
from varsim.protocol.paths import shown_path
from varsim.protocol.tracebacks import (
    exception_in,
    location_in,
    notes_of,
    text_of,
    with_shown_paths,
)
from varsim.raised import traceback_of, without_text
from varsim.report.summary import Failure, Phase, RunStatus, Summary
from varsim.texts.facts import headline, times
from varsim.tracing.history import History
from varsim.tracing.progress import Tell
from varsim.tracing.served_record import server_records

_OURS: Final = Path(varsim.__file__).parent
_OUR_WORKLOADS: Final = _OURS / "workloads"


def failure_of(error: BaseException) -> Failure:
    """Return the failure that a run's summary stores for an error of the program."""
    kind = type(error).__name__
    try:
        return Failure(
            kind=kind,
            text=_text(error),
            traceback=_traceback_of(error),
            exit_code=_exit_code(error),
            location=_location(error),
        )
    except BaseException as another:  # methods of the exception's class can raise anything
        return Failure(
            kind=kind,
            text=without_text(error, another),
            traceback=_program_traceback(error),
            exit_code=1,
            location=_program_location(error),
        )


def _location(error: BaseException) -> str:
    """Return an error's location.

    This is the error's field `location`. Without this field, it is the line in the replica's
    function, or else the line in the program.
    """
    if isinstance(error, VarsimError) and error.location:
        return error.location
    cause = error.__cause__
    if isinstance(cause, ReplicaError) and (location := location_in(cause.traceback)):
        return location
    return _program_location(error)


def _program_location(error: BaseException) -> str:
    frames = _program_frames(error)
    if frames:
        return f"{shown_path(frames[-1].filename)}:{frames[-1].lineno}"
    if type(error) is SyntaxError and error.filename:  # of the program's main file
        return f"{shown_path(error.filename)}:{error.lineno or 1}"
    return ""


def in_a_line(error: BaseException) -> str:
    """Return the error in one line, with the innermost location in the program."""
    failure, where = failure_of(error), _program_location(error)
    at = f" ({where})" if where else ""
    return f"{failure.kind}: {headline(failure.text)}{at}"


def _exit_code(error: BaseException) -> int:
    """Return the exit code of a Python process that raises the error."""
    if isinstance(error, ScriptExit):
        return error.code & 0xFF or 1  # a part of the script did not end normally
    code = error.code if isinstance(error, SystemExit) else 1
    return code & 0xFF if isinstance(code, int) else 1


def _text(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"the program called sys.exit({_shown(error.code)})"
    if isinstance(error, WorkerLost | CallTimeout):
        return error.after_run
    return "\n".join([text_of(error), *notes_of(error)])


def _shown(code: object) -> str:
    try:
        return repr(code) if is_writable(code) else object.__repr__(code)
    except BaseException:  # methods of the program's classes can raise anything
        return object.__repr__(code)


def _traceback_of(error: BaseException) -> str:
    """Return the program's traceback, after the replica's traceback if there is one."""
    parts = []
    if isinstance(error.__cause__, ReplicaError):
        parts.append(_without_text(str(error.__cause__), _text(error)))
    parts.append(_program_traceback(error))
    return "\n".join(with_shown_paths(part).rstrip() for part in parts if part)


def _program_traceback(error: BaseException) -> str:
    frames = _program_frames(error)
    return (
        with_shown_paths("in the program:\n" + "".join(traceback.format_list(frames)))
        if frames
        else ""
    )


def _without_text(whole: str, text: str) -> str:
    """Return a replica's traceback. If its last part is an exception with `text`, omit this part.

    The failure already contains this text, which can have many lines.
    """
    raised = exception_in(whole)
    return whole.rstrip().removesuffix(raised).rstrip() if raised.endswith(text) else whole


def _program_frames(error: BaseException) -> list[traceback.FrameSummary]:
    return [
        frame
        for frame in traceback.extract_tb(traceback_of(error))
        if _OURS not in Path(frame.filename).parents
        or _OUR_WORKLOADS in Path(frame.filename).parents
    ]


# ---------------------------------------------------------------- the ending

_AFTER_IT: Final = {
    part.value for part in (Phase.MERGING, Phase.ORACLE, Phase.JUDGING, Phase.WRITING)
}
"""The phases after the program's end. An interrupt in one of them does not shorten the program."""


def ending_of(summary: Summary) -> Ending:
    """Return the ending of a run, which a judge of its history needs."""
    failure = summary.failure
    ended = summary.status is RunStatus.INTERRUPTED and _AFTER_IT.issuperset(summary.interrupted)
    return Ending(
        status=DONE if ended and summary.interrupted else summary.status.value,
        reached=_reached(summary),
        spmd=bool(summary.script_reached),
        kind="" if failure is None else failure.kind,
        text="" if failure is None else failure.text,
        location="" if failure is None else failure.location,
        returned=_returned(summary),
        incarnation=summary.incarnation,
        incarnations=summary.incarnations,
        unstarted=summary.unstarted,
    )


def examined(
    history: History,
    oracle: History | None,
    summary: Summary | None,
    *,
    tell: Tell | None = None,
) -> Examination:
    """Examine a run's history, with the facts from its summary.

    Args:
        oracle: The history of the run's oracle; None if there is no oracle.
        summary: The run's summary; None if it is unknown.
        tell: Receives the examined fraction of the history, from 0 to 1.
    """
    ending = None if summary is None else ending_of(summary)
    no_oracle = "" if summary is None else summary.no_oracle
    return examine(history, oracle, ending=ending, no_oracle=no_oracle, tell=tell)


def examined_servers(folder: Path, ending: Ending | None) -> ServedExamination:
    """Examine the records of parameter servers in a folder.

    Raises:
        ConfigError: There is none, or one is damaged.
    """
    return examine_servers(server_records(folder), ending)


def _reached(summary: Summary) -> str:
    if summary.total_steps is not None:
        return f"after {summary.step:,} of {times(summary.total_steps, 'step')}"
    if summary.step:
        return f"after {times(summary.step, 'step')}"
    if summary.closures:
        ended = summary.ended_closures
        some = f"{ended:,} of " if ended < summary.closures else ""
        return f"after {some}{times(summary.closures, 'closure')}"
    return summary.script_reached or f"after {times(summary.calls, 'call')}"


def _returned(summary: Summary) -> tuple[ReturnedValue, ...]:
    if summary.oracle_result is None:
        return ()
    return compare_returned(summary.result, summary.oracle_result)


def unreadable_summary(record: Path) -> str:
    """Return why the summary beside a record cannot be read; "" if it can, or if there is none."""
    folder = record if record.is_dir() else record.parent
    if (folder / SUMMARY).is_file():
        try:
            load_summary(folder)
        except ConfigError as error:
            return str(error)
    return ""


def summary_beside(record: Path) -> Summary | None:
    """Return the summary of the run with this directory or history; None if there is no summary."""
    folder = record if record.is_dir() else record.parent
    if not (folder / SUMMARY).is_file():
        return None
    try:
        return load_summary(folder)
    except ConfigError:  # another version wrote it, so the ending is unknown
        return None
