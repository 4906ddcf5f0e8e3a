"""`varsim report`: write one HTML file about a run or a sweep."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zlib import crc32

import click

from varsim.cli import completion
from varsim.cli.exit_codes import NOT_WRITTEN, NotWritten, WrongUse
from varsim.cli.output import complain, say
from varsim.cli.record import check_folder, check_output, find_records, open_record

if TYPE_CHECKING:
    from varsim.charts.chart import Chart
    from varsim.experiments.run_records import RunRecord
    from varsim.tracing.history import History
    from varsim.webpage.reported import Advice
    from varsim.webpage.section import Page

_LONGEST_NAME_BYTES: Final = 200  # of a chart's file; file systems take 255, with the endings
_BEGIN_OF_NAME: Final = 40  # characters of a longer name that stay


@click.command(short_help="Write an HTML report about a run or a sweep.")
@click.argument(
    "run",
    default="runs/latest",
    metavar="[RUN|SWEEP]",
    shell_complete=completion.runs_and_sweeps,
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The file to write; by default report.html in the directory of the run or the sweep.",
)
@click.option("--open", "opens", is_flag=True, help="Open the report in the browser.")
@click.option(
    "--png",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Also write each chart as a PNG file into DIR.",
)
@click.option(
    "--svg",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Also write each chart as an SVG file into DIR.",
)
@click.option(
    "--calls",
    metavar="A:B",
    help="Show in the space-time diagram the A-th call of strategy.run to the last one before the "
    "B-th. [default: as many as there is room for]",
)
@click.option(
    "--advice/--no-advice",
    default=True,
    help="Include the advice of `varsim advise`, which replays the record several times. "
    "[default: advice]",
)
@click.pass_context
def report(
    ctx: click.Context,
    *,
    run: str,
    output: Path | None,
    opens: bool,
    png: Path | None,
    svg: Path | None,
    calls: str | None,
    advice: bool,
) -> None:
    """Write one HTML file, which you can send: it needs no network and no other file.

    RUN is a run's directory, `latest`, or the beginning of a run's name; by default the last run.
    SWEEP is a sweep's directory, or `latest-sweep`.
    The report of a run has the outcome, the findings with their proof and their lines to paste,
    the advice, the cost of each variable, charts of bytes, messages, waits and values by call, the
    training curves, a space-time diagram of its events, the configuration, and what was not looked
    at. The report of a sweep has the trade-off of accuracy against bytes and time, a table of its
    points, and small charts of each measure. A report names files of the program, so it shows the
    paths of this machine; export the run first to send a report without them.

    This command needs two packages: pip install 'varsim-distribute[report]'

    \b
    varsim report
    varsim report latest -o mine.html --open
    varsim report latest --calls 500:510
    varsim report latest-sweep --open
    varsim report 20260101 --png charts --svg charts
    """  # noqa: D301  # \b keeps the lines below it apart
    from varsim.errors import ConfigError
    from varsim.experiments.store import REPORT
    from varsim.experiments.trace_settings import window_of
    from varsim.webpage.rendering import html, require_page

    if output is not None:
        check_output(output)
    for charts in filter(None, (png, svg)):
        check_folder(charts)
    try:
        window = window_of(calls)
    except ValueError as error:
        raise WrongUse(f"--calls: {error}") from None
    try:
        require_page()
        page, folder, damage = _page(run, window, advice=advice)
        text = html(page)
    except ConfigError as error:
        raise WrongUse(str(error)) from error
    file = folder / REPORT if output is None else output
    written = [_write(file, text.encode())]
    for where, form in ((png, "png"), (svg, "svg")):
        if where is not None:
            written += _write_charts(where, form, page.charts)
    for one in written:
        say(f"{one}: {one.stat().st_size:,} bytes")
    if opens:
        click.launch(file.absolute().as_uri())
    for text in damage:
        complain("Error", text)
    if damage:
        ctx.exit(NOT_WRITTEN)


def _page(
    words: str, calls: tuple[int, int] | None, *, advice: bool
) -> tuple[Page, Path, Sequence[str]]:
    """Return the page about a run or a sweep, its folder, and what could not be read of it."""
    from varsim.experiments.run_lookup import find_run_or_sweep
    from varsim.experiments.sweep_folder import is_sweep

    folder = find_run_or_sweep(words)
    if is_sweep(folder):
        if calls is not None:
            raise WrongUse("--calls: a sweep has no space-time diagram; give one of its runs")
        from varsim.experiments.reported_sweep import reported_sweep
        from varsim.webpage.sweep_page import sweep_page

        sweep = reported_sweep(folder)
        return sweep_page(sweep), folder, sweep.damage
    from varsim.cli.examined import examined_history
    from varsim.cli.server_records import examined_record
    from varsim.experiments.reported_run import Readers, reported_run
    from varsim.webpage.run_page import run_page

    records = find_records(words)
    advised = _advised if advice else None
    readers = Readers(open_record, examined_history, examined_record, advised, calls)
    reported = reported_run(records, readers)
    return run_page(reported), records.named.folder, reported.damage


def _advised(history: History, oracle: History | None, record: RunRecord) -> Advice:
    """Return the advice about a record.

    Raises:
        ConfigError: The record cannot be replayed.
    """
    from varsim.cli.progress import REPLAYING, telling
    from varsim.experiments import yaml_lines
    from varsim.webpage.reported import Advice, AdviceItem
    from varsim.whatif.advice import advise
    from varsim.whatif.compare import Replays
    from varsim.whatif.text import told_advice

    with telling(REPLAYING) as tell:
        returned = () if record.ending is None else record.ending.returned
        failed = record.ending is not None and record.ending.failed
        advised = advise(Replays(history, oracle, tell, returned), failed=failed)
    told, said = told_advice(advised)
    changes = not all(one.keeps for one in told)
    return Advice(
        items=[
            AdviceItem(name=one.name, title=one.title, keeps=one.keeps, entries=one.entries)
            for one in told
        ],
        sentences=said,
        experiment=yaml_lines.dump(advised.experiment).strip() if changes else "",
        program=advised.program if changes else (),
    )


def _write(file: Path, content: bytes) -> Path:
    from varsim.private import whole_private_file

    try:
        with whole_private_file(file) as written:
            written.write(content)
    except OSError as error:
        raise NotWritten(f"{file} cannot be written: {error.strerror}") from error
    return file


def _write_charts(folder: Path, form: str, charts: Sequence[Chart]) -> list[Path]:
    from varsim.charts import rendering
    from varsim.charts.chart import titled
    from varsim.private import make_private_folder

    try:
        make_private_folder(folder)
    except OSError as error:
        raise NotWritten(f"{folder} cannot be created: {error.strerror}") from error
    names = _file_names([one.key for one in charts])
    written = []
    for chart, name in zip(charts, names, strict=True):
        spec = titled(chart)
        content = rendering.png(spec) if form == "png" else rendering.svg(spec).encode()
        written.append(_write(folder / f"{name}.{form}", content))
    return written


def _file_names(keys: Sequence[str]) -> list[str]:
    """Return the keys with only letters, digits, dots, underscores and dashes, all different.

    A key that is long, or alike to another one, is shortened and gets a checksum. Keys are alike
    if they differ only in other characters, or in capital letters, as some file systems have it.
    """
    names = ["".join(one if one.isalnum() or one in ".-_" else "-" for one in key) for key in keys]
    uses = Counter(name.casefold() for name in names)
    return [
        name
        if uses[name.casefold()] == 1 and len(os.fsencode(name)) <= _LONGEST_NAME_BYTES
        else f"{name[:_BEGIN_OF_NAME]}-{crc32(key.encode('utf-8', 'replace')):08x}"
        for key, name in zip(keys, names, strict=True)
    ]
