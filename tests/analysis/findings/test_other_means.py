"""MEAN of values that are no means is found, if the single device has exactly another mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.analysis.findings.on_one_device import compared, on_each_batch, part, variable
from varsim.analysis.findings.scaling_messages import MEAN_OF_MEANS

Strategy = tf.distribute.MirroredStrategy
Statistic = Callable[[np.ndarray], Any]


def program(statistic: Statistic) -> Callable[[Strategy], None]:
    def run(strategy: Strategy) -> None:
        with strategy.scope():
            mean = variable(0.0, "ON_WRITE MEAN", "mean")
            v = variable(0.0, "ON_WRITE MEAN")

        def step(batch: np.ndarray) -> None:
            own = part(batch)
            mean.assign(own.mean())
            v.assign(statistic(own))

        on_each_batch(strategy, step)

    return run


@pytest.mark.parametrize(
    ("statistic", "said"),
    [
        (lambda own: np.exp(own.mean()), "geometric mean"),
        (lambda own: np.sqrt(np.square(own).mean()), "root of the mean of their squares"),
        (lambda own: 1 / own.mean(), "harmonic mean"),
        (np.linalg.norm, "root of the sum of their squares"),
        (lambda own: 5 - 10 * np.log10(np.square(own).mean()), "logarithm of the mean"),
        (np.var, "their mean plus the variance of the replicas' means"),
        (np.std, "mean of their squares plus the variance"),
    ],
)
def test_another_mean_is_found(statistic: Statistic, said: str):
    (found,) = compared(program(statistic))

    assert (MEAN_OF_MEANS, "v") == (found.kind, found.variable)
    assert said in found.what


@pytest.mark.parametrize(
    "statistic",
    [
        np.median,
        lambda own: own.mean() / own.max(),
        lambda own: np.random.default_rng(own.size).normal(3.0, 1.0),
        lambda own: own.mean() + np.random.default_rng(int(own[0] * 1e6)).normal(0, 0.1),
        lambda own: 0.9 + 0.1 * own.var(),  # a moving variance
        lambda own: np.clip(own, 2, 4).var(),
    ],
)
def test_other_values_that_are_not_the_mean_of_their_parts_are_no_findings(statistic: Statistic):
    assert [] == compared(program(statistic))
