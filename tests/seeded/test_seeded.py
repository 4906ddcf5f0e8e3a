"""Both states keep their promises in random programs with random faults, in any order of events.

`validate()` runs after every event, and every value that a program or a replica reads is compared
with the plain model. `python -m tests.seeded SEED` replays a seed.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.effort import many
from tests.seeded.run import COMMON, RARE, run_seed, run_seeds

QUICK = 300
PARTS, PART = 4, many(5000)  # 20,000 seeds in `make test-all`; 5,000 cover all rare events


def test_hundreds_of_seeds_agree_with_the_model_and_cover_all_events() -> None:
    counts = run_seeds(range(QUICK))

    assert [] == sorted(COMMON - counts.keys())


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
def test_thousands_of_seeds_agree_with_the_model(part: int) -> None:
    """The parts run in parallel."""
    first = QUICK + part * PART
    counts = run_seeds(range(first, first + PART))

    assert [] == sorted((COMMON | RARE) - counts.keys())


def test_a_seed_always_does_the_same() -> None:
    first, second = Counter[str](), Counter[str]()
    for counts in (first, second):
        for seed in range(20):
            run_seed(seed, counts)

    assert first == second
