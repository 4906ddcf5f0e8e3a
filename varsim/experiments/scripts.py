"""Run a script unchanged, as the program of a run."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from varsim.distribute.scripts import as_main, compiled, execute
from varsim.distribute.supervision import supervised
from varsim.distribute.variable import variable_creator_scope
from varsim.errors import ConfigError
from varsim.experiments.active_run import ActiveRun
from varsim.experiments.catalog import has_run_of_job, whole_path
from varsim.experiments.key_locations import KeyPath, WrongKey
from varsim.experiments.run_ending import failure_of
from varsim.experiments.run_supervisor import ScriptSupervisor
from varsim.experiments.sources import ProgramLocation, forget_imported, location_of_file
from varsim.interrupts import came_of_interrupt
from varsim.nearest import did_you_mean
from varsim.protocol.tracebacks import of_program, written
from varsim.raised import traceback_of

_KEYS: Final[KeyPath] = ("script",)


class NothingToRecord(ConfigError):
    """A script has ended without a strategy that a run could record."""

    def __init__(self, exit_code: int, hint: str = "") -> None:
        super().__init__(
            "the script did not start a strategy that a run records, so there is nothing to "
            f"record{hint}"
        )
        self.exit_code = exit_code  # exit code of the script


class ScriptProgram:
    """A Python file that is run as `python FILE` would run it."""

    no_oracle = "a script runs once; `varsim run --oracle` compares a function run(job)"
    not_kept = ""

    def __init__(self, path: str, args: Sequence[str]) -> None:
        """Read the script.

        Raises:
            WrongKey: The file does not exist, or cannot be read.
        """
        self.params: dict[str, Any] = {}
        self.said, self.args = path, list(args)
        self._argv = _Arguments([path, *args])
        self.path = whole_path(path)
        self.location: ProgramLocation | None = location_of_file(self.path)
        try:
            self.source = self.path.read_bytes()
        except FileNotFoundError:
            folder = Path(path).parent
            files = [str(folder / one.name) for one in sorted(self.path.parent.glob("*.py"))]
            raise WrongKey(_KEYS, f"there is no file {path!r}{did_you_mean(path, files)}") from None
        except OSError as error:
            raise WrongKey(_KEYS, f"{path!r} cannot be read: {error.strerror}") from None

    def keys(self) -> dict[str, Any]:
        """Return the absolute path of the script, and its arguments."""
        return {"script": str(self.path), "args": self.args}

    def play(self, run: ActiveRun, began_s: float) -> None:
        """Run the script as `__main__`.

        An error of the script is printed as Python would print it, and becomes the run's failure. A
        SystemExit with code 0 or None ends the script normally.

        Raises:
            NothingToRecord: The script has ended, and no strategy had workers.
            WrongKey: Both the script and the experiment name devices.
        """
        supervision = ScriptSupervisor(run, began_s)
        started_s = time.perf_counter()
        try:
            with supervised(supervision), variable_creator_scope(run.settings):
                error = self._executed()
        finally:
            took_s = time.perf_counter() - started_s - supervision.launching_s
            run.seconds["training"] = took_s
        if error is None:
            self._end(run)
        else:
            self._end_in_failure(run, error)

    def _executed(self) -> BaseException | None:
        """Run the script; print and return its error."""
        forget_imported(location_of_file(self.path))
        with as_main(self.path, self._argv) as main:
            try:
                execute(compiled(self.source, str(self.path)), main)
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

    def _end(self, run: ActiveRun) -> None:
        if not run.strategies:
            is_workload = has_run_of_job(self.source)
            hint = f"\n  {self.said} has run(job): use `varsim run --workload {self.said}`"
            raise NothingToRecord(0, hint if is_workload else "")
        for observed in run.strategies:
            observed.look()
        check_settings(run)
        if any(one.startswith("-") for one in self.args) and not self._argv.were_read:
            run.warn(
                f"{self.said} does not seem to read its arguments {' '.join(self.args)}; options "
                f"of varsim must come before {self.said}"
            )

    def _end_in_failure(self, run: ActiveRun, error: BaseException) -> None:
        if isinstance(error, WrongKey) or came_of_interrupt(error):
            raise error
        if issubclass(type(error), SystemExit):
            if not run.strategies:
                raise NothingToRecord(failure_of(error).exit_code)
        else:
            own = _from_script(traceback_of(error), str(self.path))
            sys.stderr.write(of_program(written(error, own), error))
        run.fail(error)
        run.take_a_last_look()


class _Arguments(list[str]):
    """The arguments of a script, as `sys.argv`: a list that records whether the script reads it."""

    were_read = False

    def __getitem__(self, key: Any) -> Any:
        self.were_read = True
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[str]:
        self.were_read = True
        return super().__iter__()

    def __len__(self) -> int:
        self.were_read = True
        return super().__len__()

    def __repr__(self) -> str:
        self.were_read = True
        return super().__repr__()


def _from_script(trace: TracebackType | None, path: str) -> TracebackType | None:
    """Return a traceback without the frames that called the script."""
    while trace is not None and trace.tb_frame.f_code.co_filename != path:
        trace = trace.tb_next
    return trace


def check_settings(run: ActiveRun) -> None:
    """Warn about settings of variables that the script does not have.

    The check happens at the end, because a script may create variables at any time. The check only
    warns, because the script's results must not be lost.
    """
    try:
        if run.strategies:
            run.check_settings()
    except WrongKey as error:
        run.warn(run.experiment.locations.located(error.keys, error.problem))
