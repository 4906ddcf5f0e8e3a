"""The lookup of a run's variable, and the choice of the most informative one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import varsim as tf
from tests.analysis.findings.on_one_device import on_each_batch, part, records_of, variable
from tests.analysis.test_lens import LensHistory
from tests.report.summaries import lens, summary, variable_summary
from varsim.errors import ConfigError
from varsim.experiments import variable_lookup
from varsim.experiments.store import SUMMARY, as_json
from varsim.experiments.variable_lookup import find_variable, most_telling
from varsim.nearest import no_variable
from varsim.tracing.history import History


def test_an_ambiguous_name_of_variables_needs_a_number(tmp_path: Path) -> None:
    story = LensHistory("ON_READ", "SUM")
    story.variables.append(story.variables[0]._replace(variable=2))
    with story.history(tmp_path) as history:
        with pytest.raises(ConfigError, match=r"2 variables are called 'v'; give a number: 1, 2"):
            find_variable(history, "v")
        assert 2 == find_variable(history, "2").variable


@pytest.mark.parametrize(
    ("name", "names", "expected"),
    [
        ("w", ["v"], "there is no variable 'w'\n  variables: v"),
        ("vv", ["v"], "there is no variable 'vv'; did you mean 'v'?\n  variables: v"),
        (
            "layer_77/kernel",
            [f"layer_{i}/{part}" for i in range(70, 100) for part in ("krenel", "bias")],
            "there is no variable 'layer_77/kernel'; did you mean 'layer_77/krenel', ",
        ),
        (
            "?",
            [f"layer_{i}" for i in range(200)],
            "there is no variable '?'\n  variables: layer_0, layer_1, layer_2 and 197 more",
        ),
    ],
)
def test_the_error_for_a_wrong_name_lists_the_three_nearest_names(
    name: str, names: list[str], expected: str
) -> None:
    said = no_variable(name, names)

    assert said.startswith(expected)
    assert said.count("krenel") in {0, 3}


@contextmanager
def two_variables(folder: Path, *written: tuple[float, float]) -> Iterator[History]:
    """Provide a history in which replicas write these values to `v`, and do not write `other`."""
    story = LensHistory("ON_READ", "MEAN")
    story.variables.insert(0, story.variables[0]._replace(variable=2, name="other"))
    story.step(1, *written)
    with story.history(folder) as history:
        yield history


def test_the_variable_that_differs_most_is_chosen(tmp_path: Path) -> None:
    with two_variables(tmp_path, (1, 0), (2, 4)) as history:
        row, why = most_telling(history, tmp_path)

    assert "v" == row.name
    assert (
        "its replicas differ by up to 4 at the end of call 1, 100 % of its largest element" == why
    )


def one_counter_of_two_is_wrong(strategy: tf.distribute.MirroredStrategy) -> None:
    with strategy.scope():
        right = variable(0, "ON_READ SUM", "right")
        wrong = variable(0, "ON_READ ONLY_FIRST_REPLICA", "wrong")

    def step(batch: np.ndarray) -> None:
        right.assign_add(int((part(batch) > 3).sum()))
        wrong.assign_add(len(part(batch)))

    on_each_batch(strategy, step)
    wrong.numpy()


def test_a_finding_of_the_comparison_with_a_single_device_counts(tmp_path: Path) -> None:
    with records_of(one_counter_of_two_is_wrong) as (history, oracle):
        assert ["right", "wrong"] == [
            most_telling(history, tmp_path, one).row.name for one in (None, oracle)
        ]


def test_if_no_variable_differs_the_most_written_one_is_chosen(tmp_path: Path) -> None:
    with two_variables(tmp_path, (1, 0), (1, 0)) as history:
        assert ("v", "no recorded values of replicas differ, and it was written most often") == (
            (chosen := most_telling(history, tmp_path)).row.name,
            chosen.why,
        )


def test_for_a_long_run_only_the_summary_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(variable_lookup, "_MOST_EVENTS", 1)
    (tmp_path / SUMMARY).write_text(
        as_json(summary(variable_summary("v", lens(10, 9)), variable_summary("other", lens(1, 2))))
    )
    with two_variables(tmp_path, (1, 0), (2, 4)) as history:
        row, why = most_telling(history, tmp_path)

    assert (
        "other",
        "its replicas differ by up to 1 at the end, 50 % of its largest element",
    ) == (
        row.name,
        why,
    )
