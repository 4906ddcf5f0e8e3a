"""Make, write and read a run's directory; docs/results.md describes its files."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from varsim.errors import ConfigError
from varsim.experiments.key_locations import WrongKey
from varsim.experiments.text_files import first_problem, read_object
from varsim.private import FOLDER_MODE, whole_private_file
from varsim.report.json_schema import schema_of
from varsim.report.summary import RunStatus, Summary
from varsim.tracing.history import HISTORY, ORACLE
from varsim.tracing.history import TRACES as TRACES  # noqa: PLC0414  # one of a run's files
from varsim.tracing.served_record import has_server_records
from varsim.tracing.trace_format import PROGRAM, file_name
from varsim.visible import OBEYED

if TYPE_CHECKING:
    from pydantic import TypeAdapter

VERSION: Final = 2
"""Version of `summary.json`; it is increased when a field is removed or changes its meaning."""

SUMMARY: Final = "summary.json"
EXPERIMENT: Final = "experiment.yaml"
LOGS: Final = "logs"
TAG: Final = "tag.txt"
REPORT: Final = "report.html"
CHECKPOINTS: Final = "checkpoints"
PILOT: Final = "pilot"
STRATEGY: Final = "strategy-"
INCARNATION: Final = "incarnation.json"
LATEST: Final = "latest"
SWEEP: Final = "sweep.json"
SWEEP_FILE: Final = "sweep.yaml"
POINTS: Final = "points"
LATEST_SWEEP: Final = "latest-sweep"
BENCH: Final = "bench.json"
LATEST_BENCH: Final = "latest-bench"
_MAX_SAME_SECOND: Final = 1000  # runs with the same name; more of them mean another problem


class RunFiles:
    """The folder for the logs and traces of a run's processes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def logs(self) -> Path:
        """Return the folder of the workers' logs."""
        return self.path / LOGS

    @property
    def traces(self) -> Path:
        """Return the folder of the processes' traces, until they are merged into the history."""
        return self.path / TRACES

    @property
    def has_unmerged_traces(self) -> bool:
        """Return whether there are traces, but no history."""
        return not (self.path / HISTORY).exists() and (self.traces / file_name(PROGRAM)).exists()

    def save(self, summary: Summary) -> None:
        """Write the summary."""
        self.path.mkdir(FOLDER_MODE, exist_ok=True)
        self.write(SUMMARY, as_json(summary))

    @property
    def place(self) -> tuple[int, int] | None:
        """Return the noted numbers of the strategy and of its incarnation; None if there is none.

        A run that was killed has no summary with these numbers.
        """
        try:
            noted = read_object(self.path / INCARNATION, "run the experiment")
        except ConfigError:
            return None
        match noted:
            case {"strategy": int(strategy), "incarnation": int(incarnation)}:
                return strategy, incarnation
        return None

    def note_place(self, strategy: int, incarnation: int) -> None:
        """Note which incarnation of which strategy uses the folder."""
        self.write(INCARNATION, json_text({"strategy": strategy, "incarnation": incarnation}))

    def write(self, name: str, text: str) -> None:
        """Write a text and a newline into a file; a failure leaves the file unchanged."""
        with whole_private_file(self.path / name, follows=False) as file:
            file.write(f"{text}\n".encode())

    def of_run(self) -> RunFiles:
        """Return the files of the run to which these files of a strategy or an oracle belong."""
        path = self.path.absolute()
        is_part = path.name in {ORACLE, PILOT} or path.name.startswith(STRATEGY)
        return RunFiles(path.parent) if is_part and (path.parent / EXPERIMENT).is_file() else self

    @contextmanager
    def claimed(self) -> Iterator[bool]:
        """Lock the folder within the block. Yield False if another process has locked it.

        The lock distinguishes a run that has not ended from one whose process was killed.

        Raises:
            FileNotFoundError: There is no such folder, or another process has removed it.
        """
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield True
        except BlockingIOError:
            yield False
        finally:
            os.close(descriptor)

    def discard_traces(self) -> None:
        """Remove the traces."""
        shutil.rmtree(self.traces, ignore_errors=True)

    def discard(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)


