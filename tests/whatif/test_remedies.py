"""The settings that a finding proposes are tried in a replay before they are printed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import varsim as tf
from varsim.analysis.examination import examine
from varsim.analysis.findings.model import Cause, Finding, Proposed
from varsim.report.check_json import finding_json
from varsim.report.findings_text import finding_text
from varsim.report.sarif import SourceFolders, sarif_of
from varsim.testing import simulated_cluster
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions
from varsim.whatif import remedies
from varsim.whatif.remedies import tried

ON_READ, ON_WRITE = tf.VariableSynchronization.ON_READ, tf.VariableSynchronization.ON_WRITE
FIRST = tf.VariableAggregation.ONLY_FIRST_REPLICA


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record a program in which all replicas assign the same step; return its folder."""
    folder = tmp_path_factory.mktemp("record")
    with (
        simulated_cluster(),
        tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], trace=TraceOptions(folder)) as strategy,
    ):
        with strategy.scope():
            step = tf.Variable(0, name="step", aggregation=FIRST)
            other = tf.Variable(0, name="other", aggregation=FIRST)

        def train(number: int) -> int:
            step.assign(number)
            other.assign(2 * number)
            return int(step.read_value()) + int(other.read_value())

        for number in range(8):
            strategy.run(train, args=(number,))
    merge(folder, folder)
    return folder


def results(folder: Path, **changes: Proposed) -> dict[str, Finding]:
    """Return the findings after the trial of their proposals, by variable.

    Args:
        changes: Variable → what its finding proposes instead.
    """
    with open_history(folder) as history:
        findings = [
            replace(one, settings=changes.get(one.variable, one.settings))
            for one in examine(history).findings
        ]
        found, notes = tried(history, None, findings)
    assert () == notes
    return {one.variable: one for one in found}


def test_a_proposal_that_removes_its_finding_is_kept(record: Path) -> None:
    found = results(record)["step"]

    assert Proposed(ON_READ, FIRST) == found.settings
    assert found.paste[0] == 'tf.Variable(…, name="step",'
    assert "the finding is gone; 0 of 16 reads have another value" in found.tried


def test_a_proposal_that_does_not_remove_its_finding_has_no_lines_to_paste(record: Path) -> None:
    found = results(record, step=Proposed(ON_WRITE, FIRST))

    assert (None, ()) == (found["step"].settings, found["step"].paste)
    assert "ON_WRITE with ONLY_FIRST_REPLICA is no remedy here" in found["step"].tried
    assert "the finding stays" in found["step"].tried
    assert found["other"].paste, "the proposal for another variable is not affected"


def test_each_of_two_findings_about_a_variable_is_tried_with_its_own_proposal(record: Path) -> None:
    with open_history(record) as history:
        one = next(one for one in examine(history).findings if one.variable == "step")
        useless = replace(one, settings=Proposed(ON_WRITE, FIRST))
        (kept, refused), _ = tried(history, None, [one, useless])

    assert "the finding is gone" in kept.tried
    assert "ON_WRITE with ONLY_FIRST_REPLICA is no remedy here" in refused.tried


def test_a_long_record_is_not_replayed_and_a_note_says_so(
    record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remedies, "MOST_EVENTS", 10)
    with open_history(record) as history:
        findings = examine(history).findings
        found, (note,) = tried(history, None, findings)

    assert [()] * 2 == [one.offered for one in found]
    assert (
        "ON_READ with ONLY_FIRST_REPLICA was not tried in a replay: a record with more than 10 "
        "events is not replayed for this; `varsim whatif RUN --set "
        "step=on_read/only_first_replica` tries it" == found[0].trial
    )
    assert "more than 10 events" in note.text
    assert "`varsim advise`" == note.option


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "with another proposal"])
def test_a_proposal_that_was_not_tried_is_offered_nowhere(record: Path, alone: bool) -> None:
    """A finding that follows from another one is not tried; `--all`, JSON and SARIF show it."""
    with open_history(record) as history:
        examined = examine(history)
        lead, other = examined.findings
        follower = replace(other, cause=Cause(lead.kind, lead.variable_id, lead.variable))
        found, _ = tried(history, None, [follower] if alone else [lead, follower])

    said = "other=on_read/only_first_replica` tries it"
    shown = [*finding_text(found[-1], 500), finding_json(found[-1]).model_dump_json()]
    (run,) = sarif_of([replace(examined, findings=found)], "1", SourceFolders(()))["runs"]
    message = run["results"][-1]["message"]
    assert "tf.Variable" not in "\n".join([*shown, *message.values()])
    assert all(said in text for text in ("\n".join(shown[:-1]), shown[-1], message["text"]))
    assert alone or "tf.Variable" in "\n".join(finding_text(found[0]))


def test_settings_that_no_replay_has_tried_are_not_offered(record: Path) -> None:
    with open_history(record) as history:
        one = examine(history).findings[0]

    assert ((), True) == (one.offered, bool(one.paste))
    assert "was not tried in a replay: `varsim check` tries it" in one.trial


def test_nothing_is_replayed_without_a_proposal(record: Path) -> None:
    with open_history(record) as history:
        findings = [replace(one, settings=None) for one in examine(history).findings]
        assert (tuple(findings), ()) == tried(history, None, findings)
