"""`varsim inventory`: list the variables of a TensorFlow or Keras model as an experiment."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from varsim.cli.exit_codes import (
    DONE,
    FAILED,
    INTERRUPTED,
    WRONG_USE,
    NotWritten,
    WrongUse,
    exit_codes,
)
from varsim.cli.output import say


@click.command(
    epilog=exit_codes(DONE, FAILED, WRONG_USE, INTERRUPTED),
    short_help="List a model's variables as an experiment.",
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the experiment into FILE. [default: stdout]",
)
@click.option(
    "--python",
    metavar="PATH",
    default=sys.executable,
    help="An interpreter that has TensorFlow. [default: the one that runs varsim]",
)
def inventory(model: Path, *, output: Path | None, python: str) -> None:
    """List the variables of MODEL as an experiment, which shows what their synchronisation costs.

    MODEL is a Keras model (.keras, .h5), the folder of a SavedModel, or a TensorFlow checkpoint. It
    is read by TensorFlow, in a separate process. The experiment has the names, shapes, dtypes and
    settings of the variables that a training step writes, not their values.

    \b
    varsim inventory model.keras -o vars.yaml
    varsim run vars.yaml --workers 4 --mode on_read
    """  # noqa: D301  # \b keeps the lines below it apart
    from varsim.errors import ConfigError
    from varsim.experiments.inventory import take_inventory

    try:
        found = take_inventory(model, python)
    except ConfigError as error:
        raise WrongUse(str(error)) from error
    if output is None:
        say(found.as_yaml(), nl=False)
        return
    try:
        output.write_text(found.as_yaml(), "utf-8")
    except OSError as error:
        raise NotWritten(f"{output} cannot be written: {error.strerror}") from error
    say(f"{output}: {found.summary}")
    for note in found.notes:
        say(f"  {note}")
    say(f"Next: varsim run {output} --workers 4 --mode on_read")
