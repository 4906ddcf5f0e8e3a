"""Make, write and read the folder of a sweep; docs/results.md describes its files."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, Final

from varsim.errors import ConfigError
from varsim.experiments.store import POINTS, SWEEP, SWEEP_FILE, RunFiles, json_text
from varsim.experiments.text_files import first_problem, read_object
from varsim.private import make_private_folder
from varsim.report.json_schema import schema_of
from varsim.report.summary import Plain

VERSION: Final = 1
"""Version of `sweep.json`; it is increased when a field is removed or changes its meaning."""

_KILLED: Final = "the process of the sweep was killed"


class PointStatus(Enum):
    """The state of a point of a sweep."""

    WAITING = "waiting"  # it has not begun
    RUNNING = "running"  # it runs; in the file also if its process was killed
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    DONE = "done"

    @property
    def has_ended(self) -> bool:
        """Return whether the point is kept when the sweep is resumed."""
        return self in (PointStatus.DONE, PointStatus.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPoint:
    """One point of a sweep: a combination of values, and its run."""

    number: int  # counted from 1
    settings: dict[str, Plain]  # the keys that vary, with dots for nested keys → value
    status: PointStatus  # "waiting", "running", "interrupted", "failed" or "done"
    run: str  # the name of the run's folder in points/
    error: str = ""  # one line that says why the point failed; "" if it did not fail
    seconds: float | None = None  # time of the run, with merge and verdict; null before its end
    node: str = ""  # the node on which it ran; "" for a point of a sweep that is not spread
    overhead_s: float | None = None
    """What its place on the node was kept for, beside the run; null for a sweep that is not spread.
    The wait for Ray while a node had a place, the start of a process, and the way home."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A sweep: the content of `sweep.json`."""

    name: str  # the name of the experiment
    varsim: str  # the version of varsim
    started: str  # local time with its offset, ISO 8601
    program: str  # digest of the sources of a user's programs; "" for built-in workloads
    points: list[SweepPoint]  # in the order in which they run
    earlier_programs: list[str] = field(default_factory=list)  # digests of programs changed later

    @property
    def keys(self) -> list[str]:
        """Return the keys that vary, in their order."""
        return list(self.points[0].settings)

    def count(self, status: PointStatus) -> int:
        """Return the number of points with this state."""
        return sum(point.status is status for point in self.points)

    @property
    def state(self) -> str:
        """Return how many points are done and have failed: "14 of 16 points, 1 failed"."""
        failed = self.count(PointStatus.FAILED)
        said = f"{self.count(PointStatus.DONE)} of {len(self.points)} points"
        return f"{said}, {failed} failed" if failed else said


class SweepFolder:
    """The folder of a sweep, with the sweep as it was last saved or read."""

    def __init__(self, files: RunFiles, sweep: Sweep) -> None:
        self.files = files
        self.sweep = sweep

    @property
    def path(self) -> Path:
        """Return the folder."""
        return self.files.path

    def run_folder(self, point: SweepPoint) -> Path:
        """Return the folder of a point's run, which may not exist yet."""
        return self.path / POINTS / point.run

    def check_links(self) -> None:
        """Refuse links in place of points: the old files of an unfinished point are removed.

        Raises:
            ConfigError: The folder of the points or the folder of a point is a link.
        """
        folders = (self.path / POINTS, *map(self.run_folder, self.sweep.points))
        link = next((one for one in folders if one.is_symlink()), None)
        if link is not None:
            raise ConfigError(
                f"{link} is a link to another folder, so this sweep cannot be continued: move the "
                "folder itself to this place"
            )

    def note(self, number: int, **changes: Any) -> SweepPoint:
        """Save other values of a point's fields, and return the point.

        Raises:
            OSError: The file cannot be written.
        """
        points = list(self.sweep.points)
        points[number - 1] = changed = replace(points[number - 1], **changes)
        self.sweep = replace(self.sweep, points=points)
        self.save()
        return changed

    def read_again(self) -> None:
        """Read what another process, which has run the sweep meanwhile, has saved.

        Raises:
            ConfigError: The sweep cannot be read any more.
        """
        self.sweep = read_sweep(self.path).sweep

    def change_program(self, program: str) -> None:
        """Record that the points which still run have another program.

        Raises:
            OSError: The file cannot be written.
        """
        earlier = [*self.sweep.earlier_programs, self.sweep.program]
        self.sweep = replace(self.sweep, program=program, earlier_programs=earlier)
        self.save()

    def save(self) -> None:
        """Write `sweep.json`; a failure leaves the file as it was.

        Raises:
            OSError: The file cannot be written.
        """
        points = [asdict(one) | {"status": one.status.value} for one in self.sweep.points]
        fields = {"version": VERSION, **asdict(self.sweep), "points": points}
        self.files.write(SWEEP, json_text(fields))

    def make_room_for(self, point: SweepPoint) -> Path:
        """Remove what an unfinished point has left, and return the folder for its run.

        Raises:
            OSError: The old folder cannot be removed, or the new parent cannot be created.
        """
        folder = self.run_folder(point)
        make_private_folder(folder.parent)
        if folder.exists():
            shutil.rmtree(folder)
        return folder


def read_sweep(path: Path) -> SweepFolder:
    """Read the sweep in a folder. A point whose process was killed is interrupted.

    Raises:
        ConfigError: The folder has no sweep, or its `sweep.json` is damaged or of another version.
    """
    from pydantic import TypeAdapter, ValidationError

    file = path / SWEEP
    values = read_object(file, "run the sweep")
    version = values.pop("version", None)
    if version != VERSION:
        raise ConfigError(f"{file}: a sweep of version {version}; this varsim reads {VERSION}")
    try:
        sweep = TypeAdapter(Sweep).validate_python(values)
    except ValidationError as error:
        raise ConfigError(f"{file} is not a sweep: {first_problem(error)}") from None
    _check(file, sweep.points)
    files = RunFiles(path)
    if any(point.status is PointStatus.RUNNING for point in sweep.points):
        with files.claimed() as ours:  # the process of a sweep locks its folder
            if ours:
                sweep = replace(sweep, points=[_without_process(one) for one in sweep.points])
    return SweepFolder(files, sweep)


def _without_process(point: SweepPoint) -> SweepPoint:
    """Return a point as it is if no process runs the sweep."""
    if point.status is not PointStatus.RUNNING:
        return point
    return replace(point, status=PointStatus.INTERRUPTED, error=_KILLED)


def is_sweep(path: Path) -> bool:
    """Return whether a folder has a sweep."""
    return (path / SWEEP).is_file() and (path / SWEEP_FILE).is_file()


def schema() -> dict[str, Any]:
    """Return the JSON Schema of `sweep.json`."""
    return schema_of(Sweep, VERSION, "varsim sweep")


def _check(file: Path, points: Sequence[SweepPoint]) -> None:
    """Refuse a file whose points readers cannot rely on.

    Raises:
        ConfigError: The numbers are not 1, 2, …, the settings have different keys, or the name of a
            folder leads out of the sweep.
    """
    names = [point.run for point in points]
    numbered = [point.number for point in points] == list(range(1, len(points) + 1))
    alike = len({tuple(point.settings) for point in points}) == 1
    inside = all(name and Path(name).name == name and name != ".." for name in names)
    if not (numbered and alike and inside and len(set(names)) == len(names)):
        raise ConfigError(
            f"{file} is not a sweep: its points need the numbers 1, 2, …, the same settings, and "
            "different names of folders"
        )
