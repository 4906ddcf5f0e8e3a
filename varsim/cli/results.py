"""Show the results of a run as soon as they are known: the failure, the report, the verdict."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from varsim.cli.output import complain

if TYPE_CHECKING:
    from varsim.report.summary import Failure, Summary

ENDING: Final = "ending the run: another Ctrl-C skips the merge and the verdict of its record"


class Results:
    """The output of one run, except its progress.

    The output is written to the streams that were in place when this object was created, because
    the streams are replaced while a program runs.
    """

    def __init__(self, *, report: bool, everything: bool = False) -> None:
        """Show a run.

        Args:
            report: Whether the report is printed.
            everything: Whether the report has a row for each variable.
        """
        self._out, self._err = sys.stdout, sys.stderr
        self.has_report = report
        self._everything = everything
        self.summaries: Sequence[Summary] = ()
        """The final summaries, one for each strategy."""

    def failed(self, failure: Failure) -> None:
        """Print why the run failed."""
        from varsim.report.formatting import bounded

        text, trace = (bounded(one, "summary.json") for one in (failure.text, failure.traceback))
        said = f"the run failed: {failure.kind}: {text}"
        complain("Error", said, self._err, more=trace)

    def interrupted(self) -> None:
        """Print what Ctrl-C has ended, and what another Ctrl-C ends."""
        click.echo(ENDING, file=self._err)

    def measured(self, summaries: Sequence[Summary]) -> None:
        """Print the report without the verdict, which can take long."""
        from varsim.report.run_page import print_measured

        if self._prints:
            for one in summaries:
                self.begin()
                print_measured(one, self._out, everything=self._everything)
            self._out.flush()

    def begin(self) -> None:
        """Separate a report from the output before it."""

    def unfinished(self, text: str) -> None:
        """Print what could not be written or judged."""
        complain("Error", text, self._err)

    def finished(self, summaries: Sequence[Summary]) -> None:
        """Keep the final summaries."""
        self.summaries = summaries

    def print_ending(self) -> None:
        """Print the rest of the report."""
        from varsim.report.run_page import print_endings

        if self._prints and self.summaries:
            print_endings(self.summaries, self._out)
            self._out.flush()

    @property
    def _prints(self) -> bool:
        return self.has_report and not self._out.closed


class ScriptResults(Results):
    """The output of a run of a script, which prints its failure itself, as under Python."""

    def failed(self, failure: Failure) -> None:
        """Print nothing."""

    def measured(self, summaries: Sequence[Summary]) -> None:
        """Print the report without the verdict, after the output of the script."""
        from varsim.cli import streams

        streams.raise_errors(raises=False)  # the script has ended
        super().measured(summaries)

    def begin(self) -> None:
        """Print an empty line."""
        click.echo(file=self._out)
