"""The report of a run, at 80 columns and at other widths."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.report.summaries import lens, summary, variable_summary
from varsim.analysis.outcome import Note
from varsim.report.run_page import print_endings, print_report
from varsim.report.summary import (
    BoundedUse,
    BoundedWaitUse,
    CompressionUse,
    Failure,
    Judgement,
    OneSidedUse,
    RunStatus,
    Summary,
    SyncCost,
)


def report(run: Summary, width: int = 80) -> str:
    file = io.StringIO()
    print_report(run, file, width)
    return file.getvalue()


ARRAYS = [np.linspace(0, i, 12, dtype=np.float32).reshape(3, 4) for i in (1, 2)]
RUN = summary(
    variable_summary(
        "weights",
        lens(*ARRAYS, value=np.mean(ARRAYS, axis=0)),
        aggregation="MEAN",
        shape=[3, 4],
        size_bytes=123_456,
        messages=1200,
        free=True,
    ),
    variable_summary(
        "steps_done",
        lens(10, 10, value=10),
        requested="AUTO",
        synchronization="ON_WRITE",
        aggregation="ONLY_FIRST_REPLICA",
        dtype="int32",
        merges=10,
        waited_s=1.234,
    ),
    variable_summary(
        "pair", lens([1, 2], [1, 3], refused="it has no value"), shape=[2], dtype="int32"
    ),
    result={"accuracy": 0.88888, "each": [0.5, 0.25], "inner": {"a": 1, "b": "text"}},
)

EXPECTED = """\
x: 10 steps
2 workers · start-up 0.25 s · training 1.50 s

result of the training
accuracy  0.8889
each      0.5  0.25
inner.a   1
inner.b   text

variables
            asked    in force  aggregation         shape   dtype
──────────────────────────────────────────────────────────────────
weights     ON_READ  ON_READ   MEAN                [3, 4]  float32
steps_done  AUTO     ON_WRITE  ONLY_FIRST_REPLICA  []      int32
pair        ON_READ  ON_READ   SUM                 [2]     int32

cost of their synchronisation
                                   messages     bytes     waited s
            writes  reads  merges  if alone  if alone  per replica
──────────────────────────────────────────────────────────────────
weights         20      1       0     1,200   121 KiB            0
steps_done      20      1      10         4       8 B         0.62
pair            20      1       0         4       8 B            0
together                              1,208   121 KiB

if alone: as if each variable were sent alone; in fact variables share messages

value lens: each replica's component, and the value of a cross-replica read
            replica 0  replica 1  value  apart
──────────────────────────────────────────────
weights                                      1
  [2, 3]            1          2    1.5
  [2, 2]       0.9091      1.818  1.364
  min               0          0      0
  mean            0.5          1   0.75
steps_done         10         10     10      0
pair                                  –      1
  [0]               1          1
  [1]               2          3

apart: the largest difference between two replicas, in any element

pair: it has no value

weights was written by each replica to its own component; only cross-replica
reads and assigns combined the components: 1,200 messages and 121 KiB if each
variable were sent alone. The replicas' components of weights differ by up to 1.

Nothing was recorded in this run, so varsim's promises were not checked, and
your program was not searched for findings. With `--trace ops` (the default), a
run is recorded from its first strategy on.

