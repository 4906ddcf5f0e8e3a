"""The program `varsim`: its commands, and what they have in common."""

from __future__ import annotations

import click

from varsim import __version__
from varsim.cli.lazy import LazyGroup, exit_codes


@click.group(
    cls=LazyGroup,
    homes={
        "run": "varsim.cli.run:run",
        "exec": "varsim.cli.exec:exec_",
        "bench": "varsim.cli.bench:bench",
        "check": "varsim.cli.check:check",
        "explain": "varsim.cli.explain:explain",
        "lens": "varsim.cli.lens:lens",
        "whatif": "varsim.cli.whatif:whatif",
        "advise": "varsim.cli.advise:advise",
        "export": "varsim.cli.export:export",
        "workloads": "varsim.cli.workloads:workloads",
        "schema": "varsim.cli.schema:schema",
        "completion": "varsim.cli.completion:completion",
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=exit_codes(),
)
@click.version_option(__version__, prog_name="varsim", message="%(prog)s %(version)s")
def main() -> None:
    """Run distributed variables for real, and see what each replica sees and what it cost.

    Start with `varsim run --workers 4 --mode on_read`.
    """
