"""Run the commands that read a run, under limits of time and memory."""

from __future__ import annotations

import os
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from click.testing import CliRunner

from tests.memory import peak_bytes, resident_bytes
from varsim.cli.main import main
from varsim.visible import OBEYED

FACTOR = float(os.environ.get("VARSIM_TEST_TIME_FACTOR", "1"))
MOST_CPU_S = 1.0 * FACTOR
"""The limit of one command. It is processor time, so that a busy machine does not matter."""

MOST_BYTES = 100 * 2**20

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("check", "RUN"),
    ("check", "RUN", "--json"),
    ("check", "RUN", "--event", "9"),
    ("check", "RUN", "--event", "9", "--json"),
    ("check", "RUN", "--all", "--fail-on", "any"),
    ("lens", "RUN"),
    ("lens", "RUN", "1", "--json"),
    ("lens", "RUN", "w", "--at", "1"),
    ("whatif", "RUN", "--set", "*=on_read/mean"),
    ("whatif", "RUN", "--set", "*=on_write", "--json"),
    ("advise", "RUN"),
    ("advise", "RUN", "--json"),
    ("export", "RUN", "OUT.tar.gz"),
    ("export", "RUN", "OUT.zip", "--no-values", "--no-source"),
)
"""The commands that read a history."""

OF_SUMMARY: tuple[tuple[str, ...], ...] = (*COMMANDS[:2], COMMANDS[5], *COMMANDS[-2:])
OF_EXPERIMENT: tuple[tuple[str, ...], ...] = (
    ("run", "RUN", "--trust", "--print-config"),
    COMMANDS[-1],
)


@dataclass
class Tally:
    """What happened to commands that read damaged files."""

    commands: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    most_cpu_s: float = 0.0
    most_bytes: int = 0

    def __str__(self) -> str:
        codes = ", ".join(f"{code}: {count}" for code, count in sorted(self.codes.items()))
        return (
            f"{self.commands} commands, exit codes {{{codes}}}; {len(self.wrong)} wrong; at most "
            f"{self.most_cpu_s:.2f} s of processor time and {self.most_bytes / 2**20:.0f} MiB"
        )

    def read(self, commands: Sequence[Sequence[str]], run: Path, how: str) -> None:
        """Run commands on a run's directory.

        Args:
            how: How a file of the run was damaged.
        """
        for command in commands:
            problem = self._problem(command, run)
            if problem:
                self.wrong.append(f"{' '.join(command)}: {problem}\n    after {how[:2000]}")

    def _problem(self, command: Sequence[str], run: Path) -> str:
        """Run a command. Return what is wrong with its end, or "" if it ended correctly."""
        known = {"RUN": str(run)} | {
            name: str(run.parent / name) for name in command if name.startswith("OUT.")
        }
        before = resident_bytes()
        began = time.process_time()
        result = CliRunner().invoke(main, [known.get(word, word) for word in command])
        cpu_s = time.process_time() - began
        grew_bytes = peak_bytes() - before
        self.commands += 1
        self.codes[result.exit_code] += 1
        self.most_cpu_s = max(self.most_cpu_s, cpu_s)
        self.most_bytes = max(self.most_bytes, grew_bytes)
        problems = [_wrong_end(result.exception, result.output)]
        problems.append(f"took {cpu_s:.2f} s" if cpu_s > MOST_CPU_S else "")
        problems.append(f"grew by {grew_bytes:,} bytes" if grew_bytes > MOST_BYTES else "")
        return "; ".join(filter(None, problems))


def _wrong_end(exception: BaseException | None, output: str) -> str:
    if exception is not None and not isinstance(exception, SystemExit):
        last = traceback.extract_tb(exception.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        return f"{type(exception).__name__}: {str(exception)[:150]} ({where})"
    found = OBEYED.search(output.replace("\r\n", "\n"))
    return f"raw control character {found[0]!r}" if found else ""
