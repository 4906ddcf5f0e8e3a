"""Find what differs between two runs beside their histories: settings, program and results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from varsim.errors import ConfigError
from varsim.experiments.carried_program import PROGRAM
from varsim.experiments.metric_series import METRICS, Metric, Series, read_series
from varsim.experiments.nested_keys import in_force, leaves
from varsim.experiments.run_argument import keys_of_run
from varsim.experiments.run_ending import summary_beside
from varsim.report.diff_page import Differing
from varsim.report.json_values import in_standard_json

_WITHOUT_EFFECT: Final = ("name", "out", "sweep")
"""The keys of an experiment that change nothing in the run itself."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What differs between two runs, beside their histories."""

    settings: list[Differing]
    program: list[str]  # files that differ, or that only one of the runs has
    metrics: list[Differing]  # the first step at which each metric differs
    result: list[Differing]
    not_compared: list[str]  # sentences

    @property
    def has_other_results(self) -> bool:
        """Return whether metrics or results differ. Settings and programs may differ."""
        return bool(self.metrics or self.result)


def compare_surroundings(one: Path, other: Path) -> Surroundings:
    """Compare all of two runs but their histories.

    Args:
        one: The directory of a run; `other` likewise.
    Raises:
        ConfigError: A file of a run is damaged.
    """
    not_compared: list[str] = []
    keys = [in_force(_kept(folder, not_compared)) for folder in (one, other)]
    results = []
    for folder in (one, other):
        summary = summary_beside(folder)
        if summary is None:
            not_compared.append(f"the results: {folder} has no summary that can be read")
        results.append(None if summary is None else dict(leaves(summary.result)))
    series = [read_series(folder) for folder in (one, other)]
    for each in series:
        not_compared += each.problems
    first, second = results
    return Surroundings(
        settings=list(_differing(*keys)),
        program=list(_files(one, other)),
        metrics=list(_metrics(series[0], series[1], not_compared)),
        result=list(_results(first or {}, second or {}, not_compared)),
        not_compared=not_compared,
    )


def _kept(folder: Path, not_compared: list[str]) -> dict[str, Any]:
    try:
        keys = keys_of_run(folder)
    except (OSError, ConfigError) as error:
        not_compared.append(f"the configuration of {folder}: {error}")
        return {}
    return {key: value for key, value in keys.items() if key not in _WITHOUT_EFFECT}


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[Differing]:
    for key in dict.fromkeys([*one, *other]):
        if one.get(key) != other.get(key):
            yield Differing(key, one.get(key), other.get(key))


def _results(
    one: Mapping[str, Any], other: Mapping[str, Any], not_compared: list[str]
) -> Iterator[Differing]:
    """Yield the results of both runs that differ."""
    for key in dict.fromkeys([*one, *other]):
        if key not in one or key not in other:
            which = "first" if key in one else "second"
            not_compared.append(f"the result {key}: only the {which} run has it")
        elif one[key] != other[key]:
            yield Differing(key, one[key], other[key])


def _files(one: Path, other: Path) -> Iterator[str]:
    """Yield the names of files of the program that are not the same in both runs."""
    contents = [
        {
            file.relative_to(folder / PROGRAM).as_posix(): file.read_bytes()
            for file in sorted((folder / PROGRAM).rglob("*"))
            if file.is_file() and "__pycache__" not in file.parts
        }
        for folder in (one, other)
    ]
    for name in dict.fromkeys([*contents[0], *contents[1]]):
        if contents[0].get(name) != contents[1].get(name):
            yield name


def _metrics(one: Series, other: Series, not_compared: list[str]) -> Iterator[Differing]:
    """Yield the first step at which each metric that both runs have differs."""
    for name in dict.fromkeys([*one.metrics, *other.metrics]):
        if name not in one.metrics or name not in other.metrics:
            which = "second" if name in other.metrics else "first"
            not_compared.append(f"the metric {name}: only the {which} run logged it")
            continue
        found = _first_step(one[name], other[name])
        if found is not None:
            yield found
        steps = [metric.steps for metric in (one[name], other[name])]
        lacking = len(set(steps[0]) ^ set(steps[1]))
        if lacking:
            not_compared.append(
                f"the metric {name} at {lacking:,} steps: only one run has them in {METRICS}"
            )


def _first_step(one: Metric, other: Metric) -> Differing | None:
    theirs = dict(zip(other.steps, other.values, strict=True))
    for step, value in zip(one.steps, one.values, strict=True):
        if step in theirs and in_standard_json(value) != in_standard_json(theirs[step]):
            return Differing(one.name, value, theirs[step], step)
    return None
