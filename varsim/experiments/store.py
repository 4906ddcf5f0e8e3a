"""A run's directory, and what is kept in it: docs/results.md tells what each file is."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from varsim.errors import ConfigError
from varsim.experiments.key_locations import WrongKey
from varsim.report.summary import RunStatus, Summary
from varsim.tracing.history import ORACLE
from varsim.visible import OBEYED

VERSION: Final = 1
"""Of `summary.json`; it grows when a field changes its meaning or goes."""

SUMMARY: Final = "summary.json"
EXPERIMENT: Final = "experiment.yaml"
LOGS: Final = "logs"
TRACES: Final = "trace"
PILOT: Final = "pilot"
STRATEGY: Final = "strategy-"
LATEST: Final = "latest"
BENCH: Final = "bench.json"
LATEST_BENCH: Final = "latest-bench"
_MAX_SAME_SECOND: Final = 1000  # runs of one name; more means that something else is wrong


class RunFiles:
    """Where the processes of a run leave what they say and do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def logs(self) -> Path:
        """Where each worker's log goes."""
        return self.path / LOGS

    @property
    def traces(self) -> Path:
        """Where each process records what it does, until that is merged into the history."""
        return self.path / TRACES

    def save(self, summary: Summary) -> None:
        """Writes the summary."""
        self.path.mkdir(exist_ok=True)
        self.write(SUMMARY, as_json(summary))

    def write(self, name: str, text: str) -> None:
        """Writes a file and a line's end: the whole of it or, if that fails, nothing."""
        temporary = self.path / f".{name}"
        temporary.write_text(text + "\n", "utf-8")
        temporary.replace(self.path / name)

    @contextmanager
    def claimed(self) -> Iterator[bool]:
        """Within the block the files are this process's; False if they are another's already.

        So a run that still goes on is known from one whose process was killed.
        """
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield True
        except BlockingIOError:
            yield False
        finally:
            os.close(descriptor)

    def discard(self) -> None:
        """Removes everything, as if there had been no run."""
        shutil.rmtree(self.path, ignore_errors=True)


class RunDirectory(RunFiles):
    """The files of one run, in a directory of its own that exists from the beginning."""

    def __init__(self, path: Path, made: list[Path], latest: Path) -> None:
        super().__init__(path)
        self._made = made  # the directories above it that were made for it, innermost first
        self._latest = latest
        self._latest_before = _link_target(latest)
        _link(latest, path.name)

    @staticmethod
    def make(out: Path, title: str, now: datetime, *, latest: str = LATEST) -> RunDirectory:
        """Makes `<out>/<time>-<title>`, and points `<out>/<latest>` at it.

        Raises:
            WrongKey: It cannot be made there.
        """
        made: list[Path] = []
        try:
            for folder in reversed([out, *out.parents]):
                if not folder.exists():
                    folder.mkdir()
                    made.insert(0, folder)
            path = _new_folder(out, f"{now:%Y%m%d-%H%M%S}-{title}")
        except (OSError, ValueError) as error:  # ValueError: a null character in the name
            _remove_empty(made)
            why = error.strerror if isinstance(error, OSError) else error
            raise WrongKey(("out",), f"nothing can be written to {str(out)!r}: {why}") from None
        return RunDirectory(path, made, out / latest)

    @property
    def oracle(self) -> RunFiles:
        """What the same program did on one replica, if it was run there."""
        return RunFiles(self.path / ORACLE)

    @property
    def pilot(self) -> RunFiles:
        """What a short run before it did, if it takes that one's advice."""
        return RunFiles(self.path / PILOT)

    def strategy(self, number: int) -> RunFiles:
        """What the strategy of this number did; the first one's files are the run's own."""
        return RunFiles(self.path / f"{STRATEGY}{number}")

    def write_experiment(self, text: str) -> None:
        """Writes the experiment as it is run, with all that was left to defaults."""
        (self.path / EXPERIMENT).write_text(text, "utf-8")

    def discard(self) -> None:
        """Removes everything, and points `latest` at what it pointed at before."""
        super().discard()
        if _link_target(self._latest) == self.path.name:
            with suppress(OSError):
                self._latest.unlink()
            if self._latest_before is not None:
                _link(self._latest, self._latest_before)
        _remove_empty(self._made)


def _new_folder(out: Path, name: str) -> Path:
    for number in range(1, _MAX_SAME_SECOND):
        path = out / (name if number == 1 else f"{name}-{number}")
        with suppress(FileExistsError):
            path.mkdir()
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
    """Makes or moves a link; a file system without links, or a folder of that name, has none."""
    temporary = link.with_name(f".{link.name}-{os.getpid()}")
    with suppress(OSError):
        temporary.symlink_to(target)
        try:
            temporary.replace(link)
        except OSError:
            temporary.unlink()


# ---------------------------------------------------------------- summary.json


def as_json(summary: Summary) -> str:
    """The summary as the text of `summary.json`."""
    return json_text({"version": VERSION, **asdict(summary), "status": summary.status.value})


def json_text(value: Any, indent: str = "") -> str:
    """JSON with a line for each value of an object, and lists of plain values in one line."""
    inner = indent + "  "
    if isinstance(value, dict) and value:
        lines = [f"{json.dumps(key)}: {json_text(one, inner)}" for key, one in value.items()]
        brackets = "{}"
    elif isinstance(value, list) and any(isinstance(one, dict | list) for one in value):
        lines = [json_text(one, inner) for one in value]
        brackets = "[]"
    else:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        return OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    body = ",\n".join(inner + line for line in lines)
    return f"{brackets[0]}\n{body}\n{indent}{brackets[1]}"


def schema() -> dict[str, Any]:
    """The JSON Schema of `summary.json`."""
    from pydantic import TypeAdapter

    schema = TypeAdapter(Summary).json_schema()
    schema["properties"] = {"version": {"const": VERSION}, **schema["properties"]}
    schema["required"] = ["version", *schema["required"]]
    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {**draft, **schema, "title": "varsim summary"}


def load_summary(path: Path) -> Summary:
    """Reads a run's summary.

    Args:
        path: A run's directory, or a `summary.json`.
    Raises:
        ConfigError: There is none, or it is none, or another version wrote it.
    """
    file = path / SUMMARY if path.is_dir() else path
    try:
        values = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{file} is no JSON: {error}") from None
    return from_plain(values, str(file))


def further_folders(path: Path) -> list[Path]:
    """The folders of a run's strategies after the first, in their order."""
    folders = [one for one in path.glob(f"{STRATEGY}[0-9]*") if (one / SUMMARY).is_file()]
    return sorted(folders, key=lambda one: int(one.name.removeprefix(STRATEGY)))


def from_plain(values: Any, name: str) -> Summary:
    """The summary that a JSON object stands for.

    Raises:
        ConfigError: It stands for none, or another version wrote it.
    """
    from pydantic import TypeAdapter, ValidationError

    version = values.pop("version", None) if isinstance(values, dict) else None
    if version != VERSION:
        raise ConfigError(f"{name}: a summary of version {version}; this varsim reads {VERSION}")
    try:
        return TypeAdapter(Summary).validate_python(
            {**values, "status": RunStatus(values["status"])}
        )
    except (ValidationError, ValueError, KeyError) as error:
        raise ConfigError(f"{name} is not the summary of a run: {error}") from None
