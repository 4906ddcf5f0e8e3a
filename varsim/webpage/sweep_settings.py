"""The settings of a sweep with their finished runs: seeds are repetitions of a setting."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from varsim.report.formatting import duration, names, number, size
from varsim.report.run_rows import Comparison, RunRow, most_telling, value_of
from varsim.report.summary import Plain
from varsim.texts.facts import times

SEED: Final = "seed"

_MOST_ERROR: Final = 80  # characters of an error in the outcome


@dataclass(frozen=True, slots=True)
class Setting:
    """One combination of values, without the seed, and its finished runs."""

    settings: Mapping[str, Plain]
    runs: Sequence[RunRow]  # at least one

    @property
    def name(self) -> str:
        """Return the names of the runs, with the settings: "1: mode=none"."""
        seeds = f" (mean of {times(len(self.runs), 'seed')})" if len(self.runs) > 1 else ""
        return f"{names([row.name for row in self.runs])}: {settings_text(self.settings)}{seeds}"

    def values(self, column: str) -> list[float]:
        """Return the finite numbers of the runs in a column."""
        return [one for row in self.runs if (one := finite(row, column)) is not None]

    def mean(self, column: str) -> float | None:
        """Return the mean of the finite numbers in a column; None if there is none."""
        values = self.values(column)
        return math.fsum(values) / len(values) if values else None


def varied(comparison: Comparison) -> list[str]:
    """Return the keys that tell settings apart: all but the seed, if there are others."""
    return [key for key in comparison.keys if key != SEED] or list(comparison.keys)


def settings_of(comparison: Comparison) -> list[Setting]:
    """Return the settings that have finished runs, in the order of their first runs."""
    keys = varied(comparison)
    runs: dict[str, list[RunRow]] = {}
    for row in finished(comparison):
        runs.setdefault(repr([row.settings.get(key) for key in keys]), []).append(row)
    return [
        Setting({key: rows[0].settings.get(key) for key in keys}, rows) for rows in runs.values()
    ]


def finished(comparison: Comparison) -> list[RunRow]:
    """Return the runs whose numbers can be compared: those of the others end where they ended."""
    return [row for row in comparison.rows if row.status == "done"]


def finite(row: RunRow, column: str) -> float | None:
    """Return the finite number of a row in a column; None if there is none."""
    value: Plain = value_of(row, column)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def settings_text(settings: Mapping[str, Plain]) -> str:
    """Return settings as "mode=none, workers=2"."""
    return ", ".join(f"{key}={value_text(value)}" for key, value in settings.items())


def value_text(value: Plain) -> str:
    """Return the value of a setting; a text is not shortened."""
    return str(value) if isinstance(value, str) else number(value)


def telling_metric(comparison: Comparison) -> str:
    """Return the metric that shows best how good a model is; "" if no finished run has a metric."""
    known = [
        name
        for name in comparison.metrics
        if any(finite(row, name) is not None for row in finished(comparison))
    ]
    return most_telling(known)


# ---------------------------------------------------------------- the outcome


def outcome_of(comparison: Comparison) -> str:
    """Return a sentence: how many points are done, which settings are the best, the findings."""
    clauses = [_state(comparison)]
    if metric := telling_metric(comparison):
        clauses += _best(comparison, metric, metric, low="loss" in metric)
    for column, what in (("size_bytes", "bytes"), ("training_s", "training")):
        clauses += _best(comparison, column, what, low=True)
    known = [row.findings for row in comparison.rows if row.findings is not None]
    said = times(sum(known), "finding") if any(known) else "no finding"
    if len(known) < len(comparison.rows):
        unknown = len(comparison.rows) - len(known)
        said = f"{said} in {len(known)} of them" if known else "findings unknown"
        said += f", {unknown} not judged" if known else ""
    return f"{'; '.join([*clauses, said])}."


def _state(comparison: Comparison) -> str:
    """Return how many points are done and have failed: "3 of 4 points (mode) done, 1 failed"."""
    rows = comparison.rows
    said = f"{len(finished(comparison))} of {times(len(rows), 'point')}"
    said = f"{said} ({' × '.join(comparison.keys)}) done"
    failed = [row for row in rows if row.status == "failed"]
    if failed:
        errors = dict.fromkeys(row.error for row in failed)
        first = next(iter(errors)).rstrip(".")
        first = f"{first[:_MOST_ERROR]}…" if len(first) > _MOST_ERROR else first
        more = f", and {times(len(errors) - 1, 'other error')}" if len(errors) > 1 else ""
        said += f", {len(failed)} failed ({first}{more})" if first else f", {len(failed)} failed"
    others = len(rows) - len(finished(comparison)) - len(failed)
    return f"{said}, {others} not finished" if others else said


_WORDS: Final = {"bytes": "fewest bytes", "training": "shortest training"}


def _best(comparison: Comparison, column: str, what: str, *, low: bool) -> Iterator[str]:
    """Yield a clause on the setting with the best mean of a column, and those as good as it."""
    found = [
        (one, mean) for one in settings_of(comparison) if (mean := one.mean(column)) is not None
    ]
    if not found:
        return
    best, value = (min if low else max)(found, key=lambda pair: pair[1])
    alike = [one for one, mean in found if _shown(column, mean) == _shown(column, value)]
    said = _shown(column, value)
    if len(found) > 1 and len(alike) == len(found):
        yield f"{what} {said} in all settings"
        return
    word = _WORDS.get(what, f"best {what}") if len(found) > 1 else what
    others = f", as {times(len(alike) - 1, 'other setting')}" if len(alike) > 1 else ""
    yield f"{word} {said} ({settings_text(best.settings)}{_of_seeds(best, column)}{others})"


def _of_seeds(setting: Setting, column: str) -> str:
    values = setting.values(column)
    if len(values) < 2:
        return ""
    said = f"; mean of {times(len(values), 'seed')}"
    low, high = (_shown(column, one) for one in (min(values), max(values)))
    return f"{said}, {low} to {high}" if low != high else said


def _shown(column: str, value: float) -> str:
    match column:
        case "size_bytes":
            return size(round(value))
        case "training_s":
            return duration(value)
    return number(value)
