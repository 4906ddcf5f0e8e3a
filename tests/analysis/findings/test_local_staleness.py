"""Stale reads that a policy intends: a note counts them, and says what it does not count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import varsim as tf
from tests.analysis.findings.build import ProgramHistory
from tests.replica_context import replica_id
from varsim.analysis.findings.staleness import STALE_READ
from varsim.analysis.search import Search
from varsim.testing import simulated_cluster
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

UNHEARD = "A write is counted only after a message about it has reached the reader"


def test_stale_reads_that_the_policy_intends_are_a_note() -> None:
    """The same reads of an ON_READ variable are a finding."""

    def story(settings: str) -> ProgramHistory:
        told = ProgramHistory(w=settings, **dict.fromkeys(("v", "u", "t"), settings))
        for name in ("w", "v", "u", "t"):
            told.call()
            for replica in told.replicas:
                told.write(replica, name, 1.0 + replica, "train.py:5")
            told.end()
            told.call()
            told.read(0, name, "eval.py:2")
            told.end()
        return told

    assert [f"stale read: {name} ×1 at eval.py:2" for name in "wvut"] == story(
        "ON_READ MEAN"
    ).found()
    assert [] == story("local_sgd:8 MEAN").found()
    assert [
        "whether reads of w, v, u and 1 more in replicas are too old: 4 of 4 reads lacked earlier "
        f"writes of other replicas, as local_sgd:8 intends. {UNHEARD}"
    ] == [one.text for one in story("local_sgd:8 MEAN").notes()]


def reads_under(policy: Any, steps: int, folder: Path) -> tuple[str, ...]:
    """Let 3 replicas write and then read in each of some calls; return the notes about the reads.

    At some points, two components are equal by chance.
    """
    with simulated_cluster():
        devices = [f"cpu:{i}" for i in range(3)]
        strategy = tf.distribute.MirroredStrategy(devices, trace=TraceOptions(folder))
        with strategy.scope():
            v = tf.Variable(0.0, name="v", synchronization=policy)

        def step() -> None:
            v.assign_add(1.0 + replica_id(), read_value=False)
            v.read_value()

        for _ in range(steps):
            strategy.run(step)
        strategy.close()
    merge(folder, folder)
    with open_history(folder) as history:
        search = Search(history)
        search.read(history)
        assert () == tuple(one for one in search.conclude()[0] if one.kind is STALE_READ)
        return tuple(one.text for one in search.notes() if "too old" in one.text)


@pytest.mark.parametrize("every", [2, 3, 4])
def test_all_reads_that_lack_writes_are_counted_wherever_the_record_ends(every, tmp_path):
    """A read lacks the earlier writes of the period; the first read of a period lacks none."""
    for steps in (every - 1, every, every + 1, 2 * every):
        folder = tmp_path / str(steps)
        folder.mkdir()
        stale = 3 * sum(step % every > 1 for step in range(1, steps + 1))
        intends = f", as local_sgd:{every} intends" if stale else ""

        (note,) = reads_under(tf.LocalSGD(every), steps, folder)

        assert (
            f"whether reads of v in replicas are too old: {stale} of {3 * steps} reads lacked "
            f"earlier writes of other replicas{intends}. {UNHEARD}"
        ) == note


def test_reads_of_components_that_the_policy_has_replaced_have_all_writes_until_then():
    """Replica 1 replaces its component by a copy that it has pulled: no write of its own."""
    story = ProgramHistory(w="local_sgd:8 MEAN")
    story.call()
    story.write(0, "w", 1.0, "train.py:5", add=True)
    story.end()
    story.call()
    story.write(1, "w", 2.0, "train.py:5", add=True)
    story.read(1, "w", "train.py:6")
    story.event(1, "obtain", "w", value=3.0, operation="pull", version=1)
    story.write(1, "w", 3.0, "train.py:5")
    story.read(1, "w", "train.py:6")
    story.end()
    story.call()
    story.read(0, "w", "train.py:6")
    story.end()

    (note,) = [one.text for one in story.notes() if "too old" in one.text]

    assert "2 of 3 reads lacked" in note
    assert "a component counts as new after an exchange, although its policy may combine" in note


@pytest.mark.parametrize(("heard", "text"), [(0, "0 of 1 read lacked"), (1, "1 of 1 read lacked")])
def test_many_writes_at_the_same_time_do_not_hide_what_a_replica_knows(heard, text):
    """Replica 1 knows no write, or the first one, before replica 0 writes very often."""
    story = many_writes(heard, later=False)

    (note,) = [one.text for one in story.notes() if "too old" in one.text]

    assert text in note
    assert note.endswith(UNHEARD)


def test_reads_that_cannot_be_judged_are_counted():
    """A message that replica 0 sent after its first write reaches replica 1 very late."""
    story = many_writes(1, later=True)

    (note,) = [one.text for one in story.notes() if "too old" in one.text]

    assert "0 of 0 reads lacked" in note
    assert note.endswith(
        "1 read more could not be judged: varsim no longer kept the writes that are needed for this"
    )


def many_writes(heard: int, *, later: bool) -> ProgramHistory:
    story = ProgramHistory(w="local_sgd:10000 MEAN")
    story.call()
    for number in range(1000):
        if number == heard:
            sent = story.event(0, "release", note="a")
            if not later:
                story.hear(1, sent)
        story.write(0, "w", 1.0, "train.py:5", add=True)
    if later:
        story.hear(1, sent)
    story.read(1, "w", "train.py:6")
    story.end()
    return story
