"""Plan a sweep: an experiment, the keys that vary, and a point for each combination of values."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from varsim.errors import ConfigError
from varsim.experiments import yaml_lines
from varsim.experiments.catalog import is_path, whole_path
from varsim.experiments.config import Experiment
from varsim.experiments.key_locations import KeyLocations, KeyPath
from varsim.experiments.loading import Override
from varsim.experiments.nested_keys import paths
from varsim.experiments.programs import load_program
from varsim.experiments.runner import resolved
from varsim.experiments.sources import sources_of
from varsim.experiments.sweep_spread import Spread, spread_of
from varsim.experiments.sweep_values import MAX_POINTS, Axis, values_of_text, values_of_yaml
from varsim.texts.facts import times

SWEEP: Final = "sweep"
ZIP: Final = "zip"
SPREAD: Final = "spread"
_CANNOT_VARY: Final = {
    "out": "all points are in the folder of the sweep",
    "name": "a sweep has one name, and a point is named after its settings",
    SWEEP: "a sweep has no sweeps in it",
}
"""Key that a sweep cannot vary → the reason."""

PROGRAMS: Final = ("workload", "script")
"""The keys that name a program."""

_COLON_RANGE: Final = re.compile(r"-?\d+:-?\d+")
_MAX_NAME_LENGTH: Final = 80  # of a point's folder, without its number

Load = Callable[[Sequence[Override]], Experiment]
"""A function that loads the experiment with these overrides, in their order."""


@dataclass(frozen=True, slots=True)
class PlannedPoint:
    """One combination of values, and the experiment that has these values."""

    number: int  # from 1
    settings: dict[str, Any]  # key, with dots for nested keys → value
    experiment: Experiment
    folder: str  # the name of the point's folder

    @property
    def processes(self) -> int:
        """Return the number of processes of the run: its workers, and the program."""
        return len(self.experiment.device_names) + 1


Check = Callable[[Sequence[PlannedPoint]], None]
"""A function that refuses points whose programs must not be loaded."""


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """A sweep before it runs."""

    axes: tuple[Axis, ...]
    zipped: bool
    points: tuple[PlannedPoint, ...]
    program: str  # a digest of the sources of a user's programs; "" for built-in workloads
    spread: Spread | None = None  # where the points run; None: here, one after the other

    @property
    def experiment(self) -> Experiment:
        """Return the experiment of the first point."""
        return self.points[0].experiment

    def as_keys(self) -> dict[str, Any]:
        """Return the keys of an equivalent YAML file, with all defaults."""
        keys = resolved(self.experiment)
        if "script" in keys:
            keys["script"] = _whole(keys["script"])
        if any(axis.name in PROGRAMS for axis in self.axes):
            keys["params"] = self.experiment.params  # the other programs have other defaults
        for axis in self.axes:
            _remove(keys, axis.keys)
        sweep: dict[str, Any] = {ZIP: True} if self.zipped else {}
        if self.spread is not None:
            sweep[SPREAD] = self.spread.value
        for axis in self.axes:
            of_programs = axis.name in PROGRAMS
            sweep[axis.name] = [_whole(one) if of_programs else one for one in axis.values]
        return keys | {SWEEP: sweep}


def axis_of_word(word: str, location: str = "") -> Axis:
    """Return the key and the values of `key=value,value`.

    Args:
        location: How the user has written it, for errors, if not as this word.
    Raises:
        ConfigError: The word has another form.
    """
    key, equals, text = word.partition("=")
    keys = tuple(part.strip() for part in key.split("."))
    if not equals or not all(keys):
        raise ConfigError(f"invalid word {word!r}: expected key=value,value")
    return _axis(keys, lambda: values_of_text(text, keys), location or word)


def plan_sweep(
    load: Load,
    words: Sequence[Axis] = (),
    overrides: Sequence[Override] = (),
    *,
    zipped: bool | None = None,
    spread: object = None,
    allow_paths: bool = False,
    before_programs: Check | None = None,
) -> SweepPlan:
    """Plan the points of an experiment.

    Args:
        load: Loads the experiment.
        words: Keys and values of the command line, which replace those of the file. One value is
            an override like that of `varsim run`.
        overrides: Further values of the command line, of other keys.
        zipped: Whether the first values of all keys make the first point, the second values the
            second point, and so on; a key with one value has it in all points. By default, as the
            file's `sweep:` says; else every value is combined with every value of the other keys.
        spread: Where the points run, as in the key `spread` of a file's `sweep:`; it replaces that.
        allow_paths: Whether the `sweep:` of a file may name programs by their paths.
        before_programs: Is called before any program is loaded, that is, executed.
    Raises:
        ConfigError: A key or a value is wrong, a key is there twice, or nothing varies.
    """
    _check_twice([*words, *overrides])
    fixed = [Override(one.keys, one.values[0], one.location) for one in words if _is_fixed(one)]
    given = [*fixed, *overrides]
    base = load(given)
    of_file, file_zipped = _of_file(base.sweep, base.locations)
    spread = base.sweep.get(SPREAD) if spread is None else spread
    spread_over = spread_of(spread, base.locations.of((SWEEP, SPREAD)))
    if not allow_paths:
        _check_paths(of_file)
    decided = {one.keys for one in given}
    axes = {axis.keys: axis for axis in of_file if axis.keys not in decided}
    axes |= {axis.keys: axis for axis in words if not _is_fixed(axis)}
    if not axes:
        raise ConfigError(
            "nothing varies: give a key several values, as in workers=1,2,4 or seed=0..3, or give "
            "the file a key `sweep:`"
        )
    zipped = file_zipped if zipped is None else zipped
    every = tuple(axes.values())
    points = tuple(_points(load, given, every, zipped=zipped))
    if spread_over is not None:
        for point in points:
            spread_over.check(point.experiment)
    if before_programs is not None:
        before_programs(points)
    return SweepPlan(every, zipped, points, _digest_of_programs(points), spread_over)


def _check_twice(given: Sequence[Axis | Override]) -> None:
    """Refuse a key that the command line sets twice: one of both would be without effect.

    Raises:
        ConfigError: There is such a key.
    """
    known: dict[KeyPath, str] = {}
    for one in given:
        if one.keys in known:
            key = ".".join(one.keys)
            raise ConfigError(
                f"{known[one.keys]} and {one.location} both set {key}: give all its values in one "
                f"word, as in {key}=VALUE,VALUE"
            )
        known[one.keys] = one.location


def settings_text(settings: dict[str, Any]) -> str:
    """Return settings as words: "mode=on_read workers=4"."""
    return " ".join(f"{key}={value_text(value)}" for key, value in settings.items())


def value_text(value: Any) -> str:
    """Return a value as it is written in YAML, in one line."""
    if isinstance(value, str):
        return value
    return yaml_lines.one_line({"value": value}).removeprefix("{value: ").removesuffix("}")


def _axis(keys: KeyPath, values: Callable[[], list[Any]], location: str) -> Axis:
    found = KeyLocations({keys: location})
    try:
        read = values()
    except ConfigError as error:
        raise ConfigError(found.located(keys, str(error))) from None
    if keys[0] in _CANNOT_VARY and (len(read) > 1 or keys[0] == SWEEP):
        raise ConfigError(found.located(keys, f"this key cannot vary: {_CANNOT_VARY[keys[0]]}"))
    texts = [json.dumps(value, sort_keys=True) for value in read]
    twice = next(
        (one for one, text in zip(read, texts, strict=True) if texts.count(text) > 1), None
    )
    if len(set(texts)) < len(texts):
        raise ConfigError(found.located(keys, f"the value {value_text(twice)} is there twice"))
    return Axis(keys, tuple(read), location)


def _is_fixed(axis: Axis) -> bool:
    return len(axis.values) == 1


def _of_file(sweep: dict[str, Any], locations: KeyLocations) -> tuple[list[Axis], bool]:
    """Return the keys and values of a file's `sweep:`, and whether it is zipped."""
    zipped = sweep.get(ZIP, False)
    if not isinstance(zipped, bool):
        raise ConfigError(
            locations.located((SWEEP, ZIP), f"invalid value {zipped!r}: expected true or false")
        )
    others = {key: value for key, value in sweep.items() if key not in (ZIP, SPREAD)}
    axes = [
        _axis(
            tuple(part for key in path for part in key.split(".")),
            lambda value=value, path=path: values_of_yaml(value, path),  # type: ignore[misc]
            locations.of((SWEEP, *path)),
        )
        for path, value in paths(others)
    ]
    return axes, zipped


