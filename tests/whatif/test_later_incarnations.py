"""Replays of the record of a later incarnation begin with the values that the restart put back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.analysis.test_restarts import CALLS, recorded_restart
from tests.whatif.test_replay import MEAN, ON_READ, ON_WRITE, SUM, effect_on, settings_for
from varsim.tracing.history import open_history
from varsim.whatif.compare import Replays
from varsim.whatif.recorded import Settings
from varsim.whatif.values import divided


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded_restart(tmp_path_factory.mktemp("restarted"))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("mirrored", Settings(ON_READ, SUM)),
        ("count", Settings(ON_READ, SUM)),  # it is 10 at the restart
        ("total", Settings(ON_WRITE, SUM)),
        ("total", Settings(ON_READ, SUM)),
        ("mirrored", Settings(ON_WRITE, SUM)),
    ],
)
def test_a_sum_continues_under_other_settings(record: Path, name: str, settings: Settings):
    with open_history(record) as history:
        replays = Replays(history)
        result = replays.under(settings_for(replays, name, settings))
    effect = effect_on(result, name)

    assert (CALLS, 0, None) == (effect.reads, effect.changed, effect.refusal)
    assert 3 * CALLS == effect.cost_before.writes == effect.cost_after.writes
    assert () == result.warned
    (doubt,) = replays.doubts
    assert doubt.startswith(
        "This record begins after 3 calls, with the values that a restart put back: mirrored, "
        "count and total."
    )


def test_local_components_stay_those_of_their_replicas(record: Path):
    with open_history(record) as history:
        replays = Replays(history)
        result = replays.under(settings_for(replays, "total", Settings(ON_READ, MEAN)))
    first = effect_on(result, "total").first
    assert first is not None
    assert (24, 8) == (first.before, first.after)


@pytest.mark.parametrize(
    ("value", "replicas", "shares"),
    [
        (np.array(10), 3, [4, 3, 3]),
        (np.array([-10, 7]), 3, [[-2, 3], [-4, 2], [-4, 2]]),
        (np.array(3.0), 2, [1.5, 1.5]),
        (np.array(np.inf, np.float32), 2, [np.inf, np.inf]),
        (np.array(127, np.int8), 200, [127, *[0] * 199]),
    ],
)
def test_the_shares_of_a_value_add_up_to_it(value: np.ndarray, replicas: int, shares: list[object]):
    found = divided(value, replicas)
    assert shares == [one.tolist() for one in found]
    assert {value.dtype} == {one.dtype for one in found}