saved in /somewhere/runs/x/
"""


def test_a_report_fits_in_80_columns():
    """In a file the report has no colours, and no line ends with blanks."""
    assert EXPECTED == report(RUN)


def test_a_wide_console_has_one_table_of_variables():
    text = report(RUN, 140)

    assert "cost of their synchronisation" not in text
    assert 1 == text.count("steps_done  AUTO")
    assert "ONLY_FIRST_REPLICA  []      int32        20      1      10" in text


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("workers", [1, 2, 5, 9, 128])
def test_no_line_is_wider_than_the_console(width: int, workers: int):
    rng = np.random.default_rng(workers)
    values = [rng.normal(size=(7, 7)) * 1e-7 for _ in range(workers)]
    counts = list(range(workers))
    text = report(
        summary(
            variable_summary(
                "layer_with_a_long_name/dense/kernel", lens(*values), shape=[1000, 1000, 7]
            ),
            variable_summary(
                "n", lens(*counts, value=sum(counts)), writes=10**9, size_bytes=10**12
            ),
            workers=workers,
            result={"accuracies": [0.123456] * workers, "b": {"c" * 10: 1.0}},
        ),
        width,
    )

    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text


def test_only_the_first_and_the_last_of_many_replicas_are_shown():
    """The distance is computed from all replicas."""
    text = report(summary(variable_summary("n", lens(*range(20), value=190)), workers=20), 80)
    heading, _, row = text[text.index("value lens") :].splitlines()[1:4]

    assert [*"012345678", "…", *map(str, range(12, 20))] == heading.split()[:-2]
    assert ["190", "19"] == row.split()[-2:]


def test_only_a_useful_mean_of_elements_is_shown():
    """An element that is shown is not repeated as the minimum or the maximum."""
    around_zero = np.array([-2.0, -1.0, 0.0, 1.0, 2.0, 1e-9])
    text = report(summary(variable_summary("w", lens(around_zero, around_zero), shape=[6])))
    rows = [line.split() for line in text[text.index("value lens") :].splitlines()[3:]]

    assert [["w", "–", "0"], ["[0]", "-2", "-2"], ["max", "2", "2"], []] == rows[:4]
    assert "mean" not in report(summary(variable_summary("w", lens(np.full(6, 3.0)), shape=[6])))
    assert "mean" in report(summary(variable_summary("w", lens(np.arange(6)), shape=[6])))


def test_components_of_different_shapes_are_shown_by_their_shapes():
    text = report(summary(variable_summary("v", lens(np.zeros(2), np.zeros(5)), shape=[None])))

    rows = [line.split() for line in text[text.index("value lens") :].splitlines()]

    assert ["v", "–", "–"] in rows
    assert ["shape", "[2]", "[5]"] in rows


LOST = "the component of replica 1 is lost (replica 1: worker was killed by SIGKILL)"


@pytest.mark.parametrize(
    ("components", "rows"),
    [
        ((4, None, 6), ["v 4 – 6 – –"]),
        ((None, None, None), ["v – – – – –"]),
        (([1, 2], None, [3, 4]), ["v – –", "[0] 1 – 3", "[1] 2 – 4"]),
        (
            ([1, 2], None, [3]),
            ["v – –", "shape [2] – [1]", "min 1 – 3", "mean 1.5 – 3", "max 2 – 3"],
        ),
        (
            (np.arange(6), None, np.zeros(6)),
            ["v – –", "[5] 5 – 0", "[4] 4 – 0", "min 0 – 0", "mean 2.5 – 0"],
        ),
    ],
)
def test_lost_components_are_dashes_with_one_reason(components: Any, rows: list[str]):
    seen = lens(*components, refused=LOST, lost=LOST)
    text = report(summary(variable_summary("v", seen), status=RunStatus.FAILED))

    table = text[text.index("value lens") :].splitlines()
    assert rows == [" ".join(line.split()) for line in table[3 : 3 + len(rows)]]
    assert "" == table[3 + len(rows)]
    assert 1 == " ".join(text.split()).count(f"v: {LOST}")


@pytest.mark.parametrize(
    ("value", "rows"),
    [(7, ["v 7"]), ([1, 2], ["v", "[0] 1", "[1] 2"]), (np.arange(6), ["v", "[5] 5", "min 0"])],
)
def test_a_variable_with_one_copy_has_only_a_value(value: Any, rows: list[str]):
    text = report(summary(variable_summary("v", lens(value=value))))

    table = text[text.index("value lens: the value of each variable, which has one") :].splitlines()
    assert "value" == table[1].strip()
    assert rows == [" ".join(line.split()) for line in table[3 : 3 + len(rows)]]
    assert "apart" not in text


def test_a_variable_with_one_copy_is_shown_beside_variables_with_components():
    text = report(summary(variable_summary("v", lens(value=7)), variable_summary("w", lens(1, 2))))

    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "replica 0 replica 1 value apart" in lines
    assert "v 7" in lines
    assert "w 1 2 – 1" in lines


def test_a_dict_of_dicts_is_a_table():
    """The inner keys are the headings, or the outer keys if the table would be too wide."""
    row = {"mean_of_means": 1.0, "sum_of_means": 2.0, "first_replica": 3.0, "one_device": 4.0}
    result: dict[str, Any] = {"loss": row, "accuracy": row}

    assert "          mean_of_means  sum_of_means" in report(summary(result=result), 80)
    assert "               loss  accuracy\n" in report(summary(result=result), 50)


LAYERS = [
    variable_summary(f"layer_{number:02}/{part}", lens(number, number + (number == 7)), **settings)
    for number in range(50)
    for part, settings in (("kernel", {"messages": 8}), ("bias", {"messages": 4}))
]


def test_similar_variables_share_a_row():
    """The row has the figures per variable; the last row has the sums."""
    text = report(summary(*LAYERS), 140)
    rows = [line.split() for line in text.partition("\nvariables\n")[2].splitlines()[3:8]]

    cost = ["20", "1", "0"]
    settings = ["ON_READ", "ON_READ", "SUM", "[]", "float32"]
    assert [
        ["layer_*/kernel", "(50", "variables)", *settings, *cost, "8", "8", "B", "0"],
        ["layer_*/bias", "(50", "variables)", *settings, *cost, "4", "8", "B", "0"],
        ["together", "600", "800", "B"],
        [],
    ] == rows[:4]
    assert (
        "In a row for several variables, the figures are per variable. --all shows every variable."
    ) in text


def test_the_lens_of_many_variables_shows_those_that_differ():
    text = report(summary(*LAYERS), 120).partition("\nvalue lens")[2]

    assert text.splitlines()[3].startswith(
        "layer_07/* (2 variables)          7          8      –      1"
    )
    assert "--all shows the other 76 variables, and" in " ".join(text.split())


def test_all_variables_are_shown_on_request():
    file = io.StringIO()
    print_report(summary(*LAYERS), file, 80, everything=True)

    lines = file.getvalue().splitlines()
    for name in ("layer_00/kernel", "layer_49/bias"):
        assert 3 == sum(line.startswith(f"{name} ") for line in lines)
    assert "--all" not in file.getvalue()


def test_only_the_first_of_many_differing_variables_are_shown():
    text = report(summary(*(variable_summary(f"v{i}", lens(i, i), writes=i) for i in range(100))))

    assert "60 more variables are in summary.json. --all shows every variable." in text
    assert "v39 " in text.partition("value lens")[0]
    assert "v40 " not in text.partition("value lens")[0]


def test_a_large_result_shows_its_shape_and_its_first_elements():
    square = [[float(index)] * 8 for index in range(8)]
    text = report(summary(result={"square": square, "one": [[1, 2], [3]]}))

    assert "square  [8, 8]  0  0  0  0  0  0  0  0  1  1  1  1  1  1  1  1  and 48 more\n" in text
    assert "one     [[1 2] [3]]\n" in text


def test_an_unfinished_run_shows_its_progress():
    interrupted = summary(
        status=RunStatus.INTERRUPTED, interrupted=["training"], step=4, total_steps=10
    )

    assert report(interrupted).startswith("x: interrupted after 4 of 10 steps\n")
    assert "variables" not in report(summary(variable_summary(writes=0), status=RunStatus.FAILED))
    assert "variables" in report(summary(variable_summary(), status=RunStatus.FAILED))


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("merging", "Interrupted while merging its record. The traces of the processes are kept"),
        ("judging", "Interrupted while judging its record. The run was not judged: `varsim check`"),
    ],
)
def test_a_run_interrupted_after_the_training_says_what_is_missing(part: str, said: str):
    text = report(
        summary(status=RunStatus.INTERRUPTED, interrupted=[part], step=10, total_steps=10)
    )

    assert "x: 10 steps" == text.splitlines()[0]
    assert said in " ".join(text.split())


def test_the_report_has_the_duration_of_each_phase():
    """The phases after the program are at the end. Durations of 0.00 s are left out."""
    seconds = {"start_up": 0.3, "training": 16, "merging": 12.3, "judging": 9, "writing": 0.001}
    lines = report(summary(seconds=seconds), width=100).splitlines()

    assert "2 workers · start-up 0.30 s · training 16.00 s" == lines[1]
    assert "merging 12.30 s · judging 9.00 s" == lines[-2]


def test_a_failed_run_names_the_failure_below_the_headline():
    failure = Failure(kind="WorkerLost", text="replica 1: worker died\n  more", traceback="")
    lines = report(summary(status=RunStatus.FAILED, failure=failure, step=3)).splitlines()

    assert ["x: failed after 3 of 10 steps", "2 workers · start-up 0.25 s · training 1.50 s"] == (
        lines[:2]
    )
    assert "WorkerLost: replica 1: worker died" == lines[2]


def test_the_report_says_that_results_of_the_run_were_not_written():
    text = report(summary(unfinished=["the history of the run was not written"]))

    assert "The record was not judged, because it could not be written or read" in text
    assert "\nwhat could be saved is in " in text


def test_calls_are_counted_if_the_workload_reports_no_steps():
    def headline(**known: Any) -> str:
        return report(summary(**known)).splitlines()[0]

    assert "x: 3 calls" == headline(step=0, total_steps=None, calls=3)
    assert "x: 1 call" == headline(step=0, total_steps=None, calls=1)
    assert "x: 3 steps" == headline(step=3, total_steps=3, calls=7)
    failed = partial(headline, status=RunStatus.FAILED)
    assert "x: failed after 1 call" == failed(step=0, total_steps=None, calls=1)
    spmd = {"step": 0, "total_steps": None, "experiment": {"name": "x", "spmd": True}}
    assert "x: every worker ran the whole script" == headline(calls=1, **spmd)
    assert "x: failed in the script that every worker runs" == failed(calls=1, **spmd)
    assert "x: failed before the script that every worker runs" == failed(calls=0, **spmd)
    assert "x: failed after 1 of 3 steps" == failed(step=1, total_steps=3, calls=1)


def test_a_path_below_the_current_folder_is_shown_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)

    assert "saved in runs/x/\n" in report(summary(directory="runs/x"))
    assert "saved in runs/x/\n" in report(summary(directory=str(tmp_path / "runs" / "x")))


def test_the_saving_of_adaptive_variables_is_printed_below_the_table():
    adaptive = {"requested": "AUTO", "synchronization": "AUTO", "merges": 1, "messages": 6}
    instead = SyncCost(merges=100, messages=400, size_bytes=1600)
    shown = [
        variable_summary(name, writes=200, size_bytes=16, on_write=instead, **adaptive)
        for name in "abc"
    ]
    text = report(summary(*shown, variable_summary("other", messages=1000)), 100)

    assert (
        "adaptive: 3 exchanges, 18 messages, 48 B; under ON_WRITE 300 exchanges, 1,200 messages, "
        "4.69 KiB (if each variable were sent alone)"
    ) in " ".join(text.split())
    assert "adaptive" not in report(summary(variable_summary("other")))


def test_bytes_of_sparse_and_dense_writes_are_compared():
    table = variable_summary("table", size_bytes=2_048, sparse_bytes=1_536, dense_bytes=3 * 2**20)

    text = " ".join(report(summary(table, variable_summary()), 100).split())

    assert "sparse writes: 1.50 KiB of rows; as dense writes 3.00 MiB (" in text


def test_the_report_says_if_adaptive_saved_nothing():
    """Each write was read before the next write, so each write was exchanged."""
    cost = {"merges": 100, "messages": 400, "size_bytes": 1600}
    settings = {"requested": "AUTO", "synchronization": "AUTO", "on_write": SyncCost(**cost)}
    text = report(summary(variable_summary("w", **settings, **cost)), 100)

    said = "as under ON_WRITE, because a read followed every write"
    assert said in " ".join(text.split())


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (
            Judgement(outcome="VALID", reasons=[]),
            "varsim kept every promise of these settings (VALID). This does not say that your "
            "program is right.",
        ),
        (
            Judgement(outcome="UNKNOWN", reasons=["w: a value is missing"]),
            "varsim cannot tell whether it kept every promise of these settings (UNKNOWN): w: a "
            "value is missing. The checks that could be made found no broken promise.",
        ),
        (
            Judgement(outcome="INVALID", reasons=["w: two copies differ", "w: a read is old"]),
            "(INVALID): w: two copies differ; w: a read is old. This is a fault of varsim,",
        ),
        (
            Judgement(outcome="VALID", reasons=[], findings=["divergence: w, p.py:7"]),
            "found: divergence: w, p.py:7 `varsim check` explains the findings, and says what to",
        ),
        (
            Judgement(outcome="VALID", reasons=[], compared="3 values at 1 place differ"),
            "oracle: 3 values at 1 place differ `varsim check` shows the whole comparison",
        ),
        (
            Judgement(
                outcome="VALID",
                reasons=[],
                not_looked_at=[
                    Note(text="whether values are right", option="--oracle"),
                    Note(text="what is never recorded"),
                ],
            ),
            "not looked at - whether values are right; use --oracle - what is never recorded saved",
        ),
    ],
)
def test_the_report_has_the_verdict(verdict: Judgement, expected: str):
    text = report(summary(variable_summary("w"), verdict=verdict), 80)

    assert expected in " ".join(text.split())


def test_long_texts_and_names_keep_the_table_intact():
    result = {"text": "y" * 5_000, "a\nb": 1}
    lines = report(summary(variable_summary("w"), result=result)).splitlines()

    assert "a\\nb  1" in lines
    assert "and 4,000 more characters" in " ".join(lines)
    assert len(lines) < 60


def test_an_incarnation_has_its_own_header():
    """The steps, the times, the failure and the result of the run are with the last incarnation."""
    faults = {"name": "x", "faults": ["kill replica=1 call=3", "raise replica=0 call=9"]}
    told = {"experiment": faults, "incarnations": 2, "result": {"accuracy": 0.5}}
    first = report(summary(calls=3, faults=faults["faults"][:1], **told))
    last = report(summary(calls=7, incarnation=2, **told))

    assert first.startswith(
        "x: 3 calls\nincarnation 1 of 2 · 2 workers · fault: kill replica=1 call=3\n\n"
    )
    assert "accuracy" not in first
    assert last.startswith(
        "x: 10 steps\nincarnation 2 of 2 · 2 workers · whole run: start-up 0.25 s ·\n"
        "whole run: training 1.50 s\n\nresult of the training\naccuracy"
    )


def test_each_verdict_names_its_record_and_the_folder_is_printed_once():
    parts = [
        summary(directory=f"runs/x{folder}", incarnation=number, incarnations=2)
        for number, folder in ((1, ""), (2, "/strategy-2"))
    ]
    others = [replace(one, incarnation=1, incarnations=1, strategy=2) for one in parts]
    file = io.StringIO()

    print_endings([*parts, others[1]], file, 80)

    lines = [line for line in file.getvalue().splitlines() if "verdict on" in line]
    assert [
        "verdict on incarnation 1 of 2",
        "verdict on incarnation 2 of 2 (strategy-2)",
        "verdict on strategy 2 (strategy-2)",
    ] == lines
    assert ["saved in runs/x/"] == [one for one in file.getvalue().splitlines() if "saved" in one]
    assert "verdict on" not in report(parts[0])


def test_an_interrupted_call_is_named_beside_its_values():
    """Without values, there is nothing to explain."""
    said = "Call 8 was interrupted: what its replicas had already written is in these values"
    seen = variable_summary("v", lens(8, 8, value=16))
    call = {"status": RunStatus.INTERRUPTED, "interrupted_call": 8}

    assert said in " ".join(report(summary(seen, **call)).split())
    assert "interrupted:" not in report(summary(variable_summary("v"), **call))
    assert "interrupted:" not in report(summary(seen))

    doing = "call 8 of strategy.run, step (a.py:3), was interrupted:\n  replica 1: runs\x1b[2J"
    lines = report(summary(seen, interrupted_in=doing, **call)).splitlines()
    assert ["  replica 1: runs\\x1b[2J"] == [one for one in lines if "replica 1:" in one]


def test_bounded_staleness_is_below_the_tables_with_the_longest_waits():
    waits = [
        BoundedWaitUse(replica=i, waited_for=3, waits=i + 1, waited_s=0.1 * i, longest_s=0.05)
        for i in range(5)
    ]
    use = BoundedUse(
        bound=4, most_ahead=3, writes=60, renewals=12, behind=2.25, most_behind=7, waits=waits
    )
    text = " ".join(report(summary(variable_summary("v", bounded=use))).split())

    assert (
        "v: a replica was 3 writes ahead of the slowest at most, of 4 allowed; 12 renewals of "
        "caches, which were 2.25 versions behind on average and 7 at most; replica 4 waited 400 ms "
        "for replica 3 (5 times, up to 50 ms); replica 3 waited"
    ) in text
    assert "replica 0 waited" not in text
    assert "the other waits are in summary.json" in text
    alone = replace(use, renewals=0, waits=[])
    text = " ".join(report(summary(variable_summary("v", bounded=alone))).split())
    assert "at most, of 4 allowed; no replica had to wait" in text


def test_one_sided_operations_and_the_staleness_of_reads_are_below_the_tables():
    use = OneSidedUse(
        publishes=1,
        fetches=1,
        pushes=400,
        pulls=6,
        behind=3.9,
        most_behind=12,
        age_s=0.0004,
        longest_age_s=0.25,
    )
    text = " ".join(report(summary(variable_summary("v", one_sided=use))).split())

    assert (
        "v: 1 publication, 400 pushes, 1 fetch, 6 pulls; a read was 3.9 versions behind on average "
        "and 12 at most, and its value was 0.4 ms old on average and 250 ms at most"
    ) in text
    alone = replace(use, publishes=0, fetches=0, pulls=0)
    text = " ".join(report(summary(variable_summary("v", one_sided=alone))).split())
    assert "v: 400 pushes" in text
    assert "behind" not in text


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (2.5, "; a residual was 2.5 times as large as a change (root mean square)"),
        (None, "; the size of the residuals is not known"),
    ],
)
def test_saved_bytes_and_the_error_of_compression_are_below_the_tables(error, said):
    use = CompressionUse(contributions=400, size_bytes=2048, whole_bytes=2**20, error=error)
    text = " ".join(report(summary(variable_summary("v", compression=use))).split())

    assert f"v: 400 compressed contributions: 2.00 KiB instead of 1.00 MiB{said}" in text


def test_hosts_are_named_with_their_replicas():
    hosts = ["a", "a", "a", "b\n", "b\n"]
    assert "5 workers on a (0–2) and b\\n (3, 4) · " in report(summary(workers=5, hosts=hosts))
    assert "2 workers · " in report(summary())
