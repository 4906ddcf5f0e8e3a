"""The sentences that say what a run's numbers mean."""

from __future__ import annotations

from typing import Any

import pytest

from tests.report.summaries import lens, summary, variable
from varsim.report.story import story
from varsim.report.summary import Cost, Status

SAME = lens(1.0, 1.0)
APART = lens(1.0, 1.83)
ON_WRITE = {"synchronization": "ON_WRITE", "requested": "ON_WRITE", "merges": 10}
NONE = {"synchronization": "NONE", "requested": "NONE", "messages": 0, "size_bytes": 0}


@pytest.mark.parametrize(
    ("settings", "seen", "expected"),
    [
        (NONE, APART, "w was never synchronised: the replicas' copies are up to 0.83 apart."),
        (NONE, SAME, "w was never synchronised, and yet the replicas' copies are the same."),
        (NONE, None, "w was never synchronised: every replica has a value of its own."),
        (
            ON_WRITE,
            SAME,
            "w was synchronised at every write: 10 merges, 4 messages and 8 B if "
            "each variable travelled alone. Every replica holds the same, to the last bit.",
        ),
        (
            {**ON_WRITE, "requested": "AUTO"},
            None,
            "AUTO became ON_WRITE: w was synchronised at every write: 10 merges, 4 messages and "
            "8 B if each variable travelled alone.",
        ),
        (
            ON_WRITE,
            APART,
            "w was synchronised at every write: 10 merges, 4 messages and 8 B if "
            "each variable travelled alone. Yet the replicas' "
            "copies are up to 0.83 apart: something was written past the aggregation.",
        ),
        (
            {**ON_WRITE, "aggregation": "NONE", "merges": 0},
            APART,
            "w was ON_WRITE without an aggregation: a write in a replica changes that replica's "
            "copy only, and nothing was synchronised there. The replicas' copies are up to 0.83 "
            "apart, and a read outside shows replica 0's.",
        ),
        (
            {
                **ON_WRITE,
                "synchronization": "AUTO",
                "merges": 1,
                "on_write": Cost(merges=10, messages=40, size_bytes=160),
            },
            SAME,
            "AUTO was adaptive: w was exchanged only when somebody was about to read: 1 exchange, "
            "4 messages, 8 B; under ON_WRITE 10 exchanges, 40 messages, 160 B (if each variable "
            "travelled alone). Every replica holds the same, to the last bit.",
        ),
        (
            {**ON_WRITE, "synchronization": "AUTO", "aggregation": "NONE", "merges": 0},
            SAME,
            "w was AUTO without an aggregation: a write in a replica changes that replica's copy "
            "only, and nothing was synchronised there. At the end the copies are the same all the "
            "same.",
        ),
        (
            {},
            APART,
            "w was written by each replica to its own copy; the copies were combined only by "
            "reads and assigns from outside: 4 messages and 8 B if each variable travelled alone. "
            "The replicas' copies are up to 0.83 apart.",
        ),
        (
            {},
            lens(1.0, float("nan")),
            "w was written by each replica to its own copy; the copies were combined only by "
            "reads and assigns from outside: 4 messages and 8 B if each variable travelled alone. "
            "The replicas' copies are infinitely far apart: "
            "some hold NaN or infinity.",
        ),
    ],
)
def test_each_synchronization_has_its_sentence(settings: dict[str, Any], seen: Any, expected: str):
    assert [expected] == story(summary(variable("w", seen, **settings)))


def test_a_story_is_about_the_free_variables_if_there_are_any():
    free = [variable(name, SAME, free=True, **ON_WRITE) for name in ("weights", "bias")]
    told = story(summary(*free, variable("seen", APART)))

    assert 1 == len(told)
    assert told[0].startswith("weights and bias were synchronised at every write")


def test_without_free_variables_it_is_about_all():
    told = story(summary(variable("a", SAME, **ON_WRITE), variable("b", APART)))

    assert 2 == len(told)


def test_one_replica_has_no_story():
    assert ["With one replica there is nothing to synchronise."] == story(
        summary(variable(), workers=1)
    )


def test_nothing_is_told_of_what_did_not_happen():
    assert [] == story(summary())
    assert [] == story(summary(variable(writes=0)))
    assert [] == story(summary(variable(), status=Status.FAILED))


def test_nothing_is_said_of_what_nobody_wrote():
    """A variable without writes was neither written by replicas nor synchronised."""
    told = story(summary(variable("w", SAME), variable("untouched", SAME, writes=0)))

    assert ["w was written by each"] == [sentence[:21] for sentence in told]
