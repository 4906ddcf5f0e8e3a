"""`varsim sweep`: run an experiment with several values of its settings, and compare the runs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from varsim.cli import completion, experiment_options
from varsim.cli.ctrl_c import ends_with
from varsim.cli.exit_codes import (
    DONE,
    FAILED,
    INTERRUPTED,
    INVALID,
    NOT_WRITTEN,
    WRONG_USE,
    Failed,
    NotWritten,
    WrongUse,
    exit_codes,
    only_one,
)
from varsim.cli.output import say

if TYPE_CHECKING:
    from varsim.cli.sweep_progress import SweepProgress
    from varsim.experiments.sweep_folder import SweepFolder
    from varsim.experiments.sweep_plan import SweepPlan

_EXIT_CODES: Final = exit_codes(DONE, FAILED, WRONG_USE, INVALID, NOT_WRITTEN, INTERRUPTED)
_VARIED: Final = ("workers", "mode", "workload", "steps", "seed", "auto")
"""The options that take several values, as KEY=VALUES does."""


@click.command(epilog=_EXIT_CODES, short_help="Run an experiment with several values of settings.")
@click.argument(
    "words",
    nargs=-1,
    metavar="[WHAT|SWEEP] [KEY=VALUES]...",
    shell_complete=completion.what_to_run,
)
@click.option(
    "-n", "-np", "--workers", metavar="VALUES", help="Numbers of replicas: 1,2,4 or 1..8."
)
@click.option(
    "--mode",
    metavar="VALUES",
    shell_complete=completion.modes,
    help="Modes, as in auto,on_read (see `varsim run --help`).",
)
@click.option(
    "--workload",
    metavar="VALUES",
    shell_complete=completion.workload_names,
    help="Built-in workloads (see `varsim workloads`), package.module, or path.py.",
)
@click.option("--steps", metavar="VALUES", help="Numbers of training steps.")
@click.option("--seed", metavar="VALUES", help="Seeds of all random numbers. [default: 0]")
@click.option("--auto", metavar="VALUES", help="What AUTO means: on_write, adaptive or advised.")
@click.option(
    "--zip/--product",
    "zipped",
    default=None,
    help="Combine the first values of all keys, the second values, and so on; or every value with "
    "every value of the other keys [default].",
)
@click.option(
    "--spread",
    type=click.Choice(["ray", "none"]),
    help="Where the points run: on the nodes of a Ray cluster, several at the same time (see "
    "--address), or none: here, one after the other [default].",
)
@experiment_options.backends
@experiment_options.TRACE
@experiment_options.ORACLE
@experiment_options.FAULTS
@experiment_options.UNEVEN
@experiment_options.ON_WORKER_LOST
@experiment_options.STRICT
@experiment_options.OUT
@click.option("--json", is_flag=True, help="Print the comparison as JSON only.")
@click.option("-q", "--quiet", is_flag=True, help="Print the sweep's folder only.")
@experiment_options.TRUST
@experiment_options.ALLOW_PATHS
@click.option(
    "--retry-failed",
    is_flag=True,
    help="Run the failed points of SWEEP again, also with a changed program. Points that are done "
    "are kept.",
)
@click.option("--dry-run", is_flag=True, help="Print the points, and run nothing.")
@click.pass_context
def sweep(
    ctx: click.Context,
    /,
    words: tuple[str, ...],
    *,
    zipped: bool | None,
    spread: str | None,
    json: bool,
    quiet: bool,
    trust: bool,
    allow_paths: bool,
    retry_failed: bool,
    dry_run: bool,
    **options: Any,
) -> None:
    """Run WHAT once for each combination of VALUES, and compare the runs.

    WHAT is as for `varsim run`; without it, the built-in job `digits` runs. VALUES are separated by
    commas; `1..8` is a range with both ends. KEY is a key of the experiment, as in
    `params.learning_rate=0.1,0.5`. A YAML file can have the keys and values under `sweep:`. A point
    that fails is kept with its error, and the next one runs. A SWEEP that was interrupted is
    continued; --retry-failed runs its failed points again.

    \b
    varsim sweep mode=auto,none,on_read,on_write workers=1,2,4,8
    varsim sweep my_program.py workers=4 seed=0..4
    varsim sweep my_experiment.yaml --zip workers=2,4 params.batch_size=32,64
    varsim sweep workers=1,2,4 seed=0..3 --spread ray --address 203.0.113.1:6379
    varsim sweep latest-sweep
    """  # noqa: D301  # \b keeps the lines below it apart
    from varsim.errors import ConfigError

    form = only_one(json=json, quiet=quiet)
    try:
        resumed, plan = _planned(
            words,
            options,
            zipped=zipped,
            spread=spread,
            trust=trust,
            allow_paths=allow_paths,
            retry_failed=retry_failed,
        )
        if dry_run:
            _print_points(resumed, plan)
            return
        folder, watcher, interrupted = _run(resumed, plan, form, retry_failed=retry_failed)
    except ConfigError as error:
        raise WrongUse(str(error)) from error
    except OSError as error:
        raise Failed(f"the sweep could not begin: {error}") from error
    _show(folder, form)
    if interrupted:
        say(f"interrupted: continue with `varsim sweep {folder.path}`", err=True)
    ctx.exit(INTERRUPTED if interrupted else _exit_code(folder, watcher))


def _planned(
    words: tuple[str, ...],
    options: dict[str, Any],
    *,
    zipped: bool | None,
    spread: str | None,
    trust: bool,
    allow_paths: bool,
    retry_failed: bool,
) -> tuple[SweepFolder | None, SweepPlan]:
    """Return the plan of a new sweep, or a sweep that is resumed and its plan."""
    from varsim.experiments.run_argument import experiment_of
    from varsim.experiments.sweep_plan import PROGRAMS, axis_of_word, plan_sweep
    from varsim.experiments.sweep_runner import find_unfinished, resume_sweep
    from varsim.experiments.sweep_trust import check_trust, is_own_sweep, sweep_of_file

    word, said = experiment_options.split_words(words)
    over = _spread(spread, options)
    given = {key: options.pop(key) for key in _VARIED}
    axes = [axis_of_word(one) for one in said]
    axes += [
        axis_of_word(f"{key}={text}", f"--{key} {text}")
        for key, text in given.items()
        if text is not None
    ]
    overrides = experiment_options.overrides_of(options)
    unfinished = None if word is None else find_unfinished(word)
    if unfinished is not None:
        if axes or overrides or zipped is not None:
            raise WrongUse(
                f"{word} is a sweep, which is continued as it began; for another one, use "
                f"`varsim sweep {unfinished / 'sweep.yaml'} ...`"
            )
        return resume_sweep(unfinished, trust=trust, retry_failed=retry_failed, spread=over)
    if retry_failed:
        raise WrongUse("--retry-failed takes a sweep: `varsim sweep latest-sweep --retry-failed`")
    swept = None if word is None else sweep_of_file(word)
    if swept is not None and is_own_sweep(swept):
        allow_paths = True
    trusted = trust or any(axis.name in PROGRAMS for axis in axes)
    plan = plan_sweep(
        lambda given: experiment_of(word, given, trust=trust, allow_paths=allow_paths),
        axes,
        overrides,
        zipped=zipped,
        spread=over,
        allow_paths=allow_paths,
        before_programs=None if swept is None or trusted else partial(check_trust, swept),
    )
    return None, plan


def _spread(said: str | None, options: dict[str, Any]) -> object:
    """Return where the points run, as in a file's `sweep:`; None if the options do not say it."""
    if said != "ray":
        return said
    address = options.pop("address")
    return "ray" if address is None else {"ray": {"address": address}}


