"""Damage the files of runs, and read the runs with commands."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.damage import damages
from tests.damage.reading import COMMANDS, OF_EXPERIMENT, OF_SUMMARY, Tally
from tests.damage.runs import Runs
from tests.tracing.rewriting import rewrite
from varsim.experiments.store import EXPERIMENT, SUMMARY, TRACES
from varsim.tracing.history import HISTORY, ORACLE

Damage = Callable[[Path, random.Random], str]
"""A function that damages one file of a run's directory, and describes the damage."""


def damaged_history(run: Path, chance: random.Random) -> str:
    """Damage the history of a run or of its oracle, by SQL or by bytes."""
    file = run / HISTORY
    if (run / ORACLE / HISTORY).exists() and chance.random() < 0.1:
        file = run / ORACLE / HISTORY
    content = file.read_bytes()
    if chance.random() < 0.25:
        file.write_bytes(damages.damaged_bytes(content, chance))
        return "other bytes"
    scripts = damages.statements(chance, *damages.sizes(content))
    file.write_bytes(damages.after_scripts(content, scripts))
    return repr(scripts)


def damaged_trace(run: Path, chance: random.Random) -> str:
    """Damage the trace of a process: members of its records, or bytes."""
    (run / HISTORY).unlink(missing_ok=True)
    file = chance.choice(sorted((run / TRACES).iterdir()))
    way = chance.random()
    if way < 0.1:
        content = damages.damaged_bytes(file.read_bytes(), chance)
        file.write_bytes(content)
    else:
        damage = damages.damaged_bytes if way < 0.3 else damages.damaged_records
        content = rewrite(file, lambda before: damage(before, chance))
    return f"{file.name} {content!r}"


def damaged_summary(run: Path, chance: random.Random) -> str:
    """Damage the summary of a run: values of its JSON, or bytes."""
    file = run / SUMMARY
    if chance.random() < 0.3:
        content = damages.damaged_bytes(file.read_bytes(), chance)
    else:
        content = damages.damaged_json(file.read_text("utf-8"), chance).encode()
    file.write_bytes(content)
    return repr(content)


def damaged_experiment(run: Path, chance: random.Random) -> str:
    """Damage the YAML of a run."""
    file = run / EXPERIMENT
    content = damages.damaged_bytes(file.read_bytes(), chance)
    file.write_bytes(content)
    return repr(content)


def tally_of(
    damage: Damage,
    sources: tuple[Path, ...],
    folder: Path,
    seeds: range,
    commands: tuple[tuple[str, ...], ...],
    each: int,
) -> Tally:
    """Damage a run for each seed, and read the run with the next `each` of the commands."""
    tally = Tally()
    run = folder / "run"
    for seed in seeds:
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(sources[seed % len(sources)], run)
        how = f"seed {seed}: {damage(run, random.Random(seed))}"
        chosen = [commands[(seed * each + i) % len(commands)] for i in range(each)]
        tally.read(chosen, run, how)
    return tally


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of damaged files, and the commands that read them."""

    damage: Damage
    commands: tuple[tuple[str, ...], ...]
    usual: int  # number of files in the long tests


KINDS: Final = {
    "histories": Kind(damaged_history, COMMANDS, 1000),
    "traces": Kind(damaged_trace, COMMANDS[:6], 500),
    "summaries": Kind(damaged_summary, OF_SUMMARY, 500),
    "experiments": Kind(damaged_experiment, OF_EXPERIMENT, 500),
}
"""Name → kind."""


def read_damaged(name: str, runs: Runs, folder: Path, count: int) -> Tally:
    """Damage `count` files of a kind, and read each of them with three commands."""
    kind = KINDS[name]
    sources = (runs.traced,) if name == "traces" else runs.recorded
    seeds = range(10_000, 10_000 + count)
    return tally_of(kind.damage, sources, folder, seeds, kind.commands, 3)