def _combined(axes: Sequence[Axis], *, zipped: bool) -> Iterable[tuple[Any, ...]]:
    """Return the values of each point.

    Raises:
        ConfigError: The keys of a zip have different numbers of values, or there are too many
            points.
    """
    if zipped:
        count = max(len(axis.values) for axis in axes)
        wrong = [axis for axis in axes if len(axis.values) not in (1, count)]
        if wrong:
            said = ", ".join(f"{axis.name} has {len(axis.values)}" for axis in axes)
            raise ConfigError(
                f"{wrong[0].location}: a zip takes as many values from each key, but {said}: give "
                f"each key {count} values, or one value for all points; or combine every value "
                "with every other one (--product, or no `zip: true` in the file)"
            )
        repeated = (axis.values * (1 if len(axis.values) > 1 else count) for axis in axes)
        return zip(*repeated, strict=True)
    count = math.prod(len(axis.values) for axis in axes)
    if count > MAX_POINTS:
        raise ConfigError(f"the sweep has {count:,} points; at most {MAX_POINTS:,} are possible")
    return itertools.product(*(axis.values for axis in axes))


def _points(
    load: Load, given: Sequence[Override], axes: Sequence[Axis], *, zipped: bool
) -> Iterator[PlannedPoint]:
    combinations = list(_combined(axes, zipped=zipped))
    width = len(str(len(combinations)))
    alone = Override((SWEEP,), {}, SWEEP)  # a point is an experiment without a sweep
    for number, values in enumerate(combinations, start=1):
        settings = {axis.name: value for axis, value in zip(axes, values, strict=True)}
        varied = [
            Override(axis.keys, value, axis.location)
            for axis, value in zip(axes, values, strict=True)
        ]
        try:
            experiment = load([*given, alone, *varied])
        except ConfigError as error:
            raise ConfigError(f"{error}{_hint(values)}") from None
        name = f"{number:0{width}d}-{_folder_text(settings)}"
        yield PlannedPoint(number, settings, experiment, name)


