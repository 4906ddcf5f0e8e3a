"""Define the options that `varsim run` and `varsim exec` share, and turn them into overrides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from varsim.cli import completion
from varsim.cli.exit_codes import WrongUse
from varsim.texts import modes
from varsim.texts.uneven import MEANINGS
from varsim.texts.uneven import UNEVEN as NAMES_OF_UNEVEN

if TYPE_CHECKING:
    from varsim.experiments.loading import Override

Command = TypeVar("Command", bound=Callable[..., Any])

DEVICES: Final = click.option(
    "--devices", metavar="NAME,…", help="Instead of --workers: a name for each replica's device."
)


class _RegisteredChoice(click.Choice[str]):
    """A choice of the names in a registry. The registry is imported when the names are needed."""

    def __init__(self, setting: str) -> None:
        super().__init__([])
        self._setting = setting

    @property
    def choices(self) -> tuple[str, ...]:
        """Return the names in this installation."""
        from varsim.launch.backends import REGISTRIES

        return REGISTRIES[self._setting].names()

    @choices.setter
    def choices(self, choices: object) -> None:
        """Ignore the names that the base class sets."""


_BACKENDS: Final = {
    "launcher": "What starts the workers.",
    "transport": "What carries the messages.",
    "exchange": "How large values are sent.",
}


_OF_LAUNCHERS: Final = {
    "hosts": "With --launcher ssh, mpirun, srun, ray or join: the names of the hosts, as in a,b, "
    "or their number. ssh needs names, and ray the number.",
    "listen": "With these launchers: the address of this machine that the hosts reach, as "
    "203.0.113.1 or 203.0.113.1:7000.",
    "address": "With --launcher ray (or --spread ray of a sweep): the address of the Ray cluster, "
    "as 203.0.113.1:6379; by default RAY_ADDRESS, or the cluster of this machine.",
}
"""The options that are settings of the launcher."""


def backends(command: Command) -> Command:
    """Add an option for each registry to a command, and the launcher's settings."""
    return _with_options(command, _BACKENDS)


def launcher(text: str) -> Callable[[Command], Command]:
    """Return the option of the launcher and those of its settings.

    Args:
        text: The help of the launcher's option.
    """
    return lambda command: _with_options(command, {"launcher": text})


def _with_options(command: Command, registries: Mapping[str, str]) -> Command:
    for setting, text in reversed(_OF_LAUNCHERS.items()):
        command = click.option(f"--{setting}", metavar=setting.upper(), help=text)(command)
    for setting, text in reversed([*registries.items()]):
        command = click.option(f"--{setting}", type=_RegisteredChoice(setting), help=text)(command)
    return command


def mode(what: str) -> Callable[[Command], Command]:
    """Return the option of the variables' synchronization.

    Args:
        what: What creates the variables, for the help: "the workload".
    """
    return click.option(
        "--mode", metavar="MODE", shell_complete=completion.modes, help=modes.HELP.format(what)
    )


TRACE: Final = click.option(
    "--trace",
    metavar="LEVEL",
    type=click.Choice(["ops", "messages", "off"]),
    help="What is recorded in the run's history: ops, messages (all values), or off.",
)


def _given(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> Any:
    """Return the texts as a list. Return None if there are none, so that the file's value stays."""
    return list(texts) or None


ORACLE: Final = click.option(
    "--oracle/--no-oracle",
    default=None,
    help="Repeat the run on one replica, to find wrong values, such as sums instead of means.",
)
FAULTS: Final = click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="FAULT",
    callback=_given,
    help="A fault to inject, such as 'kill replica=2 call=30' or 'slow replica=1 factor=3' "
    "(docs/faults.md). Can be given several times.",
)
UNEVEN: Final = click.option(
    "--uneven",
    metavar="POLICY",
    type=click.Choice(NAMES_OF_UNEVEN),
    help=f"What a distributed dataset does at a batch that leaves a replica without rows. "
    f"{MEANINGS}.",
)
ON_WORKER_LOST: Final = click.option(
    "--on-worker-lost",
    metavar="POLICY",
    type=click.Choice(["fail", "restart", "shrink"]),
    help="What happens after a worker was lost: fail, restart (go on with new workers) or shrink "
    "(go on with fewer workers).",
)
STRICT: Final = click.option(
    "--strict/--no-strict",
    default=None,
    help="Refuse NONE, and unnamed collectives called in different lines.",
)
LIVE: Final = click.option(
    "--live",
    is_flag=True,
    help="Show in the terminal, while the run goes on, what each replica does, for whom it waits, "
    "and the bytes of each variable.",
)
OUT: Final = click.option(
    "--out",
    metavar="DIR",
    help="The folder for the run's directory. [default: runs]",
)
TRUST: Final = click.option(
    "--trust",
    is_flag=True,
    help="Run the program of a run that comes from another machine or user.",
)
ALLOW_PATHS: Final = click.option(
    "--allow-paths",
    is_flag=True,
    help="Allow paths in an experiment's file that lead out of its folder.",
)
EVERYTHING: Final = click.option(
    "--all", "everything", is_flag=True, help="Show every variable; do not group similar ones."
)


def split_words(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return what to run, and the other words, which set keys. A file's name may contain `=`.

    Raises:
        WrongUse: Several words say what to run.
    """
    named = [word for word in words if "=" not in word or Path(word).is_file()]
    if len(named) > 1:
        raise WrongUse(f"expected one experiment, but got {' and '.join(named)}")
    return (named[0] if named else None), [word for word in words if word not in named]


_INNER: Final = {"exact": ("checkpoint", "exact")}
"""The options that stand for a key inside another key."""


def overrides_of(options: dict[str, Any]) -> list[Override]:
    """Return the overrides for the given options; None means that an option was not given."""
    from varsim.experiments.loading import Override
    from varsim.launch.devices import split_names

    overrides = [*_of_launcher(options)]
    for key, value in options.items():
        if value is not None:
            listed = split_names(value) if key == "devices" else value
            option = key.replace("_", "-")
            flag = {True: f"--{option}", False: f"--no-{option}"}
            location = flag[value] if isinstance(value, bool) else f"--{option} {value}"
            if key == "faults":
                location = " ".join(f"--fault {text!r}" for text in value)
            overrides.append(Override(_INNER.get(key, (key,)), listed, location))
    return overrides


def _of_launcher(options: dict[str, Any]) -> Iterator[Override]:
    """Take the settings of the launcher out of the options; yield their overrides."""
    from varsim.experiments.loading import Override

    given = {one: options.pop(one) for one in _OF_LAUNCHERS if options.get(one) is not None}
    if not given:
        return
    name = options.pop("launcher", None)
    if name is None:
        raise WrongUse(f"--{next(iter(given))} is a setting of a launcher: add --launcher ssh")
    for setting, text in given.items():
        value: Any = text
        if setting == "hosts":
            value = int(text) if text.isdecimal() else [one.strip() for one in text.split(",")]
        yield Override(("launcher", name, setting), value, f"--{setting} {text}")
