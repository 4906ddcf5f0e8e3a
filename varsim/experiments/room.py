"""Measure the runs in a folder, tag runs, and remove the oldest runs to make room."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from varsim import environment
from varsim.errors import ConfigError
from varsim.experiments.run_files import foreign_files
from varsim.experiments.run_lookup import run_names, sweep_names
from varsim.experiments.sizes import size_bytes
from varsim.experiments.store import EXPERIMENT, POINTS, SWEEP, TAG, RunFiles
from varsim.report.formatting import names, size

LARGE_BYTES: Final = 5 * 2**30
"""From this size on, `room_after` tells the user that a folder has grown large."""

_OF_A_RUN: Final = re.compile(r"\d{8}-\d{6}-.")  # the beginning of the name of a run's directory
_MAX_TAG: Final = 80


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run's directory on disk."""

    path: Path
    size_bytes: int  # total size of its files
    tag: str  # empty if the run has no tag


@dataclass(frozen=True, slots=True)
class Room:
    """The runs that were removed, and the size of the runs that are left."""

    removed: tuple[StoredRun, ...]
    left_bytes: int


def stored_runs(out: Path) -> list[StoredRun]:
    """Return the runs and sweeps in a folder, the newest first. A sweep counts as one run."""
    found = sorted([*run_names(out), *sweep_names(out)], reverse=True)
    return [stored_run(out / name) for name in found]


def stored_run(path: Path) -> StoredRun:
    """Return the size and the tag of one run or sweep."""
    return StoredRun(path, bytes_in(path), tag_of(path))


def tag_of(run: Path) -> str:
    """Return the tag of a run; "" for a run without a tag."""
    try:
        return (run / TAG).read_text("utf-8", "replace")[:_MAX_TAG].strip()
    except OSError:
        return ""


def set_tag(run: Path, tag: str) -> None:
    """Tag a run, so that it is never removed to make room. An empty tag removes the tag.

    Raises:
        ConfigError: The tag has several lines or is too long, or the run is a point of a sweep.
        OSError: The file cannot be written or removed.
    """
    _require_whole(run)
    if len(tag) > _MAX_TAG or not tag.isprintable():
        raise ConfigError(f"the tag {tag!r} is not one line of at most {_MAX_TAG} characters")
    if tag.strip():
        RunFiles(run).write(TAG, tag.strip())
    else:
        (run / TAG).unlink(missing_ok=True)


def _require_whole(run: Path) -> None:
    """Refuse a point of a sweep, because a sweep is kept or removed as a whole.

    Raises:
        ConfigError: It is one.
    """
    points = run.resolve().parent
    if points.name == POINTS and (points.parent / SWEEP).is_file():
        raise ConfigError(
            f"{run} is a point of a sweep, which is kept or removed as a whole: name "
            f"{points.parent}"
        )


def limit_bytes() -> int | None:
    """Return the size limit of the folder of runs, from the environment; None if there is none.

    Raises:
        ConfigError: The environment variable is not a size.
    """
    asked = environment.text(environment.RUNS_LIMIT)
    return None if asked is None else parsed_limit(asked, f"{environment.RUNS_LIMIT}={asked!r}")


def parsed_limit(text: str, where: str) -> int:
    """Return a limit in bytes.

    Args:
        where: Where the user wrote the text, for the error.
    Raises:
        ConfigError: The text is not a size.
    """
    found = size_bytes(text)
    if found is None:
        raise ConfigError(f"{where}: expected a size, such as 2GiB or 500MiB")
    return found


def make_room(out: Path, most_bytes: int, kept: Path | None = None) -> Room:
    """Remove the oldest runs until the runs in a folder have at most `most_bytes`.

    Runs with a tag, runs with files that varsim did not write, runs that have not ended, `kept`,
    and directories that varsim did not make are never removed.

    Raises:
        OSError: A run cannot be removed.
    """
    runs = stored_runs(out)
    left = sum(run.size_bytes for run in runs)
    removed: list[StoredRun] = []
    for run in reversed(runs):
        if left <= most_bytes:
            break
        if run.tag or run.path == kept:
            continue
        try:
            if _is_made(run.path) and not foreign_files(run.path) and _remove(run.path):
                removed.append(run)
                left -= run.size_bytes
        except FileNotFoundError:  # another process has removed it
            left -= run.size_bytes
    return Room(tuple(removed), left)


