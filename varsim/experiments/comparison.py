"""Compare runs and sweeps: what came out, what it cost, and in which settings they differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Final

from varsim.errors import ConfigError
from varsim.experiments.comparability import ComparedRun, notes
from varsim.experiments.nested_keys import in_force
from varsim.experiments.run_lookup import OUT, find_run_or_sweep
from varsim.experiments.store import POINTS, SUMMARY, load_summary
from varsim.experiments.sweep_folder import PointStatus, SweepFolder, is_sweep, read_sweep
from varsim.report.run_rows import Comparison, RunRow
from varsim.report.summary import Plain, Summary, VariableSummary

_NOT_COMPARED: Final = ("name", "out", "sweep")
"""Keys of an experiment that have no effect on the results."""

_SUM: Final = "SUM"


def compare(words: Sequence[str], out: Path = OUT) -> Comparison:
    """Compare the runs and the points of the sweeps that words name.

    Args:
        words: Each is a run or a sweep, as `find_run_or_sweep` finds it.
        out: The folder in which names are looked up.
    Raises:
        ConfigError: A word names neither a run nor a sweep, or names several.
    """
    paths = [find_run_or_sweep(word, out) for word in words]
    return compare_folders(paths)


def compare_folders(paths: Sequence[Path]) -> Comparison:
    """Compare the runs in folders, each of which is a run's or a sweep's.

    Raises:
        ConfigError: A folder is neither, or its files are damaged.
    """
    within = [_sweep_of(path) for path in paths]
    sweeps = dict.fromkeys(one.resolve() for one in within if one is not None)
    of_one = len(sweeps) == 1 and None not in within
    alone = of_one and (len(paths) == 1 or not any(map(is_sweep, paths)))
    letters = {} if alone else {path: _letter(number) for number, path in enumerate(sweeps)}
    compared = [one for path in paths for one in _in_folder(path, letters)]
    settings = [_settings(one) for one in compared]
    of_sweeps = list(dict.fromkeys(key for one in compared for key in one.settings))
    differing = _differing(
        [said for one, said in zip(compared, settings, strict=True) if one.summary is not None]
    )
    keys = [*of_sweeps, *(key for key in differing if not _is_part(key, of_sweeps))]
    rows = [
        _row(one, {key: said.get(key) for key in keys})
        for one, said in zip(compared, settings, strict=True)
    ]
    metrics = list(dict.fromkeys(name for row in rows for name in row.metrics))
    said = [f"{letter} is {path.name}." for path, letter in letters.items()]
    said += notes(compared, rows, metrics)
    return Comparison(keys=keys, metrics=metrics, rows=rows, notes=said)


# ---------------------------------------------------------------- which runs


def _letter(number: int) -> str:
    """Return a short name for a sweep: A, B, ..., Z, A1, ..."""
    return f"{ascii_uppercase[number % 26]}{number // 26 or ''}"


def _sweep_of(path: Path) -> Path | None:
    """Return the folder of a sweep, also for one of its points; None for other runs."""
    if is_sweep(path):
        return path
    return path.parent.parent if _number_of_point(path) else None


def _number_of_point(path: Path) -> int:
    """Return the number of the point that a run's folder belongs to; 0 if it is no point."""
    if path.parent.name != POINTS or not is_sweep(path.parent.parent):
        return 0
    points = read_sweep(path.parent.parent).sweep.points
    return next((one.number for one in points if one.run == path.name), 0)


def _in_folder(path: Path, letters: Mapping[Path, str]) -> Iterator[ComparedRun]:
    """Yield the runs in a folder.

    Args:
        letters: The letter of each sweep by its whole path, if points need one.
    """
    sweep = _sweep_of(path)
    if sweep is not None:
        folder = read_sweep(sweep)
        one = _number_of_point(path)
        for point in folder.sweep.points:
            if one in (0, point.number):
                yield _of_point(folder, point.number, letters.get(sweep.resolve(), ""))
        return
    summary, unread = _summary(path)
    status = "unknown" if summary is None else summary.status.value
    yield ComparedRun(path, path.resolve().name, status, _error(summary), {}, summary, unread)


