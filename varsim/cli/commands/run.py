"""`varsim run`: run an experiment, and show and save the results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from varsim.cli import completion, experiment_options
from varsim.cli.ctrl_c import saved_so_far
from varsim.cli.exit_codes import (
    DONE,
    FAILED,
    INTERRUPTED,
    INVALID,
    NOT_WRITTEN,
    WRONG_USE,
    Failed,
    WrongUse,
    exit_codes,
)
from varsim.cli.output import say
from varsim.launch.devices import MAX_WORKERS

if TYPE_CHECKING:
    from varsim.cli.results import Results
    from varsim.experiments.config import Experiment
    from varsim.report.summary import Summary

_EXIT_CODE: Final = {"done": DONE, "failed": FAILED, "interrupted": INTERRUPTED}
_EXIT_CODES: Final = exit_codes(DONE, FAILED, WRONG_USE, INVALID, NOT_WRITTEN, INTERRUPTED)


@click.command(epilog=_EXIT_CODES, short_help="Run an experiment, or the built-in job.")
@click.argument(
    "words",
    nargs=-1,
    metavar="[WHAT] [KEY=VALUE]...",
    shell_complete=completion.what_to_run,
)
@click.option(
    "-n", "-np", "--workers", type=int, metavar="N", help=f"Number of replicas: 1 to {MAX_WORKERS}."
)
@experiment_options.DEVICES
@experiment_options.mode("the workload")
@click.option(
    "--workload",
    metavar="NAME",
    shell_complete=completion.workload_names,
    help="A built-in workload (see `varsim workloads`), package.module, or path.py.",
)
@click.option("--steps", type=int, metavar="N", help="Number of training steps.")
@click.option("--seed", type=int, metavar="N", help="Seed of all random numbers. [default: 0]")
@experiment_options.backends
@click.option(
    "--auto",
    metavar="MEANING",
    type=click.Choice(["on_write", "adaptive", "advised"]),
    help="What AUTO means: on_write; adaptive (exchanged only before a read); or advised (as a "
    "pilot run recommends).",
)
@experiment_options.TRACE
@experiment_options.ORACLE
@experiment_options.FAULTS
@experiment_options.UNEVEN
@experiment_options.ON_WORKER_LOST
@click.option(
    "--resume",
    metavar="RUN",
    shell_complete=completion.runs,
    help="Continue a run from its last checkpoint (`checkpoint: {every: N}`), in a new run.",
)
@click.option(
    "--exact/--no-exact",
    default=None,
    help="Checkpoints keep every replica's component, so that a resumed run has the same values, "
    "bit for bit [default]; or one value for each variable, as in TensorFlow.",
)
@experiment_options.STRICT
@experiment_options.OUT
@experiment_options.EVERYTHING
@experiment_options.LIVE
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON, and only that.")
@click.option("-q", "--quiet", is_flag=True, help="Print the run's directory, and only that.")
@experiment_options.TRUST
@experiment_options.ALLOW_PATHS
@click.option("--print-config", is_flag=True, help="Print the experiment as YAML, and run nothing.")
@click.pass_context
def run(
    ctx: click.Context,
    /,
    words: tuple[str, ...],
    *,
    everything: bool,
    live: bool,
    as_json: bool,
    quiet: bool,
    print_config: bool,
    trust: bool,
    allow_paths: bool,
    resume: str | None,
    **options: Any,
) -> None:
    """Run WHAT: an experiment in YAML, a program with a function `run(job)`, a workload, or a RUN.

    Without WHAT, the command runs the built-in job `digits`. A RUN is repeated with the program
    that it contains. KEY=VALUE overrides a key of the experiment, as in `params.learning_rate=0.1`
    or `variables.bias=on_read`. Options override both WHAT and KEY=VALUE.

    \b
    varsim run --workers 4 --mode on_read
    varsim run configs/batch_norm.yaml workers=8 steps=50
    varsim run my_program.py --mode weights=none
    varsim run latest --workers 8
    varsim run --resume latest
    """  # noqa: D301  # \b keeps the lines below it apart
    from varsim.cli.results import Results
    from varsim.errors import ConfigError
    from varsim.experiments.run_checkpoints import how_to_continue

    alone = as_json or quiet
    if live and alone:
        raise WrongUse(f"--live shows the run, but --{'json' if as_json else 'quiet'} hides it")
    results = Results(report=not alone, everything=everything)
    try:
        allowed = {"trust": trust, "allow_paths": allow_paths, "unpacks": not print_config}
        experiment = _experiment(words, options, resume, **allowed)
        if print_config:
            say(_as_yaml(experiment), nl=False)
            return
        summary = _run(experiment, results, alone=alone, live=live)
    except ConfigError as error:
        raise WrongUse(str(error)) from error
    except OSError as error:
        raise Failed(f"the run could not begin or end: {error}") from error
    said = saved_so_far(summary.directory)
    if alone:
        say(_as_json(summary) if as_json else summary.directory)
    else:
        results.print_ending()
    if summary.interrupted:
        say(said, err=True)
    if to_continue := how_to_continue(Path(summary.directory)):
        say(to_continue, err=True)
    ctx.exit(_exit_code(summary))


def _exit_code(summary: Summary) -> int:
    """Return the exit code for an interrupt, a fault of varsim, the run's status, or lost files."""
    code = _EXIT_CODE[summary.status.value]
    invalid = summary.verdict is not None and summary.verdict.outcome == "INVALID"
    if invalid and code != INTERRUPTED:
        return INVALID
    return NOT_WRITTEN if summary.unfinished and code == DONE else code


def _as_json(summary: Summary) -> str:
    from varsim.experiments.store import as_json

    return as_json(summary)


def _experiment(
    words: tuple[str, ...],
    options: dict[str, Any],
    resume: str | None,
    *,
    trust: bool,
    **allowed: bool,
) -> Experiment:
    from varsim.experiments.loading import Override
    from varsim.experiments.run_argument import experiment_of, experiment_to_resume

    word, others = experiment_options.split_words(words)
    overrides = [Override.parse(one) for one in others]
    overrides += experiment_options.overrides_of(options)
    if resume is not None:
        if word is not None:
            raise WrongUse(f"--resume names the run to continue, so {word} must be left out")
        return experiment_to_resume(resume, overrides, trust=trust)
    return experiment_of(word, overrides, trust=trust, **allowed)


def _as_yaml(experiment: Experiment) -> str:
    from varsim.experiments.runner import resolved
    from varsim.experiments.yaml_lines import dump

    return dump(resolved(experiment))


def _run(experiment: Experiment, results: Results, *, alone: bool, live: bool) -> Summary:
    """Run an experiment. With `alone`, redirect the program's output from stdout to stderr."""
    from contextlib import nullcontext

    from varsim.cli.output import printed_visibly, stdout_as_stderr
    from varsim.cli.progress import watching
    from varsim.experiments.runner import run_experiment
    from varsim.interrupts import Interrupts

    redirected = stdout_as_stderr() if alone else nullcontext()
    # `Interrupts` is outermost, so that the progress bar can restore the terminal.
    if live:
        from varsim.cli.live import can_be_live, watching_live

        live = can_be_live()
    watched = watching_live(results) if live else watching(quiet=alone, results=results)
    with Interrupts(), redirected, watched as watcher, printed_visibly():
        return run_experiment(experiment, watcher)
