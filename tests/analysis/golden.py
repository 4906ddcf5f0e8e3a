"""The recorded histories in the folder `histories`, and the expected verdicts.

A file has a history, `----`, and a verdict. The name of the file begins with the checker's name.
`python -m tests.analysis.golden` rewrites the text under `----`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.analysis.build import parse_history
from varsim.analysis.verdict import Verdict, judge
from varsim.report.space_time import space_time

FOLDER = Path(__file__).parent / "histories"
MARK = "----\n"


def verdicts(text: str, folder: Path) -> dict[str, Verdict]:
    """Return every checker's verdict on a history in text form."""
    with parse_history(text.partition(MARK)[0]).history(folder) as history:
        return {verdict.checker: verdict for verdict in judge(history)}


def shown(text: str, checker: str, folder: Path) -> str:
    """Return one checker's verdict in the format of the files."""
    verdict = verdicts(text, folder)[checker]
    names = {
        row.variable: row.name for row in parse_history(text.partition(MARK)[0]).variables.values()
    }
    lines = [f"{verdict.outcome.value}: {verdict.reason}", *space_time(verdict.events, names)]
    return "\n".join(lines) + "\n"


def rewrite() -> None:
    """Store the current verdicts as the expected ones."""
    for path in sorted(FOLDER.glob("*.txt")):
        text = path.read_text("utf-8").partition(MARK)[0].rstrip() + "\n"
        with tempfile.TemporaryDirectory() as folder:
            said = shown(text, path.stem.rpartition("-")[0], Path(folder))
        path.write_text(f"{text}{MARK}{said}", "utf-8")


if __name__ == "__main__":
    sys.exit(rewrite())