def _hint(values: Sequence[Any]) -> str:
    """Return how a range is written, if a value looks like another way to write one."""
    wrong = [one for one in values if isinstance(one, str) and _COLON_RANGE.fullmatch(one)]
    return f"\n  a range is written {wrong[0].replace(':', '..')}, with both ends" if wrong else ""


def _folder_text(settings: dict[str, Any]) -> str:
    last = [key.rpartition(".")[2] for key in settings]
    names = last if len(set(last)) == len(last) else list(settings)
    words = (
        f"{name}-{value_text(value)}" for name, value in zip(names, settings.values(), strict=True)
    )
    return re.sub(r"[^\w.-]+", "_", "-".join(words))[:_MAX_NAME_LENGTH].rstrip("_.-")


def _digest_of_programs(points: Sequence[PlannedPoint]) -> str:
    """Load each program once, and check its params, before anything runs.

    Returns:
        A digest of the sources of all programs; "" if all are built-in or installed.
    Raises:
        ConfigError: A program cannot be loaded, or does not take these params.
    """
    checked: set[str] = set()
    files: dict[str, bytes] = {}
    for point in points:
        keys = point.experiment.as_keys()
        text = json.dumps([keys.get(key) for key in (*PROGRAMS, "args", "params")])
        if text in checked:
            continue
        checked.add(text)
        with point.experiment.locations.located_errors():
            location = load_program(point.experiment).location
        if location is not None:
            files[str(location.file)] = b"".join(sources_of(location).files.values())
    if not files:
        return ""
    return hashlib.sha256(b"".join(files[name] for name in sorted(files))).hexdigest()


def _check_paths(axes: Sequence[Axis]) -> None:
    """Refuse programs that a file's `sweep:` names by their paths.

    Raises:
        ConfigError: There is such a program.
    """
    for axis in axes:
        paths = [one for one in axis.values if isinstance(one, str) and is_path(one)]
        if axis.name in PROGRAMS and paths:
            raise ConfigError(
                f"{axis.location}: {axis.name}: a file's sweep names no program by its path; if "
                f"you trust the file, add --allow-paths, or give {axis.name}={','.join(paths)} "
                "yourself"
            )


def _whole(program: Any) -> Any:
    """Return the absolute path of a program; a module or a built-in workload stays as it is."""
    return str(whole_path(program)) if isinstance(program, str) and is_path(program) else program


def _remove(keys: dict[str, Any], path: KeyPath) -> None:
    for key in path[:-1]:
        inner = keys.get(key)
        if not isinstance(inner, dict):
            return
        keys = inner
    keys.pop(path[-1], None)


def title_of(plan: SweepPlan) -> str:
    """Return the size of a sweep: "16 points: mode (4 values) x workers (4 values)"."""
    sign = " with " if plan.zipped else " x "
    parts = (f"{axis.name} ({times(len(axis.values), 'value')})" for axis in plan.axes)
    return f"{times(len(plan.points), 'point')}: {sign.join(parts)}"
