"""`varsim schema`: print the JSON Schema of experiments or of a run's summary."""

from __future__ import annotations

import json

import click

from varsim.cli.output import say


@click.command(short_help="Print the JSON Schema of experiments.")
@click.argument("what", type=click.Choice(["experiment", "summary"]), default="experiment")
def schema(what: str) -> None:
    """Print the JSON Schema of an experiment's YAML file, or of a run's summary.json.

    An editor with the YAML language server uses the schema if a YAML file starts with
    `# yaml-language-server: $schema=experiment.schema.json`.
    """
    say(text_of(what))


def text_of(what: str) -> str:
    """Return the schema as JSON text."""
    from varsim.experiments import config, store

    values = config.schema() if what == "experiment" else store.schema()
    return json.dumps(values, indent=2)
