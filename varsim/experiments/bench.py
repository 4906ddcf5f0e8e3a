"""`varsim bench` without its command line: measures this host, and saves what was measured."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from varsim.errors import ConfigError, VarsimError
from varsim.experiments.host import MAX_CELL_BYTES, Host, Plan, Watcher, in_words
from varsim.experiments.machine import this_machine, versions
from varsim.experiments.store import BENCH, LATEST_BENCH, RunDirectory, json_text
from varsim.experiments.timing import now_s
from varsim.interrupts import Interrupts
from varsim.report.bench import Bench
from varsim.report.summary import RunStatus
from varsim.report.words import whole_size

TITLE: Final = "bench"

VERSION: Final = 1
"""Of `bench.json`; it grows when a field changes its meaning or goes."""


def run_bench(plan: Plan, out: Path, watcher: Watcher) -> Bench:
    """Measures, and saves what was measured, also if SIGINT or a failure ends it early.

    Raises:
        ConfigError: Nothing can be written to `out`.
        KeyboardInterrupt: SIGINT came before there was a figure. Nothing is left behind then.
        VarsimError: A failure did.
    """
    machine = this_machine()  # first: its load is what others do
    started, began_s = datetime.now().astimezone(), now_s()
    status, failure = RunStatus.DONE, None
    with Interrupts() as interrupts:
        interrupts.heeded = False  # until it is known what is to be removed
        directory = RunDirectory.make(out, TITLE, started, latest=LATEST_BENCH)
        host = Host(plan, watcher, interrupts, began_s + plan.limit_s)
        try:
            interrupts.heed()
            host.measure()
            interrupts.heeded = False
        except (KeyboardInterrupt, VarsimError) as error:
            interrupts.heeded = False
            if not host.figures:
                directory.discard()
                raise
            interrupted = isinstance(error, KeyboardInterrupt)
            status = RunStatus.INTERRUPTED if interrupted else RunStatus.FAILED
            failure = None if interrupted else str(error)
        bench = Bench(
            status=status,
            failure=failure,
            started=started.isoformat(timespec="seconds"),
            directory=str(directory.path),
            machine=machine,
            versions=versions(),
            quick=plan.quick,
            took_s=now_s() - began_s,
            asked=plan.asked,
            left_out=_left_out(plan, host.out_of_time),
            figures=host.figures,
        )
        directory.write(BENCH, as_json(bench))
    return bench


def _left_out(plan: Plan, out_of_time: list[str]) -> list[str]:
    """Sentences on what there are no figures of, without a failure."""
    sentences = []
    if plan.too_large:
        cells = ", ".join(f"{whole_size(size)} × {in_words(n)}" for n, size in plan.too_large)
        limit = whole_size(MAX_CELL_BYTES)
        sentences.append(f"Left out, as values together would be over {limit}: {cells}.")
    if out_of_time:
        sentences.append(
            f"Left out, as {plan.limit_s:g} s were over (this host is slow, or busy): "
            f"{'; '.join(out_of_time)}."
        )
    return sentences


def as_json(bench: Bench) -> str:
    """The text of `bench.json`."""
    values = asdict(bench)
    values["status"] = bench.status.value
    for figure in values["figures"]:
        figure["quantity"] = figure["quantity"].value
    return json_text({"version": VERSION, **values})


def load_bench(path: Path) -> Bench:
    """Reads what was measured.

    Args:
        path: A directory that `run_bench` made, or a `bench.json`.
    Raises:
        ConfigError: There is none, or it is none, or another version wrote it.
    """
    file = path / BENCH if path.is_dir() else path
    try:
        values = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{file} is no JSON: {error}") from None
    return from_plain(values, str(file))


def from_plain(values: Any, name: str) -> Bench:
    """The measurement that a JSON object stands for.

    Raises:
        ConfigError: It stands for none, or another version wrote it.
    """
    from pydantic import TypeAdapter, ValidationError

    version = values.pop("version", None) if isinstance(values, dict) else None
    if version != VERSION:
        raise ConfigError(f"{name}: a bench.json of version {version}; this varsim reads {VERSION}")
    try:
        return TypeAdapter(Bench).validate_python(values)
    except ValidationError as error:
        raise ConfigError(f"{name} is not the measurement of a host: {error}") from None
