"""Write a run into one archive that does not identify the machine: `varsim export`."""

from __future__ import annotations

import getpass
import json
import platform
import re
import shutil
import site
import sqlite3
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import varsim
from varsim.errors import ConfigError
from varsim.experiments import yaml_lines
from varsim.experiments.carried_program import ORIGIN, PROGRAM, origin_of
from varsim.experiments.metric_series import METRICS
from varsim.experiments.recording import merge_what_is_left
from varsim.experiments.run_archive import FORMATS
from varsim.experiments.store import (
    EXPERIMENT,
    INCARNATION,
    LOGS,
    PILOT,
    STRATEGY,
    SUMMARY,
    TRACES,
    RunFiles,
    further_folders,
    json_text,
    load_summary,
)
from varsim.experiments.text_files import read_object, read_text
from varsim.private import whole_private_file
from varsim.texts import saving
from varsim.tracing.crash_safe_log import tail_of
from varsim.tracing.history import HISTORY, LEFT_OUT, ORACLE, open_history, upgrade
from varsim.tracing.progress import Tell
from varsim.tracing.served_record import record_files, rewrite
from varsim.transport.folders import PrivateFolder, new_path

_CLASS: Final = re.compile(r"[A-Za-z_][\w.]*(?=:|$)")
_WITHOUT_VALUES: Final = frozenset(
    "version status failure varsim started directory experiment devices seconds step total_steps "
    "variables verdict advice calls closures closures_ended servers interrupted carried".split()
)
"""The keys of a summary that stay in an export without values."""
DEFAULT_FORMAT: Final = FORMATS[0]


@dataclass(slots=True)
class Exported:
    """The content of an archive."""

    file: Path
    names: list[str] = field(default_factory=list)  # the paths of the files in the run's folder
    left_out: list[str] = field(default_factory=list)  # what was left out, as phrases
    not_whole: list[str] = field(default_factory=list)  # what the run itself lacks, as sentences
    # The file:line of each line that may still identify this machine.
    look_at: list[str] = field(default_factory=list)


def export_run(
    run: Path, file: Path, *, source: bool = True, values: bool = True, tell: Tell | None = None
) -> Exported:
    """Write a run into an archive. After a failure, no file is left.

    The traces of a run that was killed are merged first.

    Args:
        file: The archive. Its name determines the format: .tar.gz, .tgz or .zip.
        source: Whether to include the program.
        values: Whether to include the values of variables, results, logs and texts of errors.
        tell: Receives the merged fraction of each record that the run did not merge.
    Raises:
        ConfigError: `run` is not a run or has not ended, or the format is unknown.
        OSError: The archive cannot be written.
    """
    if not any((run / name).is_file() for name in (SUMMARY, EXPERIMENT)):
        raise ConfigError(f"{run} has no {SUMMARY} and no {EXPERIMENT}: it is not a run")
    if not file.name.endswith(FORMATS):
        raise ConfigError(f"{file}: the name must end in {', '.join(FORMATS)}")
    exported = Exported(file)
    _complete(run, exported, tell)
    with PrivateFolder(new_path("export-")) as temporary:
        copy = temporary.path / run.resolve().name
        _Copy(run, copy, exported, source=source, values=values).make()
        exported.names = sorted(
            one.relative_to(copy).as_posix() for one in copy.rglob("*") if one.is_file()
        )
        with whole_private_file(file) as written:
            _pack(copy, written, zipped=file.suffix == ".zip")
    return exported


def _complete(run: Path, exported: Exported, tell: Tell | None) -> None:
    """Merge the traces that a run did not merge, and note what it lacks.

    Raises:
        ConfigError: The run has not ended.
    """
    with RunFiles(run).claimed() as ours:
        if not ours:
            raise ConfigError(saving.NOT_ENDED.format(run=run))
    if not (run / SUMMARY).is_file():
        exported.not_whole.append(saving.WITHOUT_SUMMARY.format(run=run, summary=SUMMARY))
    for folder in (run, run / ORACLE, run / PILOT, *further_folders(run)):
        try:
            merge_what_is_left(RunFiles(folder), tell=tell)
        except ConfigError as error:
            exported.not_whole.append(saving.WITHOUT_RECORD.format(problem=error))


def _pack(folder: Path, file: BinaryIO, *, zipped: bool) -> None:
    if zipped:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(folder.rglob("*")):
                archive.write(path, path.relative_to(folder.parent))
        return

    def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    with tarfile.open(fileobj=file, mode="w:gz") as packed:
        packed.add(folder, folder.name, filter=anonymous)


