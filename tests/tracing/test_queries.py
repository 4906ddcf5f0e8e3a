"""Each SQL query in docs/history.md returns the answer to the question in its heading."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from varsim.experiments.config import Experiment
from varsim.experiments.runner import run_experiment
from varsim.testing import simulated_cluster
from varsim.tracing.history import History, open_history

PAGE = (Path(__file__).parents[2] / "docs" / "history.md").read_text("utf-8")
QUESTIONS = dict(re.findall(r"\*\*([^*]+\?)\*\*.*?```sql\n(.*?)```", PAGE, re.DOTALL))
PROGRAM = """
import varsim as tf

def run(job: tf.Job):
    with job.strategy.scope():
        weight = tf.Variable(0.0, name="weight", aggregation=tf.VariableAggregation.MEAN)
        seen = tf.Variable(0.0, name="seen", synchronization=tf.VariableSynchronization.ON_READ,
                           aggregation=tf.VariableAggregation.SUM)

    def step(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        weight.assign_sub(0.1 * (weight.read_value() - me))
        seen.assign_add(weight.read_value())

    for number in range(4):
        job.strategy.run(step, args=(number,))
        seen.read_value()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("queries")
    (path / "program.py").write_text(PROGRAM, "utf-8")
    with simulated_cluster():
        ran = run_experiment(
            Experiment(workload=str(path / "program.py"), workers=3, out=str(path / "runs"))
        )
    return Path(ran.directory)


def asked(history: History, question: str) -> list[tuple[object, ...]]:
    return history.connection.execute(QUESTIONS[question]).fetchall()


def test_there_are_ten_questions():
    assert 10 == len(QUESTIONS)


@pytest.mark.parametrize("question", QUESTIONS)
def test_each_question_has_an_answer(folder: Path, question: str):
    with open_history(folder) as history:
        assert asked(history, question)


def test_the_answers_about_a_known_run_are_right(folder: Path):
    with open_history(folder) as history:
        costs = asked(history, "Which variable costs most?")
        last = asked(history, "What did each replica contribute to the last merge of a variable?")
        why = asked(history, "Why did that happen?")
        end = asked(history, "Did the replicas hold the same values at the end?")

    assert [("weight", 4, 24, 12), ("seen", 0, 4, 12)] == costs
    assert [(0, "assign_sub"), (1, "assign_sub"), (2, "assign_sub")] == [one[:2] for one in last]
    assert [2, -1] == [one[1] for one in why][:2]  # replica 2 installed a commit of the program
    assert ["seen"] * 3 == [one[0] for one in end]
    assert 1 == len({one[2] for one in end})