def remove_run(run: Path, *, force: bool = False) -> StoredRun:
    """Remove a run or a sweep that the user has named.

    Args:
        force: Whether to remove also files in it that varsim did not write.
    Raises:
        ConfigError: It has a tag, it has not ended, it is a point of a sweep, it has files that
            varsim did not write, or varsim did not make its directory.
        FileNotFoundError: Another process has removed it.
        OSError: It cannot be removed.
    """
    _require_whole(run)
    stored = stored_run(run)
    if stored.tag:
        raise ConfigError(
            f"{run} has the tag {stored.tag!r}, so it is not removed: remove the tag first, by "
            f"`varsim runs {run} --untag`"
        )
    if (foreign := foreign_files(run)) and not force:
        raise ConfigError(
            f"{run} is not removed: varsim did not write {names(foreign)} in it. Move what you "
            "need, then add --force, which removes all of it"
        )
    if not _is_made(run):
        raise ConfigError(
            f"{run} is not removed: its name or its files are not those of a directory that "
            "varsim made"
        )
    if not _remove(run):
        raise ConfigError(f"{run} is not removed: it has not ended")
    return stored


def room_after(run: Path) -> str:
    """Apply the limit of the environment after a run. Return a text for the user, or "".

    Without a limit, nothing is removed. If the folder has grown large, the text says how large.
    """
    out = run.parent
    try:
        most_bytes = limit_bytes()
        if most_bytes is None:
            runs = stored_runs(out)
            return _large(out, runs)
        room = make_room(out, most_bytes, kept=run)
    except OSError as error:
        return f"runs in {out}/ cannot be removed: {error.filename}: {error.strerror}"
    said = (
        f"{_removed(room.removed)} from {out}/ ({environment.RUNS_LIMIT})" if room.removed else ""
    )
    if room.left_bytes > most_bytes:
        too_large = (
            f"{out}/ still has {size(room.left_bytes)}: the runs that are left have a tag, files "
            "that varsim did not write, have not ended, or have just ended"
        )
        return f"{said}; {too_large}" if said else too_large
    return said


def _removed(runs: Sequence[StoredRun]) -> str:
    gone = size(sum(run.size_bytes for run in runs))
    which = "the oldest run" if len(runs) == 1 else f"the {len(runs)} oldest runs"
    return f"removed {which} without a tag ({gone})"


def _large(out: Path, runs: Sequence[StoredRun]) -> str:
    used = sum(run.size_bytes for run in runs)
    if used < LARGE_BYTES:
        return ""
    return (
        f"{out}/ has {len(runs)} runs with {size(used)}: `varsim runs` lists them; "
        f"`varsim runs --limit 2GiB` removes the oldest runs, and {environment.RUNS_LIMIT}=2GiB "
        "removes them after every run"
    )


def _is_made(run: Path) -> bool:
    """Return whether a directory has a name and a file that varsim gives to a run."""
    made = any((run / file).is_file() for file in (EXPERIMENT, SWEEP))
    return made and _OF_A_RUN.match(run.name) is not None


def _remove(run: Path) -> bool:
    """Remove a run's directory. Return False if the run has not ended.

    Raises:
        OSError: It cannot be removed, or not all of it.
    """
    with RunFiles(run).claimed() as is_claimed:
        if is_claimed:
            try:
                shutil.rmtree(run)
            except OSError as error:  # its own path begins in the run
                raise OSError(error.errno, error.strerror, str(run)) from error
        return is_claimed


def bytes_in(folder: Path) -> int:
    """Return the total size of the files in a folder. Links are not followed."""
    return sum(map(bytes_of, _files_in(folder)))


def bytes_of(file: os.DirEntry[str]) -> int:
    """Return the size of a file; 0 if another process, such as that of the run, removes it now."""
    try:
        return file.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0


def _files_in(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        entries = list(os.scandir(folder))
    except OSError:  # a run that another process removes now
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files_in(Path(entry.path))
        else:
            yield entry
