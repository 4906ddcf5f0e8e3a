"""Find a run by its path, by the beginning of its name, or as `latest`."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from varsim.errors import ConfigError
from varsim.experiments.run_archive import is_archive
from varsim.experiments.store import (
    BENCH,
    EXPERIMENT,
    LATEST,
    LATEST_BENCH,
    LATEST_SWEEP,
    POINTS,
    STRATEGY,
    SUMMARY,
    SWEEP,
    SWEEP_FILE,
    TRACES,
    RunFiles,
    further_folders,
)
from varsim.nearest import nearest
from varsim.tracing.history import HISTORY
from varsim.tracing.served_record import has_server_records
from varsim.tracing.trace import OFF

OUT: Final = Path("runs")
"""The folder in which runs are looked up by name: the default of `varsim run`."""

_SAME_SECOND: Final = re.compile(r"-\d+")
"""What the name of a run has after the name of an earlier run of the same second and title."""

_STAMP_LENGTH: Final = len("20260102-030405")  # the time with which a name begins
_MAX_LISTED: Final = 5  # largest number of names in an error


class _Sort(NamedTuple):
    """The sort of directory to find: a run, or the measurement of a host."""

    what: str
    files: tuple[str, ...]  # a directory with one of these files is of this sort
    latest: str  # the name of the link to the last directory
    maker: str  # the command that creates such a directory


_RUN: Final = _Sort("run", (EXPERIMENT, HISTORY, SUMMARY), LATEST, "varsim run")
_SWEEP: Final = _Sort("sweep", (SWEEP,), LATEST_SWEEP, "varsim sweep")
_BENCH: Final = _Sort("measured host", (BENCH,), LATEST_BENCH, "varsim bench")


def find_run(text: str, out: Path = OUT) -> Path:
    """Return the run that a command-line word names.

    Args:
        text: A path, which has priority; `latest`; or a unique beginning of a run's name in `out`.
            In `FOLDER/latest`, the name is looked up in FOLDER. For each of these forms,
            `RUN/strategy-2` is a further strategy or incarnation, and `RUN/history.db` is a record.
            `SWEEP/3` is the third point of a sweep.
    Returns:
        The run's directory. If `text` is the path of a file, this file. The file of a record is
        missing as long as its traces are not merged.
    Raises:
        ConfigError: No run matches, or several match; the text names the nearest runs.
    """
    path = Path(text)
    is_part = path.name.startswith(STRATEGY) or path.name == HISTORY
    if is_part and path.name != text and not path.expanduser().exists():
        return _part(find_run(str(path.parent), out), path.name)
    refuse_archive(path)
    if (point := find_point(text, out)) is not None:
        return point
    if (sweep := named_sweep(text, out)) is not None:
        raise ConfigError(_is_sweep(sweep))
    return _found(text, out, _RUN)


def refuse_archive(path: Path) -> None:
    """Refuse an archive in place of a run: its folder would be taken for the run's.

    Raises:
        ConfigError: The path is an archive.
    """
    found = False
    with suppress(OSError, ValueError):  # no file can have this name
        found = is_archive(path.expanduser())
    if found:
        unpack = "unzip" if path.suffix == ".zip" else "tar -xf"
        raise ConfigError(
            f"{path} is an archive, and this command takes a run: unpack it by `{unpack} {path}`, "
            "and name the folder of the run"
        )


def named_sweep(text: str, out: Path = OUT) -> Path | None:
    """Return the sweep that a word names, if it does not name a run; None for other words."""
    path = Path(text).expanduser()
    with suppress(OSError, ValueError):  # no file can have this name
        if text and path.exists():
            folder = path.parent if path.name in (SWEEP, SWEEP_FILE) else path
            return folder if (folder / SWEEP).is_file() else None
    within = path.parent if os.sep in text else out
    begun = [name for name in sweep_names(within) if path.name and name.startswith(path.name)]
    if path.name == LATEST_SWEEP or (begun and not _begins_run(path.name, within)):
        with suppress(ConfigError):  # several sweeps, or none
            return find_sweep(text, out)
    return None


def _begins_run(name: str, out: Path) -> bool:
    return any(one.startswith(name) for one in run_names(out))


def _is_sweep(sweep: Path) -> str:
    return (
        f"{sweep} is a sweep, and this command takes a run: give a point, as in {sweep}/1. "
        "`varsim compare`, `varsim report`, `varsim metrics` and `varsim runs` take a sweep, and "
        "`varsim sweep` continues it"
    )


def find_point(text: str, out: Path = OUT) -> Path | None:
    """Return the run of a point that a word such as `latest-sweep/3` names; None for other words.

    Raises:
        ConfigError: There is no such sweep, or it has not run this point.
    """
    path = Path(text).expanduser()
    if not path.name.isdecimal() or path.name == text or path.exists():
        return None
    sweep = path.parent
    if not (sweep / SWEEP).is_file():
        within = sweep.parent if sweep.parent != Path() else out
        named = any(name.startswith(sweep.name) for name in sweep_names(within))
        if sweep.name != LATEST_SWEEP and not named:
            return None
        sweep = find_sweep(str(sweep), out)
    number = int(path.name)
    for folder in sorted(sweep.glob(f"{POINTS}/*-*")):
        first = folder.name.partition("-")[0]
        if first.isdecimal() and int(first) == number:
            return folder
    raise ConfigError(
        f"{sweep} has no run of a point {number}; `varsim compare {sweep}` lists them"
    )


def _part(run: Path, name: str) -> Path:
    """Return a part of a run: its record, or the folder of a strategy or incarnation."""
    if (run / name).exists() or (name == HISTORY and RunFiles(run).has_unmerged_traces):
        return run / name
    if name == HISTORY:
        raise ConfigError(_without_record(run))
    names = [folder.name for folder in further_folders(run)]
    has = f"it has {_listed(names)}" if names else "it has no further strategy or incarnation"
    raise ConfigError(f"{run} has no {name}: {has}")


def find_record(text: str, out: Path = OUT) -> Path:
    """Return the run that a word names, as `find_run` does, and require a record.

    Raises:
        ConfigError: As for `find_run`. Or the run has no record: the text says why, and names the
            option for a record.
    """
    path = find_run(text, out)
    if path.is_dir() and not (path / HISTORY).is_file():
        raise ConfigError(_without_record(path))
    return path


def find_bench(text: str, out: Path = OUT) -> Path:
    """Return the measurement of a host; `latest` is the last measurement."""
    return _found(text, out, _BENCH)


def find_sweep(text: str, out: Path = OUT) -> Path:
    """Return the folder of a sweep; `latest-sweep` is the last one."""
    return _found(text, out, _SWEEP)


def newest_sweep(out: Path = OUT) -> Path:
    """Return the sweep that began last, if no run began later.

    Raises:
        ConfigError: There is no sweep, or a run is newer; the text says what to give.
    """
    sweep, run = next(iter(sweep_names(out)), ""), next(iter(run_names(out)), "")
    if sweep and sweep[:_STAMP_LENGTH] >= run[:_STAMP_LENGTH]:
        return out / sweep
    if not run:
        return find_sweep(LATEST_SWEEP, out)
    several = f", or the last sweep, {LATEST_SWEEP}" if sweep else ""
    raise ConfigError(
        f"say what to compare: the newest in {out}/ is one run, {run}. Give several runs, as in "
        f"`varsim compare latest OTHER`{several}"
    )


def find_run_or_sweep(text: str, out: Path = OUT) -> Path:
    """Return the folder of a run or of a sweep.

    Raises:
        ConfigError: There is none with this name, or there are several.
    """
    path = Path(text).expanduser()
    refuse_archive(path)
    if path.exists():
        folder = path if path.is_dir() else path.parent
        if any((folder / file).exists() for file in (*_RUN.files, *_SWEEP.files)):
            return folder
        raise ConfigError(f"{text} is neither a run nor a sweep")
    within = path.parent if path.parent != Path() else out
    begun = [name for name in sweep_names(within) if name.startswith(path.name)]
    runs = [name for name in run_names(within) if name.startswith(path.name)]
    if path.name == LATEST_SWEEP or path.name in begun or (begun and not runs):
        return find_sweep(text, out)
    if begun and path.name not in runs:
        several = ", ".join(sorted((*begun, *runs)))
        raise ConfigError(f"several runs and sweeps begin with {path.name!r}: {several}")
    found = find_run(text, out)
    return found if found.is_dir() else found.parent


def require_same_name(word: str, path: Path) -> None:
    """Refuse a run whose name has only a number after the word, as that of the same second has.

    The word can be the whole name of a run that was removed before.

    Raises:
        ConfigError: The run has such a name.
    """
    name = Path(word).name
    if _SAME_SECOND.fullmatch(path.name.removeprefix(name)):
        raise ConfigError(f"there is no run {word!r}; if you mean {path}, give its whole name")


def sweep_names(out: Path = OUT) -> list[str]:
    """Return the names of the sweeps in a folder, the newest first."""
    return _names(out, _SWEEP)


def run_names(out: Path = OUT) -> list[str]:
    """Return the names of the runs in a folder, the newest first."""
    return _names(out, _RUN)


def bench_names(out: Path = OUT) -> list[str]:
    """Return the names of the measurements in a folder, the newest first."""
    return _names(out, _BENCH)


def _found(text: str, out: Path, sort: _Sort) -> Path:
    path = Path(text).expanduser()
    with suppress(OSError, ValueError):  # no file can have this name
        if text and path.exists():
            return path
    if os.sep in text:
        out = path.parent
    name = path.name
    names = _names(out, sort)
    if name in {LATEST, sort.latest} and (last := _last(out, sort, names)):
        return out / last
    begun = [one for one in names if name and one.startswith(name)]
    if name in begun:  # other names may begin with this name
        begun = [name]
    if len(begun) != 1:
        raise ConfigError(_unclear(text, out, sort, begun, names))
    return out / begun[0]


def _names(out: Path, sort: _Sort) -> list[str]:
    """Return the names, the newest first; each name begins with the time of the start."""
    try:
        # a link that leads to itself has no kind: `is_dir` raises an error
        folders = [one.name for one in os.scandir(out) if not one.is_symlink() and one.is_dir()]
    except OSError:
        return []
    found = [one for one in folders if any((out / one / file).exists() for file in sort.files)]
    return sorted(found, reverse=True)


def _last(out: Path, sort: _Sort, names: Sequence[str]) -> str:
    """Return the target of the link, or else the newest name; "" if there are no names."""
    link = out / sort.latest
    if not link.is_symlink() or not link.is_dir():
        return next(iter(names), "")
    target = link.resolve().name
    return target if target in names else link.name


def _unclear(text: str, out: Path, sort: _Sort, begun: Sequence[str], names: Sequence[str]) -> str:
    if begun:
        return f"{len(begun)} {sort.what}s in {out}/ begin with {text!r}: {_listed(begun)}"
    if not names:
        return (
            f"there is no {sort.what} {text!r}: it is not a path, and {out}/ contains no "
            f"{sort.what}; `{sort.maker}` creates one"
        )
    name = Path(text).name
    within = [one for one in names if name and name in one]
    near = within or nearest(name, names) or names[:1]
    return (
        f"there is no {sort.what} {text!r}: it is not a path, and no name in {out}/ begins with it"
        f"\n  nearest: {_listed(near)}"
    )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MAX_LISTED
    return ", ".join(names[:_MAX_LISTED]) + (f" and {more} more" if more > 0 else "")


# ---------------------------------------------------------------- runs without a record


def _without_record(path: Path) -> str:
    if has_server_records(path):
        return (
            f"{path} has the record of parameter servers, and no {HISTORY}: closures have no "
            "replicas and no collectives, so there is nothing to replay under other settings. "
            f"`varsim check {path}` judges this record, and `varsim lens {path}` shows who has "
            "read and written which version of a variable"
        )
    if (path / SWEEP).is_file():
        return _is_sweep(path)
    if not any((path / file).is_file() for file in _RUN.files):
        return f"{path} has no {HISTORY}: give a run's directory, its name, or `latest`"
    if _traced_at(path) == OFF:
        return (
            f"{path} has no record: it ran with `trace: off`; run it again with --trace ops, "
            "which is the default"
        )
    if not (path / SUMMARY).is_file():
        return f"{path} has no {HISTORY} yet: the run has not ended, or it was killed"
    if not (path / TRACES).is_dir():
        return (
            f"{path} has no {HISTORY}: its workers did not start, its program used no strategy, or "
            "the file was removed"
        )
    return (
        f"{path} has no {HISTORY}: it could not be written when the run ended; the records of its "
        f"processes are in {TRACES}/"
    )


def _traced_at(path: Path) -> object:
    """Return the level of the experiment's `trace`: the value itself, or its key `level`."""
    from varsim.experiments import yaml_lines  # needed only for an error: completion must be fast
    from varsim.experiments.text_files import read_text

    try:
        text = read_text(path / EXPERIMENT, yaml_lines.MAX_BYTES)
        said = yaml_lines.load(text, EXPERIMENT).values.get("trace")
    except (OSError, ConfigError):
        return None
    return said.get("level") if isinstance(said, dict) else said