def _of_point(folder: SweepFolder, number: int, letter: str) -> ComparedRun:
    point = folder.sweep.points[number - 1]
    path = folder.run_folder(point)
    name = f"{letter}/{number}" if letter else str(number)
    summary, unread = None, ""
    if point.status not in (PointStatus.WAITING, PointStatus.RUNNING):
        summary, unread = _summary(path)
    interrupted = point.status is PointStatus.INTERRUPTED and not (path / SUMMARY).is_file()
    if point.error or interrupted:
        unread = ""  # the error or the status says why there is no summary
    return ComparedRun(path, name, point.status.value, point.error, point.settings, summary, unread)


def _summary(path: Path) -> tuple[Summary | None, str]:
    """Return the summary of a run; or None, and the reason."""
    if not (path / SUMMARY).is_file():
        return None, "it has no summary, because it has not ended or was killed"
    try:
        return load_summary(path), ""
    except ConfigError as error:
        return None, f"its summary cannot be read: {error}"


def _error(summary: Summary | None) -> str:
    if summary is None or summary.failure is None:
        return ""
    return f"{summary.failure.kind}: {summary.failure.text}".partition("\n")[0]


# ---------------------------------------------------------------- what differs


def _settings(one: ComparedRun) -> dict[str, Plain]:
    """Return the settings of a run, with dots for nested keys."""
    kept = {key: value for key, value in one.experiment.items() if key not in _NOT_COMPARED}
    return in_force(kept) | dict(one.settings)


def _is_part(key: str, of_sweeps: Sequence[str]) -> bool:
    """Return whether a key is one of a sweep's keys, or is nested in one."""
    return any(key == one or key.startswith(f"{one}.") for one in of_sweeps)


def _differing(settings: Sequence[Mapping[str, Plain]]) -> list[str]:
    """Return the keys whose values differ between runs."""
    keys = dict.fromkeys(key for one in settings for key in one)
    return [key for key in keys if any(one.get(key) != settings[0].get(key) for one in settings)]


# ---------------------------------------------------------------- the rows


def _row(one: ComparedRun, settings: dict[str, Plain]) -> RunRow:
    summary = one.summary
    if summary is None or not summary.variables:
        messages = size_bytes = waited_s = None
    else:
        messages = sum(variable.messages for variable in summary.variables)
        size_bytes = sum(variable.size_bytes for variable in summary.variables)
        waited_s = sum(variable.waited_s for variable in summary.variables)
    divergence, diverged = _divergence([] if summary is None else summary.variables)
    seconds: Mapping[str, float] = {} if summary is None else summary.seconds
    verdict = None if summary is None else summary.verdict
    return RunRow(
        run=str(one.path),
        name=one.name,
        status=one.status,
        error=one.error,
        settings=settings,
        metrics={} if summary is None else _metrics(summary),
        divergence=divergence,
        diverged=diverged,
        messages=messages,
        size_bytes=size_bytes,
        waited_s=waited_s,
        training_s=seconds.get("training"),
        total_s=seconds.get("in_all"),
        steps=None if summary is None else summary.step,
        verdict=None if verdict is None else verdict.outcome,
        findings=None if summary is None else summary.num_findings,
    )


def _metrics(summary: Summary) -> dict[str, Plain]:
    """Return the numbers that the program reported last, and those that it returned."""
    every = {**summary.metrics, **summary.result}
    return {name: value for name, value in every.items() if _is_number(value)}


def _is_number(value: Plain) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int | float) or value in ("NaN", "Infinity", "-Infinity")


def _divergence(variables: Iterable[VariableSummary]) -> tuple[Plain, str]:
    """Return the largest difference of two components, and its variable.

    The components of a sum are parts, and always differ, so they are left out.
    """
    found: tuple[Plain, str] = (None, "")
    for one in variables:
        if one.lens is None or one.lens.apart is None or one.aggregation == _SUM:
            continue
        if found[0] is None or _size(one.lens.apart) > _size(found[0]):
            found = one.lens.apart, one.name if _size(one.lens.apart) else ""
    return found


def _size(apart: Plain) -> float:
    """Return a difference as a number; one that is not a finite number is the largest."""
    return float(apart) if isinstance(apart, int | float) else float("inf")
