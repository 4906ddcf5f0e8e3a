"""The report has a row for each lock and replica; the longest waits are first."""

from __future__ import annotations

import io

from rich.console import Console

from tests.report.summaries import summary, variable_summary
from varsim.report.lock_table import MAX_ROWS, print_locks
from varsim.report.run_page import print_report
from varsim.report.summary import LockUse


def use(lock: str, replica: int, waited_s: float = 0.0) -> LockUse:
    return LockUse(
        lock=lock,
        replica=replica,
        requests=1_000,
        waits=12 if waited_s else 0,
        waited_s=waited_s,
        longest_s=waited_s / 3,
        held_s=2.5,
    )


EXPECTED = """\
locks: how long each replica waited
                            waited  longest   held
              times  waits      ms       ms     ms
──────────────────────────────────────────────────
b, replica 1  1,000     12    61.5     20.5  2,500
a, replica 0  1,000      0       0        0  2,500
a, replica 1  1,000      0       0        0  2,500
"""


def test_the_longest_waits_are_first() -> None:
    file = io.StringIO()
    own = [use("a", 0), use("a", 1), use("b", 1, 0.0615)]
    print_report(summary(variable_summary(), locks=own), file, 80)
    assert EXPECTED in file.getvalue()


def test_the_control_characters_of_a_name_are_escaped() -> None:
    file = io.StringIO()
    print_locks(Console(file=file, width=80), [use("a\x1b[31m", 0)])
    assert "\x1b" not in file.getvalue()


def test_many_rows_are_left_out_and_counted() -> None:
    file = io.StringIO()
    print_locks(Console(file=file, width=80), [use(f"lock{i}", 0) for i in range(MAX_ROWS + 3)])
    assert "3 more rows are in summary.json. --all shows every row." in file.getvalue()
