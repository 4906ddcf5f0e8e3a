"""`varsim bench`: measure this host, and show and save the figures."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from varsim.cli import completion
from varsim.cli.ctrl_c import saved_so_far
from varsim.cli.exit_codes import DONE, EXIT_CODES, FAILED, INTERRUPTED, Failed, WrongUse
from varsim.cli.output import say
from varsim.report.terminal import is_terminal, takes_escapes, width_of

if TYPE_CHECKING:
    from varsim.experiments.bench import BenchPlan
    from varsim.report.bench import Bench

    _Parameter = click.ParamType[tuple[int, ...]]
else:
    _Parameter = click.ParamType  # older releases of click do not allow a subscript

_EXIT_CODE: Final = {"done": DONE, "failed": FAILED, "interrupted": INTERRUPTED}
_CLEAR_LINE: Final = "\r\x1b[K"
LINE_EVERY_S: Final = 2.0  # time between lines on a terminal that cannot overwrite a line


class Numbers(_Parameter):
    """A list of numbers of workers, such as "1,2,4"."""

    name = "list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the numbers in ascending order, without duplicates."""
        from varsim.launch.devices import MAX_WORKERS

        numbers = set()
        for word in str(value).split(","):
            if not word.strip().isdecimal():
                self.fail(
                    f"{word.strip()!r} is not a number; write numbers as in 1,2,4", param, ctx
                )
            if not 1 <= int(word) <= MAX_WORKERS:
                self.fail(
                    f"invalid value {int(word)}: expected a number from 1 to {MAX_WORKERS}",
                    param,
                    ctx,
                )
            numbers.add(int(word))
        return tuple(sorted(numbers))


class _ProgressLine:
    """A terminal line that shows the current measurement. Nothing is written to a file or pipe.

    On a terminal without escape sequences, a new line is written every few seconds.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._shown = is_terminal(sys.stderr) and not quiet
        self._escapes = takes_escapes(sys.stderr)
        self._said_s = time.monotonic()

    def measuring(self, what: str, done: int, asked: int) -> None:
        """Overwrite the last line."""
        said = f"{done}/{asked}  measuring {what}"
        if self._shown and self._escapes:
            cut = said[: width_of(sys.stderr) - 1]
            click.echo(f"{_CLEAR_LINE}{cut}", nl=False, err=True)
        elif self._shown and time.monotonic() - self._said_s >= LINE_EVERY_S:
            self._said_s = time.monotonic()
            say(said, err=True)

    def clear(self) -> None:
        """Remove the line."""
        if self._shown and self._escapes:
            click.echo(_CLEAR_LINE, nl=False, err=True)


@click.command(epilog=EXIT_CODES, short_help="Measure this host.")
@click.option(
    "-n", "--workers", type=Numbers(), metavar="N,…", help="Numbers of workers. [default: 1,2,4,8]"
)
@click.option("--quick", is_flag=True, help="Measure roughly, in about three seconds.")
@click.option(
    "--against",
    metavar="BENCH",
    shell_complete=completion.benches,
    help="Compare with an earlier measurement: `latest`, the beginning of its name, or a path.",
)
@click.option(
    "--out",
    default="runs",
    metavar="DIR",
    help="The folder for the measurement's directory.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON, and only that.")
@click.option("-q", "--quiet", is_flag=True, help="Print the directory, and only that.")
@click.pass_context
def bench(
    ctx: click.Context,
    /,
    *,
    workers: tuple[int, ...] | None,
    quick: bool,
    against: str | None,
    out: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Measure this host in less than 20 s.

    The command times bare ZeroMQ messages, an ON_WRITE write, an ON_READ read and a copy of memory,
    for several sizes and numbers of workers, and explains the figures.

    \b
    varsim bench
    varsim bench --workers 1,16,64
    varsim bench --against runs-of-another-host/latest-bench
    """  # noqa: D301  # \b keeps the lines below it apart
    from varsim.errors import ConfigError, VarsimError
    from varsim.experiments.bench import load_bench, run_bench
    from varsim.experiments.run_lookup import find_bench

    line = _ProgressLine(quiet=as_json or quiet)
    try:
        other = None if against is None else load_bench(find_bench(against, Path(out)))
        found = run_bench(_plan(workers, quick=quick), Path(out), line)
    except ConfigError as error:
        raise WrongUse(str(error)) from error
    except (OSError, VarsimError) as error:
        raise Failed(str(error)) from error
    finally:
        line.clear()
    said = saved_so_far(found.directory)
    _show(found, other, as_json=as_json, quiet=quiet)
    if found.status.value == "interrupted":
        say(said, err=True)
    ctx.exit(_EXIT_CODE[found.status.value])


def _plan(workers: tuple[int, ...] | None, *, quick: bool) -> BenchPlan:
    from varsim.experiments.bench import QUICK, BenchPlan

    plan = QUICK if quick else BenchPlan()
    return plan if workers is None else replace(plan, workers=workers)


def _show(found: Bench, other: Bench | None, *, as_json: bool, quiet: bool) -> None:
    from varsim.cli.output import complain
    from varsim.experiments.bench import as_json as json_of
    from varsim.report.bench_page import print_bench, print_comparison

    if as_json:
        say(json_of(found))
    elif quiet:
        say(found.directory)
    else:
        print_bench(found, sys.stdout)
        if other is not None:
            say()
            print_comparison(found, other, sys.stdout)
    if found.failure is not None:
        sys.stdout.flush()
        complain("Error", found.failure)