class RunDirectory(RunFiles):
    """The directory of one run, which exists from the start of the run."""

    def __init__(self, path: Path, made: list[Path], latest: Path | None) -> None:
        super().__init__(path)
        self._made = made  # the parent directories that were created for the run, innermost first
        self._latest = latest
        self._latest_before = None
        if latest is not None:
            self._latest_before = _link_target(latest)
            _link(latest, path.name)

    @staticmethod
    def make(out: Path, title: str, now: datetime, *, latest: str = LATEST) -> RunDirectory:
        """Create `<out>/<time>-<title>`, and let `<out>/<latest>` point at it.

        Raises:
            WrongKey: The directory cannot be created in `out`.
        """
        made: list[Path] = []
        try:
            for folder in reversed([out, *out.parents]):
                if not folder.exists():
                    with suppress(FileExistsError):  # another run has created it meanwhile
                        folder.mkdir()
                        made.insert(0, folder)
            path = _new_folder(out, f"{now:%Y%m%d-%H%M%S}-{title}")
        except (OSError, ValueError) as error:  # ValueError: a null character in the name
            _remove_empty(made)
            why = error.strerror if isinstance(error, OSError) else error
            raise WrongKey(("out",), f"{str(out)!r} cannot be written: {why}") from None
        return RunDirectory(path, made, out / latest)

    @staticmethod
    def at(path: Path) -> RunDirectory:
        """Create exactly this folder, without a link to it.

        Raises:
            WrongKey: The folder exists, or cannot be created.
        """
        try:
            path.mkdir(FOLDER_MODE)
        except OSError as error:
            raise WrongKey(("out",), f"{str(path)!r} cannot be written: {error.strerror}") from None
        return RunDirectory(path, [], None)

    @property
    def oracle(self) -> RunFiles:
        """Return the files of the single-device oracle."""
        return RunFiles(self.path / ORACLE)

    @property
    def pilot(self) -> RunFiles:
        """Return the files of the pilot run."""
        return RunFiles(self.path / PILOT)

    def strategy(self, number: int) -> RunFiles:
        """Return the files of a further strategy. The first strategy uses the run's own files."""
        return RunFiles(self.path / f"{STRATEGY}{number}")

    def write_experiment(self, text: str) -> None:
        """Write the experiment with all defaults; a failure leaves no file."""
        self.write(EXPERIMENT, text.removesuffix("\n"))

    def discard(self) -> None:
        """Remove the directory, and restore the target of `latest`."""
        super().discard()
        if self._latest is not None and _link_target(self._latest) == self.path.name:
            with suppress(OSError):
                self._latest.unlink()
            if self._latest_before is not None:
                _link(self._latest, self._latest_before)
        _remove_empty(self._made)


def _new_folder(out: Path, name: str) -> Path:
    for number in range(1, _MAX_SAME_SECOND):
        path = out / (name if number == 1 else f"{name}-{number}")
        with suppress(FileExistsError):
            path.mkdir(FOLDER_MODE)
            return path
    raise FileExistsError(0, f"there are {_MAX_SAME_SECOND} runs called {name!r}")


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _link_target(link: Path) -> str | None:
    try:
        return str(link.readlink())
    except OSError:
        return None


def _link(link: Path, target: str) -> None:
    """Create or move a link, if the file system has links and no other file has the name."""
    temporary = link.with_name(f".{link.name}-{os.getpid()}")
    with suppress(OSError):
        temporary.symlink_to(target)
        try:
            temporary.replace(link)
        except OSError:
            temporary.unlink()


# ---------------------------------------------------------------- summary.json


def as_json(summary: Summary) -> str:
    """Return the text of `summary.json`."""
    return json_text({"version": VERSION, **asdict(summary), "status": summary.status.value})


_encode: Final = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode


def json_text(value: Any, indent: str = "") -> str:
    """Return JSON with a line for each value of an object, and plain lists in one line."""
    inner = indent + "  "
    if isinstance(value, dict) and value:
        lines = [f"{json.dumps(key)}: {json_text(one, inner)}" for key, one in value.items()]
        brackets = "{}"
    elif isinstance(value, list) and any(isinstance(one, dict | list) for one in value):
        lines = [json_text(one, inner) for one in value]
        brackets = "[]"
    else:
        text = _encode(value)
        return OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    body = ",\n".join(inner + line for line in lines)
    return f"{brackets[0]}\n{body}\n{indent}{brackets[1]}"


def schema() -> dict[str, Any]:
    """Return the JSON Schema of `summary.json`."""
    return schema_of(Summary, VERSION, "varsim summary")


@cache
def _adapter() -> TypeAdapter[Summary]:
    """Return what checks plain values; creating it takes longer than reading a summary."""
    from pydantic import TypeAdapter

    return TypeAdapter(Summary)


def load_summary(path: Path) -> Summary:
    """Read a run's summary.

    Args:
        path: A run's directory, or a `summary.json`.
    Raises:
        ConfigError: The file does not exist, is not a summary, or has another version.
    """
    file = path / SUMMARY if path.is_dir() else path
    return from_plain(read_object(file, "run the experiment"), str(file))


def further_folders(path: Path) -> list[Path]:
    """Return the folders of all strategies of a run except the first, in their order."""
    files = (SUMMARY, INCARNATION, HISTORY, TRACES)  # a run that was killed has no summary
    found = path.glob(f"{STRATEGY}[0-9]*")
    folders = [
        one
        for one in found
        if one.name.removeprefix(STRATEGY).isdecimal()
        and (any((one / file).exists() for file in files) or has_server_records(one))
    ]
    return sorted(folders, key=lambda one: int(one.name.removeprefix(STRATEGY)))


def from_plain(values: Any, name: str) -> Summary:
    """Return the summary that a JSON object holds.

    Raises:
        ConfigError: The object is not a summary, or has another version.
    """
    from pydantic import ValidationError

    version = values.pop("version", None) if isinstance(values, dict) else None
    if version == 1:
        values = _of_version_1(values)
    elif version != VERSION:
        raise ConfigError(f"{name}: a summary of version {version}; this varsim reads {VERSION}")
    try:
        return _adapter().validate_python({**values, "status": RunStatus(values["status"])})
    except (ValidationError, ValueError, KeyError) as error:
        why = first_problem(error) if isinstance(error, ValidationError) else error
        raise ConfigError(f"{name} is not the summary of a run: {why}") from None


def _of_version_1(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of version 1 with the current names: `location` was called `place`."""
    failure = values.get("failure")
    if not isinstance(failure, dict):
        return values
    named = {"location" if key == "place" else key: value for key, value in failure.items()}
    return {**values, "failure": named}
