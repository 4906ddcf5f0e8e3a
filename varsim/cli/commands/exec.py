"""`varsim exec`: run an unchanged script, and save and show a record of its strategies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from varsim.cli import completion, experiment_options
from varsim.cli.ctrl_c import saved_so_far
from varsim.cli.exit_codes import DONE, INTERRUPTED, NOT_WRITTEN, Failed, WrongUse
from varsim.cli.output import say
from varsim.launch.devices import MAX_WORKERS

if TYPE_CHECKING:
    from varsim.cli.results import ScriptResults
    from varsim.report.summary import Summary

_EXIT_CODES = (
    "Exit codes: the script's own (0 done; the argument of its sys.exit; 1 after an error); 2 "
    "wrong use; 6 done, but not everything could be written; 130 interrupted."
)


@click.command(
    "exec",
    epilog=_EXIT_CODES,
    short_help="Run a script, and keep a record of it.",
    context_settings={"allow_interspersed_args": False},
)
@click.argument("script", metavar="SCRIPT.py", shell_complete=completion.scripts)
@click.argument("args", nargs=-1, metavar="[ARGS]...", type=click.UNPROCESSED)
@click.option(
    "-n",
    "-np",
    "--workers",
    type=int,
    metavar="N",
    help="Number of workers of a strategy that the script creates without a number or devices: "
    f"1 to {MAX_WORKERS}.",
)
@experiment_options.DEVICES
@click.option(
    "--spmd",
    is_flag=True,
    default=None,
    help="Every worker runs the whole script, as under mpirun or torchrun (docs/spmd.md).",
)
@experiment_options.mode("the script")
@click.option(
    "--auto",
    metavar="MEANING",
    type=click.Choice(["on_write", "adaptive"]),
    help="What AUTO means: on_write; or adaptive (exchanged only before a read).",
)
@experiment_options.TRACE
@click.option("--seed", type=int, metavar="N", help="Seed of random and numpy.random. [default: 0]")
@experiment_options.backends
@experiment_options.FAULTS
@experiment_options.UNEVEN
@experiment_options.ON_WORKER_LOST
@experiment_options.STRICT
@click.option("--oracle", is_flag=True, default=None, hidden=True)  # always an error
@click.option("--steps", type=int, hidden=True)  # always an error
@click.option("--name", metavar="NAME", help="Names the run. [default: the script's name]")
@experiment_options.OUT
@experiment_options.EVERYTHING
@experiment_options.LIVE
@click.option("--json", "json_file", metavar="FILE", help="Write the summary into FILE, as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Print only what the script prints.")
@click.pass_context
def exec_(
    ctx: click.Context,
    /,
    script: str,
    args: tuple[str, ...],
    *,
    everything: bool,
    live: bool,
    json_file: str | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Run SCRIPT.py as `python SCRIPT.py ARGS` does, and keep a record of it.

    --workers sets the number of workers of the script's MirroredStrategy(). The script's output is
    not changed, and is followed by the report. Write the options of varsim before SCRIPT.py, and
    the options of the script after SCRIPT.py.

    \b
    varsim exec -n 4 my_program.py
    varsim exec --mode weights=on_read my_program.py --epochs 3
    varsim exec -n 4 --spmd my_horovod_program.py
    """  # noqa: D301  # \b keeps the lines below it apart
    from varsim.cli.results import ScriptResults
    from varsim.errors import ConfigError
    from varsim.experiments.scripts import NothingToRecord

    if live and quiet:
        raise WrongUse("--live shows the run, but --quiet hides it")
    results = ScriptResults(report=not quiet, everything=everything)
    try:
        summary = _run(script, args, options, results, live=live)
    except NothingToRecord as nothing:
        if not quiet:
            say(f"varsim exec: {nothing}", err=True)
        ctx.exit(nothing.exit_code)
    except ConfigError as error:
        raise WrongUse(str(error)) from error
    except OSError as error:
        raise Failed(f"the run could not begin or end: {error}") from error
    said = saved_so_far(summary.directory)
    is_written = json_file is None or _write(summary, Path(json_file))
    results.print_ending()
    if summary.interrupted:
        say(said, err=True)
    code = _exit_code(summary)
    ctx.exit(NOT_WRITTEN if code == DONE and not is_written else code)


def _run(
    script: str,
    args: tuple[str, ...],
    options: dict[str, Any],
    results: ScriptResults,
    *,
    live: bool,
) -> Summary:
    from contextlib import nullcontext

    from varsim.cli import streams
    from varsim.cli.progress import watching, watching_later
    from varsim.experiments.loading import Override, load_experiment
    from varsim.experiments.runner import run_experiment
    from varsim.interrupts import Interrupts

    said = [Override(("script",), script, script)]
    said += [Override(("args",), list(args), f"{script} {' '.join(args)}")] if args else []
    said += experiment_options.overrides_of(options)
    experiment = load_experiment(None, said)
    if live:
        from varsim.cli.live import can_be_live, watching_live

        live = can_be_live()
    if live:
        watched = watching_live(results)
    else:
        watched = watching_later(results) if results.has_report else watching(quiet=True)
    streams.raise_errors(raises=True)  # as under Python
    # `Interrupts` is outermost, so that the progress bar can restore the terminal.
    with Interrupts() if live else nullcontext(), watched as watcher:
        return run_experiment(experiment, watcher)


def _write(summary: Summary, file: Path) -> bool:
    """Write the summary into a file; print an error and return False if this fails."""
    from varsim.cli.output import complain
    from varsim.experiments.store import as_json

    try:
        file.write_text(as_json(summary) + "\n", "utf-8")
    except OSError as error:
        complain("Error", f"--json {file}: the summary cannot be written: {error.strerror}")
        return False
    return True


def _exit_code(summary: Summary) -> int:
    if summary.failure is not None:
        return summary.failure.exit_code
    if summary.status.value == "interrupted":
        return INTERRUPTED
    return NOT_WRITTEN if summary.unfinished else DONE
