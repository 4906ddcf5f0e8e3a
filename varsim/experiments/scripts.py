"""A script as the program of a run: it makes its own strategies, which the run observes."""

from __future__ import annotations

import builtins
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Final

from varsim.distribute.mirrored import MirroredStrategy
from varsim.distribute.supervision import Choices, supervised
from varsim.distribute.variable import variable_creator_scope
from varsim.errors import ConfigError
from varsim.experiments.catalog import whole_path
from varsim.experiments.failure import failure_of
from varsim.experiments.going import Going
from varsim.experiments.nearest import did_you_mean
from varsim.experiments.observed import Observed
from varsim.experiments.places import KeyPath, WrongKey
from varsim.experiments.recording import trace_options
from varsim.experiments.sources import Home, forget_imported, home_of_file
from varsim.experiments.store import RunFiles
from varsim.interrupts import came_of_interrupt
from varsim.launch.launcher import LaunchOptions
from varsim.report.summary import RunStatus

_KEYS: Final[KeyPath] = ("script",)


class NothingToRecord(ConfigError):
    """A script has ended without a strategy that a run could record."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("the script made no strategy with workers; nothing to record")
        self.exit_code = exit_code  # the script's own


class ScriptProgram:
    """A Python file that is run as `python FILE` would."""

    no_oracle = "a script runs once; `varsim run --oracle` compares what a function run(job) does"
    not_kept = ""

    def __init__(self, path: str, args: Sequence[str]) -> None:
        """Reads it.

        Raises:
            WrongKey: There is no such file, or it cannot be read.
        """
        self.params: dict[str, Any] = {}
        self._said, self._args = path, list(args)
        self.path = whole_path(path)
        self.home: Home | None = home_of_file(self.path)
        try:
            self.source = self.path.read_bytes()
        except FileNotFoundError:
            folder = Path(path).parent
            files = [str(folder / one.name) for one in sorted(self.path.parent.glob("*.py"))]
            raise WrongKey(_KEYS, f"there is no file {path!r}{did_you_mean(path, files)}") from None
        except OSError as error:
            raise WrongKey(_KEYS, f"{path!r} cannot be read: {error.strerror}") from None

    def keys(self) -> dict[str, Any]:
        """The script by its whole path."""
        return {"script": str(self.path), "args": self._args}

    def play(self, going: Going, began_s: float) -> None:
        """Runs the script as `__main__`.

        What it raises is shown here, as Python shows it, and becomes the run's failure. A
        SystemExit that says that all is well ends it as its last line does.

        Raises:
            NothingToRecord: It has ended, and no strategy had workers.
            WrongKey: It names the devices of a strategy, and so does the experiment.
        """
        supervision = _Supervision(going, began_s)
        started_s = time.perf_counter()
        try:
            with supervised(supervision), variable_creator_scope(going.settings):
                error = self._executed()
        finally:
            took_s = time.perf_counter() - started_s - supervision.launching_s
            going.seconds["training"] = took_s
        if error is None:
            self._end(going)
        else:
            self._end_in_failure(going, error, supervision.refusal)

    def _executed(self) -> BaseException | None:
        """Runs it, and shows and returns what it raised."""
        forget_imported(home_of_file(self.path))
        with _as_main(self.path, [self._said, *self._args]) as main:
            try:
                code = compile(self.source, str(self.path), "exec", dont_inherit=True)
                exec(code, main.__dict__)  # noqa: S102  # the user's own program
            except SystemExit as end:
                if end.code is None or end.code == 0:
                    return None
                if not isinstance(end.code, int):
                    sys.stderr.write(f"{end.code}\n")
                return end
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a script may raise anything
                return error
        return None

    def _end(self, going: Going) -> None:
        if not going.strategies:
            raise NothingToRecord(0)
        for observed in going.strategies:
            observed.look()
        _check_settings(going)

    def _end_in_failure(self, going: Going, error: BaseException, refusal: WrongKey | None) -> None:
        if error is refusal or came_of_interrupt(error):
            raise error
        going.status, going.failure = RunStatus.FAILED, failure_of(error)
        if isinstance(error, SystemExit):
            if not going.strategies:
                raise NothingToRecord(going.failure.exit_code)
        else:
            own = _from_script(error.__traceback__, str(self.path))
            sys.stderr.write("".join(traceback.format_exception(type(error), error, own)))
        going.take_a_last_look()


def _from_script(trace: TracebackType | None, path: str) -> TracebackType | None:
    """A traceback without the frames that called the script."""
    while trace is not None and trace.tb_frame.f_code.co_filename != path:
        trace = trace.tb_next
    return trace


@contextmanager
def _as_main(path: Path, argv: list[str]) -> Iterator[ModuleType]:
    """Within the block, `__main__` is a new, empty module, as in a new process."""
    module = ModuleType("__main__")
    module.__dict__.update(__file__=str(path), __builtins__=builtins, __cached__=None)
    before = sys.modules["__main__"], sys.argv, sys.path[:], sys.stdout, sys.stderr
    sys.modules["__main__"], sys.argv = module, argv
    sys.path.insert(0, str(path.parent))
    try:
        yield module
    finally:
        sys.modules["__main__"], sys.argv, sys.path[:], sys.stdout, sys.stderr = before


class _Supervision:
    """Applies the experiment to a script's strategies, and observes them."""

    def __init__(self, going: Going, began_s: float) -> None:
        self._going = going
        self._began_s = began_s
        self._observed: dict[int, Observed] = {}  # by strategy
        self._places: dict[int, str] = {}
        self._launching_s = 0.0
        self._here = Path.cwd()  # which the script may leave
        self.launching_s = 0.0  # that launches have taken
        self.refusal: WrongKey | None = None  # what was raised because both name devices

    def choose(self, said: Choices) -> Choices:
        """The experiment's values where it has them; only one of the two may name devices.

        Raises:
            WrongKey: Both name devices.
        """
        experiment = self._going.experiment
        asked = experiment.model_fields_set
        number = next((key for key in ("workers", "devices") if getattr(experiment, key)), None)
        devices = said.devices
        if number is not None:
            if devices is not None:
                self.refusal = WrongKey(
                    (number,),
                    f"{said.place}: this MirroredStrategy names its devices, {list(devices)}: "
                    f"leave {number} out, or write MirroredStrategy() there",
                )
                raise self.refusal
            devices = experiment.device_names
        return replace(
            said,
            devices=devices,
            transport=experiment.transport if "transport" in asked else said.transport,
            strict=experiment.strict if "strict" in asked else said.strict,
            auto=experiment.auto if "auto" in asked else said.auto,
        )

    def made(self, strategy: MirroredStrategy, place: str) -> None:
        """Its variables get the experiment's settings."""
        self._going.settings.watch(strategy)
        self._places[strategy.strategy_id] = place

    def launching(self, strategy: MirroredStrategy, options: LaunchOptions) -> LaunchOptions:
        """Its workers write their logs and traces into the run's folder."""
        self._launching_s = time.perf_counter()
        going = self._going
        observed = self._observed[strategy.strategy_id] = going.observe(strategy)
        files = RunFiles(self._here / observed.files.path)
        if options.trace is not None:
            going.warn(
                f"strategy at {self._places[strategy.strategy_id]}: it has its own trace=, so "
                "the run has no record of it"
            )
        else:
            trace = trace_options(going.experiment, files)
            options = replace(options, trace=trace)
        seed = going.experiment.seed if options.seed is None else options.seed
        return replace(options, log_dir=files.logs, seed=seed)

    def launched(self, strategy: MirroredStrategy) -> None:
        """The run has begun with its first strategy."""
        self.launching_s += time.perf_counter() - self._launching_s
        if self._observed[strategy.strategy_id] is self._going.strategies[0]:
            self._going.launched(self._began_s)

    def closing(self, strategy: MirroredStrategy) -> None:
        """Measure its variables: this is the last moment at which that is possible."""
        observed = self._observed[strategy.strategy_id]
        if sys.exception() is None:
            observed.look()
        else:
            observed.take_a_last_look()


def _check_settings(going: Going) -> None:
    """Warn about settings of variables that the script does not have.

    At the end: a script may make variables at any time, and what it did is not to be thrown away.
    """
    try:
        if going.strategies:
            going.check_settings()
    except WrongKey as error:
        going.warn(going.experiment.places.located(error.keys, error.problem))
