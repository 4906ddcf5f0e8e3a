"""`varsim runs`: list, filter and show the stored runs; tag or remove them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from varsim.cli import completion
from varsim.cli.exit_codes import NotWritten, WrongUse
from varsim.cli.output import say, say_json

if TYPE_CHECKING:
    from varsim.experiments.run_filter import RunFilter

_OUT: Final = "runs"


@click.command(short_help="List, filter and show stored runs; tag or remove them.")
@click.argument(
    "words", nargs=-1, metavar="[RUN]... [KEY=VALUE]...", shell_complete=completion.runs
)
@click.option("--workload", metavar="NAME", help="List runs of this workload or script.")
@click.option("--mode", metavar="MODE", help="List runs with this mode.")
@click.option(
    "--status",
    type=click.Choice(["done", "failed", "interrupted", "running", "no summary"]),
    help="List runs with this status, and sweeps with such a point.",
)
@click.option(
    "--since", metavar="TIME", help="List runs since a date, or since 7d, 12h or 30m ago."
)
@click.option(
    "--tag",
    metavar="TEXT",
    help="With RUN: give it a tag; a tagged run is not removed. Without RUN: list runs with "
    "this tag.",
)
@click.option("--untag", is_flag=True, help="Remove the tag of RUN.")
@click.option("--remove", is_flag=True, help="Remove RUN. Several can be given.")
@click.option(
    "--yes", is_flag=True, help="With --remove: remove a sweep with all its points unasked."
)
@click.option(
    "--force", is_flag=True, help="With --remove: also files in RUN that varsim did not write."
)
@click.option(
    "--limit",
    metavar="SIZE",
    help="Remove the oldest runs without a tag, until all runs together have at most this size, "
    "as in 2GiB.",
)
@click.option("--out", metavar="DIR", default=_OUT, help="The folder of the runs. [default: runs]")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON, and only that.")
def runs(
    *,
    words: tuple[str, ...],
    tag: str | None,
    untag: bool,
    remove: bool,
    force: bool,
    yes: bool,
    limit: str | None,
    out: str,
    as_json: bool,
    **conditions: str | None,
) -> None:
    """List the runs in a folder, the newest first; or show one RUN with its files.

    A sweep is one row. KEY=VALUE lists the runs whose experiment has this value; NAME, MODE and
    TEXT may be patterns, such as 'digits*'. VARSIM_RUNS_LIMIT=2GiB in the environment applies
    --limit after every run. By default, no run is removed.

    \b
    varsim runs
    varsim runs latest
    varsim runs --workload digits --since 7d params.learning_rate=0.1
    varsim runs latest --tag baseline
    varsim runs 20260101 20260102 --remove
    """  # noqa: D301  # \b keeps the lines below it apart
    from varsim.errors import ConfigError
    from varsim.experiments import room
    from varsim.experiments.run_lookup import find_run_or_sweep

    folder = Path(out)
    names = [word for word in words if "=" not in word]
    keys = [word for word in words if "=" in word]
    changes = untag or remove or (tag is not None and bool(names))
    if tag is not None and not tag.strip():
        raise WrongUse("--tag needs a text; --untag removes a tag")
    if (force or yes) and not remove:
        raise WrongUse(f"{'--force' if force else '--yes'} belongs to --remove")
    _check(names, changes=changes, untag=untag or remove, filters=[*keys, *conditions.values()])
    if limit is not None and names and not changes:
        raise WrongUse("--limit is about all runs: give it without a RUN")
    if not folder.is_dir() and out != _OUT:
        raise WrongUse(f"--out {out}: there is no such folder{_near_folder(folder)}")
    try:
        wanted = _filter(None if names else tag, keys, conditions)
        found = [find_run_or_sweep(name, folder) for name in names]
        if remove:
            _remove(names, found, force=force, unasked=yes, err=as_json)
        elif changes:
            _tag(found, tag or "")
        if limit is not None:
            most_bytes = room.parsed_limit(limit, f"--limit {limit}")
            for gone in room.make_room(folder, most_bytes).removed:
                say(f"removed {gone.path.name}", err=as_json)
    except ConfigError as error:
        raise WrongUse(str(error)) from error
    except OSError as error:
        raise NotWritten(f"{error.filename} cannot be removed: {error.strerror}") from error
    if found and not changes:
        _show(found[0], as_json=as_json)
    else:
        _list(folder, wanted, as_json=as_json)


def _check(names: list[str], *, changes: bool, untag: bool, filters: list[str | None]) -> None:
    """Refuse words and options that do not belong together.

    Raises:
        WrongUse: They are listed in the text.
    """
    if untag and not names:
        raise WrongUse("--untag and --remove need a RUN")
    if names and any(one is not None for one in filters):
        raise WrongUse("filters list runs, and a RUN is one run: give filters without a RUN")
    for name in names:
        if changes and Path(name).is_file():
            raise WrongUse(f"{name} is a file: name the directory of the run")
    if len(names) > 1 and not changes:
        raise WrongUse("one RUN is shown at a time; `varsim compare` puts several side by side")


def _remove(
    words: Sequence[str], found: Sequence[Path], *, force: bool, unasked: bool, err: bool
) -> None:
    """Remove the runs that words name, and say so.

    Args:
        unasked: Whether to remove sweeps without a question.
    Raises:
        ConfigError: A run must be kept, or a word is the name of another run, which was removed.
        WrongUse: A word names a sweep, and no terminal can answer the question.
        OSError: A run cannot be removed.
    """
    from varsim.experiments import room
    from varsim.experiments.run_lookup import require_same_name

    for word, path in zip(words, found, strict=True):
        require_same_name(word, path)
    paths = [one.resolve() if one.is_symlink() else one for one in found]
    kept = [] if unasked else [path for path in paths if not _is_confirmed(path)]
    for path in paths:
        if path in kept:
            say(f"kept {path.name}", err=err)
            continue
        try:
            room.remove_run(path, force=force)
            said = f"removed {path.name}"
        except FileNotFoundError:
            said = f"{path.name}: another process has removed it"
        say(said, err=err)


def _is_confirmed(path: Path) -> bool:
    """Return whether a folder can be removed: one word for several runs needs an answer.

    Raises:
        WrongUse: It is a sweep, and no terminal can answer.
    """
    from varsim.errors import ConfigError
    from varsim.experiments.sweep_folder import is_sweep, read_sweep
    from varsim.texts.facts import times

    if not is_sweep(path):
        return True
    try:
        runs = times(len(read_sweep(path).sweep.points), "point")
    except ConfigError:  # a damaged file
        runs = "all its points"
    if not sys.stdin.isatty():
        raise WrongUse(f"{path.name} is a sweep of {runs}: to remove them all, add --yes")
    return click.confirm(f"Remove the sweep {path.name} of {runs}?", err=True)


def _tag(found: Sequence[Path], tag: str) -> None:
    """Give runs a tag, or remove it.

    Raises:
        ConfigError: The tag or a run cannot be used.
        NotWritten: The file of the tag cannot be written.
    """
    from varsim.experiments import room
    from varsim.experiments.store import TAG

    for path in found:
        try:
            room.set_tag(path, tag)
        except OSError as error:
            raise NotWritten(f"{path / TAG} cannot be written: {error.strerror}") from error


def _near_folder(missing: Path) -> str:
    """Return the nearest name of a folder beside the one that is missing."""
    from varsim.nearest import did_you_mean

    parent = missing.parent
    beside = [one for one in parent.iterdir() if one.is_dir()] if parent.is_dir() else []
    return did_you_mean(str(missing), [str(one) for one in beside])


def _filter(tag: str | None, keys: list[str], conditions: dict[str, Any]) -> RunFilter:
    from varsim.experiments.run_filter import RunFilter, parsed_keys, parsed_since

    since = conditions.pop("since")
    return RunFilter(
        tag=tag,
        keys=parsed_keys(keys),
        since=None if since is None else parsed_since(since, datetime.now().astimezone()),
        **conditions,
    )


def _show(path: Path, *, as_json: bool) -> None:
    from varsim.experiments.room import stored_run
    from varsim.experiments.run_list import details
    from varsim.report.runs_page import print_run

    found = details(stored_run(path if path.is_dir() else path.parent))
    if as_json:
        say_json(found.as_json(), 1)
    else:
        print_run(found, sys.stdout)


def _list(folder: Path, wanted: RunFilter, *, as_json: bool) -> None:
    from varsim.errors import ConfigError
    from varsim.experiments.run_filter import check_filter
    from varsim.experiments.run_list import listed_runs
    from varsim.report.runs_page import print_runs

    every = listed_runs(folder)
    try:
        check_filter(wanted, every)
    except ConfigError as error:
        raise WrongUse(str(error)) from error
    found = [one for one in every if wanted.accepts(one)]
    if as_json:
        say_json([one.as_json() for one in found], 1)
    else:
        matching = {one.path: wanted.points_of(one) for one in found if one.is_sweep}
        print_runs(found, folder, len(every), sys.stdout, matching)
