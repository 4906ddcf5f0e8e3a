"""Variables whose policy is not installed here are not judged; everything else is."""

from __future__ import annotations

import pytest

from tests.analysis.build import HistoryBuilder, parse_history
from varsim.analysis.examination import examine
from varsim.analysis.lens import moments
from varsim.analysis.outcome import Outcome

HISTORY = """\
variable w acme:2 MEAN float32 []
variable b ON_WRITE SUM float32 []

program create w v=0 = 1.0
program create b v=0 = 0.0
program call call=1 as start
0 begin call=1 after start
1 begin call=1 after start
0 write w assign_add call=1 = 2.0
1 write w assign_add call=1 = 4.0
0 write b assign_add call=1 position=0 = 1.0 as sent0
1 write b assign_add call=1 position=0 = 3.0 as sent1
program receive replica=0 after sent0
program receive replica=1 after sent1
program commit b assign call=1 position=0 v=1 = 4.0 as b1
0 install b v=1 call=1 after b1
1 install b v=1 call=1 after b1
0 return call=1 as end0
1 return call=1 as end1
program receive replica=0 after end0
program receive replica=1 after end1
program finish call=1
"""
"""w has another value on each replica; b is a merge of both replicas."""

NOT_INSTALLED = "w: not checked, because the policy acme is not installed here; install "


def history_of(text: str = HISTORY, **entries: object) -> HistoryBuilder:
    builder = parse_history(text)
    builder.run |= entries
    return builder


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (
            {"policies": {"acme": "acme-policies 2.1"}},
            f"{NOT_INSTALLED}acme-policies 2.1 (or a package with the entry point acme",
        ),
        (
            {"policy_files": {"acme": "train.py"}},
            "w: not checked, because the policy acme is defined in train.py of the program, and",
        ),
        ({}, f"{NOT_INSTALLED}a package with the entry point acme in the group varsim.policies, "),
    ],
)
def test_only_its_variables_are_not_judged(entries, said, tmp_path):
    with history_of(**entries).history(tmp_path) as history:
        examination = examine(history)

    *others, last = examination.verdicts
    assert {Outcome.VALID} == {one.outcome for one in others}
    assert ("policies", Outcome.UNKNOWN) == (last.checker, last.outcome)
    assert last.reason.startswith(said)
    assert Outcome.UNKNOWN is examination.outcome
    assert () == examination.findings  # w is not taken for a variable that is never combined
    assert str(examination.not_looked_at[0]).startswith("the writes and reads of w, and findings ")


def test_the_comparison_with_a_single_device_lists_its_variables(tmp_path):
    alone = [line for line in HISTORY.splitlines() if not line.startswith(("1 ", "program rec"))]
    alone = [line for line in alone if " commit " not in line and " install " not in line]
    (tmp_path / "one").mkdir()
    one = parse_history("\n".join(["replicas 1", *alone]))
    with history_of().history(tmp_path) as history, one.history(tmp_path / "one") as oracle:
        compared = examine(history, oracle).compared

    assert compared is not None
    assert ["w"] == [one.variable for one in compared.uncompared]


def test_a_fault_at_another_variable_is_found(tmp_path):
    with history_of(HISTORY.replace("v=1 = 4.0", "v=1 = 5.0")).history(tmp_path) as history:
        wrong = [one.checker for one in examine(history).verdicts if one.outcome is Outcome.INVALID]

    assert ["reduction"] == wrong


def test_the_lens_shows_the_components_without_a_cross_replica_value(tmp_path):
    with history_of().history(tmp_path) as history:
        (_, last) = moments(history, history.variables[1])

    assert ([3.0], [5.0]) == tuple(one.tolist() for one in last.components)
    assert last.value is None


def test_the_lens_shows_no_caches_of_a_copy_of_an_unknown_policy(tmp_path):
    """A write to a copy changes no component, so what the record shows of components is not all."""
    paced = HISTORY.replace("1 write w assign_add call=1", "1 advance w assign_add call=1 v=1")

    with history_of(paced).history(tmp_path) as history:
        (first, last) = moments(history, history.variables[1])

    assert [1.0] == first.components[1].tolist()
    assert (None, None) == last.components
