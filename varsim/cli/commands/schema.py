"""`varsim schema`: print the JSON Schema of experiments, and of what commands write as JSON."""

from __future__ import annotations

import json
from typing import Final

import click

from varsim.cli.output import say

_NAMES: Final = ("experiment", "summary", "check", "sweep", "comparison")


@click.command(short_help="Print the JSON Schema of experiments.")
@click.argument("what", type=click.Choice(_NAMES), default="experiment")
def schema(what: str) -> None:
    """Print a JSON Schema.

    experiment is an experiment's file, summary is a run's summary.json, check is `check --json`,
    sweep is a sweep's sweep.json, and comparison is `compare --json`.

    An editor with the YAML language server uses the schema if a YAML file starts with
    `# yaml-language-server: $schema=experiment.schema.json`.
    """
    say(text_of(what))


def text_of(what: str) -> str:
    """Return the schema as JSON text."""
    from varsim.experiments import config, store, sweep_folder
    from varsim.report import check_json, run_rows

    schemas = {
        "experiment": config.schema,
        "summary": store.schema,
        "check": check_json.schema,
        "sweep": sweep_folder.schema,
        "comparison": run_rows.schema,
    }
    return json.dumps(schemas[what](), indent=2)
