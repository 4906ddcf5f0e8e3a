"""The sentences that summarise a run."""

from __future__ import annotations

from typing import Any

import pytest

from tests.report.summaries import lens, summary, variable_summary
from varsim.report.run_sentences import sentences_on_synchronisation
from varsim.report.summary import RunStatus, SyncCost

SAME = lens(1.0, 1.0)
APART = lens(1.0, 1.83)
ON_WRITE = {"synchronization": "ON_WRITE", "requested": "ON_WRITE", "merges": 10}
NONE = {"synchronization": "NONE", "requested": "NONE", "messages": 0, "size_bytes": 0}


@pytest.mark.parametrize(
    ("settings", "seen", "expected"),
    [
        (NONE, APART, "w was never synchronised: the replicas' components differ by up to 0.83."),
        (NONE, SAME, "w was never synchronised, but the replicas' components are the same."),
        (NONE, None, "w was never synchronised: each replica keeps its own value."),
        (
            ON_WRITE,
            SAME,
            "w was synchronised at every write: 10 merges, 4 messages and 8 B if each variable "
            "were sent alone. All replicas hold the same values of w, bit for bit.",
        ),
        (
            {**ON_WRITE, "merges": 0},
            None,
            "w was synchronised at every write: 4 messages and 8 B if each variable were sent "
            "alone. All writes were in cross-replica context, which needs no merge.",
        ),
        (
            {**ON_WRITE, "synchronization": "Central", "merges": 0},
            None,
            "w was synchronised by Central: 4 messages and 8 B if each variable were sent alone.",
        ),
        (
            {**ON_WRITE, "requested": "AUTO"},
            None,
            "AUTO became ON_WRITE: w was synchronised at every write: 10 merges, 4 messages and "
            "8 B if each variable were sent alone.",
        ),
        (
            ON_WRITE,
            APART,
            "w was synchronised at every write: 10 merges, 4 messages and 8 B if each variable "
            "were sent alone. But the replicas' components of w differ by up to 0.83: a write "
            "bypassed the aggregation.",
        ),
        (
            {**ON_WRITE, "aggregation": "NONE", "merges": 0},
            APART,
            "w was ON_WRITE without an aggregation: a write in a replica changes only that "
            "replica's component and is not synchronised. The replicas' components differ by up to "
            "0.83, and a cross-replica read returns that of replica 0.",
        ),
        (
            {
                **ON_WRITE,
                "synchronization": "AUTO",
                "merges": 1,
                "on_write": SyncCost(merges=10, messages=40, size_bytes=160),
            },
            SAME,
            "AUTO was adaptive: w was exchanged only before a read: 1 exchange, 4 messages, 8 B; "
            "under ON_WRITE 10 exchanges, 40 messages, 160 B (if each variable were sent alone). "
            "All replicas hold the same values of w, bit for bit.",
        ),
        (
            {**ON_WRITE, "synchronization": "AUTO", "aggregation": "NONE", "merges": 0},
            SAME,
            "w was AUTO without an aggregation: a write in a replica changes only that replica's "
            "component and is not synchronised. At the end the components are nevertheless the "
            "same.",
        ),
        (
            {},
            APART,
            "w was written by each replica to its own component; only cross-replica reads and "
            "assigns combined the components: 4 messages and 8 B if each variable were sent alone. "
            "The replicas' components of w differ by up to 0.83.",
        ),
        (
            {},
            lens(1.0, float("nan")),
            "w was written by each replica to its own component; only cross-replica reads and "
            "assigns combined the components: 4 messages and 8 B if each variable were sent alone. "
            "The replicas' components of w differ infinitely: some components hold NaN or "
            "infinity.",
        ),
    ],
)
def test_each_synchronization_has_its_sentence(settings: dict[str, Any], seen: Any, expected: str):
    assert [expected] == sentences_on_synchronisation(
        summary(variable_summary("w", seen, **settings))
    )


def test_the_sentences_are_about_free_variables_if_there_are_any():
    free = [variable_summary(name, SAME, free=True, **ON_WRITE) for name in ("weights", "bias")]
    told = sentences_on_synchronisation(summary(*free, variable_summary("seen", APART)))

    assert 1 == len(told)
    assert told[0].startswith("weights and bias were synchronised at every write")


def test_equal_values_are_those_of_the_named_variables():
    """Components of other variables may be apart."""
    told = sentences_on_synchronisation(
        summary(
            variable_summary("weights", SAME, **ON_WRITE),
            variable_summary("bias", SAME, **ON_WRITE),
            variable_summary("rate", APART),
        )
    )

    assert told[0].endswith("All replicas hold the same values of weights and bias, bit for bit.")


def test_without_free_variables_the_sentences_are_about_all_variables():
    told = sentences_on_synchronisation(
        summary(variable_summary("a", SAME, **ON_WRITE), variable_summary("b", APART))
    )

    assert 2 == len(told)


def test_with_one_replica_nothing_is_synchronised():
    assert ["With one replica there is nothing to synchronise."] == sentences_on_synchronisation(
        summary(variable_summary(), workers=1)
    )


def test_a_failed_run_or_a_run_without_writes_has_no_sentences():
    assert [] == sentences_on_synchronisation(summary())
    assert [] == sentences_on_synchronisation(summary(variable_summary(writes=0)))
    assert [] == sentences_on_synchronisation(summary(variable_summary(), status=RunStatus.FAILED))


def test_a_variable_without_writes_is_left_out():
    told = sentences_on_synchronisation(
        summary(variable_summary("w", SAME), variable_summary("untouched", SAME, writes=0))
    )

    assert ["w was written by each"] == [sentence[:21] for sentence in told]


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ((), r"a\nb was"),
        (("v",), r"a\nb and v were"),
        (("a\nc", "a\nd", "a\ne"), r"a\n* (4 variables) were"),
    ],
)
def test_a_name_with_a_line_feed_stays_on_one_line(others: tuple[str, ...], said: str) -> None:
    variables = [variable_summary(name, APART, **NONE) for name in ("a\nb", *others)]
    (sentence,) = sentences_on_synchronisation(summary(*variables))

    assert sentence.startswith(f"{said} never synchronised")
