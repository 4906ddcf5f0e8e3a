"""The record of a run: one trace for each process, and the history that they are merged into."""

from __future__ import annotations

import shutil

from varsim.errors import ProtocolError
from varsim.experiments.config import Experiment
from varsim.experiments.store import RunDirectory
from varsim.tracing.merge import merge
from varsim.tracing.trace import OFF, PROGRAM, TraceOptions, file_name


def trace_options(experiment: Experiment, directory: RunDirectory) -> TraceOptions | None:
    """What the processes of a run record, and where.

    Raises:
        OSError: The directory cannot be made.
    """
    if experiment.trace == OFF:
        return None
    directory.traces.mkdir()
    return TraceOptions(directory.traces, experiment.trace)


def write_history(directory: RunDirectory) -> str | None:
    """Merges the traces of a run, whose processes have ended, into its history.

    Returns:
        Why that failed, if it did; the traces are kept then.
    """
    if (directory.traces / file_name(PROGRAM)).exists():
        try:
            merge(directory.traces, directory.path)
        except (ProtocolError, OSError) as error:
            return f"no history of the run was written: {error}"
    shutil.rmtree(directory.traces, ignore_errors=True)
    return None