class _Copy:
    """A copy of a run that does not identify this machine."""

    def __init__(
        self, run: Path, copy: Path, exported: Exported, *, source: bool, values: bool
    ) -> None:
        self._run, self._copy = run, copy
        self._exported = exported
        self._source, self._values = source, values
        origin = origin_of(run)
        folders = (origin.get("program"), origin.get("working_directory"), str(run.resolve()))
        self._redaction = Redaction(one for one in folders if isinstance(one, str))

    def make(self) -> None:
        """Copy what may be exported, and list what is left out."""
        self._files_of(self._run, self._copy)
        for path in sorted(self._run.iterdir()):
            strategy = path.name.startswith(STRATEGY)
            if path.is_dir() and (path.name in (ORACLE, PILOT) or strategy):
                self._files_of(path, self._copy / path.name)
        self._program()
        if not self._values:
            self._leave_out(
                "values: values of variables, results, metrics, findings, logs, texts of errors"
            )
        known = {EXPERIMENT, INCARNATION, SUMMARY, HISTORY, METRICS}
        known |= {LOGS, ORACLE, PILOT, PROGRAM, ORIGIN}
        for record in record_files(self._run):
            known |= {record.name, tail_of(record).name}
        for path in sorted(self._run.iterdir()):
            if path.name not in known and not path.name.startswith((STRATEGY, ".")):
                which = " (the records as the processes wrote them)" if path.name == TRACES else ""
                self._leave_out(f"{path.name}{which}")

    def _leave_out(self, what: str) -> None:
        self._exported.left_out.append(what)

    def _files_of(self, folder: Path, copy: Path) -> None:
        copy.mkdir(parents=True)
        if (folder / EXPERIMENT).is_file():
            self._experiment(folder / EXPERIMENT, copy / EXPERIMENT)
        if (folder / SUMMARY).is_file():
            self._summary(folder / SUMMARY, copy / SUMMARY)
        elif (folder / INCARNATION).is_file():  # says what the missing summary would say
            shutil.copyfile(folder / INCARNATION, copy / INCARNATION)
        if self._values and (folder / METRICS).is_file():
            shutil.copyfile(folder / METRICS, copy / METRICS)
        if (folder / HISTORY).is_file():
            self._history(folder / HISTORY, copy / HISTORY)
        for record in record_files(folder):
            rewrite(record, copy / record.name, self._redaction.of_paths, values=self._values)
        for log in sorted((folder / LOGS).glob("*")) if self._values else ():
            (copy / LOGS).mkdir(exist_ok=True)
            text = log.read_text("utf-8", "surrogateescape")
            redacted = self._redaction.of_all(text)
            (copy / LOGS / log.name).write_text(redacted, "utf-8", "surrogateescape")

    def _experiment(self, file: Path, copy: Path) -> None:
        text = read_text(file, yaml_lines.MAX_BYTES)
        keys = yaml_lines.load(text, str(file)).values
        keys.pop("out", None)
        comments = [line for line in text.splitlines() if line.startswith("#")]
        text = yaml_lines.dump(self._redaction.of_value(keys))
        copy.write_text("\n".join([*comments, text]), "utf-8")

    # ------------------------------------------------------------ the summary

    def _summary(self, file: Path, copy: Path) -> None:
        load_summary(file)  # raises an error if the file is not a summary
        summary = read_object(file, "run the experiment")
        summary["experiment"].pop("out", None)
        inner = self._copy.name if copy.parent == self._copy else copy.parent.name
        summary["directory"] = inner
        failure: Any = summary.get("failure")
        for key in ("text", "traceback") if failure else ():
            failure[key] = self._redaction.of_all(failure[key])
        if "warnings" in summary:  # an export without values has none
            summary["warnings"] = [self._redaction.of_all(one) for one in summary["warnings"]]
        if not self._source and summary.get("carried"):
            carried = summary["carried"]
            carried["left_out"] += [f"{name}: left out of the export" for name in carried["files"]]
            carried["files"] = []
        if not self._values:
            _forget_values(summary)
        copy.write_text(json_text(self._redaction.of_value(summary)) + "\n", "utf-8")

    # ------------------------------------------------------------ the history

    def _history(self, file: Path, copy: Path) -> None:
        rough = copy.with_name(f".{copy.name}")
        with open_history(file):  # raises an error if it is damaged, or changes
            shutil.copyfile(file, rough)
            self._redact_history(rough, copy)
        rough.unlink()

    def _redact_history(self, rough: Path, copy: Path) -> None:
        with closing(sqlite3.connect(rough, isolation_level=None)) as history:
            history.execute("PRAGMA journal_mode=OFF")
            upgrade(history)
            history.create_function("without_paths", 1, self._paths, deterministic=True)
            history.create_function("without_names", 1, self._said, deterministic=True)
            history.execute("UPDATE variables SET created_at = without_paths(created_at)")
            history.execute(
                "UPDATE run SET value = without_paths(value) WHERE key = 'policy_files'"
            )
            history.execute(
                "UPDATE events SET location = without_paths(location) WHERE location LIKE '%/%'"
            )
            history.execute(
                "UPDATE events SET note = without_names(note) "
                "WHERE note IS NOT NULL AND kind IN ('raise', 'finish', 'abort', 'lost')"
            )
            if not self._values:
                history.execute("DELETE FROM samples")
                history.execute("UPDATE events SET value = NULL, digest = NULL, indices = NULL")
                history.execute(
                    "INSERT OR REPLACE INTO run VALUES (?, ?)", (LEFT_OUT, json.dumps(["values"]))
                )
            # Copy without the freed pages: they still contain the replaced values.
            history.execute("VACUUM INTO ?", (str(copy),))

    def _paths(self, text: Any) -> Any:
        return self._redaction.of_paths(text) if isinstance(text, str) else text

    def _said(self, text: Any) -> Any:
        if not isinstance(text, str):
            return text
        return self._redaction.of_all(text) if self._values else _kind_of(text)

    # ------------------------------------------------------------ the program

    def _program(self) -> None:
        program = self._run / PROGRAM
        if not program.is_dir():
            return
        if not self._source:
            self._leave_out(f"source: {PROGRAM}/; errors and findings may quote lines of it")
            return
        for file in sorted(program.rglob("*")):
            name = file.relative_to(self._run)
            if file.is_file() and "__pycache__" not in name.parts:
                (self._copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, self._copy / name)
                self._exported.look_at += list(self._still_named(file, name))

    def _still_named(self, file: Path, name: Path) -> Iterator[str]:
        """Yield the lines of a source that may identify this machine. Sources are not changed."""
        lines = file.read_text("utf-8", "replace").splitlines()
        for number, line in enumerate(lines, start=1):
            if self._redaction.of_all(line) != line:
                yield f"{name.as_posix()}:{number}"


