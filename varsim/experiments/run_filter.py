"""The conditions of a list of runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from varsim.errors import ConfigError
from varsim.experiments import catalog
from varsim.experiments.run_list import settings_of
from varsim.nearest import did_you_mean, listed
from varsim.report.runs_page import ListedRun
from varsim.report.summary import Plain

_AGO: Final = re.compile(r"(\d{1,6})\s*([mhdw])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_PATTERN: Final = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """The conditions that listed runs must fulfil; a run must fulfil all of them.

    A sweep is listed if one of its points fulfils them. Texts are patterns, such as `digits*`.
    """

    workload: str | None = None
    mode: str | None = None
    status: str | None = None
    tag: str | None = None
    since: datetime | None = None
    keys: Mapping[str, Plain] = field(default_factory=dict)  # with dots for nested keys

    def accepts(self, run: ListedRun) -> bool:
        """Return whether a run fulfils all conditions."""
        return (
            (self.workload is None or _is_workload(run.workload, self.workload))
            and (self.tag is None or (bool(run.tag) and fnmatchcase(run.tag, self.tag)))
            and (self.since is None or _is_since(run.started, self.since))
            and any(self._accepts_point(run, *point) for point in run.points or ((run.status, {}),))
        )

    def points_of(self, sweep: ListedRun) -> list[int]:
        """Return the numbers of the points that fulfil the conditions; [] if all of them do."""
        numbers = [
            number
            for number, point in enumerate(sweep.points, start=1)
            if self._accepts_point(sweep, *point)
        ]
        return [] if len(numbers) == len(sweep.points) else numbers

    def _accepts_point(self, run: ListedRun, status: str, settings: Mapping[str, Plain]) -> bool:
        mode = str(settings.get("mode") or run.mode)
        return (
            (self.mode is None or fnmatchcase(mode, self.mode))
            and (self.status is None or self.status == status)
            and self._has_keys({**settings_of(run), **settings} if self.keys else {})
        )

    def _has_keys(self, said: Mapping[str, Plain]) -> bool:
        return all(
            said.get(key) == value or (key in said and str(said[key]) == str(value))
            for key, value in self.keys.items()
        )


def _is_workload(name: str, pattern: str) -> bool:
    return any(fnmatchcase(one, pattern) for one in _names_of_workload(name))


def _names_of_workload(name: str) -> tuple[str, ...]:
    """Return the name of a workload, or the path, the name and the stem of a file."""
    path = Path(name)
    return name, path.name, path.stem


def _is_since(started: str, since: datetime) -> bool:
    try:
        return bool(started) and datetime.fromisoformat(started).astimezone() >= since
    except ValueError:
        return False


def parsed_since(text: str, now: datetime) -> datetime:
    """Return the time that a text such as `7d`, `12h`, or `2026-01-02 15:00` names.

    Raises:
        ConfigError: The text names no time.
    """
    ago = _AGO.fullmatch(text.strip())
    try:
        if ago is not None:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError):
        raise ConfigError(
            f"--since {text}: expected a time such as 7d, 12h or 30m ago, or a date such as "
            "2026-01-02 or '2026-01-02 15:00'"
        ) from None


def parsed_keys(words: Iterable[str]) -> dict[str, Plain]:
    """Return the values of words such as `params.learning_rate=0.1`, by their keys.

    Raises:
        ConfigError: An experiment has no such key.
    """
    from varsim.experiments.config import Experiment  # slow imports, which few lists need
    from varsim.experiments.loading import Override

    found: dict[str, Plain] = {}
    for word in words:
        one = Override.parse(word)
        known = list(Experiment.model_fields)
        if one.keys[0] not in known:
            near = did_you_mean(one.keys[0], known)
            raise ConfigError(f"{word}: an experiment has no key {one.keys[0]!r}{near}")
        found[".".join(one.keys)] = one.value
    return found


def check_filter(wanted: RunFilter, runs: Sequence[ListedRun]) -> None:
    """Refuse a word that fits no run and that no run can have: it would list nothing.

    A pattern, or the word for something that only these runs do not have, lists nothing.

    Raises:
        ConfigError: There is such a word; the text names the nearest one.
    """
    if wanted.mode is not None and not _PATTERN.search(wanted.mode):
        _check_mode(wanted.mode, runs)
    if (mode := wanted.keys.get("mode")) is not None:
        _check_mode(str(mode), runs)
    if wanted.workload is not None and not _PATTERN.search(wanted.workload):
        _check_word("--workload", wanted.workload, _workloads(runs), also=catalog.built_in())
    if wanted.tag is not None and not _PATTERN.search(wanted.tag):
        _check_word("--tag", wanted.tag, [run.tag for run in runs if run.tag])
    nested = [key for key in wanted.keys if "." in key]
    known = {key for run in runs for key in settings_of(run)} if nested else set()
    known |= {key for run in runs for _, settings in run.points for key in settings}
    for key in nested:
        _check_word(f"{key}=…", key, sorted(one for one in known if "." in one))


def _check_mode(mode: str, runs: Sequence[ListedRun]) -> None:
    from varsim.experiments.mode_text import parse_mode  # slow imports, which few lists need

    if any(mode in _modes(run) for run in runs):
        return
    try:
        parse_mode(mode)
    except ConfigError as error:
        raise ConfigError(f"--mode {mode}: {error}") from None


def _modes(run: ListedRun) -> set[str]:
    return {str(settings.get("mode") or run.mode) for _, settings in run.points or (("", {}),)}


def _workloads(runs: Iterable[ListedRun]) -> list[str]:
    return [one for run in runs for one in _names_of_workload(run.workload)]


def _check_word(where: str, word: str, used: Sequence[str], also: Iterable[str] = ()) -> None:
    """Raise an error if a word is not among the used ones, nor among other valid ones."""
    known = list(dict.fromkeys([*used, *also]))
    if word not in known:
        near = did_you_mean(word, known)
        raise ConfigError(f"{where}: no run has {word!r}{near}\n  there is: {listed(used)}")
