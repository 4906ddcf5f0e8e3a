"""`varsim schema`: print the JSON Schema of experiments, of a run's summary, or of a check."""

from __future__ import annotations

import json

import click

from varsim.cli.output import say


@click.command(short_help="Print the JSON Schema of experiments.")
@click.argument("what", type=click.Choice(["experiment", "summary", "check"]), default="experiment")
def schema(what: str) -> None:
    """Print the JSON Schema of an experiment's file, a run's summary.json, or `check --json`.

    An editor with the YAML language server uses the schema if a YAML file starts with
    `# yaml-language-server: $schema=experiment.schema.json`.
    """
    say(text_of(what))


def text_of(what: str) -> str:
    """Return the schema as JSON text."""
    from varsim.experiments import config, store
    from varsim.report import check_json

    schemas = {
        "experiment": config.schema,
        "summary": store.schema,
        "check": check_json.schema,
    }
    return json.dumps(schemas[what](), indent=2)
