"""The values of a sweep, its points, and the errors about them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from varsim.errors import ConfigError
from varsim.experiments.loading import Override, load_experiment
from varsim.experiments.sweep_plan import SweepPlan, axis_of_word, plan_sweep, title_of
from varsim.experiments.sweep_values import values_of_text, values_of_yaml
from varsim.experiments.yaml_lines import dump

Write = Callable[[str, str], Path]


def plan(*words: str, file: Path | None = None, zipped: bool | None = None) -> SweepPlan:
    return plan_sweep(
        lambda overrides: load_experiment(file, overrides),
        [axis_of_word(word) for word in words],
        [Override(("steps",), 3, "--steps 3")],
        zipped=zipped,
    )


def settings(planned: SweepPlan) -> list[dict[str, Any]]:
    return [point.settings for point in planned.points]


@pytest.mark.parametrize(
    ("text", "key", "values"),
    [
        ("1,2,4", "workers", [1, 2, 4]),
        ("auto,none", "mode", ["auto", "none"]),
        ("0..3", "seed", [0, 1, 2, 3]),
        ("1..9..4,20", "steps", [1, 5, 9, 20]),
        ("0.1, 1e-3", "params.rate", [0.1, 1e-3]),
        ("[1,2],[3]", "params.sizes", [[1, 2], [3]]),
        (".inf,-.inf,..,a..b", "params.x", [math.inf, -math.inf, "..", "a..b"]),
        ("{a: 1, b: 2},null", "params.options", [{"a": 1, "b": 2}, None]),
        ("'1..3',x", "params.word", ["1..3", "x"]),
        ("weights=on_read,bias=none", "mode", None),
        ("'weights=on_read,bias=none',auto", "mode", ["weights=on_read,bias=none", "auto"]),
        ("100:200", "trace.steps", ["100:200"]),
    ],
)
def test_values_are_separated_by_commas_outside_quotes_and_brackets(
    text: str, key: str, values: list[Any] | None
) -> None:
    keys = tuple(key.split("."))
    if values is None:
        with pytest.raises(ConfigError, match="one mode or several: write each mode in quotes"):
            values_of_text(text, keys)
    else:
        assert values == values_of_text(text, keys)


@pytest.mark.parametrize(
    ("value", "values"),
    [([1, "2..4", 8], [1, 2, 3, 4, 8]), ("1..2", [1, 2]), (0.5, [0.5]), (["a,b"], ["a,b"])],
)
def test_a_file_has_lists_and_texts(value: Any, values: list[Any]) -> None:
    assert values == values_of_yaml(value, ("x",))


def test_points_combine_all_values_and_the_last_key_varies_fastest() -> None:
    planned = plan("mode=auto,none", "workers=1,2", "params.learning_rate=0.1")

    assert [("auto", 1), ("auto", 2), ("none", 1), ("none", 2)] == [
        (one["mode"], one["workers"]) for one in settings(planned)
    ]
    assert [1, 2, 1, 2] == [one.experiment.workers for one in planned.points]
    assert {0.1} == {one.experiment.params["learning_rate"] for one in planned.points}
    assert ["1-mode-auto-workers-1", "2-mode-auto-workers-2"] == [
        one.folder for one in planned.points[:2]
    ]
    assert "4 points: mode (2 values) x workers (2 values)" == title_of(planned)


def test_a_zip_combines_the_values_at_the_same_position() -> None:
    planned = plan("workers=1,2,4", "params.batch_size=16..48..16", zipped=True)

    assert [(1, 16), (2, 32), (4, 48)] == [tuple(one.values()) for one in settings(planned)]
    assert planned.as_keys()["sweep"]["zip"] is True


def test_one_value_in_a_zip_is_that_of_all_points(write: Write) -> None:
    file = write("x.yaml", "sweep:\n  zip: true\n  workers: 2\n  mode: [auto]\n  seed: 0..2\n")
    planned = plan(file=file)

    assert [(2, "auto", seed) for seed in range(3)] == [
        tuple(one.values()) for one in settings(planned)
    ]
    assert settings(planned) == settings(plan(file=write("again.yaml", dump(planned.as_keys()))))
    fewer = plan("workers=4", file=write("x.yaml", file.read_text().replace("2\n", "1..3\n", 1)))
    assert [("auto", 0), ("auto", 1), ("auto", 2)] == [
        tuple(one.values()) for one in settings(fewer)
    ]
    assert {4} == {one.experiment.workers for one in fewer.points}


def test_a_sweep_over_programs_keeps_no_defaults_of_the_first_one(write: Write) -> None:
    planned = plan("workload=step_counter,metrics")

    assert {} == planned.as_keys()["params"]
    assert settings(planned) == settings(plan(file=write("sweep.yaml", dump(planned.as_keys()))))


def test_the_command_line_replaces_values_of_the_file_and_the_plan_can_be_saved(
    write: Write,
) -> None:
    text = "workload: digits\nworkers: 7\nsweep:\n  mode: [none, on_read]\n  seed: 0..1\n"
    text += "  params:\n    learning_rate: [0.1, 0.2]\n  variables.bias: [on_read/sum, on_write]\n"
    file = write("x.yaml", text)
    planned = plan("seed=5", "params.learning_rate=0.3,0.4,0.5", file=file)

    assert ["mode", "params.learning_rate", "variables.bias"] == [one.name for one in planned.axes]
    assert (12, {5}, {7}) == (
        len(planned.points),
        {one.experiment.seed for one in planned.points},
        {one.experiment.workers for one in planned.points},
    )
    assert [
        {"bias": {"synchronization": "on_read", "aggregation": "sum"}},
        {"bias": {"synchronization": "on_write"}},
    ] == [point.experiment.as_keys()["variables"] for point in planned.points[:2]]
    again = write("sweep.yaml", dump(planned.as_keys()))
    assert settings(planned) == settings(plan(file=again))


@pytest.mark.parametrize(
    ("words", "sweep", "said"),
    [
        (
            ["workrs=1,2"],
            "",
            "workrs=1,2: an experiment has no key 'workrs'; did you mean 'workers'?",
        ),
        ([], "  workrs: [1, 2]\n", "x.yaml:2: an experiment has no key 'workrs'; did you mean"),
        ([], "  mode: [auto]\n  workers: [1, a]\n", "x.yaml:3: workers: invalid value 'a'"),
        (["mode=auto,on_raed"], "", "mode=auto,on_raed: 'on_raed' is not a mode; did you mean 'on"),
        (["params.epoch=1,2"], "", "params.epoch=1,2: workload 'digits' has no parameter 'epoch'"),
        (["workers=1,,2"], "", "workers=1,,2: a value is missing"),
        (["workers=2,1,2"], "", "the value 2 is there twice"),
        (["workers=4..1"], "", "workers=4..1: the range 4..1 has no values"),
        (
            ["params.x=1..10..-1,2"],
            "",
            "params.x=1..10..-1,2: 1..10..-1 is not a range: write FIRST",
        ),
        (["params.x=0.1..0.5"], "", "0.1..0.5 is not a range"),
        ([], "  params.x: [1...3]\n", "x.yaml:2: params.x: 1...3 is not a range"),
        (['mode="on_read,auto'], "", 'lacks a closing "'),
        (["params.x=[1,2"], "", "lacks a closing ]"),
        (["params.x=1e400,1"], "", "a value has the number 1e400, which is too large for a float"),
        (["seed=0..5000"], "", "has 5,001 values; at most 1,000"),
        (
            ["seed=0..100000000000"],
            "",
            "the range 0..100000000000 has a number of more than 9 digi",
        ),
        (["seed=0..99", "workers=1..11"], "", "the sweep has 1,100 points; at most 1,000"),
        (["workers=1:8,2"], "", "a range is written 1..8, with both ends"),
        (["out=a,b"], "", "out=a,b: this key cannot vary: all points are in the folder"),
        ([], "  zip: 1\n  seed: 0..2\n", "x.yaml:2: sweep.zip: invalid value 1: expected true or"),
        (
            [],
            "  zip: true\n  seed: 0..2\n  workers: [1, 2]\n",
            "x.yaml:4: a zip takes as many values from each key, but seed has 3, workers has 2: "
            "give each key 3 values, or one value for all points; or combine",
        ),
        ([], "  seed: []\n", "x.yaml:2: seed: expected at least one value"),
        ([], "  params: {}\n", "x.yaml:2: params: expected at least one value"),
        ([], "  workload: [/tmp/a.py]\n", "names no program by its path; if you trust the file"),
        (["workers"], "", "invalid word 'workers': expected key=value,value"),
        (["workers=2"], "", "nothing varies: give a key several values"),
    ],
)
def test_an_error_names_the_place_and_the_remedy(
    words: list[str], sweep: str, said: str, write: Write
) -> None:
    file = write("x.yaml", f"sweep:\n{sweep}") if sweep else None
    with pytest.raises(ConfigError) as caught:
        plan(*words, file=file)

    assert said in str(caught.value)