def _kind_of(error: str) -> str:
    """Return the class of an error without its text, which may contain values."""
    kind = _CLASS.match(error)
    return f"{kind.group() if kind else 'an error'}: left out of the export"


def _forget_values(summary: dict[str, Any]) -> None:
    """Remove all keys except `_WITHOUT_VALUES`, so that future keys are removed, too."""
    for key in summary.keys() - _WITHOUT_VALUES:
        del summary[key]
    summary |= {"result": {}, "metrics": {}}
    for variable in summary["variables"]:
        variable["lens"] = None
    if summary.get("failure"):
        summary["failure"] |= {"text": "left out of the export", "traceback": ""}
    verdict = summary.get("verdict")
    if verdict:
        reasons = ["left out of the export"] if verdict["reasons"] else []
        notes = verdict.get("not_looked_at", [])
        summary["verdict"] = {
            "outcome": verdict["outcome"],
            "reasons": reasons,
            "not_looked_at": notes,
        }


# ---------------------------------------------------------------- redaction

_ANY_HOME: Final = re.compile(r"/(?:home|Users)/[^/\s\"':,;<>()]+")
_EVERYWHERE: Final = frozenset(
    {"", "/", "/usr", "/usr/local", "/tmp", "/var/tmp"}  # noqa: S108  # names, not used as folders
)
_SHORTEST_NAME: Final = 3  # a shorter name is also a common word
_ANONYMOUS: Final = frozenset({"root", "user", "localhost"})  # names that do not identify


class Redaction:
    """Replaces texts that identify a machine: paths, and the names of the host and the user."""

    def __init__(self, own_folders: Iterable[str]) -> None:
        """Collect the folders and names of this machine.

        Args:
            own_folders: Folders whose paths become relative: the program's, and the working
                directory of the run.
        """
        known = (
            {tempfile.gettempdir(): "tmp"} | _folders_of_python() | dict.fromkeys(own_folders, "")
        )
        told = [(folder, other) for folder, other in known.items() if folder not in _EVERYWHERE]
        self._folders = sorted(told, key=lambda item: len(item[0]), reverse=True)
        self._names = {}
        host, user = platform.node(), _user()
        for name, other in ((host, "host"), (host.partition(".")[0], "host"), (user, "user")):
            if len(name) >= _SHORTEST_NAME and name not in _ANONYMOUS:
                self._names[name] = re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])"), other

    def of_paths(self, text: str) -> str:
        """Return a text without paths of this machine."""
        for folder, other in self._folders:
            if folder in text:
                text = _without(text, folder, other)
        return _ANY_HOME.sub("~", text)

    def of_all(self, text: str) -> str:
        """Return a text without paths and names of this machine."""
        text = self.of_paths(text)
        for pattern, other in self._names.values():
            text = pattern.sub(other, text)
        return text

    def of_value(self, value: Any) -> Any:
        """Return a value of JSON or YAML without paths of this machine; keys are not changed."""
        match value:
            case str():
                return self.of_paths(value)
            case list():
                return [self.of_value(one) for one in value]
            case dict():
                return {key: self.of_value(one) for key, one in value.items()}
        return value


def _without(text: str, folder: str, other: str) -> str:
    """Replace a folder's path by `other`. If `other` is "", make the folder's paths relative."""
    if other:
        return re.sub(rf"{re.escape(folder)}(?=$|[^\w.-])", other, text)
    text = text.replace(f"{folder}/", "")
    return re.sub(rf"{re.escape(folder)}(?=$|[^\w./-])", ".", text)


def _folders_of_python() -> dict[str, str]:
    ours = str(Path(varsim.__file__).parents[1])
    packages = [*site.getsitepackages(), site.getusersitepackages(), sysconfig.get_path("purelib")]
    return {
        str(Path.home()): "~",
        sys.base_prefix: "python",
        sys.prefix: "python",
        sysconfig.get_path("stdlib"): "python",
        **dict.fromkeys(packages, "site-packages"),
        ours: "site-packages",
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # the user has no name
        return ""
