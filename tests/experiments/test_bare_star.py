"""A bare star with real processes, and messages of a few bytes."""

from __future__ import annotations

import pytest

from varsim.errors import StartError
from varsim.experiments import bare_star
from varsim.experiments.bare_star import BareStar

pytestmark = pytest.mark.processes


def test_every_worker_answers_with_the_same_number_of_bytes():
    """This holds for a round of all workers or of some workers, and for different sizes."""
    with BareStar(3) as star:
        star.round(3, 8)
        star.round(1, 8)
        star.round(2, 4096)


def test_a_star_that_cannot_start_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bare_star, "_TIMEOUT_MS", 50)
    monkeypatch.setattr(bare_star, "_MODULE", "varsim.experiments.nothing_of_that_name")

    with pytest.raises(StartError, match="processes of a bare star did not start"):
        BareStar(1)