def _print_points(resumed: SweepFolder | None, plan: SweepPlan) -> None:
    """Print a line for each point; for the points of a sweep that has begun, with their states."""
    from varsim.experiments.sweep_plan import settings_text, title_of

    say(title_of(plan))
    for index, point in enumerate(plan.points):
        status = "" if resumed is None else f"  {resumed.sweep.points[index].status.value}"
        number = f"{point.number:>{len(str(len(plan.points)))}}"
        say(f"{number}  {settings_text(point.settings)}{status}")


def _run(
    resumed: SweepFolder | None, plan: SweepPlan, form: str | None, *, retry_failed: bool
) -> tuple[SweepFolder, SweepProgress, bool]:
    """Run the points. Return the sweep, what was seen of it, and whether Ctrl-C has ended it."""
    from contextlib import nullcontext

    from varsim.cli.output import printed_visibly, stdout_as_stderr
    from varsim.cli.sweep_progress import watching_sweep
    from varsim.errors import StartError
    from varsim.experiments.store import SWEEP
    from varsim.experiments.sweep_plan import title_of
    from varsim.experiments.sweep_runner import begin_sweep, points_to_run, run_sweep
    from varsim.interrupts import Interrupts

    alone, interrupted = form is not None, False
    redirected = stdout_as_stderr() if alone else nullcontext()
    with Interrupts() as interrupts, redirected:
        folder = begin_sweep(plan) if resumed is None else resumed
        to_run = points_to_run(folder, plan, retry_failed=retry_failed)
        if not alone:
            kept = len(plan.points) - len(to_run)
            said = f", {kept} of them finished" if resumed is not None else ""
            say(f"{title_of(plan)}{said}", err=True)
        with watching_sweep(to_run, len(plan.points), quiet=alone) as watcher, printed_visibly():
            try:
                run_sweep(folder, plan, watcher, retry_failed=retry_failed)
            except KeyboardInterrupt:
                interrupts.enabled = False
                interrupted = True
            except StartError as error:
                raise Failed(
                    f"{error}\n  When the cluster can be used, continue with "
                    f"`varsim sweep {folder.path}`"
                ) from error
            except OSError as error:
                raise NotWritten(
                    f"{error.filename or folder.path / SWEEP} cannot be written: {error.strerror}. "
                    "The points that have ended are kept: when it can be written, continue with "
                    f"`varsim sweep {folder.path}`"
                ) from error
    if interrupted:
        ends_with(INTERRUPTED, f"interrupted: continue with `varsim sweep {folder.path}`")
    return folder, watcher, interrupted


def _show(folder: SweepFolder, form: str | None) -> None:
    from varsim.cli.comparisons import show
    from varsim.experiments.comparison import compare_folders
    from varsim.experiments.spread_sweep import nodes_text
    from varsim.experiments.sweep_folder import PointStatus

    if form == "quiet":
        say(str(folder.path))
        return
    show(compare_folders([folder.path]), form)
    if form is None:
        if nodes := nodes_text(folder.sweep.points):
            say(nodes)
        say(f"{folder.path}/")
        if folder.sweep.count(PointStatus.FAILED):
            again = f"varsim sweep {folder.path} --retry-failed"
            say(f"`{again}` runs the failed points again", err=True)


def _exit_code(folder: SweepFolder, watcher: SweepProgress) -> int:
    """Return the code for a fault of varsim, a failed point, or lost files."""
    from varsim.experiments.sweep_folder import PointStatus

    verdicts = [one.verdict for one in watcher.summaries]
    if any(verdict is not None and verdict.outcome == "INVALID" for verdict in verdicts):
        return INVALID
    if folder.sweep.count(PointStatus.FAILED):
        return FAILED
    return NOT_WRITTEN if any(one.unfinished for one in watcher.summaries) else DONE
