"""Offer the words with which a shell completes the arguments of a command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from click.shell_completion import CompletionItem


def what_to_run(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer YAML files, runs and workloads."""
    from varsim.experiments.run_lookup import run_names

    named = _workloads(incomplete) + _named(run_names(), incomplete)
    return named + _files(incomplete, (".py", ".yaml", ".yml"))


def workload_names(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer built-in workloads, Python files, and folders."""
    return _workloads(incomplete) + _files(incomplete, (".py",))


def built_in_workloads(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the workloads that ship with varsim."""
    return _workloads(incomplete)


def lesson_names(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the lessons of the tutorial."""
    from varsim.experiments.lessons import lessons

    return [
        CompletionItem(lesson.name, help=lesson.title)
        for lesson in lessons()
        if lesson.name.startswith(incomplete)
    ]


def scripts(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer Python files and folders."""
    return _files(incomplete, (".py",))


def _workloads(incomplete: str) -> list[CompletionItem]:
    from varsim.experiments.catalog import list_workloads

    return [
        CompletionItem(listing.name, help=listing.description)
        for listing in list_workloads()
        if listing.name.startswith(incomplete)
    ]


def modes(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Offer modes, at the beginning or after `name=`."""
    from varsim.experiments.mode_text import PARAMETRIC, WORDS
    from varsim.texts.modes import ADAPTIVE

    start = 1 + max(incomplete.rfind("="), incomplete.rfind(","))
    words = [*WORDS, ADAPTIVE, *(f"{keyword}:" for keyword in PARAMETRIC)]
    return [incomplete[:start] + mode for mode in words if mode.startswith(incomplete[start:])]


def setting_names(_ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Offer synchronizations, or aggregations if the parameter is an aggregation."""
    from varsim.experiments.mode_text import PARAMETRIC, WORDS
    from varsim.spec import VariableAggregation

    ways = [one.name.lower() for one in VariableAggregation]
    modes = [*WORDS, *(f"{keyword}:" for keyword in PARAMETRIC)]
    start = incomplete.lower().replace("-", "_")
    return [
        one for one in (ways if param.name == "aggregation" else modes) if one.startswith(start)
    ]


def runs(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer `latest`, the names of runs (the newest first), and folders."""
    from varsim.experiments.run_lookup import run_names

    return _named(run_names(), incomplete) + _files(incomplete, (".db",))


def runs_and_sweeps(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer runs, sweeps (the newest first), and folders."""
    from varsim.experiments.run_lookup import sweep_names
    from varsim.experiments.store import LATEST_SWEEP

    names = sweep_names()
    offered = [LATEST_SWEEP, *names] if names else []
    sweeps = [CompletionItem(name) for name in offered if name.startswith(incomplete)]
    return sweeps + runs(ctx, param, incomplete)


def benches(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer `latest`, the names of measurements of hosts, and folders."""
    from varsim.experiments.run_lookup import bench_names

    return _named(bench_names(), incomplete) + _files(incomplete, (".json",))


def variables(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the variables of the run that an earlier argument names."""
    from varsim.errors import ConfigError
    from varsim.experiments.run_lookup import find_record, find_run
    from varsim.tracing.history import open_history
    from varsim.tracing.served_record import has_server_records, server_records

    run = ctx.params.get("run") or "latest"
    try:
        folder = find_run(run)
        if has_server_records(folder):
            names = [name for one in server_records(folder) for name in one.variable_names()]
            return [CompletionItem(name) for name in names if name.startswith(incomplete)]
        with open_history(find_record(run)) as history:
            rows = list(history.variables.values())
    except (ConfigError, OSError):  # a completion cannot report an error
        return []
    settings = {row.name: f"{row.synchronization}, {row.aggregation}" for row in rows}
    return [
        CompletionItem(name, help=said)
        for name, said in settings.items()
        if name.startswith(incomplete)
    ]


def _named(names: Sequence[str], incomplete: str) -> list[CompletionItem]:
    offered = ["latest", *names] if names else []
    return [CompletionItem(name) for name in offered if name.startswith(incomplete)]


def _files(incomplete: str, endings: tuple[str, ...]) -> list[CompletionItem]:
    head, slash, start = incomplete.rpartition("/")
    folder = Path(head + slash).expanduser() if slash else Path()
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.startswith(start) and not (path.name.startswith(".") and not start):
            if path.is_dir():
                found.append(CompletionItem(f"{head}{slash}{path.name}/"))
            elif path.suffix in endings:
                found.append(CompletionItem(f"{head}{slash}{path.name}"))
    return found
