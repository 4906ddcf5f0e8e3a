"""Judge and show the records of parameter servers, for `varsim check` and `varsim lens`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from varsim.cli.output import say, say_json

if TYPE_CHECKING:
    from varsim.analysis.served import ServedAccount, ServedExamination
    from varsim.analysis.served_lens import ServedVersion
    from varsim.experiments.run_records import RunRecord
    from varsim.tracing.served_record import ServerRecord


def examined_record(record: RunRecord) -> ServedExamination:
    """Judge a record of parameter servers.

    Raises:
        ConfigError: The run has not ended, or a record is damaged.
    """
    from varsim.experiments.run_ending import examined_servers

    _require_end(record)
    for other in _others(record.folder):
        say(f"not judged, because it is no record of a server: {other}", err=True)
    return examined_servers(record.folder, record.ending)


def _require_end(record: RunRecord) -> None:
    """Raise an error if the run of a record still writes it."""
    from varsim.errors import ConfigError
    from varsim.experiments.store import RunFiles
    from varsim.texts import saving

    if record.summary is None:
        run = RunFiles(record.folder).of_run()
        with run.claimed() as ours:
            if not ours:
                raise ConfigError(saving.NOT_ENDED.format(run=run.path))


def _others(folder: Path) -> Iterator[str]:
    """Yield the other records in the folder."""
    for name in ("history.db", "program.trace"):
        if (folder / name).exists():
            yield str(folder / name)


def show_events(record: RunRecord, events: Sequence[int], *, as_json: bool) -> None:
    """Show operations of parameter servers, with the operations around them.

    Raises:
        ConfigError: There is no such operation, or a record is damaged.
    """
    from varsim.report.page import print_page
    from varsim.report.served_event_page import ServedEvent, print_served_events
    from varsim.tracing.served_record import server_records

    records = server_records(record.folder)
    if as_json:
        say_json([ServedEvent(records, one).plain() for one in events], 2)
    else:
        print_page(lambda it: print_served_events(it, records, events), sys.stdout)


# ---------------------------------------------------------------- varsim lens


def lens_of_servers(
    record: RunRecord,
    variable: str | None,
    index_of: Callable[[Sequence[int], str], int | None],
    *,
    everything: bool,
    as_json: bool,
) -> None:
    """Show the versions of a variable on a parameter server.

    Args:
        variable: Its name or number; None for the variable with most lost updates.
        index_of: Returns the index of the shown element, given the shape and the name; None for the
            mean of all elements.
    Raises:
        ConfigError: There is no such variable, or a record is damaged.
    """
    from varsim.analysis.served import examine_servers
    from varsim.analysis.served_lens import versions_of
    from varsim.report.lens_calls_page import step_cell
    from varsim.report.page import print_page
    from varsim.report.served_lens_page import print_versions
    from varsim.tracing.served_record import server_records

    _require_end(record)
    records = server_records(record.folder)
    accounts = examine_servers(records).accounts
    chosen, why = _chosen(accounts, variable)
    if as_json:
        found = versions_of(records, chosen.number, lambda value: value)
        say_json([_plain(one) for one in found.versions], 1)
        return
    shape = _shape_of(records, chosen.number)
    index = index_of(shape, chosen.variable)
    found = versions_of(records, chosen.number, lambda value: step_cell(value, index))
    if why:
        say(f"No variable was named. {chosen.variable} is shown: {why}.\n")
    print_page(lambda it: print_versions(it, found, index, everything=everything), sys.stdout)


def _chosen(accounts: Sequence[ServedAccount], name: str | None) -> tuple[ServedAccount, str]:
    """Return the named variable, or the one that tells most, and why it was chosen."""
    from varsim.errors import ConfigError
    from varsim.nearest import listed, no_variable

    if not accounts:
        raise ConfigError("the record of this run has no variable")
    if name is not None:
        found = [one for one in accounts if name in {one.variable, str(one.number)}]
        if len(found) == 1:
            return found[0], ""
        if found:
            numbers = listed(str(one.number) for one in found)
            raise ConfigError(
                f"{len(found)} variables are called {name!r}; give a number: {numbers}"
            )
        raise ConfigError(no_variable(name, (one.variable for one in accounts)))
    best = max(accounts, key=lambda one: (one.lost, _most_behind(one), one.writes))
    if best.lost:
        return best, "it has most lost updates"
    if _most_behind(best):
        return best, "its writes were most versions behind"
    return best, "no write was behind, and it was written most often"


def _most_behind(account: ServedAccount) -> int:
    return max((behind for behind, _ in account.behind), default=0)


def _shape_of(records: Sequence[ServerRecord], number: int) -> tuple[int, ...]:
    """Return the shape of the first recorded value of a variable."""
    every = (one for record in records for one in record.operations() if one.variable == number)
    return next(one.shape for one in every)


def _plain(one: ServedVersion) -> dict[str, Any]:
    return {
        "version": one.version,
        "event": one.event,
        "time_s": one.time_s,
        "process": one.process,
        "closure": one.closure_id or None,
        "operation": one.operation,
        "location": one.location,
        "based_on": one.based_on,
        "behind": one.behind,
        "value": None if one.shown is None else one.shown.tolist(),
        "readers": [{"process": process, "reads": reads} for process, reads in one.readers],
        "overwritten_by": one.overwritten_by,
    }
