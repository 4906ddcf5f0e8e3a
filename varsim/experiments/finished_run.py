"""Run an experiment from Python, and give access to the result: `varsim.run_experiment`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypedDict, Unpack

import numpy as np

from varsim.errors import ConfigError, VarsimWarning
from varsim.experiments.key_locations import KeyPath
from varsim.experiments.loading import Override, load_experiment
from varsim.experiments.metric_series import Series, read_series
from varsim.experiments.run_argument import experiment_of, experiment_to_resume
from varsim.experiments.run_lookup import find_record, find_run, find_run_or_sweep
from varsim.experiments.runner import run_experiment as run_to_its_end
from varsim.experiments.store import SUMMARY, further_folders, load_summary
from varsim.report.summary import Failure, Plain, RunStatus, Summary
from varsim.shown_as_html import ShownAsHtml
from varsim.tracing.history import History, open_history, open_oracle

if TYPE_CHECKING:
    from varsim.analysis.examination import Examination
    from varsim.analysis.findings.model import Findings
    from varsim.analysis.outcome import Outcome
    from varsim.analysis.served import ServedExamination
    from varsim.report.run_rows import Comparison

_MAPPINGS: Final = frozenset({"params", "variables"})
"""Keys whose nested keys are separate settings, as on the command line."""


class ExperimentSettings(TypedDict, total=False):
    """The keys of an experiment as keyword arguments, which docs/cli.md explains."""

    name: str | None
    workload: str | os.PathLike[str] | None
    script: str | os.PathLike[str] | None
    spmd: bool | None
    args: Sequence[str] | None
    params: Mapping[str, Any] | None
    workers: int | None
    devices: Sequence[str] | None
    mode: str | None
    variables: Mapping[str, str | Mapping[str, str]] | None
    steps: int | None
    seed: int | None
    launcher: str | Mapping[str, Mapping[str, Any]] | None
    transport: str | None
    exchange: str | None
    auto: str | None
    trace: str | Mapping[str, Any] | None
    checkpoint: int | Mapping[str, Any] | None
    oracle: bool | None
    faults: Sequence[str] | None
    uneven: str | None
    strict: bool | None
    stall_warn_s: float | None
    stall_fail_s: float | None
    link_loss_s: float | None
    on_worker_lost: str | None
    max_restarts: int | None
    out: str | os.PathLike[str] | None


class RunResult(dict[str, Plain], ShownAsHtml):
    """What a program returned, as JSON values."""


class FinishedRun(ShownAsHtml):
    """A run that has ended, successfully or not: its summary and its record.

    The record is opened at its first use. The record is closed by `close()`, at the end of a `with`
    block, or when the object is deleted. Use the record only in the thread that opened it.
    """

    def __init__(self, path: str | os.PathLike[str], summary: Summary | None = None) -> None:
        """Read the summary of a run.

        Args:
            path: The run's directory.
            summary: The run's summary, which is read by default.
        Raises:
            ConfigError: `path` is not a run's directory, or the run has not ended.
        """
        self.path: Path = Path(path)
        self.summary: Summary = load_summary(self.path) if summary is None else summary
        self._open = ExitStack()

    @property
    def status(self) -> RunStatus:
        """Return DONE, FAILED or INTERRUPTED."""
        return self.summary.status

    @property
    def failure(self) -> Failure | None:
        """Return the failure; None if the run did not fail."""
        return self.summary.failure

    @property
    def result(self) -> RunResult:
        """Return the workload's result, as JSON values."""
        return RunResult(self.summary.result)

    @cached_property
    def history(self) -> History:
        """Return the open record. Read it by `history.events(...)`, or by SQL in `.connection`.

        Raises:
            ConfigError: The run has no record; the text says why, and names the option.
        """
        return self._open.enter_context(open_history(find_record(str(self.path))))

    @cached_property
    def series(self) -> Series:
        """Return the metrics that the program logged, step by step: `run.series["loss"].values`.

        Raises:
            ConfigError: The file cannot be read.
        """
        return read_series(self.path)

    @property
    def findings(self) -> Findings:
        """Return the findings of `varsim check` about the program; a failure is a finding, too.

        Raises:
            ConfigError: There is no record.
        """
        from varsim.analysis.findings.model import Findings

        return Findings(self._examination.findings)

    @property
    def verdict(self) -> Outcome:
        """Return the verdict of `varsim check` on varsim's promises: VALID, INVALID or UNKNOWN.

        Raises:
            ConfigError: There is no record.
        """
        return self._examination.outcome

    @property
    def further(self) -> list[FinishedRun]:
        """Return the runs of the other strategies, for a script with several strategies."""
        folders = further_folders(self.path)
        return [FinishedRun(folder) for folder in folders if (folder / SUMMARY).is_file()]

    @cached_property
    def _examination(self) -> Examination | ServedExamination:
        from varsim.experiments.run_ending import ending_of, examined, examined_servers
        from varsim.tracing.served_record import has_server_records

        if has_server_records(self.path):
            return examined_servers(self.path, ending_of(self.summary))
        with open_oracle(self.path) as oracle:
            return examined(self.history, oracle, self.summary)

    def close(self) -> None:
        """Close the record. The next use of the record opens it again."""
        self._open.close()
        self.__dict__.pop("history", None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        why = f": {self.failure.kind}: {self.failure.text}" if self.failure is not None else ""
        return f"<run {self.path}: {self.status.value}{why}>"


def run_experiment(
    experiment: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    /,
    *,
    trust: bool = False,
    allow_paths: bool = False,
    resume: str | os.PathLike[str] | None = None,
    **settings: Unpack[ExperimentSettings],
) -> FinishedRun:
    """Run an experiment and save the result, as `varsim run` does.

    The function prints nothing, and does not change what the program prints. At SIGINT, the run
    ends and is saved, and KeyboardInterrupt is raised. Any thread can call the function, but two
    calls must not overlap.

    Args:
        experiment: The path of a YAML file or of a program, the name of a built-in workload, or a
            run to be repeated, as for `varsim run`; or a mapping with the keys of a YAML file.
            None means the built-in job.
        trust: Whether to run the program of a run that comes from another machine or user.
        allow_paths: Whether paths in a YAML file may lead out of its folder (for `out`: out of the
            current folder).
        resume: Instead of an experiment: a run to continue from its last checkpoint.
        settings: Keys of the experiment, which override the keys of the file. `params` and
            `variables` override only the inner keys that they contain. A key whose value is None
            is ignored.
    Returns:
        The run, even if it failed: see `status` and `failure`. A VarsimWarning says what could not
        be written (`summary.unfinished`); the summary in memory is complete.
    Raises:
        ConfigError: The experiment cannot be run; no file is left.
        KeyboardInterrupt: SIGINT has ended the run.
    """
    said = _overrides(settings)
    if resume is not None:
        if experiment is not None:
            raise ConfigError("give an experiment, or a run to resume, but not both")
        loaded = experiment_to_resume(os.fspath(resume), said, trust=trust)
    elif isinstance(experiment, Mapping):
        loaded = load_experiment(None, [*_overrides(experiment), *said])
    else:
        word = None if experiment is None else os.fspath(experiment)
        loaded = experiment_of(word, said, trust=trust, allow_paths=allow_paths, unpacks=True)
    summary = run_to_its_end(loaded)
    if summary.interrupted or summary.status is RunStatus.INTERRUPTED:
        interrupt = KeyboardInterrupt(
            f"the run was interrupted; it is saved in {summary.directory}"
        )
        if summary.interrupted_in:
            interrupt.add_note(summary.interrupted_in)
        raise interrupt
    for text in summary.unfinished:
        warnings.warn(text, VarsimWarning, stacklevel=2)
    return FinishedRun(summary.directory, summary)


def open_run(run: str | os.PathLike[str] = "latest", /) -> FinishedRun:
    """Return a run that ended earlier.

    Args:
        run: The run, as for `varsim check`: its path, `latest`, the beginning of its name in the
            folder `runs`, or a point of a sweep, such as `latest-sweep/3`.
    Raises:
        ConfigError: No run matches, or several do, or the run has not ended.
    """
    path = find_run(os.fspath(run))
    return FinishedRun(path.parent if path.is_file() else path)


def compare_runs(*runs: FinishedRun | str | os.PathLike[str]) -> Comparison:
    """Compare runs, and the points of sweeps, as `varsim compare` does.

    Args:
        runs: Runs and sweeps, each as an object, or by its path or name as in `open_run`.
    Raises:
        ConfigError: There is no run, or a run or sweep cannot be found or read.
    """
    from varsim.experiments.comparison import compare_folders

    if not runs:
        raise ConfigError("give the runs or sweeps to compare, as in varsim.compare_runs(one, two)")
    return compare_folders(
        [
            run.path if isinstance(run, FinishedRun) else find_run_or_sweep(os.fspath(run))
            for run in runs
        ]
    )


def _overrides(settings: Mapping[str, Any]) -> list[Override]:
    overrides = []
    for key, value in settings.items():
        if value is None:
            continue
        inner: list[tuple[KeyPath, Any]] = [((key,), value)]
        if key in _MAPPINGS and isinstance(value, Mapping):
            inner = [((key, str(name)), one) for name, one in value.items()]
        overrides += [
            Override(keys, _plain(one), f"{'.'.join(keys)}={one!r}") for keys, one in inner
        ]
    return overrides


def _plain(value: Any) -> Any:
    """Return a value of YAML's types: a path becomes a text, a tuple a list."""
    match value:
        case os.PathLike():
            return os.fspath(value)
        case np.generic():
            return value.item()
        case Mapping():
            return {str(key): _plain(one) for key, one in value.items()}
        case list() | tuple() | range():
            return [_plain(one) for one in value]
    return value
