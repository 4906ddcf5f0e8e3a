"""The output of user code is written to the log, and its last characters are kept for errors."""

from __future__ import annotations

import io

import pytest

from varsim_worker.output import KeepingOutput


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> KeepingOutput:
    monkeypatch.setattr("varsim_worker.output.KEPT_CHARACTERS", 10)
    return KeepingOutput(io.BytesIO(), "worker-0.log")


def test_taken_output_is_not_returned_again(output: KeepingOutput) -> None:
    print("one", 2, file=output)
    assert "one 2\n" == output.take()
    assert "" == output.take()


def test_only_the_end_of_long_output_is_kept(output: KeepingOutput) -> None:
    for number in range(100):
        print(f"{number:4}", file=output)
    assert "[490 characters before this are only in worker-0.log]\n  98\n  99\n" == output.take()
    print("a" * 11, end="", file=output)
    assert "[1 characters before this are only in worker-0.log]\n" + "a" * 10 == output.take()


def test_all_output_is_written(output: KeepingOutput) -> None:
    print("ü\udcff" * 20, file=output)
    written = output.detach()
    assert isinstance(written, io.BytesIO)
    assert "ü\\udcff" * 20 + "\n" == written.getvalue().decode()
