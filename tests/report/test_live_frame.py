"""Frames of the live view: which lines they have, at which width and height."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.cells import cell_len

from varsim.report.live_frame import LiveFrame, LiveReplica, LiveVariable, frame_lines

FRAME = LiveFrame(
    ["call 412", "83.1 calls/s", "640 messages/s", "1.20 MiB/s"],
    [
        LiveReplica(0, "waits", 0.25, "for replica 2: read of weights (train.py:41)", 0.34, 2),
        LiveReplica(1, "returned", None, "(the call waits for replica 2)", 0.3, 2),
        LiveReplica(2, "computes", 1.5, "", 0.0),
        LiveReplica(3, "lost", None, "(its process has ended)"),
    ],
    [
        LiveVariable("weights", "ON_WRITE MEAN", 12_000_000, 1_200_000, 12.3, "0"),
        LiveVariable("seen", "ON_READ ONLY_FIRST_REPLICA", 512, 12.0, 0, "unread"),
    ],
    0.72,
    note="unread: only a read by the program would show it",
)


def text(frame: LiveFrame, width: int = 80, height: int = 40) -> list[str]:
    return ["".join(part for part, _ in line) for line in frame_lines(frame, width, height)]


def test_a_frame_fits_80_columns():
    assert (
        """\
call 412   83.1 calls/s   640 messages/s   1.20 MiB/s
the program waits for replicas 72% of the time, and computes 28%
replica  does                                                     idle  most for
      0  waits 250 ms for replica 2: read of weights (train.py:…   34%         2
      1  returned (the call waits for replica 2)                   30%         2
      2  computes 1.50 s                                            0%         –
      3  lost (its process has ended)                                –         –

variable      mode                   bytes  per second   waited    apart
weights       ON_WRITE MEAN       11.4 MiB    1.14 MiB   12.3 s        0
seen          ON_READ ONLY_FIRS…     512 B        12 B        0   unread
unread: only a read by the program would show it
""".splitlines()
        == [line.rstrip() for line in text(FRAME)][:-1]
    )


def test_a_narrow_frame_has_amounts_instead_of_modes():
    heads = [line.split() for line in text(FRAME, 60) if line.startswith("variable")]

    assert [["variable", "bytes", "per", "second", "waited", "apart"]] == heads


@pytest.mark.parametrize("width", [20, 40, 80, 100])
@pytest.mark.parametrize("height", [5, 7, 8, 11, 12, 13, 24, 60])
def test_a_frame_of_many_rows_fits_the_terminal(width: int, height: int):
    """The replicas that wait least are shown, because the others wait for them."""
    waiting = [LiveReplica(i, "waits", 1.0, "for replica 70", 0.9, 70) for i in range(64)]
    late = [replace(one, number=70 + one.number, kind="computes", idle=0.0) for one in waiting[:2]]
    variables = [LiveVariable(f"layer_{i}/kernel", "NONE SUM", 9, 1, 0, "–") for i in range(50)]
    lines = text(replace(FRAME, replicas=waiting + late, variables=variables), width, height)

    assert len(lines) < height  # the bar has a line, too
    if height < 8:
        assert [] == lines
        return
    assert max(map(len, lines)) <= width
    rows = [line.split() for line in lines]
    assert any(row[:2] == ["70", "computes"] for row in rows)
    assert (2 if height >= 12 else 1) == sum(" more" in line for line in lines)
    assert (height < 12) == any(line.startswith("variables: in a ter") for line in lines)


@pytest.mark.parametrize("letter", ["\N{CJK UNIFIED IDEOGRAPH-8868}", "\N{GRINNING FACE}"])
@pytest.mark.parametrize("width", [20, 60, 80])
def test_wide_letters_have_two_columns(letter: str, width: int):
    frame = replace(
        FRAME,
        replicas=[LiveReplica(0, "waits", None, f"for replica 1: read of {letter * 50}", 0.5, 1)],
        variables=[
            replace(FRAME.variables[0], name=name) for name in (letter * 50, f"{letter}\nb", "w")
        ],
    )
    lines = text(frame, width)

    assert max(map(cell_len, lines)) <= width
    rows = [line for line in lines if "11.4 MiB" in line]
    assert width == 20 or 3 == len(rows)
    assert 1 == len({cell_len(line[: line.index("11.4")]) for line in rows}) or width == 20
    assert f"{letter}\\nb" in "\n".join(lines)


def test_control_characters_are_escaped():
    hostile = "w\x1b[31m"
    frame = replace(
        FRAME,
        replicas=[LiveReplica(0, "waits", None, f"for replica 1: read of {hostile}")],
        variables=[replace(FRAME.variables[0], name=hostile)],
    )
    shown = "\n".join(text(frame))

    assert "\x1b" not in shown
    assert shown.count(r"w\x1b[31m") == 2
