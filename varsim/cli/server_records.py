"""Judge the records of parameter servers, for `varsim check`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from varsim.cli import fail_on
from varsim.cli.exit_codes import DONE, FOUND, INVALID, UNKNOWN, WrongUse
from varsim.cli.output import say, say_json

if TYPE_CHECKING:
    from varsim.analysis.served import ServedExamination


def has_server_records(run: str) -> bool:
    """Return whether a word is the path of a directory with records of parameter servers."""
    path = Path(run)
    return path.is_dir() and next(path.glob("server-*.trace"), None) is not None


def check_servers(
    run: str,
    asked: frozenset[str],
    events: Sequence[int],
    *,
    as_json: bool,
    everything: bool,
) -> int:
    """Judge the records in a directory, print the result, and return the exit code.

    Args:
        asked: The words of --fail-on.
        events: The numbers of --event.
    """
    from varsim.analysis.served import examine_servers
    from varsim.errors import ConfigError
    from varsim.report.page import print_page
    from varsim.report.server_page import print_servers
    from varsim.tracing.served_record import server_records

    if events:
        raise WrongUse(f"{run} has records of parameter servers, which have no events to show")
    try:
        found = examine_servers(server_records(Path(run)))
    except ConfigError as error:
        raise WrongUse(str(error)) from error
    if as_json:
        say_json(_plain(found), 2)
    else:
        print_page(lambda it: print_servers(it, found, everything=everything), sys.stdout)
    others = list(_others(Path(run)))
    if others:
        say(f"\nnot judged, because it is no record of a server: {', '.join(others)}", err=True)
    verdict = {"VALID": DONE, "INVALID": INVALID, "UNKNOWN": UNKNOWN}[found.outcome.value]
    kinds = fail_on.kinds_in(found.findings, asked)
    if verdict != INVALID and kinds:
        say(f"--fail-on: found {', '.join(kinds)}", err=True)
        return FOUND
    return verdict


def _others(folder: Path) -> Iterator[str]:
    """Yield the other records in the directory."""
    for name in ("history.db", "program.trace"):
        if (folder / name).exists():
            yield str(folder / name)


def _plain(found: ServedExamination) -> dict[str, Any]:
    return {
        "outcome": found.outcome.value,
        "verdicts": [
            {"variable": one.checker, "outcome": one.outcome.value, "reason": one.reason}
            for one in found.verdicts
        ],
        "variables": [asdict(one) for one in found.accounts],
        "findings": [{**asdict(one), "kind": one.kind.name} for one in found.findings],
        "operations": found.num_operations,
        "not_looked_at": [asdict(one) for one in found.not_looked_at],
    }
