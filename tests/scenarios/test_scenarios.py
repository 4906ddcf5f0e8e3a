"""Test that golden scenarios have their expected output, and show the whole policy table."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.scenarios.runner import ScenarioRunner
from tests.scenarios.scenario import difference, main, play
from tests.scenarios.script import ScenarioError
from varsim import environment
from varsim.spec import SCATTERS, VariableAggregation
from varsim.sync import policies
from varsim.sync.policies.cells import AtHand

HERE = Path(__file__).parent
SCENARIOS = sorted(HERE.glob("*.txt"))


@pytest.fixture(autouse=True)
def ten_minutes(monkeypatch):
    """Make the scenarios' timeout independent of the environment."""
    monkeypatch.delenv(environment.CALL_TIMEOUT, raising=False)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_scenario_has_the_expected_output(path):
    shown = difference(path.relative_to(Path.cwd()), play(path))

    if shown:
        pytest.fail(
            f"{shown}\nIf the new output is right: run make scenarios, and review the diff", False
        )


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_scenario_starts_with_a_comment(path):
    assert path.read_text("utf-8").startswith("# ")


def test_every_cell_of_the_table_is_in_a_scenario():
    """Each synchronization, context and operation is a cell, and is shown with each aggregation."""
    shown = set().union(*(play(path).cells for path in SCENARIOS))
    wanted = {
        (synchronization, context, operation, aggregation)
        for (synchronization, context, operation), aggregation in itertools.product(
            policies.TABLE, VariableAggregation
        )
        if operation not in SCATTERS
    }

    assert 192 == len(wanted)
    assert set() == wanted - shown


def test_every_kind_of_sparse_write_is_in_a_scenario():
    """In each context, each group of sparse writes with equal cells has at least one scenario."""
    shown = set().union(*(play(path).cells for path in SCENARIOS))

    def kinds(cells):
        """Yield the synchronization, context, aggregation and cell of each sparse write."""
        for synchronization, context, operation, aggregation in cells:
            if operation in SCATTERS:
                row = policies.policy_of(synchronization).rows[context, operation]
                cell = row[aggregation] if isinstance(row, dict) else row
                yield synchronization, context, aggregation, cell

    pairs = itertools.product(policies.TABLE, VariableAggregation)
    wanted = set(kinds((*where, aggregation) for where, aggregation in pairs))
    assert 56 == len(wanted)
    assert set() == wanted - set(kinds(shown))


def test_the_states_look_up_every_policy(monkeypatch):
    """The states look up all cells of writes and of cross-replica reads."""
    looked_up = set()
    look_up = policies.cell

    def recorded(spec, context, operation):
        looked_up.add(look_up(spec, context, operation))
        return look_up(spec, context, operation)

    monkeypatch.setattr(policies, "cell", recorded)
    for path in SCENARIOS:
        play(path)

    cells = [c.values() if isinstance(c, dict) else [c] for c in policies.TABLE.values()]
    assert set() == set(itertools.chain(*cells)) - {AtHand()} - looked_up


# ---------------------------------------------------------------- the player itself

EXAMPLE = """\
# ON_READ + SUM: writes stay local; a read fetches the components that have changed, and adds up.
cluster replicas=2
variable total synchronization=ON_READ aggregation=SUM shape=()
assign_add replica=0 total 1.0
----
replica 0: total = 1.0

read total
----
coordinator -> 0: Fetch total
0 -> coordinator: Component total 1.0
read total = 1.0
"""


def test_the_example_of_contributing_is_current(tmp_path):
    path = tmp_path / "example.txt"
    path.write_text(EXAMPLE)

    assert 0 == main([str(path)])


def test_a_wrong_output_is_shown_and_rewritten(tmp_path, capsys):
    path = tmp_path / "example.txt"
    path.write_text(EXAMPLE.replace("read total = 1.0", "read total = 2.0"))

    assert 1 == main([str(tmp_path)])
    assert "-read total = 2.0\n+read total = 1.0\n" in capsys.readouterr().out
    assert 0 == main(["--rewrite", str(tmp_path)])
    assert EXAMPLE == path.read_text()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("cluster replicas=2\nread w\n----\n", "there is no variable 'w'"),
        ("cluster replicas=2\nfly w\n----\n", "there is no command fly"),
        ("cluster replicas=2\ncall\n----\n", "the scenario ends while a call runs"),
        ("cluster replicas=2\nread w\n", "the last commands have no ----"),
        ("cluster replicas=2\nvariable w value=x\n----\n", "'x' is not a value"),
        ("cluster replicas=2\nvariable w\ncall\nread w\n----\n", "the program waits for its call"),
        (
            "cluster replicas=2\ncall\nend replica=0\nread replica=0 w\n----\n",
            "the function of replica 0 has ended",
        ),
    ],
)
def test_an_invalid_scenario_is_an_error(text, problem):
    with pytest.raises(ScenarioError, match=problem):
        ScenarioRunner(text).play()
