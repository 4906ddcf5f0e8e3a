"""The output about a failed run."""

from __future__ import annotations

import pytest

from varsim.cli.results import Results
from varsim.report.summary import Failure


def test_a_failed_run_prints_both_ends_of_a_long_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = f"BEGIN {'x' * 1_000_000} END"
    trace = "FIRST " + "line\n" * 100_000 + " LAST"
    failure = Failure(kind="ValueError", text=text, traceback=trace, exit_code=1, location="")
    Results(report=True).failed(failure)
    said = capsys.readouterr().err

    assert ["BEGIN", "END", "FIRST", "LAST"] == [
        word for word in said.split() if word in {"BEGIN", "END", "FIRST", "LAST"}
    ]
    assert len(said) < 10_000
    assert 2 == said.count("characters are left out: summary.json has the whole text")
