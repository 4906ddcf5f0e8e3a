"""Say where the points of a sweep run: `spread: ray`, or a mapping of ray to settings.

A `launcher` says where the workers of one run are. `spread` says where whole points run: each one
is a run on one node, with all of its workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from varsim.errors import ConfigError
from varsim.experiments.config import Experiment
from varsim.experiments.key_locations import WrongKey
from varsim.launch.remote.ray_pool import TaskSettings
from varsim.nearest import did_you_mean

RAY: Final = "ray"
NONE: Final = "none"
WORDS: Final = (RAY, NONE)
"""What the points of a sweep are spread over; "none": they run here, one after the other."""

USER: Final = f"spread: {RAY}"
"""What needs Ray, for errors."""

_ONE_NODE: Final = ("process",)  # the launchers whose workers are on the program's host


@dataclass(frozen=True, slots=True)
class Spread:
    """The points run on the nodes of a Ray cluster."""

    value: str | dict[str, Any]  # as in a file's `sweep:`
    settings: TaskSettings

    def check(self, experiment: Experiment) -> None:
        """Check that a point can run on one node.

        Raises:
            ConfigError: Its launcher starts workers on several hosts.
        """
        launcher = experiment.backends.launcher
        if launcher in _ONE_NODE:
            return
        problem = (
            f"the points of this sweep are spread, and each one runs on one node: omit launcher, "
            f"or omit spread to run one point after the other with launcher {launcher!r}"
        )
        with experiment.locations.located_errors():
            raise WrongKey(("launcher",), problem)


def spread_of(value: object, location: str = "") -> Spread | None:
    """Return where points run.

    Args:
        value: As in a file: a word, or a mapping of ray to its settings; None if not said.
        location: Where it is said, for errors.
    Raises:
        ConfigError: The value is wrong.
    """
    where = f"{location}: " if location else ""
    if value is None or value == NONE:
        return None
    if value == RAY:
        return Spread(RAY, TaskSettings())
    if isinstance(value, Mapping) and [*value] == [RAY] and isinstance(value[RAY], Mapping):
        given = dict(value[RAY])
        return Spread({RAY: given}, TaskSettings.of(f"{where}{USER}", given))
    near = did_you_mean(value, WORDS) if isinstance(value, str) else ""
    raise ConfigError(
        f"{where}spread is {value!r}, and must be ray, none, or ray with its settings, as in "
        f"spread: {{ray: {{address: 203.0.113.1:6379}}}}{near}"
    )
